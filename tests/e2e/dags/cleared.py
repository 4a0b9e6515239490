"""Tasks that are cleared: while they wait on a worker, and after their end."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

REQUEST = {
    "tencent_ci_conn_id": "held",
    "input_object": "{{ dag_run.conf['prefix'] }}/0.wav",
    "voice_object": "out/${jobid}.${ext}",
    "audio_mode": "IsAudio",
    "codec": "wav",
    "poll_interval": 1.0,
    "retries": 1,
    "retry_delay": timedelta(0),
}

with DAG(dag_id="cleared_on_worker", schedule=None, catchup=False) as cleared_on_worker:
    VoiceSeparateOperator(task_id="separate", wait_for_completion=True, **REQUEST)

with DAG(dag_id="cleared_submit_only", schedule=None, catchup=False) as cleared_submit_only:
    VoiceSeparateOperator(task_id="separate", **REQUEST)
