"""Make subtitles of a noisy recording with music: reduce noise, separate the voice, recognise its words."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, XComArg, task

from airflow_provider_ci.operators.noise_reduction import NoiseReductionOperator
from airflow_provider_ci.operators.speech_recognition import SpeechRecognitionOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

# Each job reads what the one before has written: its XCom "job" has the keys
CLEAN = "{{ ti.xcom_pull(task_ids='clean', key='job').outputs.file.object }}"
VOICE = "{{ ti.xcom_pull(task_ids='separate', key='job').outputs.voice.object }}"

with DAG(
    dag_id="example_audio_pipeline",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    default_args={"wait_for_completion": True, "timeout": 3600},
    params={
        "input_object": Param(
            "in/speech_over_music.mp3", type="string", description="Key of the recording, at most 10 MB"
        ),
        "output_folder": Param(
            "out/pipeline", type="string", description="What the results' keys begin with"
        ),
        "engine_model_type": Param("16k_en", type="string", description="Language and sample rate"),
        "download_dir": Param("/tmp/audio-pipeline", type="string"),  # noqa: S108 - yours to choose
    },
) as dag:
    # [START howto_operator_noise_reduction]
    clean = NoiseReductionOperator(
        task_id="clean",
        input_object="{{ params.input_object }}",
        output_object="{{ params.output_folder }}/clean.wav",
        format="wav",
        samplerate=44100,
    )
    # [END howto_operator_noise_reduction]

    separate = VoiceSeparateOperator(
        task_id="separate",
        input_object=CLEAN,
        voice_object="{{ params.output_folder }}/voice.mp3",
        audio_mode="IsAudio",
        codec="mp3",
    )

    recognise = SpeechRecognitionOperator(
        task_id="recognise",
        input_object=VOICE,
        output_object="{{ params.output_folder }}/subtitles.srt",
        engine_model_type="{{ params.engine_model_type }}",
        channel_num=1,
        res_text_format=1,
        output_file_type="srt",
    )

    # [START howto_download_job_results]
    @task
    def download(job: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, str]:
        """Download the files of a job; an MD5 that the service names is checked."""
        from airflow_provider_ci.hooks.ci import TencentCIHook

        files = TencentCIHook().download_results(job, (params or {})["download_dir"])
        return {name: file.path for name, file in files.items()}

    # [END howto_download_job_results]

    clean >> separate >> recognise >> download(XComArg(recognise, key="job"))
