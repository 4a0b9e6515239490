"""What Airflow knows of a task instance and of its earlier tries."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.submission.idempotency_key import TaskIdentity
from airflow_provider_ci.version_compat import AIRFLOW_MINOR

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

_TASK_INSTANCE = ("dag_id", "task_id", "run_id", "map_index")

#: Clearing a task empties its state store, unless the user asks to keep it.
CLEAR_DISCARDS_STATE = AIRFLOW_MINOR >= (3, 4)


def task_identity(context: Context, deployment: str | None) -> TaskIdentity:
    """Return what identifies this task instance, the same for all of its tries.

    :param deployment: distinguishes this Airflow from others that have a run of the same name; default: the
        moment at which the DAG run started, as two Airflows do not start a run in the same microsecond.
    """
    ti: Any = context["ti"]
    deployment = deployment or _start_of_run(context.get("dag_run"))
    return TaskIdentity(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, deployment, ti.max_tries)


def _start_of_run(dag_run: Any) -> str:
    started: datetime | None = getattr(dag_run, "start_date", None)
    if started is not None:
        return started.astimezone(UTC).isoformat()
    # on Airflow 2.11 a task can be run by hand before its run has started; this is its number in the database
    return f"unstarted-run-{getattr(dag_run, 'id', 'unknown')}"


def earliest_submission(context: Context) -> datetime:
    """Return a moment, by Airflow's clock, before which no try of this task instance submitted a job."""
    ti, dag_run = context["ti"], context.get("dag_run")
    run_start = getattr(dag_run, "start_date", None) or getattr(dag_run, "logical_date", None)
    # dag.test() of Airflow 2.11 has no start of the task instance
    return min((date for date in (run_start, ti.start_date) if date is not None), default=datetime.now(UTC))


def was_cleared_after_its_end(context: Context) -> bool:
    """Tell whether the DAG run was cleared, before Airflow 3.3 only if it had ended. Airflow then changes the
    moment at which it started.
    """
    return bool(getattr(context.get("dag_run"), "clear_number", 0))


def earliest_submission_before_clear(context: Context) -> datetime:
    """Return a moment before which no try submitted a job, also not before the DAG run was cleared. No run
    starts before it is due.
    """
    dag_run = context.get("dag_run")
    due: list[datetime | None] = [getattr(dag_run, name, None) for name in ("run_after", "logical_date")]
    return min([earliest_submission(context), *(moment for moment in due if moment is not None)])


def may_have_earlier_try(ti: Any) -> bool:
    """Find out whether there may have been an earlier try since the task instance was created or cleared.

    On Airflow 2.11 the first ``try_number`` does not say that there was none: ``airflow tasks run
    --ignore-all-dependencies`` runs a task that is up for retry, or that has failed, under the number of the
    try before. Airflow's database holds that try: in the history of a task that is up for retry, and in the
    audit log, which has an entry for each start of the task.
    """
    if ti.try_number > 1 or AIRFLOW_MINOR >= (3, 0):
        return bool(ti.try_number > 1)
    try:
        return _has_recorded_try(ti)
    except Exception as error:  # if this worker has no access to the database: a search costs only time
        log.warning("Airflow's earlier tries of this task could not be read, looking for its job: %s", error)
        return True


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
