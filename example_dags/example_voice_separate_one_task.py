"""Separate several media files, one mapped task each, that ends when its job has ended."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

with DAG(
    dag_id="example_voice_separate_one_task",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    params={"input_objects": Param(["in/speech_over_music.mp3"], type="array", items={"type": "string"})},
) as dag:

    @task
    def input_objects(params: dict[str, list[str]] | None = None) -> list[str]:
        """Return the keys to work on."""
        return (params or {})["input_objects"]

    # [START howto_operator_voice_separate_wait]
    VoiceSeparateOperator.partial(
        task_id="separate",
        voice_object="out/${jobid}/voice.${ext}",
        background_object="out/${jobid}/background.${ext}",
        audio_mode="AudioAndBackground",
        codec="mp3",
        wait_for_completion=True,
        timeout=3600,
    ).expand(input_object=input_objects())
    # [END howto_operator_voice_separate_wait]
