"""DAGs that the scheduler of Airflow 2.11 starts by itself, once each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

ONCE: dict[str, Any] = {"schedule": "@once", "start_date": datetime(2026, 1, 1, tzinfo=UTC), "catchup": False}
REQUEST: dict[str, Any] = {
    "tencent_ci_conn_id": "held",
    "voice_object": "out/${jobid}.${ext}",
    "audio_mode": "IsAudio",
    "codec": "wav",
    "poll_interval": 1.0,
    "retries": 0,
}

with DAG(dag_id="operator_waits", **ONCE):
    VoiceSeparateOperator(
        task_id="separate",
        input_object="operator_waits/0.wav",
        wait_for_completion=True,
        deferrable=True,
        **REQUEST,
    )

with DAG(dag_id="sensor_waits", **ONCE):
    submit = VoiceSeparateOperator(
        task_id="submit", input_object="sensor_waits/0.wav", wait_for_completion=False, **REQUEST
    )
    TencentCIJobSensor(
        task_id="wait",
        tencent_ci_conn_id="held",
        job_id=submit.output,
        deferrable=True,
        poke_interval=1,
        retries=0,
    )
