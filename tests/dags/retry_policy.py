"""Tasks with the retry policy, whose waits are left out; without it, each retry waits 15 minutes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

# [START retry_policy]
from airflow_provider_ci.retry_policy import tencent_ci_retry_policy

default_args = {
    "retries": 5,
    "retry_delay": timedelta(minutes=15),
    "retry_policy": tencent_ci_retry_policy(),
}
# [END retry_policy]


def leave_out_waits(policy: Any) -> None:
    if policy is not None:  # there is one from Airflow 3.3 on
        policy.rules = [replace(rule, retry_delay=rule.retry_delay and timedelta(0)) for rule in policy.rules]


leave_out_waits(default_args["retry_policy"])
with DAG(dag_id="retry_policy", schedule=None, catchup=False, default_args=default_args) as dag:
    request = {"audio_mode": "IsAudio", "voice_object": "out/${jobid}.mp3"}
    VoiceSeparateOperator.partial(task_id="separate", **request).expand(input_object=["in/a.mp3"])

# What the policy leaves to the task's own delay is retried at once: a wrong policy shows as more jobs
with DAG(
    dag_id="retry_policy_missing_input",
    schedule=None,
    catchup=False,
    default_args=default_args | {"retry_delay": timedelta(0)},
):
    VoiceSeparateOperator(
        task_id="separate",
        input_object="in/missing.mp3",
        wait_for_completion=True,
        poll_interval=1,
        **request,
    )
