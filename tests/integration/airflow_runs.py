"""Runs DAGs in this process, in real Airflow, and reads what they pushed."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def dags_in(folder: Path) -> dict[str, Any]:
    """Return the DAGs of a folder, written to the database as the DAG processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    bag = DagBag(str(folder))
    assert not bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    return bag.dags


def xcom(dag_run: Any, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
    """Return an XCom of a finished run."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(XComModel).filter_by(
        dag_id=dag_run.dag_id, run_id=dag_run.run_id, task_id=task_id, key=key, map_index=map_index
    )
    with create_session() as session:
        row = session.scalars(query).one()
        return XComModel.deserialize_value(row)


def tries(dag_run: Any) -> dict[str, tuple[str, int]]:
    """Return state and number of tries of each task."""
    return {ti.task_id: (str(ti.state), ti.try_number) for ti in dag_run.get_task_instances()}
