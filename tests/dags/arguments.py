"""DAGs whose tasks get their arguments in the ways in which Airflow hands them over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_ci.operators.cancel import TencentCICancelJobOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

OUTPUTS: dict[str, Any] = {
    "voice_object": "out/${jobid}/voice.${ext}",
    "background_object": "out/${jobid}/background.${ext}",
    "audio_mode": "AudioAndBackground",
    "codec": "mp3",
}
REQUEST: dict[str, Any] = {"input_object": "in/speech_over_music.mp3", **OUTPUTS}

with DAG(
    "deferrable_argument", schedule=None, default_args={"poll_interval": timedelta(seconds=0.2)}
) as deferrable_argument:
    VoiceSeparateOperator(task_id="one", deferrable=True, **REQUEST)
    VoiceSeparateOperator.partial(task_id="mapped", deferrable=True, **REQUEST).expand(job_level=[0])
    VoiceSeparateOperator.partial(task_id="texts", **REQUEST).expand_kwargs(
        [{"deferrable": "true", "durable": "false"}, {"wait_for_completion": "false", "deferrable": "true"}]
    )
    VoiceSeparateBatchOperator(task_id="batch", prefix="in/", deferrable=True, **OUTPUTS)

with DAG(
    "deferrable_by_default_args", schedule=None, default_args={"deferrable": True}
) as deferrable_by_default_args:
    VoiceSeparateOperator(task_id="one", poll_interval=0.2, **REQUEST)
    VoiceSeparateOperator.partial(task_id="mapped", poll_interval=0.2, **REQUEST).expand(job_level=[0])

RETRIED = {"retries": 2, "retry_delay": timedelta(0)}
with DAG("never_retried", schedule=None, default_args=RETRIED) as never_retried:
    none = "{{ ti.xcom_pull('nothing') }}"
    VoiceSeparateOperator(task_id="input", **(REQUEST | {"input_object": none}))
    VoiceSeparateOperator(task_id="codec", **(REQUEST | {"codec": "{{ 'ogg' }}"}))
    VoiceSeparateOperator.partial(task_id="mapped", **REQUEST).expand_kwargs([{"durable": "perhaps"}])
    VoiceSeparateBatchOperator(task_id="batch", prefix=none, **OUTPUTS)
    TencentCIJobSensor(task_id="sensor", job_id=none)
    TencentCIJobSensor(task_id="deferred", job_id=none, deferrable=True)
    TencentCIJobSensor(task_id="soft", job_id=none, soft_fail=True)
    TencentCICancelJobOperator(task_id="cancel", job_id="{{ ['a', 'b'] }}")
    TencentCICancelJobOperator(task_id="place", job_id="j1", tencent_ci_conn_id="without_region")

with DAG(
    "never_retried_native", schedule=None, default_args=RETRIED, render_template_as_native_obj=True
) as never_retried_native:
    VoiceSeparateOperator(task_id="number", **(REQUEST | {"input_object": "{{ '20260101' }}"}))
    VoiceSeparateOperator(
        task_id="nothing", **(REQUEST | {"background_object": "{{ none }}", "audio_mode": "IsAudio"})
    )

with DAG("never_retried_outputs", schedule=None, default_args=RETRIED) as never_retried_outputs:

    @task
    def give_nothing() -> None:
        return None

    @task(multiple_outputs=False)  # Airflow 3.0 refuses None as an XCom of its own
    def give_no_bound() -> dict[str, None]:
        return {"start": None}

    @task
    def give_list() -> list[str]:
        return ["in/speech_over_music.mp3"]

    nothing, no_bound, several = give_nothing(), give_no_bound(), give_list()
    VoiceSeparateBatchOperator(task_id="all", prefix="in/", time_interval=nothing, **OUTPUTS)
    VoiceSeparateBatchOperator(task_id="unbound", prefix="in/", time_interval=no_bound, **OUTPUTS)
    VoiceSeparateOperator(task_id="list", **(REQUEST | {"input_object": several}))
    TencentCIJobSensor.partial(task_id="sensor", job_id="j1").expand(poke_interval=["5"])
