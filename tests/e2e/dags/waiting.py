"""Tasks that wait in the triggerer. How many, and of which input, is in the run's configuration."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from tests.patience import SLOWNESS

#: Seconds. On a slow machine, too, the task must have been deferred by then.
SHORT = max(8, 3 * SLOWNESS)

REQUEST = {
    "tencent_ci_conn_id": "held",
    "voice_object": "out/${jobid}.${ext}",
    "audio_mode": "IsAudio",
    "codec": "wav",
    "poll_interval": 1.0,
    "retries": 0,
}
RETRIED = {**REQUEST, "retries": 3, "retry_delay": timedelta(seconds=1)}
ONE = {**REQUEST, "input_object": "{{ dag_run.conf['prefix'] }}/0.wav"}


@task
def inputs(params: dict[str, Any] | None = None, dag_run: Any = None) -> list[str]:
    return [f"{dag_run.conf['prefix']}/{number}.wav" for number in range(dag_run.conf["count"])]


with DAG(dag_id="many", schedule=None, catchup=False) as many:
    VoiceSeparateOperator.partial(
        task_id="separate", wait_for_completion=True, deferrable=True, **REQUEST
    ).expand(input_object=inputs())

with DAG(dag_id="spread", schedule=None, catchup=False, max_active_tasks=64) as spread:
    VoiceSeparateOperator.partial(
        task_id="separate", wait_for_completion=True, deferrable=True, **RETRIED
    ).expand(input_object=inputs())

with DAG(dag_id="pooled", schedule=None, catchup=False) as pooled:
    VoiceSeparateOperator.partial(
        task_id="separate", pool="ci_jobs", wait_for_completion=True, deferrable=True, **RETRIED
    ).expand(input_object=inputs())

with DAG(dag_id="sensed", schedule=None, catchup=False) as sensed:
    submitted = VoiceSeparateOperator.partial(task_id="submit", **REQUEST).expand(input_object=inputs())
    TencentCIJobSensor(
        task_id="sense",
        tencent_ci_conn_id="held",
        job_id=submitted.output,
        deferrable=True,
        poke_interval=1,
        retries=0,
    )

with DAG(dag_id="one", schedule=None, catchup=False) as one:
    VoiceSeparateOperator(task_id="separate", wait_for_completion=True, deferrable=True, **ONE)

with DAG(dag_id="on_worker", schedule=None, catchup=False) as on_worker:
    VoiceSeparateOperator(
        task_id="separate", wait_for_completion=True, **{**ONE, "retries": 1, "retry_delay": timedelta(0)}
    )

with DAG(dag_id="short_timeout", schedule=None, catchup=False) as short_timeout:
    VoiceSeparateOperator(task_id="separate", wait_for_completion=True, deferrable=True, timeout=SHORT, **ONE)

with DAG(dag_id="short_execution", schedule=None, catchup=False) as short_execution:
    VoiceSeparateOperator(
        task_id="separate",
        wait_for_completion=True,
        deferrable=True,
        execution_timeout=timedelta(seconds=SHORT),
        **ONE,
    )

with DAG(dag_id="short_sensor", schedule=None, catchup=False) as short_sensor:
    one_job = VoiceSeparateOperator(task_id="submit", **ONE)
    TencentCIJobSensor(
        task_id="sense",
        tencent_ci_conn_id="held",
        job_id=one_job.output,
        deferrable=True,
        poke_interval=1,
        retries=0,
        soft_fail=True,
        execution_timeout=timedelta(seconds=SHORT),
    )
