"""A task that waits in the triggerer, as docs/waiting.md shows it."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

with DAG("waiting", schedule=None) as dag:
    # [START operator]
    separate = VoiceSeparateOperator(
        task_id="separate",
        input_object="in/song.mp3",
        voice_object="out/${jobid}/voice.${ext}",
        audio_mode="IsAudio",
        deferrable=True,
        timeout=timedelta(hours=1),
        retries=2,
    )
    # [END operator]
