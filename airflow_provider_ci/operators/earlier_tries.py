"""What Airflow knows of earlier tries of a task instance."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow_provider_ci.version_compat import AIRFLOW_MINOR

log = logging.getLogger(__name__)

_TASK_INSTANCE = ("dag_id", "task_id", "run_id", "map_index")

#: Clearing a task empties its state store, unless that is asked for otherwise.
CLEAR_DISCARDS_STATE = AIRFLOW_MINOR >= (3, 4)


def may_have_earlier_try(ti: Any) -> bool:
    """Tell whether there may have been an earlier try since the task instance was created or cleared.

    A first ``try_number`` does not tell that there was none on Airflow 2.11: ``airflow tasks run
    --ignore-all-dependencies`` runs a task that is up for retry, or that has failed, under the number of the
    try before. Its database holds that try: in the history of a task that is up for retry, and in the audit
    log, where each start of the task is entered.
    """
    if ti.try_number > 1 or AIRFLOW_MINOR >= (3, 0):
        return bool(ti.try_number > 1)
    try:
        return _has_recorded_try(ti)
    except Exception as error:  # a worker without the database looks rather once too often
        log.warning("Airflow's earlier tries of this task could not be read, assuming one: %s", error)
        return True


def deployment_of(dag_run: Any) -> str:
    """Return what tells this Airflow from others that have a run of the same name, and what no retry changes.

    Two Airflows do not start a run in the same microsecond. On Airflow 2.11 a task can be run by hand before
    its run has started: then it is the run's number in the database.
    """
    started: datetime | None = getattr(dag_run, "start_date", None)
    if started is not None:
        return started.astimezone(UTC).isoformat()
    return f"unstarted-run-{getattr(dag_run, 'id', 'unknown')}"


def earliest_submission(dag_run: Any, ti: Any) -> datetime:
    """Return a moment, by Airflow's clock, before which no try of this task instance has submitted a job."""
    dates = [getattr(dag_run, "start_date", None) or getattr(dag_run, "logical_date", None), ti.start_date]
    # in 2.11's dag.test() a task instance has no start
    return min((date for date in dates if date is not None), default=datetime.now(UTC))


def _has_recorded_try(ti: Any) -> bool:
    from airflow.models.log import Log
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    def of_task_instance(model: Any) -> list[Any]:
        return [getattr(model, name) == getattr(ti, name) for name in _TASK_INSTANCE]

    history: Any = TaskInstanceHistory
    starts = select(func.count(Log.id)).where(
        *of_task_instance(Log), Log.event == "running", Log.try_number == ti.try_number
    )
    earlier = select(func.count(history.try_number)).where(
        *of_task_instance(history), history.max_tries == ti.max_tries
    )
    with create_session() as session:
        return (session.scalar(starts) or 0) > 1 or bool(session.scalar(earlier))
