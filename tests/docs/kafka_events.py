"""The DAGs of docs/events.md with Kafka."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_ci.assets.ended_jobs import unread_ended_jobs
from airflow_provider_ci.triggers.kafka import TencentCIKafkaJobsEndedTrigger

# [START watch]
TRIGGER = TencentCIKafkaJobsEndedTrigger(
    topics=["ci-jobs"], kafka_config_id="ckafka", tag="VoiceSeparate", input_prefix="in/"
)
SEPARATIONS = Asset("separations_by_kafka", watchers=[AssetWatcher(name="kafka", trigger=TRIGGER)])
# [END watch]

with DAG(dag_id="on_separation_by_kafka", schedule=[SEPARATIONS], catchup=False, max_active_runs=1):

    @task(inlets=[SEPARATIONS])
    def use(**context: Any) -> dict[str, str]:
        """Return the states of all jobs that no run has read so far."""
        with unread_ended_jobs(SEPARATIONS, context) as jobs:
            return {job["job_id"]: job["state"] for job in jobs}

    use()

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator  # noqa: E402

with DAG(dag_id="separate_with_kafka", schedule=None, catchup=False):
    # [START submit]
    VoiceSeparateOperator(
        task_id="submit",
        input_object="in/song.mp3",
        voice_object="out/${jobid}/voice.${ext}",
        audio_mode="IsAudio",
        callback_type="Kafka",
        callback_format="JSON",
        callback_kafka_config={
            "region": "ap-guangzhou",
            "instance_id": "ckafka-example",
            "topic": "ci-jobs",
        },
    )
    # [END submit]
