"""Asset events in real Airflow (``dag.test()``), on the emulator: what they say, and what waits for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.server import Emulator
from tests.integration.airflow_runs import asset_events, dags_in, xcom
from tests.recording import SHORT

ROOT = Path(__file__).resolve().parents[2]
KEY = "in/speech_over_music.mp3"
BUCKET = "demo-1250000000"

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


@pytest.fixture(scope="module")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(ROOT / "tests" / "dags")


def events(dag_run: Any, task_id: str) -> dict[str, dict[str, Any]]:
    """Return the extra of each event that a task caused, by the asset's URI."""
    found = asset_events(dag_run, task_id)
    assert len(found) == len(dict(found)), "one event for each asset"
    return dict(found)


def result(dag_run: Any, stem: str, key: str, task_id: str, index: int = -1, **known: Any) -> dict[str, Any]:
    """Return what the event of a result has to say, by the job's own answer in XCom."""
    job = xcom(dag_run, task_id, "job", index) if task_id != "sense" else xcom(dag_run, task_id)[index]
    (written,) = [found for found in job["outputs"].values() if found["object"] == key]
    return {"job_id": job["job_id"], "state": "Success", "stem": stem, **written, **known}


@pytest.fixture(scope="module")
def ran(dags: dict[str, Any], hook: TencentCIHook) -> Any:
    """A run of all kinds of tasks with outlets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.5)
        dag_run = dags["outlets"].test()
    states = {(ti.task_id, str(ti.state)) for ti in dag_run.get_task_instances()}
    assert {task for task, state in states if state != "success"} == {"failing"}
    return dag_run


def test_the_event_of_a_task_that_waits_has_the_details_of_its_file(ran: Any, hook: TencentCIHook) -> None:
    key = "out/waiting 人声.mp3"
    size = hook.head_object(key).size
    job_id = xcom(ran, "waiting")
    assert events(ran, "waiting") == {
        f"cos://{BUCKET}/out/waiting%20%E4%BA%BA%E5%A3%B0.mp3": result(
            ran, "voice", key, "waiting", size=size
        ),
        f"cos://{BUCKET}/out": {"job_ids": [job_id], "state": "Success"},
        "voices": {"job_ids": [job_id], "state": "Success"},
    }


def test_the_alias_of_a_deferred_task_gets_keys_that_the_service_made(ran: Any) -> None:
    folder = f"out/{xcom(ran, 'deferred')}"
    found = events(ran, "deferred")
    for stem in ("voice", "background"):
        key = f"{folder}/{stem}.mp3"
        assert found.pop(f"cos://{BUCKET}/{key}") == result(ran, stem, key, "deferred", size=None)
    # Airflow announces every outlet of a task that succeeded; the log warns of it
    assert list(found) == [f"cos://{BUCKET}/out/elsewhere.mp3"]


@pytest.mark.parametrize("task_id", ["sense", "sense_deferred"])
def test_the_events_of_a_sensor_have_the_details_of_all_its_jobs(
    ran: Any, hook: TencentCIHook, task_id: str
) -> None:
    assert events(ran, task_id) == {
        f"cos://{BUCKET}/{key}": result(ran, "voice", key, "sense", index, size=hook.head_object(key).size)
        for index, key in enumerate(("out/first.mp3", "out/second.mp3"))
    }


def test_the_event_of_a_batch_has_its_counts(ran: Any) -> None:
    summary = {"job_id": xcom(ran, "batch"), "state": "Success", "counts": {"Success": 1}}
    assert events(ran, "batch") == {f"cos://{BUCKET}/out/batches": summary}


def test_a_failed_task_has_no_events(ran: Any) -> None:
    assert events(ran, "failing") == {}
