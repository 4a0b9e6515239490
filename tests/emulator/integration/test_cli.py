"""The command as users start it: a process with a first line, signals and an exit status."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from tests.emulator.integration.test_http import Client
from tests.patience import PATIENCE

COMMAND = [sys.executable, "-m", "tencent_ci_emulator"]


@contextmanager
def running(*arguments, env=None):
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_line_signal_and_exit_status(tmp_path, number):
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with running("--secret-key", "hush-hush", env=env) as process:
        match = re.fullmatch(r"ready (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
        assert match
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{match[1]}/jobs", timeout=PATIENCE)
        assert refused.value.code == 401
        refused.value.close()
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "")
    assert "hush-hush" not in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_options_are_accepted_and_the_data_dir_is_used(tmp_path):
    report = tmp_path / "report.json"
    report.write_text('{"version": 1, "observations": {"progress": {"observed": "absent"}}}')
    with running(
        *("--as-observed", report, "--unbound", "--lenient-cancel"),
        *("--data-dir", tmp_path / "data", "--bucket", "a-1250000001", "--bucket", "b-1250000001"),
        *("--region", "ap-beijing", "--queue-seconds", "1", "--run-seconds", "2.5", "--log-level", "warning"),
    ) as process:
        assert process.stdout.readline().startswith("ready ")
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert (tmp_path / "data" / "emulator.sqlite3").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--allow-remote"),
        (["--bucket", "nodigits"], "nodigits"),
        (["--data-dir", "/dev/null/x"], "/dev/null"),
        (["--as-observed", "/dev/null"], "the report /dev/null is"),
        (["--as-observed", "/dev/null/x"], "/dev/null/x"),
    ],
)
def test_bad_settings_end_with_a_sentence(arguments, message):
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


KEYS = {
    "AIRFLOW_CI_EMULATOR_SECRET_ID": "my-id",
    "AIRFLOW_CI_EMULATOR_SECRET_KEY": "my-hush-key",
    "AIRFLOW_CI_EMULATOR_SECURITY_TOKEN": "my-hush-token",
    "AIRFLOW_CI_EMULATOR_ADMIN_TOKEN": "my-hush-admin",
}


def test_keys_and_tokens_come_from_the_environment():
    with running("--allow-remote", env={**os.environ, **KEYS}) as process:
        url = process.stdout.readline().split()[1]
        client = Client(SimpleNamespace(port=urlsplit(url).port, secret_id="my-id", secret_key="my-hush-key"))
        token = {"x-cos-security-token": "my-hush-token"}
        assert client("GET", "/jobs", query="tag=Tts", headers=token)[0].status == 200
        assert client("GET", "/jobs", query="tag=Tts")[0].status == 401
        assert client("GET", "/jobs", query="tag=Tts", headers=token, secret_key="other")[0].status == 401
        admin = {"X-Emulator-Token": "my-hush-admin"}
        assert client("GET", "/_emulator/clock", headers=admin)[0].status == 200
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
    assert "my-hush" not in err


def test_an_empty_variable_counts_as_absent_and_an_option_wins():
    env = {**os.environ, **dict.fromkeys(KEYS, "")}
    with running("--secret-key", "my-other-key", env=env) as process:
        url = process.stdout.readline().split()[1]
        emulator = SimpleNamespace(
            port=urlsplit(url).port, secret_id="AKIDdemo-not-a-real-id", secret_key="my-other-key"
        )
        assert Client(emulator)("GET", "/jobs", query="tag=Tts")[0].status == 200


def test_the_help_shows_no_key_of_the_environment():
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, env={**os.environ, **KEYS})
    assert "my-hush" not in done.stdout
    assert all(name in done.stdout for name in KEYS)


def test_without_a_dependency_it_says_what_to_install(tmp_path):
    (tmp_path / "av.py").write_text("raise ModuleNotFoundError(\"No module named 'av'\", name='av')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        COMMAND, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, "PYTHONPATH": path}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "airflow-ci-emulator needs av: pip install tencent-ci-emulator\n"


def test_help_names_every_option_of_the_page():
    page = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text("utf-8")
    section = page.partition("## Options\n")[2].partition("\n## ")[0]
    options = set(re.findall(r"`(--[a-z-]+)", section))
    text = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    assert len(options) > 15
    assert options <= set(re.findall(r"--[a-z-]+", text))
