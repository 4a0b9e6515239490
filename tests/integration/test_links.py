"""Links in real Airflow (``dag.test()``), on the emulator: as the API shows them, also while a task waits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.links.console import TencentCIJobsLink
from airflow_provider_ci.triggers.job import TencentCIJobTrigger
from tencent_ci_emulator.server import Emulator
from tests.airflow_version import IS_AIRFLOW_2
from tests.conftest import Logs
from tests.integration.airflow_runs import dags_in, stored_dag, xcom
from tests.recording import SHORT

ROOT = Path(__file__).resolve().parents[2]
KEY = "in/speech_over_music.mp3"
NAMES = ("Cloud Infinite jobs", "Separated files")

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture(scope="module")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(ROOT / "tests" / "dags")


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator whose jobs wait long enough for a task to be deferred."""
    with Emulator(queue_seconds=1) as running:
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(running.connection))
        hook = TencentCIHook()
        hook.upload_file(SHORT, KEY)
        hook.close()
        yield running


def shown(dag_run: Any, task_id: str) -> tuple[str, ...]:
    """Return the task's two links as the API server finds them: by the serialised DAG alone."""
    from airflow.utils.session import create_session

    task = stored_dag(dag_run.dag_id).get_task(task_id)
    with create_session() as session:
        (instance,) = [ti for ti in dag_run.get_task_instances(session=session) if ti.task_id == task_id]
        assert set(task.extra_links) == set(NAMES)
        return tuple(task.get_extra_links(instance, name) or "" for name in NAMES)


@pytest.fixture
def while_deferred(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The links of the task ``deferred`` whenever a trigger began."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    seen: list[tuple[str, ...]] = []
    run = TencentCIJobTrigger.run

    async def look_and_run(self: TencentCIJobTrigger) -> AsyncIterator[Any]:
        with create_session() as session:
            latest = session.scalars(select(DagRun).order_by(DagRun.id.desc()).limit(1)).one()
        seen.append(shown(latest, "deferred"))
        async for event in run(self):
            yield event

    monkeypatch.setattr(TencentCIJobTrigger, "run", look_and_run)
    return seen


def test_links_while_waiting_and_at_the_end(
    dags: dict[str, Any], emulator: Emulator, while_deferred: list[tuple[str, ...]]
) -> None:
    dag_run = dags["links"].test()
    assert dag_run.state == "success"
    place = f"bucket={emulator.connection['extra']['bucket']}&region={emulator.connection['extra']['region']}"
    jobs = f"https://console.cloud.tencent.com/ci/bucket?{place}"
    assert while_deferred == [(jobs, "")]
    for task_id, submitted_by in (("deferred", "deferred"), ("waiting", "waiting"), ("sense", "waiting")):
        folder = f"%252Fout%252F{xcom(dag_run, submitted_by)}%252F"
        files = f"https://console.cloud.tencent.com/cos/bucket?{place}&path={folder}"
        assert shown(dag_run, task_id) == (jobs, files), task_id
    assert shown(dag_run, "silent") == ("", ""), "nothing was pushed, and nothing fails"


def test_links_of_tasks_that_failed(dags: dict[str, Any], emulator: Emulator, logs: Logs) -> None:
    dag_run = dags["links_of_failures"].test()
    assert dag_run.state == "failed"
    if not IS_AIRFLOW_2:  # which makes links when they are looked at, not when a task ends
        assert xcom(dag_run, "never_sent", TencentCIJobsLink.xcom_key) == "", "get_link has not raised"
    assert shown(dag_run, "never_sent") == ("", "")
    for task_id in ("job_failed", "job_failed_deferred"):
        jobs, files = shown(dag_run, task_id)
        assert jobs.startswith("https://console.cloud.tencent.com/ci/bucket?bucket="), task_id
        assert files == ""
    assert [line for line in logs.at("error") if "XCom not found" in line] == [], "below the real error"
