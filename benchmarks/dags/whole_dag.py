"""One mapped task (or two) for each of many files, in four ways: for ``python -m benchmarks.whole_dag``.

The run's configuration: ``count`` files under ``<dag_id>/``, and the emulator's address as ``url``.
"""

from __future__ import annotations

import time
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from benchmarks.dags import BUCKET, POLL_SECONDS
from benchmarks.dags.peers import (
    SignedAuth,
    body_of,
    has_succeeded,
    job_id_of,
    job_of,
    presigned,
    sdk_client,
)


@task
def inputs(dag_run: Any = None) -> list[str]:
    return [f"{dag_run.dag_id}/{number}.wav" for number in range(dag_run.conf["count"])]


def ours(dag_id: str, **arguments: Any) -> None:
    with DAG(dag_id=dag_id, schedule=None, max_active_tasks=1000):
        VoiceSeparateOperator.partial(
            task_id="separate",
            tencent_ci_conn_id="media",
            voice_object="out/${jobid}.${ext}",
            audio_mode="IsAudio",
            codec="wav",
            wait_for_completion=True,
            poll_interval=POLL_SECONDS,
            **arguments,
        ).expand(input_object=inputs())


ours("ours_deferrable", deferrable=True)
ours("ours_sync")


@task
def separate_with_the_sdk(key: str, dag_run: Any = None) -> str:
    """Submit, then poll, as the SDK's documents show it."""
    client = sdk_client(dag_run.conf["url"])
    answer = client.ci_create_media_jobs(Bucket=BUCKET, Jobs=job_of(key), Lst={})
    job_id = str(answer["JobsDetail"][0]["JobId"])
    while True:
        time.sleep(POLL_SECONDS)
        job = client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=job_id)["JobsDetail"][0]
        if job["State"] in ("Failed", "Cancel"):
            raise RuntimeError(job["Message"])
        if job["State"] == "Success":
            return job_id


with DAG(dag_id="python_sdk", schedule=None, max_active_tasks=1000):
    separate_with_the_sdk.expand(key=inputs())


try:
    from airflow.providers.http.operators.http import HttpOperator
    from airflow.providers.http.sensors.http import HttpSensor
except ImportError:  # then there is no such DAG, and the benchmark says what to install
    pass
else:
    with DAG(dag_id="http", schedule=None, max_active_tasks=1000):
        submitted = HttpOperator.partial(
            task_id="submit",
            http_conn_id="media_http",
            endpoint="/jobs",
            method="POST",
            auth_type=SignedAuth,
            response_filter=job_id_of,
            warn_on_non_idempotent=False,
        ).expand(data=inputs().map(body_of))
        HttpSensor.partial(
            task_id="wait",
            http_conn_id="media_http_without_login",
            response_check=has_succeeded,
            mode="reschedule",
            poke_interval=POLL_SECONDS,
        ).expand_kwargs(submitted.output.map(presigned))
