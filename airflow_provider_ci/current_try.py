"""Asks Airflow for the state of a task instance. A process that was killed, or was suspended for long, may
belong to a try that Airflow has given up on, and a later try may be waiting for its job.

Each function raises whatever Airflow raises if it cannot be asked, and may wait long for the response.
"""

from __future__ import annotations

import os
from typing import Any

#: :func:`state_of_try` returns this if Airflow has given up on this try, or has begun another one.
OVERTAKEN = "overtaken"
#: The task instance does not exist any more.
REMOVED = "removed"
#: The task was cleared while it was running: Airflow ends its process, and makes the next try a retry.
RESTARTING = "restarting"
#: States in which the task will continue with its job, which must not be cancelled.
WAITING = frozenset({"deferred", "up_for_retry", "up_for_reschedule"})
#: States in which no try continues with the jobs of the task.
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", REMOVED})

# In these states the task has no process, so a process that asks belongs to an earlier try
_NOT_RUNNING = frozenset({None, "scheduled", "queued", "up_for_retry", "up_for_reschedule"})


def state_of_task(ti: Any) -> str | None:
    """Return the state of a task instance, in whichever try it is. ``None`` is a state too: cleared.

    For a worker of Airflow 3, and for its triggerer, outside of the event loop's thread.

    :param ti: identifies the task instance by ``dag_id``, ``run_id``, ``task_id`` and ``map_index``.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    found = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = found.get(ti.run_id, {}).get(name, REMOVED)
    return None if state is None else str(getattr(state, "value", state))


def pushed_id(ti: Any) -> Any:
    """Return the JobId that a running task has pushed, if any. Works where :func:`state_of_task` does."""
    return _pushed(ti, "return_value")


def pushed_state(ti: Any) -> Any:
    """Return the state of the job that a task has pushed last, if any. Works where :func:`state_of_task`
    does.
    """
    job = _pushed(ti, "job")
    return job.get("state") if isinstance(job, dict) else None


def _pushed(ti: Any, key: str) -> Any:
    from airflow.sdk.execution_time.xcom import XCom

    return XCom.get_one(
        key=key, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
    )


def state_of_try(context: Any) -> str | None:
    """Return the state of the try that ``context`` belongs to, or :data:`OVERTAKEN`."""
    ti = context["ti"]
    try:
        import airflow.sdk.execution_time.task_runner  # noqa: F401
    except ImportError:  # Airflow 2.11
        return _state_in_database(ti)
    state = state_of_task(ti)
    if state in (RESTARTING, REMOVED, "deferred"):
        return state
    if state in _NOT_RUNNING or not _is_live(ti, context.get("task_state_store")):
        return OVERTAKEN
    return state


def _is_live(ti: Any, store: Any) -> bool:
    """Find out whether the task instance still has the id with which this try began. Airflow 3 gives it a new
    one as soon as it gives up on a try.
    """
    if store is not None:
        from airflow_provider_ci.submission.bulk_records import BULK_KEY
        from airflow_provider_ci.submission.record import STORE_KEY

        # The record was written before the submission. Airflow's store has none for an id that was replaced
        return any(store.get(key) is not None for key in (STORE_KEY, BULK_KEY))
    # Airflow 3.0 to 3.2: the only request about an id that has no other effect
    from airflow.sdk.execution_time.comms import ValidateInletsAndOutlets
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        response: Any = SUPERVISOR_COMMS.send(ValidateInletsAndOutlets(ti_id=ti.id))
    except Exception as error:
        if _status(error) == 404:
            return False
        raise
    # the response to a request of the interrupted code lacks this field, so this raises then
    return response.inactive_assets is not None


def _status(error: Any) -> Any:
    """Return the HTTP status of the API server's error, which the supervisor or ``dag.test()`` passes on."""
    if hasattr(error, "response"):
        return error.response.status_code
    detail = getattr(getattr(error, "error", None), "detail", None)
    return (detail or {}).get("status_code")


def _state_in_database(ti: Any) -> str | None:
    from airflow.models import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        columns: Any = (TaskInstance.state, TaskInstance.try_number, TaskInstance.pid)
        row = (
            session.query(*columns)
            .filter_by(dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index)
            .one_or_none()
        )
    if row is None:
        return REMOVED
    state, try_number, pid = row
    # dag.test() leaves a running try in the state scheduled
    if try_number != ti.try_number or state in _NOT_RUNNING - {"scheduled"}:
        return OVERTAKEN
    # a try that was begun by hand has the number of the try before, but another process
    return OVERTAKEN if state == "running" and pid not in (None, os.getpid()) else state
