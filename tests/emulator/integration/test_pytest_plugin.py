"""The fixtures that users' test suites get, in a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.patience import PATIENCE

PLUGIN = "tencent_ci_emulator.pytest_plugin"

USERS_TEST = """
import json, os, urllib.error, urllib.request
import pytest
def test_connection(ci_emulator, ci_emulator_connection):
    assert ci_emulator_connection == "tencent_ci_default"
    given = json.loads(os.environ["AIRFLOW_CONN_TENCENT_CI_DEFAULT"])
    assert given["extra"]["endpoint_url"] == ci_emulator.url
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(ci_emulator.url + "/jobs")
    refused.value.close()
    assert refused.value.code == 401
    assert ci_emulator.ledger.count("list") == 1

def test_that_each_test_has_its_own(ci_emulator):
    assert ci_emulator.ledger.count() == 0
    assert "AIRFLOW_CONN_TENCENT_CI_DEFAULT" not in os.environ
"""


def run_pytest(folder, text, *arguments, **environment):
    (folder / "test_users.py").write_text(text)
    # Another pytest's settings, and whether the entry point is installed, must not matter here
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", PLUGIN, *arguments]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, env=env)


def test_the_fixtures_work(tmp_path):
    done = run_pytest(tmp_path, USERS_TEST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_without_a_dependency_only_its_use_fails_and_says_what_to_do(tmp_path):
    (tmp_path / "av.py").write_text("raise ModuleNotFoundError(\"No module named 'av'\", name='av')")
    text = "def test_use(ci_emulator): pass\ndef test_other(): pass\n"
    done = run_pytest(tmp_path, text, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout
    assert "the fixture ci_emulator needs av: pip install tencent-ci-emulator" in done.stdout


def test_loading_the_plugin_imports_nothing_large():
    large = {"av", "aiohttp", "airflow", "lxml", "sqlite3", "airflow_provider_ci"}
    program = f"import sys, {PLUGIN}\nassert not {large!r} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)
