"""The DAGs of docs/tutorial.md. Each is a file of its own there."""

# ruff: noqa: E402 - each excerpt is a whole file

from __future__ import annotations

# [START first]
from airflow.sdk import DAG  # Airflow 2.11: from airflow import DAG

from airflow_provider_ci.operators.cos import TencentCOSDownloadOperator, TencentCOSUploadOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

with DAG("first_voice", schedule=None):
    upload = TencentCOSUploadOperator(
        task_id="upload",
        path="/tmp/tutorial/song.mp3",
        key="in/song.mp3",
    )
    separate = VoiceSeparateOperator(
        task_id="separate",
        input_object=upload.output,
        voice_object="out/${jobid}/voice.${ext}",
        audio_mode="IsAudio",
        codec="mp3",
        wait_for_completion=True,
    )
    download = TencentCOSDownloadOperator(
        task_id="download",
        key="{{ ti.xcom_pull('separate', key='job')['outputs']['voice']['object'] }}",
        path="/tmp/tutorial/voice.mp3",
    )
    separate >> download
# [END first]

# [START production]
import logging
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.retry_policy import tencent_ci_retry_policy


def alert(context):
    """Send it to your pager or chat instead of the log."""
    logging.getLogger(__name__).error("%s failed: %s", context["ti"].task_id, context["exception"])


with DAG(
    "separate_song",
    schedule=None,
    params={"input_object": "in/song.mp3"},
    default_args={
        "retries": 5,
        "retry_delay": timedelta(minutes=10),
        "retry_policy": tencent_ci_retry_policy(),
        "on_failure_callback": alert,
    },
):
    VoiceSeparateOperator(
        task_id="separate",
        input_object="{{ params.input_object }}",
        voice_object="out/{{ run_id }}/voice.${ext}",
        audio_mode="IsAudio",
        codec="mp3",
        check_input=True,
        deferrable=True,
        timeout=timedelta(hours=2),
    )
# [END production]

from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator

with DAG("nightly", schedule=None):
    # [START bulk]
    VoiceSeparateBulkOperator(
        task_id="separate_all",
        prefix="in/{{ ds }}/",
        include=["*.mp3", "*.wav"],
        voice_object="out/{{ ds }}/${InputName}-${jobid}.${ext}",
        audio_mode="IsAudio",
        codec="mp3",
        allow_failed=0.01,
        max_minutes=10_000,
        deferrable=True,
    )
    # [END bulk]
