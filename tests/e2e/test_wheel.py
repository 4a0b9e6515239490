"""The wheel alone, installed in an empty environment with Airflow: no extras, nothing of this repository."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_ci
from airflow_provider_ci.emulator.server import Emulator
from airflow_provider_ci.hooks.ci import CIHook
from tests.distributions import ROOT, build_wheel

KEY = "in/speech_over_music.mp3"
AIRFLOW = next(
    line
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    if line.startswith("apache-airflow==")
)
# creating the environment downloads Airflow
pytestmark = pytest.mark.timeout(900)


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
            timeout=600,
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
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    asked = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), AIRFLOW]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip(f"pip reaches no package index that has {AIRFLOW}")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    installed = Installed(folder)
    installed.install(AIRFLOW)
    installed.install(str(build_wheel(ROOT, folder)))
    return installed


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
def hook(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[CIHook]:
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = CIHook()
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


def test_the_example_dag_runs(
    installed: Installed, airflow: dict[str, str], emulator: Emulator, hook: CIHook, tmp_path: Path
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
    assert described.operation
    assert described.operation.media_result
    assert described.operation.media_result.output_file
    assert {each.md5 for each in described.operation.media_result.output_file.md5_info} == {*results.values()}


IMPORT_ALL = """
import importlib, json, pkgutil
import airflow_provider_ci
missing = {}
for module in pkgutil.walk_packages(airflow_provider_ci.__path__, "airflow_provider_ci."):
    if module.name.endswith(".__main__"):
        continue  # a command
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing[module.name] = error.name
print("MISSING", json.dumps(missing))
"""


def test_only_the_emulators_server_and_lineage_need_their_extras(
    installed: Installed, airflow: dict[str, str]
) -> None:
    printed = installed.run("python", "-W", "ignore", "-c", IMPORT_ALL, **airflow)
    missing = json.loads(printed.rpartition("MISSING")[2])
    missing.pop("airflow_provider_ci.emulator.pytest_plugin", None)  # only pytest imports it
    assert missing.pop("airflow_provider_ci.lineage.openlineage") == "airflow.providers.openlineage"
    assert set(missing.values()) == {"av", "fastcrc"}
    assert {"airflow_provider_ci.emulator.audio", "airflow_provider_ci.emulator.server"} <= set(missing)
    assert [name for name in missing if not name.startswith("airflow_provider_ci.emulator.")] == []
    assert (
        "airflow_provider_ci.emulator.cli" not in missing
    )  # the command is installed without the extra, too


def test_the_emulators_command_says_what_to_install(installed: Installed) -> None:
    printed = installed.run("airflow-ci-emulator", expected=2)
    assert printed == "airflow-ci-emulator needs av: pip install 'airflow-provider-ci[emulator]'\n"


USERS_TESTS = """
def test_of_the_user(): pass
def test_with_the_emulator(ci_emulator): pass
"""


def test_pytest_of_a_user_without_the_extra_runs_on(installed: Installed) -> None:
    installed.install("pytest")
    (installed.folder / "test_users.py").write_text(USERS_TESTS)
    printed = installed.run("pytest", "test_users.py", "-k", "of_the_user", "-W", "error")
    assert "plugins: airflow-provider-ci" in printed
    assert "1 passed, 1 deselected" in printed
    printed = installed.run("pytest", "test_users.py", expected=1)
    assert "1 passed, 1 error" in printed
    assert "the fixture ci_emulator needs av: pip install 'airflow-provider-ci[emulator]'" in printed


USERS_CODE = """
from airflow_provider_ci.hooks.ci import CIHook

reveal_type(CIHook().describe_jobs(["j1"]).jobs_detail[0].state)
CIHook().describe_jobs(10)
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
