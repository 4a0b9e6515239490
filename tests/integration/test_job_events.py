"""The example DAG that is started by jobs of a bucket, in real Airflow: it reads each event's job once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.utils.session import create_session
from sqlalchemy import delete, select

from tests.airflow_version import HAS_SHARED_STREAMS

if not HAS_SHARED_STREAMS:
    pytest.skip("assets have a state store from Airflow 3.3 on", allow_module_level=True)

from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.asset_state_store import AssetStateStoreModel

from tests.integration.airflow_runs import dags_in, xcom

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture
def dag(airflow_db: None) -> Any:
    return dags_in(ROOT / "example_dags")["example_job_events"]


class Events:
    """Stores events of an asset, as the triggerer does."""

    def __init__(self) -> None:
        self.now = datetime.fromisoformat("2026-11-30T08:00:00+00:00")

    def store(self, job_id: str, **changes: Any) -> None:
        voice = {"bucket": "b", "region": "r", "object": f"out/{job_id}/voice.mp3", "md5": None}
        payload = {"job_id": job_id, "state": "Success", "outputs": {"voice": voice}} | changes
        self.store_other({"from_trigger": True, "payload": payload})

    def store_other(self, extra: dict[str, Any]) -> None:
        self.now += timedelta(seconds=1)
        with create_session() as session:
            asset = session.scalars(select(AssetModel).filter_by(name="tencent_ci_separations")).one()
            session.add(AssetEvent(asset_id=asset.id, extra=extra, timestamp=self.now))


@pytest.fixture
def events() -> Iterator[Events]:
    yield Events()
    with create_session() as session:
        session.execute(delete(AssetEvent))
        session.execute(delete(AssetStateStoreModel))


def remembered() -> dict[str, str]:
    """Return what is stored about the jobs that were read."""
    with create_session() as session:
        rows = {row.key: json.loads(row.value) for row in session.scalars(select(AssetStateStoreModel))}
        stored: dict[str, str] = rows.get("tencent_ci_ended_jobs_read_by_example_job_events.use", {})
        return stored


def read(dag: Any) -> list[str]:
    run = dag.test()
    assert run.state == "success"
    voices = xcom(run, "use")
    return [voice.split("/")[1] for voice in voices]


def test_each_job_is_read_once_however_its_events_come(dag: Any, events: Events) -> None:
    events.store("j1")
    events.store("j2")
    assert read(dag) == ["j1", "j2"]
    assert read(dag) == []
    events.store("j3")
    events.store("j2")  # a triggerer died
    assert read(dag) == ["j3"]
    events.now -= timedelta(seconds=30)  # another process stores later what has an earlier time
    events.store("j4")
    assert read(dag) == ["j4"]
    events.now += timedelta(hours=3)
    events.store("j5")
    assert read(dag) == ["j5"]
    assert len(remembered()) == 1, "what is remembered stays small"


def test_what_a_task_that_fails_has_read_is_read_again(dag: Any, events: Events) -> None:
    events.store("unreadable", outputs=None)
    assert dag.test().state == "failed"
    events.store("readable")
    assert dag.test().state == "failed"
    assert remembered() == {}


def test_an_event_that_is_about_no_job_is_left_out(dag: Any, events: Events) -> None:
    events.store("j1")
    events.store_other({"from_rest_api": True})  # a user has made it
    events.store_other({"payload": "text"})
    events.store("j2")
    assert read(dag) == ["j1", "j2"]
