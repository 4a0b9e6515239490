"""Tasks of every kind, most of which fail: what they leave behind is searched for secrets."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.hooks import instance_role
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.operators.voice_separate_template import VoiceSeparateTemplateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

# the machine that the tests run on has no metadata service
instance_role.METADATA_URL = os.environ["SCANNED_METADATA_URL"]

NO_PAUSE = {"retry_delay": timedelta(0)}
ENCODING = {"audio_mode": "IsAudio", "codec": "wav"}


def separate(task_id: str, key: str, conn_id: str = "marked", **arguments: Any) -> VoiceSeparateOperator:
    return VoiceSeparateOperator(
        task_id=task_id,
        tencent_ci_conn_id=conn_id,
        input_object=f"in/{key}.wav",
        voice_object="out/${jobid}.${ext}",
        poll_interval=0.5,
        **ENCODING,
        **({"wait_for_completion": True} | arguments),
    )


with DAG(dag_id="scanned", schedule=None, catchup=False, default_args=NO_PAUSE) as dag:
    # the machine may be too busy for Airflow to start a task
    done = separate("sync", "0", retries=2)
    separate("deferred", "0", deferrable=True, retries=2)
    TencentCIJobSensor(
        task_id="sense", tencent_ci_conn_id="marked", job_id=done.output, poke_interval=0.5, retries=2
    )
    TencentCIJobSensor(
        task_id="sense_deferred", tencent_ci_conn_id="marked", job_id=done.output, deferrable=True, retries=2
    )
    VoiceSeparateBatchOperator(
        task_id="batch",
        tencent_ci_conn_id="marked",
        prefix="in/0",
        voice_object="out/${InventoryTriggerJobId}/${InputName}-${jobid}.${ext}",
        wait_for_completion=True,
        poll_interval=0.5,
        retries=2,
        **ENCODING,
    )
    VoiceSeparateTemplateOperator(
        task_id="template", tencent_ci_conn_id="marked", name="scanned", retries=2, **ENCODING
    )
    separate("assumed", "0", "assumed", retries=2)
    separate("assumed_deferred", "0", "assumed", deferrable=True, retries=2)
    separate("instance", "0", "instance", wait_for_completion=False, retries=2)
    separate("job_failed", "absent")
    separate("wrong_key", "0", "wrong")
    separate("quoted", "quoted")
    separate("polled", "polled", deferrable=True)
    separate("ambiguous", "ambiguous")
    separate("slow", "slow")
    separate("dead", "0", "dead")
    separate("refused_role", "0", "refused")
