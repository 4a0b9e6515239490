"""Reads the jobs that have ended from an asset's events, in a task (Airflow 3.3 or newer).

A run that an asset starts has the events up to the first one after the run before. Those that follow before
the scheduler creates it start no run: they are in the run of whichever event comes next. So a task reads the
events itself, and finds all that were stored before it runs. What it has read counts only once Airflow says
that it has succeeded, which the next run asks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.current_try import state_of_task
from airflow_provider_ci.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset

    from airflow_provider_ci.protocol.ended_jobs import EndedJobEvent

# Events are stored by several processes, so one may be seen later than one with a later time
_OVERLAP = timedelta(seconds=60)
# A triggerer that died may announce a job again when it has been restarted
_REMEMBERED = timedelta(minutes=15)
# Among so many events, those of earlier runs are looked for
_MOST_SEARCHED = 10_000
_SUCCEEDED = frozenset({"success", "skipped"})

log = logging.getLogger(__name__)


@contextmanager
def unread_ended_jobs(asset: Asset, context: Mapping[str, Any]) -> Iterator[list[EndedJobEvent]]:
    """Yield the jobs of an asset's events that this task of this DAG has not read yet, each once.

    They count as read when the block was left without an error and the task succeeds: a retry reads them
    again, and so does the next run after one that failed, or one whose task Airflow no longer has (the run
    was deleted, or ``airflow db clean`` has removed its rows). A run may find none, if an earlier one has
    read them all. A new DAG begins with the events that have started its first run; if nothing has, with
    those from a minute before this run on. A run from before that beginning, when it is cleared, also reads
    the events that have started it; if it fails, only that run reads them again. The asset must be an inlet
    of the task, and only one run may be active at a time (``max_active_runs=1``).

    :param asset: the asset whose events are about jobs that have ended; others are left out.
    :param context: the task's context.
    :raises ConfigurationError: the asset is no inlet of the task, or Airflow is older than 3.3.
    """
    store = _state_store(asset, context)
    ti = context["ti"]
    key = f"tencent_ci_ended_jobs_read_by_{ti.dag_id}.{ti.task_id}"
    state = _State.load(store.get(key), ti)
    begin = state.begin
    started_by = sorted(context["triggering_asset_events"].get(asset, ()), key=lambda event: event.timestamp)
    own: list[Any] = []
    # Other runs may have read what follows the events of an old one. A run that was only overtaken by one
    # that was triggered by hand has not been cleared: nothing has read what follows its events.
    is_cleared = bool(context["dag_run"].clear_number)
    keeps_beginning = is_cleared and (begin is not None or _has_succeeded_in_another_run(ti))
    if keeps_beginning:
        own = [event for event in started_by if begin is None or event.timestamp < begin]
    try:
        if not keeps_beginning:
            state.begin_at(_beginning(asset, context, started_by, state))
        events: list[Any] = [] if state.begin is None else _events_since(asset, context, state.since)
        until = max((event.timestamp for event in events), default=state.since)
    except _errors_of_airflow() as error:
        # apache/airflow#71360
        log.warning(
            "Airflow cannot list the events of asset %r, before 3.4 perhaps because one of them has started "
            "a run that is queued. This run reads only those that have started it; the next run tries again: "
            "%s",
            asset.name,
            error,
        )
        events = [event for event in started_by if state.may_be_unread(event.timestamp)]
        until = state.since
    if state.begin != begin:
        store.set(key, state.dump())  # stays, although the run may fail
    jobs: dict[str, EndedJobEvent] = {}
    read: dict[str, datetime] = {}
    for event in [*own, *events]:
        job_id = _job_id(event)
        if job_id is None:
            continue  # a user or another task has made it
        if job_id not in state.read:
            jobs.setdefault(job_id, event.extra["payload"])
        read[job_id] = event.timestamp
    yield list(jobs.values())
    store.set(key, state.dump(ti.run_id, until, read))


@dataclass
class _State:
    """What is stored for a task of a DAG."""

    #: The time of the first event that concerns the DAG.
    begin: datetime | None = None
    #: All events up to this time have been read by runs that have succeeded.
    since: datetime | None = None
    #: The jobs that these runs have read lately, with the time of the event.
    read: dict[str, datetime] = field(default_factory=dict)

    @classmethod
    def load(cls, stored: Any, ti: Any) -> _State:
        if not stored:
            return cls()
        state = cls(_time(stored["begin"]), _time(stored["since"]), _times(stored["read"]))
        last = stored.get("last_run")
        if last and _has_succeeded(ti, last["run_id"]):
            state.since = _time(last["since"])
            state.read |= _times(last["read"])
        return state

    def begin_at(self, begin: datetime) -> None:
        if begin != self.begin:
            self.begin = self.since = begin

    def may_be_unread(self, time: datetime) -> bool:
        return self.since is None or time >= self.since - _OVERLAP

    def dump(
        self,
        run_id: str | None = None,
        since: datetime | None = None,
        read: Mapping[str, datetime] | None = None,
    ) -> dict[str, Any]:
        """Return what to store; of a run, also what it has read, which counts if it succeeds."""
        stored: dict[str, Any] = {
            "begin": _text(self.begin),
            "since": _text(self.since),
            "read": _recent(self.read, self.since),
        }
        if run_id is not None:
            stored["last_run"] = {
                "run_id": run_id,
                "since": _text(since),
                "read": _recent(read or {}, since),
            }
        return stored


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _times(texts: Mapping[str, str]) -> dict[str, datetime]:
    return {job_id: datetime.fromisoformat(at) for job_id, at in texts.items()}


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _recent(read: Mapping[str, datetime], since: datetime | None) -> dict[str, str]:
    return {
        job_id: at.isoformat() for job_id, at in read.items() if since is None or at >= since - _REMEMBERED
    }


def _has_succeeded(ti: Any, run_id: str) -> bool:
    if run_id == ti.run_id:
        return False  # a retry, or the run was cleared
    of_that_run = SimpleNamespace(dag_id=ti.dag_id, task_id=ti.task_id, run_id=run_id, map_index=ti.map_index)
    return state_of_task(of_that_run) in _SUCCEEDED


def _has_succeeded_in_another_run(ti: Any) -> bool:
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id])
    return any(
        not _SUCCEEDED.isdisjoint(of_run.values()) for run_id, of_run in states.items() if run_id != ti.run_id
    )


def _job_id(event: Any) -> str | None:
    payload = (event.extra or {}).get("payload")
    return payload.get("job_id") if isinstance(payload, dict) else None


def _state_store(asset: Asset, context: Mapping[str, Any]) -> Any:
    try:
        return context["asset_state_store"][asset]
    except KeyError:
        raise ConfigurationError(
            f"The asset {asset.name!r} is no inlet of the task, or Airflow is older than 3.3",
            hint="Name it in the task: @task(inlets=[asset])",
        ) from None


def _errors_of_airflow() -> tuple[type[Exception], ...]:
    """Return what is raised if the API server refuses: in a worker, and in ``dag.test()``."""
    from airflow.sdk.api.client import ServerResponseError
    from airflow.sdk.exceptions import AirflowRuntimeError

    return AirflowRuntimeError, ServerResponseError


def _beginning(
    asset: Asset, context: Mapping[str, Any], started_by: Sequence[Any], state: _State
) -> datetime:
    """Return the time of the first event that concerns the DAG."""
    first = state.begin or _first_of_earlier_runs(asset, context, state.read)
    # a run that was triggered by hand may have overtaken the one that has the first event
    times: list[datetime] = [event.timestamp for event in started_by]
    if first is not None:
        times.append(first)
    run = context["dag_run"]
    return min(times, default=run.start_date or run.run_after)


def _first_of_earlier_runs(
    asset: Asset, context: Mapping[str, Any], read: Mapping[str, datetime]
) -> datetime | None:
    """Return the time of the first event of the runs just before, in which this task has not succeeded: it
    may have failed, or never have begun, before it could store anything.
    """
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id])
    run_ids = {run_id for run_id, of_run in states.items() if not _SUCCEEDED.issuperset(of_run.values())}
    if run_ids <= {ti.run_id}:
        return None
    limit = 100
    while True:
        events = list(_up_to_this_run(asset, context).ascending(False).limit(limit))
        first: datetime | None = None
        for event in events:
            if any(run.dag_id == ti.dag_id and run.run_id in run_ids for run in event.created_dagruns):
                first = event.timestamp
            elif first is not None and event.timestamp < first - _OVERLAP and _job_id(event) not in read:
                return first
        if len(events) < limit or (first is None and limit >= _MOST_SEARCHED):
            return first
        limit *= 10


def _events_since(asset: Asset, context: Mapping[str, Any], since: datetime | None) -> list[Any]:
    """Return the events that may not have been read, oldest first."""
    ti = context["ti"]
    # they have the later events, and before Airflow 3.4 these cannot be listed
    has_queued_runs = ti.get_dr_count(dag_id=ti.dag_id, states=["queued"]) > 0
    events = _up_to_this_run(asset, context) if has_queued_runs else context["inlet_events"][asset]
    if since is not None:
        events = events.after((since - _OVERLAP).isoformat())
    return list(events)


def _up_to_this_run(asset: Asset, context: Mapping[str, Any]) -> Any:
    return context["inlet_events"][asset].before(context["dag_run"].run_after.isoformat())
