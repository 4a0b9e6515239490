"""Three ways to wait for a job, each followed by another task: for ``python -m benchmarks.latency``."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.common.compat.standard.operators import PythonOperator

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from benchmarks.dags import POLL_SECONDS

JOB: dict[str, Any] = {
    "task_id": "separate",
    "tencent_ci_conn_id": "media",
    "input_object": "{{ dag_run.conf['prefix'] }}/0.wav",
    "voice_object": "out/${jobid}.${ext}",
    "audio_mode": "IsAudio",
    "codec": "wav",
}


def next_task() -> PythonOperator:
    return PythonOperator(task_id="following", python_callable=lambda: None)


with DAG(dag_id="waits_sync", schedule=None):
    VoiceSeparateOperator(**JOB, wait_for_completion=True, poll_interval=POLL_SECONDS) >> next_task()

with DAG(dag_id="waits_sensor", schedule=None):
    submit = VoiceSeparateOperator(**JOB)
    wait = TencentCIJobSensor(
        task_id="wait",
        tencent_ci_conn_id="media",
        job_id=submit.output,
        mode="poke",
        poke_interval=POLL_SECONDS,
    )
    wait >> next_task()

with DAG(dag_id="waits_deferrable", schedule=None):
    (
        VoiceSeparateOperator(**JOB, wait_for_completion=True, deferrable=True, poll_interval=POLL_SECONDS)
        >> next_task()
    )
