"""Separate a recording, and be resumed by the service's callback instead of polling.

Needs Airflow 3.3 and the callback endpoint: ``docs/events.md``.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

with DAG(
    dag_id="example_callback",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    default_args={"retries": 1},
    params={"input_object": Param("in/speech_over_music.mp3", type="string")},
) as dag:
    # [START howto_operator_voice_separate_callback]
    separate = VoiceSeparateOperator(
        task_id="separate",
        input_object="{{ params.input_object }}",
        voice_object="out/${jobid}/voice.${ext}",
        background_object="out/${jobid}/background.${ext}",
        audio_mode="AudioAndBackground",
        codec="mp3",
        callback_url="auto",
        deferrable=True,
        timeout=3600,
    )
    # [END howto_operator_voice_separate_callback]

    @task
    def use(job: dict[str, Any]) -> str:
        """Return the key of the voice, for a task of your own."""
        return str(job["outputs"]["voice"]["object"])

    use(separate.output["job"])
