"""Every way to run a job, for the fault campaign: the run's configuration names the inputs of each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task, task_group

from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

RETRIES = {"retries": 5, "retry_delay": timedelta(seconds=5)}
JOB = {"tencent_ci_conn_id": "faulty", "audio_mode": "IsAudio", "codec": "wav", **RETRIES}
TRANSCODING = {
    "Transcode": {"Container": {"Format": "mp3"}, "Audio": {"Codec": "mp3"}},
    "Output": {"Object": "out/${jobid}.mp3"},
}
SEPARATE = {**JOB, "voice_object": "out/${jobid}.${ext}"}


@task(retries=5, retry_delay=timedelta(seconds=1))
def inputs(way: str, dag_run: Any = None) -> list[str]:
    keys: list[str] = dag_run.conf["inputs"][way]
    return keys


@task_group
def pair(key: Any) -> None:
    """Transcodings, so that the weather meets more than one type of job."""
    submit = TencentCIJobOperator(
        task_id="submit",
        tencent_ci_conn_id="faulty",
        tag="Transcode",
        input_object=key,
        operation=TRANSCODING,
        **RETRIES,
    )
    TencentCIJobSensor(
        task_id="sense",
        tencent_ci_conn_id="faulty",
        job_id=submit.output,
        deferrable=True,
        poke_interval=2,
        timeout=3600,
        **RETRIES,
    )


with DAG(dag_id="faulty", schedule=None, catchup=False, max_active_tasks=64) as faulty:
    VoiceSeparateOperator.partial(
        task_id="sync", wait_for_completion=True, check_input=True, poll_interval=2.0, **SEPARATE
    ).expand(input_object=inputs.override(task_id="sync_inputs")("sync"))
    VoiceSeparateOperator.partial(
        task_id="deferrable", wait_for_completion=True, deferrable=True, poll_interval=2.0, **SEPARATE
    ).expand(input_object=inputs.override(task_id="deferrable_inputs")("deferrable"))
    pair.expand(key=inputs.override(task_id="sensed_inputs")("sensed"))
    VoiceSeparateBatchOperator.partial(
        task_id="batch",
        voice_object="out/${InputName}-${jobid}.${ext}",
        wait_for_completion=True,
        deferrable=True,
        poll_interval=2.0,
        **JOB,
    ).expand(prefix=inputs.override(task_id="batch_inputs")("batch"))
