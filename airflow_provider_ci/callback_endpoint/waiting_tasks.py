"""The deferred tasks that wait for jobs, in Airflow's database.

This needs Airflow's own models, which only its server processes may use.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.callback_endpoint.rate_limit import REST
from airflow_provider_ci.triggers.job import TencentCIJobTrigger

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_CLASSPATH = f"{TencentCIJobTrigger.__module__}.{TencentCIJobTrigger.__qualname__}"
# Triggers that are read and decrypted at once. Other requests of the API server wait that long
_CHUNK = 100
# After the deferred tasks have been listed, they are not listed again for so many times as long as that took
# of the processor
_PAUSE_FACTOR = 10.0


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """A deferred task.

    :param trigger_id: the id of its trigger.
    :param deferred_at: when it was deferred. Some databases use ids again, but not with the same time.
    :param trigger: the trigger, which says for which jobs the task waits.
    """

    trigger_id: int
    deferred_at: datetime
    trigger: TencentCIJobTrigger

    def deferred_for(self) -> float:
        """Return for how many seconds it has been deferred."""
        return (datetime.now(self.deferred_at.tzinfo) - self.deferred_at).total_seconds()


class WaitingTasks:
    """Finds the deferred tasks that wait for a job. The arguments of triggers are encrypted, so each is read
    once and remembered as long as its task is deferred.
    """

    def __init__(self) -> None:
        self._tasks: dict[tuple[int, datetime], WaitingTask | None] = {}
        self._by_job: dict[tuple[str, str], list[WaitingTask]] = {}
        self._next_update = 0.0

    def find(self, conn_id: str, job_ids: Collection[str], *, is_busy: bool) -> dict[str, list[WaitingTask]]:
        """Return the tasks that wait for each job with this connection, perhaps some that wait no more.

        Blocks to read the database.

        :param is_busy: read it only if no task is known for one of the jobs.
        """
        if not is_busy or any((conn_id, job_id) not in self._by_job for job_id in job_ids):
            self._update()
        return {job_id: found for job_id in job_ids if (found := self._by_job.get((conn_id, job_id)))}

    def forget(self, tasks: Iterable[WaitingTask]) -> None:
        """Read these tasks again if they are needed once more."""
        for task in tasks:
            self._tasks.pop((task.trigger_id, task.deferred_at), None)
            for job_id in task.trigger.job_ids:
                self._by_job.pop((task.trigger.tencent_ci_conn_id, job_id), None)

    def _update(self) -> None:
        if time.monotonic() < self._next_update:
            return
        began = time.thread_time()
        with _session() as session:
            deferred = _deferred(session)
        self._next_update = time.monotonic() + _PAUSE_FACTOR * (time.thread_time() - began)
        new = [key for key in deferred if key not in self._tasks]
        self._tasks = {key: self._tasks[key] for key in deferred if key in self._tasks}
        for start in range(0, len(new), _CHUNK):
            self._read(dict(new[start : start + _CHUNK]))
        self._by_job = {}
        for task in self._tasks.values():
            if task is not None:
                for job_id in task.trigger.job_ids:
                    self._by_job.setdefault((task.trigger.tencent_ci_conn_id, job_id), []).append(task)

    def _read(self, deferred_at: dict[int, datetime]) -> None:
        began = time.thread_time()
        with _session() as session:
            for trigger_id, trigger in _load_triggers(session, deferred_at):
                key = trigger_id, deferred_at[trigger_id]
                self._tasks[key] = None if trigger is None else WaitingTask(*key, trigger)
        time.sleep(REST * (time.thread_time() - began))


def resume(tasks: Iterable[WaitingTask]) -> set[int]:
    """Resume deferred tasks as if their triggers had fired. Blocks while it writes to the database.

    One transaction for several tasks costs a tenth of one for each by ``Trigger.submit_event``, which also
    looks for assets and callbacks that these triggers do not have.

    :return: the triggers whose tasks were resumed: not those of tasks that wait no more, and not those of
        tasks that another process changes at this moment, perhaps after the same callback.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger, handle_event_submit
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.sqlalchemy import with_row_locks
    from sqlalchemy import select
    from sqlalchemy.orm import lazyload

    wanted = {task.trigger_id: task for task in tasks}
    if not wanted:
        return set()
    resumed = set()
    with _session() as session:
        waiting = select(TaskInstance, Trigger.id, Trigger.created_date).join(
            Trigger, Trigger.id == TaskInstance.trigger_id
        )
        waiting = waiting.where(Trigger.id.in_(list(wanted)), TaskInstance.state == "deferred")
        waiting = waiting.options(lazyload("*"))
        # a transaction that waited for several locks might be one of two that wait for each other
        waiting = with_row_locks(waiting, session, of=TaskInstance, skip_locked=True)
        for task_instance, trigger_id, created_date in session.execute(waiting).all():
            task = wanted[trigger_id]
            if created_date == task.deferred_at:
                event = TriggerEvent(task.trigger.ended_event())  # type: ignore[no-untyped-call]
                handle_event_submit(event, task_instance=task_instance, session=session)
                resumed.add(task.trigger_id)
    return resumed


def _deferred(session: Session) -> list[tuple[int, datetime]]:
    """Return id and time of creation of the triggers of all deferred tasks."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from sqlalchemy import select

    query = select(Trigger.id, Trigger.created_date).join(TaskInstance, TaskInstance.trigger_id == Trigger.id)
    rows = session.execute(query.where(Trigger.classpath == _CLASSPATH, TaskInstance.state == "deferred"))
    return [(row.id, row.created_date) for row in rows]


def _load_triggers(
    session: Session, trigger_ids: Iterable[int]
) -> Iterator[tuple[int, TencentCIJobTrigger | None]]:
    from airflow.models.trigger import Trigger
    from sqlalchemy import select
    from sqlalchemy.orm import lazyload

    query = select(Trigger).where(Trigger.id.in_(list(trigger_ids))).options(lazyload("*"))
    for row in session.scalars(query):
        yield row.id, _make_trigger(row)
    session.expunge_all()


def _make_trigger(row: Any) -> TencentCIJobTrigger | None:
    try:
        return TencentCIJobTrigger(**row.kwargs)
    except Exception as error:  # of another version of the provider, or encrypted with another key
        log.debug("Trigger %d cannot be read: %s", row.id, error)
        return None


@contextmanager
def _session() -> Iterator[Session]:
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        yield session
