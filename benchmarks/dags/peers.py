"""Requests as they are written without the provider: for Tencent's SDK, and for ``HttpOperator``."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow.providers.common.compat.sdk import BaseHook
from requests.auth import AuthBase

from benchmarks.dags import BUCKET, REGION

#: Seconds for which a signature that was made beforehand is valid.
VALID = 7200


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


def sdk_client(url: str) -> Any:
    """Return a client of Tencent's SDK for the emulator at ``url``, with the keys of the connection."""
    from qcloud_cos import CosConfig, CosS3Client

    access = BaseHook.get_connection("media")
    config = CosConfig(
        Region=REGION,
        SecretId=access.login,
        SecretKey=access.password,
        Scheme="http",
        Domain=urlsplit(url).netloc,
    )
    return CosS3Client(config)


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
