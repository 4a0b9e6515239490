"""DAGs whose links to the console are looked at."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

REQUEST: dict[str, Any] = {
    "input_object": "in/speech_over_music.mp3",
    "voice_object": "out/${jobid}/voice.${ext}",
    "background_object": "out/${jobid}/background.${ext}",
    "audio_mode": "AudioAndBackground",
    "codec": "mp3",
    "wait_for_completion": True,
    "poll_interval": 0.2,
}

with DAG(dag_id="links", schedule=None, catchup=False) as links:
    deferred = VoiceSeparateOperator(task_id="deferred", deferrable=True, **REQUEST)
    waiting = VoiceSeparateOperator(task_id="waiting", **REQUEST)
    sense = TencentCIJobSensor(task_id="sense", job_id=waiting.output, deferrable=True)
    silent = VoiceSeparateOperator(task_id="silent", do_xcom_push=False, **REQUEST)
    deferred >> waiting >> sense >> silent

with DAG(dag_id="links_of_failures", schedule=None, catchup=False) as links_of_failures:
    VoiceSeparateOperator(task_id="never_sent", **(REQUEST | {"audio_mode": "{{ 'Nonsense' }}"}))
    failing: dict[str, Any] = REQUEST | {"input_object": "in/absent.mp3"}
    VoiceSeparateOperator(task_id="job_failed", **failing)
    VoiceSeparateOperator(task_id="job_failed_deferred", deferrable=True, **failing)
    VoiceSeparateOperator(task_id="silent_failed", do_xcom_push=False, **failing)
    VoiceSeparateOperator.partial(task_id="never_mapped", **REQUEST).expand(job_level=["high"])
    TencentCIJobSensor(task_id="no_job", job_id="{{ None }}")
    TencentCIJobSensor(task_id="no_job_deferred", job_id="{{ None }}", deferrable=True)
    VoiceSeparateBatchOperator(
        task_id="batch", prefix="{{ '/absent' }}", voice_object="out/${jobid}", audio_mode="IsAudio"
    )
