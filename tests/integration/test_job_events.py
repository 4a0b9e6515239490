"""The example DAG that is started by jobs of a bucket, in real Airflow: it reads each event's job once.

Events are stored as the triggerer does, and runs are created and begun as the scheduler does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.utils.session import create_session
from packaging.version import Version
from sqlalchemy import delete, select

from tests.airflow_version import AIRFLOW, HAS_SHARED_STREAMS

if not HAS_SHARED_STREAMS:
    pytest.skip("assets have a state store from Airflow 3.3 on", allow_module_level=True)

from airflow.assets.manager import asset_manager
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetDagRunQueue, AssetEvent, AssetModel, DagScheduleAssetReference
from airflow.models.asset_state_store import AssetStateStoreModel
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.sdk.definitions.dag import _run_task

from airflow_provider_ci.assets.ended_jobs import unread_ended_jobs
from tests.conftest import Logs
from tests.integration.airflow_runs import dags_in, stored_dag, xcom

ROOT = Path(__file__).resolve().parents[2]
DAG_ID = "example_job_events"
OTHER_DAG_ID = "another_dag_of_the_asset"

pytestmark = pytest.mark.usefixtures("airflow_db")


class World:
    """The example DAG, the events of its asset, and its runs."""

    def __init__(self, dag: Any) -> None:
        self.dag = dag

    def store(self, *job_ids: str, ago: timedelta = timedelta(), **changes: Any) -> None:
        for job_id in job_ids:
            voice = {"bucket": "b", "region": "r", "object": f"out/{job_id}/voice.mp3", "md5": None}
            payload = {"job_id": job_id, "state": "Success", "outputs": {"voice": voice}} | changes
            self.store_other({"from_trigger": True, "payload": payload}, ago)

    def store_before_the_dag(self, *job_ids: str) -> None:
        self.store(*job_ids, ago=timedelta(days=1))
        with create_session() as session:
            session.execute(delete(AssetDagRunQueue))

    def store_other(self, extra: dict[str, Any], ago: timedelta = timedelta()) -> None:
        with create_session() as session:
            asset = session.scalars(select(AssetModel).filter_by(name="tencent_ci_separations")).one()
            asset_manager.register_asset_change(asset=asset, extra=extra, session=session)
            if ago:
                then = datetime.now(UTC) - ago
                newest = select(AssetEvent).order_by(AssetEvent.id.desc()).limit(1)
                session.scalars(newest).one().timestamp = then
                for queued in session.scalars(select(AssetDagRunQueue)):
                    queued.created_at = min(queued.created_at, then)

    def schedule(self, dag_id: str = DAG_ID) -> str:
        """Create the run that the unconsumed events start, as the scheduler does. It stays queued."""
        with create_session() as session:
            known = set(session.scalars(select(DagRun.run_id)))
            self._scheduler(session)._create_dag_runs_asset_triggered(
                dag_models=[session.get(DagModel, dag_id)], session=session
            )
            session.flush()
            (run_id,) = set(session.scalars(select(DagRun.run_id))) - known
            return str(run_id)

    def begin(self) -> None:
        """Begin as many queued runs as may be active."""
        with create_session() as session:
            self._scheduler(session)._start_queued_dagruns(session)

    def _scheduler(self, session: Any) -> SchedulerJobRunner:
        job = Job()
        session.add(job)
        session.flush()
        return SchedulerJobRunner(job=job)

    def work(self, run_id: str) -> list[str] | None:
        """Run a run that has begun, and return the jobs that it has read, or ``None`` if it fails."""
        while True:
            with create_session() as session:
                run = session.scalars(select(DagRun).filter_by(dag_id=DAG_ID, run_id=run_id)).one()
                run.dag = stored_dag(DAG_ID)
                schedulable, _ = run.update_state(session=session)
                for ti in schedulable:
                    ti.try_number += 1
                    ti.state = "scheduled"
                state = run.state
            if state != "running":
                return read_by(run) if state == "success" else None
            assert schedulable
            for ti in schedulable:
                _run_task(ti=ti, task=self.dag.task_dict[ti.task_id])

    def run(self) -> list[str] | None:
        """Run the DAG with the unconsumed events."""
        run_id = self.schedule()
        self.begin()
        return self.work(run_id)

    def clear(self, run_id: str) -> None:
        stored_dag(DAG_ID).clear(run_id=run_id)

    def run_again(self, run_id: str) -> list[str] | None:
        """Clear a run, and run it again."""
        self.clear(run_id)
        self.begin()
        return self.work(run_id)

    def give_to_queued_run_of_another_dag(self, *job_ids: str, run_id: str = "queued") -> None:
        with create_session() as session:
            events = session.scalars(select(AssetEvent)).all()
            given = [event for event in events if event.extra["payload"]["job_id"] in job_ids]
            run = DagRun(dag_id=OTHER_DAG_ID, run_id=run_id, run_type="asset_triggered", state="queued")
            run.consumed_asset_events.extend(given)
            session.add(run)

    def let_other_dag_end(self, state: str = "success") -> None:
        with create_session() as session:
            run = session.scalars(select(DagRun).filter_by(dag_id=OTHER_DAG_ID)).one()
            run.state, run.start_date = state, datetime.now(UTC)

    def latest_run(self) -> str:
        with create_session() as session:
            query = select(DagRun.run_id).filter_by(dag_id=DAG_ID).order_by(DagRun.id.desc()).limit(1)
            return str(session.scalars(query).one())

    def read_by_hand(self) -> list[str] | None:
        """Trigger a run by hand, without an event."""
        run = self.dag.test()
        return read_by(run) if run.state == "success" else None


def read_by(run: Any) -> list[str]:
    return [voice.split("/")[1] for voice in xcom(run, "use")]


@pytest.fixture
def world(airflow_db: None) -> Iterator[World]:
    dag = dags_in(ROOT / "example_dags")[DAG_ID]
    with create_session() as session:
        session.get(DagModel, DAG_ID).is_paused = False
        for since in session.scalars(select(DagScheduleAssetReference).filter_by(dag_id=DAG_ID)):
            since.created_at = datetime.now(UTC) - timedelta(hours=12)
    yield World(dag)
    with create_session() as session:
        for model in (DagRun, AssetDagRunQueue, AssetEvent, AssetStateStoreModel):
            session.execute(delete(model))
        session.get(DagModel, DAG_ID).is_paused = True


class Bug:
    """What is wrong with the task, if anything."""

    where: str | None = None


@pytest.fixture
def bug(world: World) -> Bug:
    """Make the task fail where it is said: before it reads, while, or afterwards."""
    bug, task = Bug(), world.dag.get_task("use")
    (asset,) = task.inlets

    def use(**context: Any) -> list[str]:
        assert bug.where != "before"
        with unread_ended_jobs(asset, context) as jobs:
            assert bug.where != "within"
            voices = [job["outputs"]["voice"]["object"] for job in jobs]
        assert bug.where != "after"
        return voices

    task.python_callable = use
    return bug


def remembered() -> dict[str, Any]:
    """Return what is stored about the jobs that were read."""
    with create_session() as session:
        rows = {row.key: json.loads(row.value) for row in session.scalars(select(AssetStateStoreModel))}
        stored: dict[str, Any] = rows[f"tencent_ci_ended_jobs_read_by_{DAG_ID}.use"]
        return stored


def test_each_job_is_read_once_however_its_events_come(world: World) -> None:
    world.store("j1", "j2")
    assert world.run() == ["j1", "j2"]
    assert world.read_by_hand() == []
    world.store("j3", "j2")  # a triggerer died
    assert world.run() == ["j3"]
    world.store("j4", ago=timedelta(seconds=30))  # another process stores late what has an earlier time
    assert world.read_by_hand() == ["j4"]


def test_what_is_remembered_stays_small(world: World) -> None:
    world.store("old", ago=timedelta(hours=3))
    assert world.run() == ["old"]
    world.store("new")
    assert world.read_by_hand() == ["new"]
    world.store("newer")
    assert world.read_by_hand() == ["newer"]
    assert [*remembered()["read"]] == ["new"]
    assert [*remembered()["last_run"]["read"]] == ["new", "newer"]


def test_an_event_that_is_about_no_job_is_left_out(world: World) -> None:
    world.store("j1")
    world.store_other({"from_rest_api": True})  # a user has made it
    world.store_other({"payload": "text"})
    world.store("j2")
    assert world.run() == ["j1", "j2"]


@pytest.mark.parametrize("where", ["before", "within", "after"])
class TestFailedRuns:
    def test_the_next_run_reads_what_the_first_has_not(self, world: World, bug: Bug, where: str) -> None:
        bug.where = where
        world.store("j1")
        assert world.run() is None
        failed = world.latest_run()
        bug.where = None
        world.store("j2")
        assert world.run() == ["j1", "j2"]
        assert world.run_again(failed) == []
        world.store("j3")
        assert world.run() == ["j3"]

    def test_a_run_reads_what_several_have_not(self, world: World, bug: Bug, where: str) -> None:
        world.store("j1")
        assert world.run() == ["j1"]
        bug.where = where
        for job_id in ("j2", "j3"):
            world.store(job_id)
            assert world.run() is None
        bug.where = None
        world.store("j4")
        assert world.run() == ["j2", "j3", "j4"]

    def test_the_first_runs_of_a_new_dag_fail(self, world: World, bug: Bug, where: str) -> None:
        bug.where = where
        for job_id in ("j1", "j2"):
            world.store(job_id)
            assert world.run() is None
        bug.where = None
        assert world.read_by_hand() == ["j1", "j2"]

    def test_a_run_that_is_cleared_reads_it(self, world: World, bug: Bug, where: str) -> None:
        bug.where = where
        world.store("j1")
        assert world.run() is None
        bug.where = None
        world.store("j2")
        assert world.run_again(world.latest_run()) == ["j1", "j2"]
        assert world.run() == []


def test_a_failed_run_that_is_set_to_success_leaves_what_it_could_not_read(world: World, bug: Bug) -> None:
    bug.where = "within"
    world.store("j1")
    assert world.run() is None
    with create_session() as session:
        stored_dag(DAG_ID).set_task_instance_state(
            task_id="use", run_id=world.latest_run(), state="success", session=session
        )
    bug.where = None
    world.store("j2")
    assert world.run() == ["j1", "j2"]


def test_the_last_run_reads_the_same_again_when_it_is_cleared(world: World) -> None:
    world.store("j1")
    assert world.run() == ["j1"]
    world.store("j2")
    assert world.run() == ["j2"]
    world.store("j3")
    assert world.run_again(world.latest_run()) == ["j2", "j3"]
    assert world.run() == []


def test_a_new_dag_does_not_read_the_history_of_its_asset(world: World) -> None:
    world.store_before_the_dag("long ago", "yesterday")
    assert world.read_by_hand() == []
    world.store("new")
    assert world.read_by_hand() == ["new"]


def test_what_a_run_of_another_dag_has_had_is_no_concern_of_a_new_one(world: World, bug: Bug) -> None:
    world.store_before_the_dag("j0")
    bug.where = "before"
    world.store("j1", ago=timedelta(minutes=10))
    assert world.run() is None
    world.give_to_queued_run_of_another_dag("j0", "j1", run_id=world.latest_run())
    world.let_other_dag_end("failed")
    bug.where = None
    world.store("j2")
    assert world.run() == ["j1", "j2"]


def test_a_run_by_hand_does_not_hide_what_came_before_it(world: World, bug: Bug) -> None:
    world.store("j1", ago=timedelta(hours=1))
    world.store("j2", ago=timedelta(minutes=30))
    assert world.read_by_hand() == []
    bug.where = "within"
    assert world.run() is None
    bug.where = None
    world.store("j3")
    assert world.run() == ["j1", "j2", "j3"]


def test_a_task_that_begins_to_read_in_an_old_dag_leaves_out_what_its_runs_have_had(
    world: World, bug: Bug
) -> None:
    world.store("j1", ago=timedelta(hours=2))
    assert world.run() == ["j1"]
    with create_session() as session:  # as if the task had not read with unread_ended_jobs
        session.execute(delete(AssetStateStoreModel))
    bug.where = "before"
    for job_id in ("j2", "j3"):
        world.store(job_id, ago=timedelta(hours=1))
        assert world.run() is None
    bug.where = None
    world.store("j4")
    assert world.run() == ["j2", "j3", "j4"]


class TestRunsFromBeforeTheTaskBeganToRead:
    """Other runs have read what has followed their events."""

    @pytest.fixture
    def old(self, world: World) -> str:
        """Return the first of two runs of an old DAG."""
        world.store("j0", ago=timedelta(hours=5))
        assert world.run() == ["j0"]
        old = world.latest_run()
        world.store("j1", ago=timedelta(hours=4))
        assert world.run() == ["j1"]
        with create_session() as session:  # as if the task had not read with unread_ended_jobs
            session.execute(delete(AssetStateStoreModel))
        return old

    def test_read_their_own_events_when_they_are_cleared(self, world: World, bug: Bug, old: str) -> None:
        for number, ago in ((2, 3), (3, 2), (4, 1)):
            world.store(f"j{number}", ago=timedelta(hours=ago))
            assert world.run() == [f"j{number}"]
        begin = remembered()["begin"]
        assert world.run_again(old) == ["j0"]
        bug.where = "within"
        world.store("j5", ago=timedelta(minutes=30))
        assert world.run_again(old) is None
        bug.where = None
        assert world.run() == ["j5"]
        assert remembered()["begin"] == begin

    def test_may_be_cleared_before_any_other_run_reads(self, world: World, old: str) -> None:
        world.store("j2", ago=timedelta(hours=3))
        assert world.run_again(old) == ["j0"]
        assert world.run() == ["j2"]
        assert world.run_again(old) == ["j0"]
        world.store("j3")
        assert world.run() == ["j3"]

    def test_read_their_own_events_too_when_airflow_cannot_list_them(self, world: World, old: str) -> None:
        world.store("j2", ago=timedelta(hours=3))
        assert world.run() == ["j2"]
        world.give_to_queued_run_of_another_dag("j2")
        assert world.run_again(old) == ["j0"]


def test_the_jobs_of_the_last_run_come_again_if_airflow_no_longer_has_its_task(world: World) -> None:
    world.store("j1", ago=timedelta(hours=1))
    assert world.run() == ["j1"]
    with create_session() as session:
        session.execute(delete(TaskInstance).where(TaskInstance.run_id == world.latest_run()))
    world.store("j2")
    assert world.run() == ["j1", "j2"]


def test_the_first_event_of_failed_runs_is_found_among_many(world: World, bug: Bug) -> None:
    bug.where = "before"
    world.store("j1", ago=timedelta(minutes=10))
    assert world.run() is None
    world.store(*(f"more{number}" for number in range(150)), ago=timedelta(minutes=5))
    bug.where = None
    read = world.read_by_hand()
    assert read is not None
    assert (read[0], len(read)) == ("j1", 151)


class TestQueuedRuns:
    """Airflow before 3.4 responds with an error if one of the events belongs to a run that is queued."""

    @pytest.mark.skipif(Version("3.4.0a0") <= AIRFLOW, reason="no run is created while another one is active")
    def test_later_ones_of_this_dag_cause_no_error(self, world: World, logs: Logs) -> None:
        world.store("j1")
        first = world.schedule()
        world.begin()
        world.store("j2", "j3")
        second = world.schedule()
        world.begin()  # max_active_runs=1 lets it wait
        world.store("j4")
        assert world.work(first) == ["j1"]
        world.begin()
        assert world.work(second) == ["j2", "j3", "j4"]
        assert not [line for line in logs.at("warning") if "Airflow cannot list the events" in line]

    def test_of_another_dag_leave_what_has_started_this_one(self, world: World, bug: Bug) -> None:
        bug.where = "before"
        world.store("j1", ago=timedelta(minutes=20))
        assert world.run() is None
        bug.where = None
        world.store("j2", ago=timedelta(minutes=10))
        run_id = world.schedule()
        world.give_to_queued_run_of_another_dag("j2")
        world.begin()
        first = world.work(run_id)
        world.let_other_dag_end()
        world.store("j3")
        second = world.run()
        assert first is not None
        assert second is not None
        assert "j2" in first
        assert sorted(first + second) == ["j1", "j2", "j3"]

    def test_a_dag_that_has_read_reads_the_rest_later(self, world: World) -> None:
        world.store("j1", ago=timedelta(hours=1))
        assert world.run() == ["j1"]
        world.store("j2", "j3", ago=timedelta(minutes=30))
        run_id = world.schedule()
        world.give_to_queued_run_of_another_dag("j2", "j3")
        world.begin()
        first = world.work(run_id)
        world.let_other_dag_end()
        second = world.read_by_hand()
        assert first is not None
        assert second is not None
        assert "j2" in first
        assert sorted(first + second) == ["j2", "j3"]

    def test_what_an_earlier_run_has_read_is_not_read_again(self, world: World) -> None:
        world.store("j1", ago=timedelta(minutes=60))
        first = world.schedule()
        world.begin()
        world.store("j2", ago=timedelta(minutes=50))
        world.store("j3")
        assert world.work(first) == ["j1", "j2", "j3"]
        second = world.schedule()
        world.give_to_queued_run_of_another_dag("j3")
        world.begin()
        assert world.work(second) == []
