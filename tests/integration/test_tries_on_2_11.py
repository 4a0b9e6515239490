"""Tries that Airflow 2.11's command line begins by hand, with a database of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from tests.airflow_version import IS_AIRFLOW_2
from tests.recording import SHORT

pytestmark = pytest.mark.skipif(not IS_AIRFLOW_2, reason="Airflow 3 has no `airflow tasks run`")

RUN = "manual__2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("dag_id", "state_after", "options", "pause"),
    [
        # the run, which is paused, has not started: the job must be found also when it is no longer among
        # those of the last minute
        ("accepted_by_hand", "up_for_retry", [], 65),
        ("accepted_without_retries", "failed", ["--force"], 0),
    ],
)
def test_a_task_that_is_run_by_hand_after_its_process_has_died_finds_its_job(
    emulator: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    dag_id: str,
    state_after: str,
    options: list[str],
    pause: float,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    hook.upload_file(SHORT, "in/speech_over_music.mp3")
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
            check=False,
        )
        assert may_fail or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run_by_hand(*options: str) -> None:
        airflow(
            *("tasks", "run", dag_id, "separate", RUN),
            *("--local", "--ignore-all-dependencies", *options),
            may_fail=True,
        )

    def state() -> Any:
        rows = airflow("tasks", "states-for-dag-run", dag_id, RUN, "--output", "json")
        return json.loads(rows[rows.index("[") :])[0]["state"]

    airflow("db", "migrate")
    airflow("dags", "reserialize")
    airflow("dags", "trigger", dag_id, "--run-id", RUN)
    run_by_hand()  # its process dies after the service has accepted the job
    assert state() == state_after
    time.sleep(pause)
    run_by_hand(*options)
    assert state() == "success"
    jobs = emulator.ledger.accepted_jobs()
    assert len(jobs) == 1, "\n".join(job.user_data for job in jobs)
    hook.close()
