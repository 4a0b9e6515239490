"""The deferred tasks that wait for jobs, in Airflow's database.

This needs Airflow's own models, which only its server processes may use.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.triggers.job import TencentCIJobTrigger

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_CLASSPATH = f"{TencentCIJobTrigger.__module__}.{TencentCIJobTrigger.__qualname__}"
# Rows that are read at once
_CHUNK = 500


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

    def find(self, conn_id: str, job_ids: Iterable[str]) -> dict[str, list[WaitingTask]]:
        """Return the tasks that wait for each job with this connection. Blocks to read the database."""
        with _session() as session:
            self._update(session)
        wanted = dict.fromkeys(job_ids)
        found: dict[str, list[WaitingTask]] = {}
        for task in self._tasks.values():
            if task is not None and task.trigger.tencent_ci_conn_id == conn_id:
                for job_id in task.trigger.job_ids:
                    if job_id in wanted:
                        found.setdefault(job_id, []).append(task)
        return found

    def _update(self, session: Session) -> None:
        deferred = _deferred(session)
        new = [key for key in deferred if key not in self._tasks]
        self._tasks = {key: self._tasks[key] for key in deferred if key in self._tasks}
        for start in range(0, len(new), _CHUNK):
            keys = dict(new[start : start + _CHUNK])
            for trigger_id, trigger in _load_triggers(session, keys):
                key = trigger_id, keys[trigger_id]
                self._tasks[key] = None if trigger is None else WaitingTask(*key, trigger)


def resume(task: WaitingTask) -> bool:
    """Resume a deferred task as if its trigger had fired. Blocks while it writes to the database.

    :return: ``False`` if it does not wait any more.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.sqlalchemy import with_row_locks
    from sqlalchemy import select

    with _session() as session:
        waiting = select(TaskInstance).join(Trigger, Trigger.id == TaskInstance.trigger_id)
        waiting = waiting.where(
            Trigger.id == task.trigger_id,
            Trigger.created_date == task.deferred_at,
            TaskInstance.state == "deferred",
        )
        # another process may have received the same callback
        if session.scalars(with_row_locks(waiting, session, of=TaskInstance)).first() is None:
            return False
        event = TriggerEvent(task.trigger.ended_event())  # type: ignore[no-untyped-call]
        Trigger.submit_event(task.trigger_id, event, session=session)
        return True


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
