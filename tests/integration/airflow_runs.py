"""Runs DAGs in this process, in real Airflow, and reads what they pushed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from packaging.version import Version

from tests.airflow_version import AIRFLOW, CANNOT_RESCHEDULE_IN_DAG_TEST, HAS_SHARED_STREAMS, IS_AIRFLOW_2

#: Files of DAGs that say themselves that they need a newer release.
_NOT_FOR_THIS_AIRFLOW = () if HAS_SHARED_STREAMS else ("example_job_events.py",)


def dags_in(folder: Path) -> dict[str, Any]:
    """Return the DAGs of a folder, written to the database as the DAG processor does."""
    bag = dag_bag(str(folder))
    assert [path for path in bag.import_errors if Path(path).name not in _NOT_FOR_THIS_AIRFLOW] == []
    if CANNOT_RESCHEDULE_IN_DAG_TEST:
        for task in (task for dag in bag.dags.values() for task in dag.tasks if hasattr(task, "reschedule")):
            task.mode = "poke"
    if IS_AIRFLOW_2:
        bag.sync_to_db()
        return bag.dags
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()
    if Version("3.1") > AIRFLOW:
        bag.sync_to_db("dags-folder", None)
    else:
        import_module(type(bag).__module__).sync_bag_to_db(bag, "dags-folder", None)
    return bag.dags


def dag_bag(folder: str) -> Any:
    """Return the DAGs of a folder, and what is wrong with them."""
    module = "airflow.models.dagbag" if Version("3.2") > AIRFLOW else "airflow.dag_processing.dagbag"
    return import_module(module).DagBag(folder)


def stored_dag(dag_id: str) -> Any:
    """Return a DAG as the API server reads it, from the database."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        row = SerializedDagModel.get(dag_id, session=session)
        assert row is not None
        return row.dag


def xcom(dag_run: Any, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
    """Return an XCom of a finished run."""
    from airflow.models import xcom
    from airflow.utils.session import create_session
    from sqlalchemy import select

    model: Any = xcom.BaseXCom if IS_AIRFLOW_2 else xcom.XComModel
    query = select(model).filter_by(
        dag_id=dag_run.dag_id, run_id=dag_run.run_id, task_id=task_id, key=key, map_index=map_index
    )
    with create_session() as session:
        row = session.scalars(query).one()
        return row.value if IS_AIRFLOW_2 else model.deserialize_value(row)


def asset_model(name: str) -> Any:
    """Return the model ``AssetEvent`` for ``Event``, in Airflow 2 ``DatasetEvent``."""
    models = import_module("airflow.models.dataset" if IS_AIRFLOW_2 else "airflow.models.asset")
    return getattr(models, ("Dataset" if IS_AIRFLOW_2 else "Asset") + name)


def asset_events(dag_run: Any, task_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return URI and extra of each event that a task of a finished run caused."""
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(asset_model("Event")).filter_by(
        source_dag_id=dag_run.dag_id, source_run_id=dag_run.run_id, source_task_id=task_id
    )
    with create_session() as session:
        return [(event.uri, event.extra) for event in session.scalars(query)]


def tries(dag_run: Any) -> dict[str, tuple[str, int]]:
    """Return state and number of tries of each task."""
    return {ti.task_id: (str(ti.state), ti.try_number) for ti in dag_run.get_task_instances()}
