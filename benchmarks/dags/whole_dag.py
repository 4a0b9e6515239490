"""One mapped task (or two) for each of many files, in four ways: for ``python -m benchmarks.whole_dag``.

The run's configuration: ``count`` files under ``<dag_id>/``, and the emulator's address as ``url``.
"""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow.providers.common.compat.sdk import DAG, BaseHook, task
from requests.auth import AuthBase

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from benchmarks.dags import BUCKET, POLL_SECONDS, REGION

#: Seconds for which a signature that was made beforehand is valid.
VALID = 7200


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


def job_of(key: str) -> dict[str, Any]:
    """Return the request as the SDK takes it."""
    return {
        "Tag": "VoiceSeparate",
        "Input": {"Object": key},
        "Operation": {
            "VoiceSeparate": {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "wav"}},
            "Output": {"Region": REGION, "Bucket": BUCKET, "AuObject": "out/${jobid}.${ext}"},
        },
    }


@task
def separate_with_the_sdk(key: str, dag_run: Any = None) -> str:
    """Submit, then poll, as the SDK's documents show it."""
    from qcloud_cos import CosConfig, CosS3Client

    access = BaseHook.get_connection("media")
    config = CosConfig(
        Region=REGION,
        SecretId=access.login,
        SecretKey=access.password,
        Scheme="http",
        Domain=urlsplit(dag_run.conf["url"]).netloc,
    )
    client = CosS3Client(config)
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


def authorization(method: str, path: str, host: str, login: str, password: str) -> str:
    from airflow_provider_ci.protocol.signing import sign

    now = int(time.time())
    key_time = (now - 60, now + VALID)
    headers = [("host", host)]
    return sign(method, path, [], headers, secret_id=login, secret_key=password, key_time=key_time)


class SignedAuth(AuthBase):
    """Signs each request of an ``HttpOperator``, whose ``auth_type`` it is."""

    def __init__(self, login: str, password: str) -> None:
        self.access = (login, password)

    def __call__(self, r: Any) -> Any:
        """Sign ``r``."""
        parts = urlsplit(r.url)
        r.headers["Authorization"] = authorization(r.method, unquote(parts.path), parts.netloc, *self.access)
        return r


def body_of(key: str) -> str:
    return (
        f"<Request><Tag>VoiceSeparate</Tag><Input><Object>{key}</Object></Input><Operation><VoiceSeparate>"
        "<AudioMode>IsAudio</AudioMode><AudioConfig><Codec>wav</Codec></AudioConfig></VoiceSeparate><Output>"
        f"<Region>{REGION}</Region><Bucket>{BUCKET}</Bucket><AuObject>out/${{jobid}}.${{ext}}</AuObject>"
        "</Output></Operation></Request>"
    )


def presigned(job_id: str) -> dict[str, Any]:
    """Return the arguments of a sensor. It has no ``auth_type``, so its request is signed beforehand."""
    access = BaseHook.get_connection("media_http")
    path = f"/jobs/{job_id}"
    signed = authorization("GET", path, urlsplit(access.host).netloc, str(access.login), str(access.password))
    return {"endpoint": path, "headers": {"Authorization": signed}}


def job_id_of(response: Any) -> str:
    found = re.search("<JobId>(.*?)</JobId>", response.text)
    assert found, response.text
    return found[1]


def has_succeeded(response: Any) -> bool:
    found = re.search("<State>(.*?)</State>", response.text)
    if not found or found[1] in ("Failed", "Cancel"):
        raise RuntimeError(response.text)
    return found[1] == "Success"


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
