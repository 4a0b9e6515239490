"""One job of each typed operator, and one of another type: ``live/airflow_run.py`` runs it.

All jobs are submitted before any is waited for, so that they run beside each other.

Each submission has a file by the name of its task, from which the kit knows of the job even if the run is
interrupted: empty as long as the job may have been accepted, then with its JobId as JSON, or ``null`` if
there is no job.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_ci.exceptions import ServiceError
from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.operators.noise_reduction import NoiseReductionOperator
from airflow_provider_ci.operators.speech_recognition import SpeechRecognitionOperator
from airflow_provider_ci.operators.text_to_speech import TextToSpeechOperator
from airflow_provider_ci.operators.transcode import TranscodeOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

RUN: dict[str, Any] = json.loads(os.environ.get("CI_LIVE_RUN", "{}"))
PREFIX = RUN.get("prefix", "")
COMMON: dict[str, Any] = {"tencent_ci_conn_id": "tencent_ci_live"}


def note_begin(context: Any) -> None:
    """Note that a job is about to be submitted."""
    _note(context, "")


def note_job(context: Any, result: Any) -> None:
    """Note the job that was accepted."""
    _note(context, json.dumps(result))


def note_refusal(context: Any) -> None:
    """Note that there is no job. After other errors, it may have been accepted."""
    if isinstance(context.get("exception"), ServiceError):
        _note(context, json.dumps(None))


def _note(context: Any, text: str) -> None:
    _write(Path(RUN["notes"]) / context["ti"].task_id, text)


def _write(path: Path, text: str) -> None:
    """Write a file that nobody ever reads half of."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(text)
    unfinished.replace(path)


def input_of(name: str) -> str:
    """Return the key of the input of a job."""
    return str(RUN["inputs"][name])


def make_task(name: str) -> Any:
    """Return the task that submits the job."""
    common = {
        **COMMON,
        "pre_execute": note_begin,
        "post_execute": note_job,
        "on_failure_callback": note_refusal,
    }
    if name == "voice_separate":
        return VoiceSeparateOperator(
            task_id=name,
            input_object=input_of(name),
            voice_object=PREFIX + "out/voice-${jobid}.${ext}",
            background_object=PREFIX + "out/background-${jobid}.${ext}",
            audio_mode="AudioAndBackground",
            codec="mp3",
            **common,
        )
    if name == "transcode":
        return TranscodeOperator(
            task_id=name,
            input_object=input_of(name),
            output_object=PREFIX + "out/transcode.mp3",
            container_format="mp3",
            audio_codec="mp3",
            audio_bitrate=64,
            **common,
        )
    if name == "noise_reduction":
        return NoiseReductionOperator(
            task_id=name,
            input_object=input_of(name),
            output_object=PREFIX + "out/noise_reduction.wav",
            format="wav",
            samplerate=RUN["rate"],
            **common,
        )
    if name == "speech_recognition":
        return SpeechRecognitionOperator(
            task_id=name,
            input_object=input_of(name),
            output_object=PREFIX + "out/transcript.txt",
            engine_model_type="16k_en",
            channel_num=1,
            res_text_format=1,
            output_file_type="txt",
            **common,
        )
    if name == "text_to_speech":
        return TextToSpeechOperator(
            task_id=name,
            text=RUN["text"],
            output_object=PREFIX + "out/spoken.wav",
            mode="Sync",
            codec="wav",
            **common,
        )
    return TencentCIJobOperator(task_id=name, tag="MediaInfo", input_object=input_of(name), **common)


with DAG(
    dag_id="live_jobs",
    schedule=None,
    catchup=False,
    default_args={"retries": 0, "wait_for_completion": False},
) as dag:
    submissions = [make_task(name) for name in RUN.get("jobs", ())]

    @task(trigger_rule="all_done")
    def all_submitted() -> None:
        """Let no task wait before every job is submitted."""

    @task(trigger_rule="all_done")
    def write_outcome(ti: Any = None) -> None:
        """Write which tasks have waited successfully, where the kit reads it."""
        successful = [name for name in RUN["jobs"] if ti.xcom_pull(task_ids=f"wait_{name}") is not None]
        _write(Path(RUN["outcome"]), json.dumps(successful))

    if submissions:
        barrier, outcome = all_submitted(), write_outcome()
        for submission in submissions:
            wait = TencentCIJobSensor(
                task_id=f"wait_{submission.task_id}",
                job_id=submission.output,
                trigger_rule="all_done",
                poke_interval=RUN["poll"],
                timeout=RUN["patience"],
                mode="poke",
                **COMMON,
            )
            submission >> barrier >> wait >> outcome
