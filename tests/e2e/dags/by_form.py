"""A task that uses the connection that the browser's test creates."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

with DAG(dag_id="by_form", schedule=None, catchup=False) as by_form:
    VoiceSeparateOperator(
        task_id="separate",
        tencent_ci_conn_id="by_form",
        input_object="{{ dag_run.conf['prefix'] }}/0.wav",
        voice_object="out/${jobid}.${ext}",
        audio_mode="IsAudio",
        codec="wav",
        wait_for_completion=True,
        poll_interval=1.0,
    )
