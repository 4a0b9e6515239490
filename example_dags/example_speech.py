"""Make subtitles of speech over music: separate the voice, and recognise what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, XComArg, task

from airflow_provider_ci.operators.speech_recognition import SpeechRecognitionOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

with DAG(
    dag_id="example_speech",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    params={
        "input_object": Param(
            "in/announcement_over_music.mp3", type="string", description="Key of the recording"
        ),
        "engine_model_type": Param("16k_en", type="string", description="The language, as an engine"),
        "download_dir": Param("/tmp/speech", type="string"),  # noqa: S108 - yours to choose
    },
) as dag:
    separate = VoiceSeparateOperator(
        task_id="separate",
        input_object="{{ params.input_object }}",
        voice_object="out/${jobid}/voice.${ext}",
        audio_mode="IsAudio",
        codec="mp3",
        poll_interval=2,
        deferrable=True,
    )
    # [START howto_operator_speech_recognition]
    recognise = SpeechRecognitionOperator(
        task_id="recognise",
        input_object="{{ ti.xcom_pull(task_ids='separate', key='job').outputs.voice.object }}",
        # beside the voice: the folder has the id of the first job
        output_object="out/{{ ti.xcom_pull(task_ids='separate') }}/transcript.srt",
        output_file_type="srt",
        engine_model_type="{{ params.engine_model_type }}",
        channel_num=1,
        res_text_format=1,
        poll_interval=2,
        deferrable=True,
    )
    # [END howto_operator_speech_recognition]

    @task
    def download(job: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, str]:
        """Download the subtitles."""
        from airflow_provider_ci.hooks.ci import TencentCIHook

        folder = Path((params or {})["download_dir"])
        stored = TencentCIHook().download_results(job, folder)
        return {name: file.path for name, file in stored.items()}

    separate >> recognise >> download(XComArg(recognise, key="job"))
