"""The distributions alone, in empty environments: the provider's with Airflow, and the emulator's without it.

The provider's wheel is tried in all ways; of its source distribution only that it installs the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

import airflow_provider_ci
from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.config import DEMO_BUCKET, DEMO_REGION, DEMO_SECRET_ID, DEMO_SECRET_KEY
from tencent_ci_emulator.server import Emulator
from tests.distributions import EMULATOR_ROOT, ROOT, build_sdist, build_wheel
from tests.emulator.integration.test_submit import ended, submit
from tests.emulator.sdk_clients import python_client
from tests.patience import PATIENCE

KEY = "in/speech_over_music.mp3"
AIRFLOW = next(
    line
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    if line.startswith("apache-airflow==")
)


@dataclass
class Installed:
    """An environment of its own, with a folder to run in."""

    folder: Path

    def run(self, *command: str, expected: int = 0, **environment: str) -> str:
        """Run a command of the environment, which must end with ``expected``; return what it printed."""
        home = {name: value for name in ("HOME", "LANG", "TMPDIR") if (value := os.environ.get(name))}
        # nothing of the tests' own environment: neither PYTHONPATH nor Airflow's settings
        done = subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=self.folder,
            env=home | {"PATH": f"{self.folder}/bin:/usr/bin:/bin"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=10 * PATIENCE,
            check=False,
        )
        assert done.returncode == expected, f"{' '.join(command)}:\n{done.stdout}"
        return done.stdout

    def install(self, *what: str) -> None:
        """Install with the versions of constraints.txt, and with pip's own settings as in this process."""
        pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        constraints = str(ROOT / "constraints.txt")
        self.run("python", "-m", "pip", "install", "-q", "-c", constraints, *what, **pip)


@pytest.fixture(scope="module")
def with_airflow(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment that has Airflow only. Nothing may be installed there but by :func:`installed`."""
    folder = tmp_path_factory.mktemp("installed")
    asked = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), AIRFLOW]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip(f"pip reaches no package index that has {AIRFLOW}")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    environment = Installed(folder)
    environment.install(AIRFLOW)
    return environment


@pytest.fixture(scope="module")
def copy_with_airflow(with_airflow: Installed, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Another such environment, which shares its files. pip replaces files, and changes none."""
    folder = tmp_path_factory.mktemp("copy") / "environment"
    shutil.copytree(with_airflow.folder, folder, symlinks=True, copy_function=os.link)
    return Installed(folder)


@pytest.fixture(scope="module")
def installed(with_airflow: Installed, copy_with_airflow: Installed) -> Installed:
    with_airflow.install(str(build_wheel(ROOT, with_airflow.folder)))
    return with_airflow


@pytest.fixture(scope="module")
def airflow(installed: Installed) -> dict[str, str]:
    """Settings of an Airflow home in which the example DAG is the only one."""
    home = installed.folder / "home"
    (home / "dags").mkdir(parents=True)
    example = "example_voice_separate.py"
    (home / "dags" / example).write_bytes((ROOT / "example_dags" / example).read_bytes())
    settings = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "COLUMNS": "500"}
    installed.run("airflow", "db", "migrate", **settings)
    return settings


@pytest.fixture
def hook(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[TencentCIHook]:
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    yield hook
    hook.close()


def rows(printed: str) -> list[dict[str, Any]]:
    """Return what ``--output json`` printed, among the lines of the log."""
    return next(json.loads(line) for line in printed.splitlines() if line.startswith("[{"))


def test_pip_finds_nothing_missing_and_nothing_of_the_extra_is_there(installed: Installed) -> None:
    assert "No broken requirements found." in installed.run("python", "-m", "pip", "check")
    where = "import airflow_provider_ci; print(airflow_provider_ci.__file__)"
    assert Path(installed.run("python", "-c", where).strip()).is_relative_to(installed.folder)
    assert "No module named 'av'" in installed.run("python", "-c", "import av", expected=1)


def test_airflow_lists_the_provider(installed: Installed, airflow: dict[str, str]) -> None:
    listed = rows(installed.run("airflow", "providers", "list", "--output", "json", **airflow))
    versions = {each["package_name"]: each["version"] for each in listed}
    assert versions["airflow-provider-ci"] == airflow_provider_ci.__version__


DESCRIBE = """
import json
from importlib.metadata import distribution
found = distribution("airflow-provider-ci")
module = "airflow_provider_ci"
files = {str(file): file.hash.value for file in found.files if file.hash and file.parts[0] == module}
(info,) = [each.load()() for each in found.entry_points if each.group == "apache_airflow_provider"]
print("DESCRIBED", json.dumps([files, info, found.requires]))
"""


def test_the_source_distribution_installs_the_same(
    installed: Installed, copy_with_airflow: Installed, tmp_path: Path
) -> None:
    copy_with_airflow.install(str(build_sdist(ROOT, tmp_path)))
    assert "No broken requirements found." in copy_with_airflow.run("python", "-m", "pip", "check")
    described = [
        json.loads(each.run("python", "-c", DESCRIBE).rpartition("DESCRIBED")[2])
        for each in (installed, copy_with_airflow)
    ]
    assert described[0] == described[1]
    files, info, _ = described[1]
    assert info["versions"] == [airflow_provider_ci.__version__]
    assert "airflow_provider_ci/operators/voice_separate.py" in files
    where = "import airflow_provider_ci.operators.voice_separate as module; print(module.__file__)"
    home = {"AIRFLOW_HOME": str(tmp_path / "airflow")}
    printed = copy_with_airflow.run("python", "-W", "ignore", "-c", where, **home).splitlines()[-1]
    assert Path(printed).is_relative_to(copy_with_airflow.folder)


def test_the_example_dag_runs(
    installed: Installed, airflow: dict[str, str], emulator: Emulator, hook: TencentCIHook, tmp_path: Path
) -> None:
    hook.upload_file(ROOT / "example_dags" / "media" / "speech_over_music.mp3", KEY)
    connection = {"AIRFLOW_CONN_TENCENT_CI_DEFAULT": json.dumps(emulator.connection)}
    conf = json.dumps({"input_object": KEY, "download_dir": str(tmp_path)})
    installed.run(
        "airflow", "dags", "test", "example_voice_separate", "--conf", conf, **airflow, **connection
    )

    (job,) = emulator.ledger.accepted_jobs()
    results = {
        path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (tmp_path / job.job_id).iterdir()
    }
    assert set(results) == {"voice.mp3", "background.mp3"}
    (described,) = hook.describe_jobs([job.job_id]).jobs_detail
    assert described.state == "Success"
    files = described.operation["MediaResult"]["OutputFile"]["Md5Info"]
    assert {each["Md5"] for each in files} == {*results.values()}


IMPORT_ALL = """
import importlib, json, pkgutil
import airflow_provider_ci
missing = {}
for module in pkgutil.walk_packages(airflow_provider_ci.__path__, "airflow_provider_ci."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing[module.name] = error.name
print("MISSING", json.dumps(missing))
"""


def test_only_lineage_and_kafka_need_their_extras(installed: Installed, airflow: dict[str, str]) -> None:
    printed = installed.run("python", "-W", "ignore", "-c", IMPORT_ALL, **airflow)
    missing = json.loads(printed.rpartition("MISSING")[2])
    assert missing == {
        "airflow_provider_ci.lineage.openlineage": "airflow.providers.openlineage",
        "airflow_provider_ci.triggers.kafka_messages": "airflow.providers.apache",
    }


def test_nothing_of_the_emulator_comes_with_the_provider(installed: Installed) -> None:
    assert not (installed.folder / "bin" / "airflow-ci-emulator").exists()
    printed = installed.run("python", "-c", "import tencent_ci_emulator", expected=1)
    assert "No module named 'tencent_ci_emulator'" in printed


USERS_CODE = """
from airflow_provider_ci.hooks.ci import TencentCIHook

reveal_type(TencentCIHook().describe_jobs(["j1"]).jobs_detail[0].state)
TencentCIHook().describe_jobs(10)
"""


def test_users_code_is_checked_against_the_types(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "users.py").write_text(USERS_CODE)
    python = str(installed.folder / "bin" / "python")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", python, "--config-file=", "users.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1, checked.stdout + checked.stderr
    said = checked.stdout.splitlines()
    assert 'users.py:4: note: Revealed type is "str | None"' in said
    assert [line.partition("  [")[2] for line in said if ": error: " in line] == ["arg-type]"]


@pytest.fixture(scope="module", params=[build_wheel, build_sdist], ids=["wheel", "sdist"])
def emulator_alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment that has the emulator's distribution and what it needs, and no Airflow."""
    folder = tmp_path_factory.mktemp("emulator")
    asked = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "fastcrc"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no package index that has fastcrc")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    alone = Installed(folder)
    alone.install(str(request.param(EMULATOR_ROOT, folder)), "pytest")
    return alone


def test_the_emulator_is_installed_without_airflow_and_without_the_provider(
    emulator_alone: Installed,
) -> None:
    assert "No broken requirements found." in emulator_alone.run("python", "-m", "pip", "check")
    listed = emulator_alone.run("python", "-m", "pip", "freeze").splitlines()
    assert any(line.startswith("tencent-ci-emulator") for line in listed)
    assert [line for line in listed if "airflow" in line] == []
    assert "usage: airflow-ci-emulator" in emulator_alone.run("airflow-ci-emulator", "--help")


USERS_TESTS = """
import urllib.error, urllib.request
import pytest

def test_of_the_user(): pass

def test_with_the_emulator(ci_emulator):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(ci_emulator.url + "/jobs")
    assert ci_emulator.ledger.count("list") == 1
"""


def test_the_fixtures_of_the_emulator_work_without_airflow(emulator_alone: Installed) -> None:
    (emulator_alone.folder / "test_users.py").write_text(USERS_TESTS)
    printed = emulator_alone.run("pytest", "test_users.py", "-W", "error")
    assert "tencent-ci-emulator" in printed
    assert "2 passed" in printed


def test_the_command_of_the_emulator_separates_without_airflow(
    emulator_alone: Installed, tmp_path: Path
) -> None:
    command = [
        str(emulator_alone.folder / "bin" / "airflow-ci-emulator"),
        "--data-dir",
        str(tmp_path / "data"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().removeprefix("ready ").strip()
            started = SimpleNamespace(
                url=url,
                port=urlsplit(url).port,
                secret_id=DEMO_SECRET_ID,
                secret_key=DEMO_SECRET_KEY,
                region=DEMO_REGION,
            )
            client = python_client(started)
            media = ROOT / "example_dags" / "media" / "speech_over_music.mp3"
            client.put_object(Bucket=DEMO_BUCKET, Key=KEY, Body=media.read_bytes())
            [job] = submit(client, KEY)
            done = ended(client, job["JobId"])
            assert done["State"] == "Success"
            written = done["Operation"]["MediaResult"]["OutputFile"]["ObjectName"]
            assert client.object_exists(Bucket=DEMO_BUCKET, Key=written)
        finally:
            process.terminate()
    assert process.returncode == 0
