"""Tasks that the callback endpoint resumes, and a DAG that the events of jobs start."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from example_dags.example_callback import dag  # noqa: F401 - Airflow looks for it here

REQUEST = {
    "voice_object": "out/${jobid}.${ext}",
    "audio_mode": "IsAudio",
    "codec": "wav",
    "callback_url": "auto",
    "deferrable": True,
    "retries": 0,
}


@task
def inputs(dag_run: Any = None) -> list[str]:
    return [f"{dag_run.conf['prefix']}/{number}.wav" for number in range(dag_run.conf["count"])]


with DAG(dag_id="pushed", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(task_id="separate", poll_interval=300, **REQUEST).expand(
        input_object=inputs()
    )

# What benchmarks measure: with and without callbacks
for interval in (30, 300):
    with DAG(dag_id=f"measured_callback_{interval}", schedule=None, catchup=False):
        VoiceSeparateOperator.partial(task_id="separate", poll_interval=interval, **REQUEST).expand(
            input_object=inputs()
        )
    with DAG(dag_id=f"measured_{interval}", schedule=None, catchup=False):
        VoiceSeparateOperator.partial(
            task_id="separate", poll_interval=interval, **{**REQUEST, "callback_url": "no"}
        ).expand(input_object=inputs())

with DAG(dag_id="lost", schedule=None, catchup=False):
    # Nobody listens at the address of this connection, and it polls often
    VoiceSeparateOperator(
        task_id="separate",
        tencent_ci_conn_id="lost",
        input_object="{{ dag_run.conf['prefix'] }}/0.wav",
        poll_interval=3,
        **REQUEST,
    )


@task
def record(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
    return [event.extra["payload"] for events in triggering_asset_events.values() for event in events]


with DAG(dag_id="announced", schedule=Asset("finished_jobs"), catchup=False):
    record()
