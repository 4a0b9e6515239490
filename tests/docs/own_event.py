"""A test of a DAG that events start, as docs/testing-dags.md shows it."""

from __future__ import annotations

from uuid import uuid4

from airflow.models import DagBag
from airflow.models.asset import AssetEvent, AssetModel
from airflow.utils.session import create_session


def test_the_job_of_an_event_is_used():
    dag = DagBag("example_dags").get_dag("example_job_events")
    dag.test()  # finds no event, and stores the asset
    # [START own_event]
    payload = {"job_id": f"j{uuid4().hex}", "outputs": {"voice": {"object": "out/voice.mp3"}}}
    with create_session() as session:
        asset = session.query(AssetModel).filter_by(name="tencent_ci_separations").one()
        session.add(AssetEvent(asset_id=asset.id, extra={"payload": payload}))
    # [END own_event]
    run = dag.test()
    assert run.get_task_instance("use").xcom_pull("use") == ["out/voice.mp3"]
