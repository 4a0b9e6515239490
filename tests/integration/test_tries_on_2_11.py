"""Tries that Airflow 2.11's command line begins by hand, with a database of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import CIHook
from tests.airflow_version import IS_AIRFLOW_2

MEDIA = Path(__file__).resolve().parents[2] / "example_dags" / "media" / "speech_over_music.mp3"

pytestmark = pytest.mark.skipif(not IS_AIRFLOW_2, reason="Airflow 3 has no `airflow tasks run`")

RUN = "manual__2026-01-01T00:00:00+00:00"


def test_a_task_that_is_run_by_hand_while_up_for_retry_finds_its_job(
    emulator: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = CIHook()
    hook.upload_file(MEDIA, "in/speech_over_music.mp3")
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).resolve().parents[1] / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    environment.pop("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", None)

    def airflow(*arguments: str, may_fail: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert may_fail or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run_by_hand() -> None:
        airflow(
            *("tasks", "run", "accepted_by_hand", "separate", RUN),
            *("--local", "--ignore-all-dependencies"),
            may_fail=True,
        )

    def state() -> Any:
        rows = airflow("tasks", "states-for-dag-run", "accepted_by_hand", RUN, "--output", "json")
        return json.loads(rows[rows.index("[") :])[0]["state"]

    airflow("db", "migrate")
    airflow("dags", "reserialize")
    airflow("dags", "trigger", "accepted_by_hand", "--run-id", RUN)
    run_by_hand()  # its process dies after the service has accepted the job
    assert state() == "up_for_retry"
    run_by_hand()
    assert state() == "success"
    assert len(list(hook.list_jobs())) == 1, "one accepted job"
    hook.close()
