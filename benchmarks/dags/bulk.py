"""Many files in one bulk task, and in three other ways: for ``python -m benchmarks.bulk``.

The run's configuration: ``count`` files under ``<dag_id>/``, the emulator's address as ``url``, and a file
``memory`` to which the bulk tasks append what their processes have needed.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator
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

#: Far above what the machine can do.
RATE = 1000.0
THREADS = 16
REQUEST: dict[str, Any] = {
    "task_id": "separate",
    "tencent_ci_conn_id": "media",
    "audio_mode": "IsAudio",
    "codec": "wav",
    "deferrable": True,
    "poll_interval": POLL_SECONDS,
}


@contextmanager
def measured(context: Any) -> Iterator[None]:
    """Append the bytes that this process has at the begin and has had at most by the end."""
    begin = _resident()
    try:
        yield
    finally:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        with Path(context["dag_run"].conf["memory"]).open("a") as file:
            file.write(json.dumps({"begin": begin, "peak": peak}) + "\n")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class MeasuredBulkOperator(VoiceSeparateBulkOperator):
    """The real operator; what its processes need is written down."""

    def execute(self, context: Any) -> Any:
        """Submit, and wait."""
        with measured(context):
            return super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Continue."""
        with measured(context):
            return super().resume_execution(next_method, next_kwargs, context)


@task
def inputs(dag_run: Any = None) -> list[str]:
    return [f"{dag_run.dag_id}/{number}.wav" for number in range(dag_run.conf["count"])]


def bulk(dag_id: str, **arguments: Any) -> None:
    MeasuredBulkOperator(
        voice_object=f"out/{dag_id}/${{InputName}}-${{jobid}}.${{ext}}",
        max_submissions_per_second=RATE,
        allow_failed=1,
        **REQUEST,
        **arguments,
    )


with DAG(dag_id="bulk", schedule=None):
    bulk("bulk", input_objects=inputs())

with DAG(dag_id="bulk_prefix", schedule=None):
    bulk("bulk_prefix", prefix="bulk_prefix/")

with DAG(dag_id="mapped", schedule=None, max_active_tasks=1000):
    VoiceSeparateOperator.partial(
        voice_object="out/${jobid}.${ext}", wait_for_completion=True, **REQUEST
    ).expand(input_object=inputs())


@task
def separate_with_threads(keys: list[str], dag_run: Any = None) -> int:
    """Submit with a pool of threads, then poll ten jobs at a time."""
    client = sdk_client(dag_run.conf["url"])

    def submit(key: str) -> str:
        answer = client.ci_create_media_jobs(Bucket=BUCKET, Jobs=job_of(key), Lst={})
        return str(answer["JobsDetail"][0]["JobId"])

    def describe(ids: list[str]) -> list[dict[str, Any]]:
        found = client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=",".join(ids))["JobsDetail"]
        return list(found)

    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [*pool.map(submit, keys)]
        while waiting:
            time.sleep(POLL_SECONDS)
            tens = [waiting[start : start + 10] for start in range(0, len(waiting), 10)]
            jobs = [job for found in pool.map(describe, tens) for job in found]
            if any(job["State"] in ("Failed", "Cancel") for job in jobs):
                raise RuntimeError("a job has failed")
            waiting = [job["JobId"] for job in jobs if job["State"] != "Success"]
    return len(keys)


with DAG(dag_id="sdk_threads", schedule=None):
    separate_with_threads(inputs())

with DAG(dag_id="http_mapped", schedule=None, max_active_tasks=1000):
    from airflow.providers.http.operators.http import HttpOperator
    from airflow.providers.http.sensors.http import HttpSensor

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
