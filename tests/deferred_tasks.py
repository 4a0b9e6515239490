"""Deferred tasks in Airflow's database, without a scheduler, a worker or a triggerer that has made them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from airflow_provider_ci.triggers.job import TencentCIJobTrigger


def defer(
    triggers: Sequence[TencentCIJobTrigger], *, seconds_ago: float = 60.0, run_id: str = ""
) -> list[UUID]:
    """Store a deferred task for each trigger, and return the ids of the task instances.

    :param seconds_ago: when they were deferred.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from sqlalchemy import insert

    run_id, deferred_at = run_id or f"manual__{uuid4()}", datetime.now(UTC) - timedelta(seconds=seconds_ago)
    of_run = {"dag_id": "waiting", "run_id": run_id}
    index = str(TaskInstance.map_index.expression.key)  # Airflow 3.4 calls the column otherwise
    with create_session() as session:
        run = {**of_run, "run_type": "manual", "state": "running", "run_after": deferred_at}
        session.execute(insert(DagRun.__table__).values(run))
        rows = [Trigger(*trigger.serialize(), created_date=deferred_at) for trigger in triggers]
        session.add_all(rows)
        session.flush()
        task_instances = [
            {
                **of_run,
                "id": uuid4(),
                "task_id": "separate",
                index: number,
                "state": "deferred",
                "trigger_id": row.id,
                "next_method": "execute_complete",
                "next_kwargs": {},
                "pool": "default_pool",
                "try_number": 1,
                "start_date": deferred_at,
            }
            for number, row in enumerate(rows)
        ]
        session.execute(insert(TaskInstance.__table__), task_instances)
    return [row["id"] for row in task_instances]


def stored(task_id: UUID) -> Any:
    """Return a task instance as it is in the database."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        found = session.get(TaskInstance, task_id)
        assert found is not None
        session.expunge_all()
        return found


def event_of(task_id: UUID) -> dict[str, Any]:
    """Return the event with which a task was resumed."""
    from airflow.sdk.serde import deserialize

    event: dict[str, Any] = deserialize(stored(task_id).next_kwargs)["event"]
    return event
