"""Tasks whose processes are killed at a random moment around submission: ours, and what most people write.

The run's configuration: the ``tag`` of the jobs, ``count`` tasks, the ``prefix`` of their inputs, a ``seed``,
and the connection as ``sdk``.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseOperator, task
from airflow.providers.common.compat.standard.operators import PythonOperator

from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from tests.job_samples import TAGS, job_of, request_for

ORIGIN = "https://demo-1250000000.cos.ap-guangzhou.myqcloud.com"
#: Of so many tries the first ones may be killed.
TRIES, KILLED_TRIES = int(os.environ.get("CI_E2E_TRIES", "4")), 2
#: Seconds after the start of ``execute`` in which the kill comes. Submitting takes 0.1 to 0.7 s of them.
WINDOW = 0.9
RETRIES = {"retries": TRIES - 1, "retry_delay": timedelta(0)}


def arm(context: Any) -> None:
    """Have this process killed, or the one that supervises it, in most of the first tries."""
    ti = context["ti"]
    chance = random.Random(f"{context['dag_run'].conf['seed']} {ti.dag_id} {ti.map_index} {ti.try_number}")
    if ti.try_number > KILLED_TRIES or chance.random() > 0.8:
        return
    # a task whose supervisor is killed lives on beside its retry, which comes only after 20 s
    victim = os.getppid() if chance.random() < 0.05 else os.getpid()
    moment = time.monotonic() + chance.uniform(0, WINDOW)

    def kill() -> None:
        time.sleep(max(moment - time.monotonic(), 0))
        os.kill(victim, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


class KilledOperator(TencentCIJobOperator):
    """The real operator in a process that may be killed."""

    def execute(self, context: Any) -> str:
        arm(context)
        return super().execute(context)


class KilledSensor(TencentCIJobSensor):
    """The real sensor in a process that may be killed."""

    def execute(self, context: Any) -> Any:
        arm(context)
        return super().execute(context)


@task
def jobs(dag_run: Any = None) -> list[dict[str, Any]]:
    """Return the arguments of each operator; each has an input and a folder for its results of its own."""
    tag, found = dag_run.conf["tag"], []
    for number in range(dag_run.conf["count"]):
        name = f"{dag_run.conf['prefix']}/{number}"
        job = job_of(tag, name, "")
        found.append({**job, "input_object": job["input_object"] and f"{name}.wav"})
    return found


def submit_with_the_sdk(job: dict[str, Any], **context: Any) -> str:
    """Submit as the SDK's documents show it, with its defaults: no durability, and it repeats the POST."""
    from qcloud_cos import CosConfig, CosS3Client

    arm(context)
    access = context["dag_run"].conf["sdk"]
    config = CosConfig(
        Region=access["region"],
        SecretId=access["login"],
        SecretKey=access["password"],
        Scheme="http",
        Domain=access["domain"],
    )
    request = request_for(job, access["bucket"], access["region"])
    answer = CosS3Client(config).ci_create_media_jobs(Bucket=access["bucket"], Jobs=request, Lst={})
    return str(answer["JobsDetail"][0]["JobId"])


def ours(dag_id: str, *, is_sensed: bool = False, **arguments: Any) -> DAG:
    with DAG(dag_id=dag_id, schedule=None, catchup=False, max_active_tasks=64) as dag:
        submitted = KilledOperator.partial(
            task_id="run", tencent_ci_conn_id="quick", poll_interval=2.0, **RETRIES, **arguments
        ).expand_kwargs(jobs())
        if is_sensed:
            KilledSensor.partial(
                task_id="sense", tencent_ci_conn_id="quick", deferrable=True, poke_interval=2.0, **RETRIES
            ).expand(job_id=submitted.output)
    return dag


killed_submit = ours("killed_submit")
killed_worker = ours("killed_worker", wait_for_completion=True)
killed_deferred = ours("killed_deferred", wait_for_completion=True, deferrable=True)
killed_sensed = ours("killed_sensed", is_sensed=True)

with DAG(dag_id="killed_types", schedule=None, catchup=False, max_active_tasks=64) as killed_types:
    of_each_type = KilledOperator.partial(
        task_id="run",
        tencent_ci_conn_id="quick",
        wait_for_completion=True,
        deferrable=True,
        poll_interval=2.0,
        **RETRIES,
    ).expand_kwargs([job_of(tag, f"killed_types/{tag}", ORIGIN) for tag in TAGS])
    KilledSensor(
        task_id="sense",
        tencent_ci_conn_id="quick",
        job_id=of_each_type.output,
        deferrable=True,
        poke_interval=2.0,
        **RETRIES,
    )

with DAG(dag_id="killed_naive", schedule=None, catchup=False, max_active_tasks=64) as killed_naive:
    operator: type[BaseOperator] = PythonOperator
    operator.partial(task_id="run", python_callable=submit_with_the_sdk, **RETRIES).expand(
        op_args=jobs().map(lambda job: [job])
    )
