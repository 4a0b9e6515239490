"""Lineage as OpenLineage's own provider writes it, for a DAG that runs on the emulator.

That DAGs run without it, ``tests/e2e/test_wheel.py`` shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.server import Emulator
from tests.patience import PATIENCE
from tests.recording import SHORT

ROOT = Path(__file__).resolve().parents[2]
KEY = "in/speech_over_music.mp3"

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture(scope="module")
def hook() -> Iterator[TencentCIHook]:
    """A hook on an emulator whose jobs take long enough for a task to be deferred."""
    with Emulator(queue_seconds=1) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(running.connection))
        hook = TencentCIHook()
        hook.upload_file(SHORT, KEY)
        yield hook
        hook.close()


def run_dag(dag_id: str, **settings: str) -> str:
    """Run a DAG of ``tests/dags`` in a process of its own, as ``airflow dags test`` does; return its log."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        # it makes OpenLineage read its settings anew each time
        if not name.startswith("PYTEST") and name != "PYTHONDONTWRITEBYTECODE"
    }
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", dag_id],
        env=inherited | {"AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "tests" / "dags")} | settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def events(
    hook: TencentCIHook, airflow_db: None, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What OpenLineage's file transport wrote of a run."""
    path = tmp_path_factory.mktemp("lineage") / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(path), "append": True}
    log = run_dag(
        "lineage",
        AIRFLOW__OPENLINEAGE__TRANSPORT=json.dumps(transport),
        # an event that takes longer is never written
        AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT=str(round(PATIENCE)),
    )
    assert path.exists(), log
    written = path.read_text("utf-8")
    assert json.loads(os.environ["AIRFLOW_CONN_TENCENT_CI_DEFAULT"])["password"] not in written
    assert "q-signature" not in written
    return [json.loads(line) for line in written.splitlines()]


def the(events: list[dict[str, Any]], kind: str, task_id: str) -> dict[str, Any]:
    """Return the one event of a kind about a task."""
    (event,) = [
        each for each in events if (each["eventType"], each["job"]["name"]) == (kind, f"lineage.{task_id}")
    ]
    return event


def datasets(event: dict[str, Any], side: str) -> set[tuple[str, str]]:
    return {(each["namespace"], each["name"]) for each in event[side]}


def the_job(event: dict[str, Any]) -> dict[str, Any]:
    """Return the one job that an event describes."""
    facet = event["run"]["facets"]["tencentCi_jobs"]
    assert facet["_producer"].startswith("pkg:pypi/airflow-provider-ci@")
    assert facet["_schemaURL"].endswith("#airflow_provider_ci/lineage/TencentCiJobsRunFacet.json")
    (job,) = facet["jobs"]
    assert facet["jobCount"] == 1
    return dict(job)


def test_a_sensor_has_the_results_as_outputs(events: list[dict[str, Any]], hook: TencentCIHook) -> None:
    event = the(events, "COMPLETE", "sensed")
    job = the_job(event)
    (answer,) = hook.describe_jobs([job["jobId"]]).jobs_detail
    bucket = f"cos://{hook.settings.bucket}"
    assert datasets(event, "inputs") == {(bucket, KEY)}
    assert datasets(event, "outputs") == {
        (bucket, f"out/{job['jobId']}/{stem}.mp3") for stem in ("voice", "background")
    }
    assert (job["state"], job["audioMode"], job["codec"]) == ("Success", "AudioAndBackground", "mp3")
    assert answer.creation_time is not None
    assert answer.start_time is not None
    assert answer.end_time is not None
    assert job["queueSeconds"] == (answer.start_time - answer.creation_time).total_seconds() >= 1
    assert job["processingSeconds"] == (answer.end_time - answer.start_time).total_seconds()
    assert job["totalSeconds"] == job["queueSeconds"] + job["processingSeconds"]


def test_a_task_that_does_not_wait_has_the_input_only(
    events: list[dict[str, Any]], hook: TencentCIHook
) -> None:
    event = the(events, "COMPLETE", "accepted")
    assert datasets(event, "inputs") == {(f"cos://{hook.settings.bucket}", KEY)}
    assert event["outputs"] == []
    assert the_job(event)["jobId"] == the_job(the(events, "COMPLETE", "sensed"))["jobId"]


def test_a_failed_job_has_its_error(events: list[dict[str, Any]]) -> None:
    event = the(events, "FAIL", "failed")
    assert event["outputs"] == []
    job = the_job(event)
    assert job["state"] == "Failed"
    assert job["code"]
    assert job["message"]
