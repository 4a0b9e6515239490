"""A task that asks Airflow what has become of it, while others end it, clear it or begin another try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_ci.current_try import state_of_try
from airflow_provider_ci.submission.record import STORE_KEY


@contextmanager
def row(ti: Any, **values: Any) -> Iterator[None]:
    """Change the task instance's row in the database for a while."""
    from airflow.models import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select, update

    key = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
    columns = [getattr(TaskInstance, name) for name in values]
    with create_session() as session:
        before = session.execute(select(*columns).filter_by(**key)).one()
        session.execute(update(TaskInstance).filter_by(**key).values(**values))
    try:
        yield
    finally:
        with create_session() as session:
            session.execute(
                update(TaskInstance).filter_by(**key).values(**dict(zip(values, before, strict=True)))
            )


def of_another_try(ti: Any) -> dict[str, Any]:
    """Return what Airflow changes in the row as soon as it has given up on a try."""
    if not hasattr(ti, "id"):  # Airflow 2.11
        return {"try_number": ti.try_number + 1}
    from airflow.models import TaskInstance

    try:
        is_text = TaskInstance.id.type.python_type is str
    except NotImplementedError:  # Airflow 3.0
        is_text = True
    return {"id": str(uuid4()) if is_text else uuid4(), "try_number": ti.try_number + 1}


class Asks(BaseOperator):
    """Returns what Airflow says in each case; ``number`` is there to be mapped over."""

    def __init__(self, number: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context: Any) -> dict[str, Any]:
        ti, said = context["ti"], {}
        if store := context.get("task_state_store"):
            store.set(STORE_KEY, {"max_tries": 0, "fingerprint": "", "since": 0.0, "job_id": "j1"})
        said["begun"] = state_of_try(context)
        for state in ("failed", "success", "skipped", "restarting", "deferred"):
            with row(ti, state=state):
                said[state] = state_of_try(context)
        for state in ("up_for_retry", None, "scheduled", "queued", "running", "success", "failed"):
            with row(ti, state=state, **of_another_try(ti)):
                said[f"another try {state}"] = state_of_try(context)
        with row(ti, state="restarting", **of_another_try(ti)):
            said["cleared while it runs"] = state_of_try(context)
        gone = {name: getattr(ti, name) for name in ("dag_id", "run_id", "map_index", "try_number")}
        said["gone"] = state_of_try({"ti": SimpleNamespace(task_id="gone", **gone)})
        return said


with DAG(dag_id="state_of_try", schedule=None, catchup=False):
    Asks(task_id="ask")

with DAG(dag_id="state_of_mapped_try", schedule=None, catchup=False):
    Asks.partial(task_id="ask").expand(number=[0, 1])
