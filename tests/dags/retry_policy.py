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


def dag_that_waits(dag_id: str, policy: Any = None, **how: Any) -> DAG:
    """Return a DAG whose retries come at once, so that a wrong decision shows as more paid jobs."""
    arguments = {"retries": 5, "retry_delay": timedelta(0), "poll_interval": 1}
    arguments |= {} if policy is None else {"retry_policy": policy}
    with DAG(dag_id=dag_id, schedule=None, catchup=False, default_args=arguments) as dag:
        VoiceSeparateOperator(task_id="separate", input_object="in/bad.mp3", **request, **how)
    return dag


retries_and_policy = dag_that_waits(
    "retries_and_policy", default_args["retry_policy"], wait_for_completion=True
)
retries_alone = dag_that_waits("retries_alone", wait_for_completion=True)
retries_alone_deferrable = dag_that_waits("retries_alone_deferrable", deferrable=True)
