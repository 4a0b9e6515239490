"""The smallest valid request and answer, with single parts replaced by the tests. A part that is replaced by
``None`` is absent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.wire import Endpoint, HttpRequest, HttpResponse, Service
from airflow_provider_ci.protocol.xml import parse_document, read

BUCKET = "media-1250000001"
REGION = "ap-guangzhou"
ENDPOINT = Endpoint(bucket=BUCKET, region=REGION)
JOB_ID = "j8d121820f5e411ec926ef19d53ba9c6f"
OTHER_ID = "jaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"


def output(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "Region": REGION,
        "Bucket": BUCKET,
        "Object": "out/${jobid}/background.${ext}",
        "AuObject": "out/${jobid}/voice.${ext}",
    }
    return values | changes


def operation(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "VoiceSeparate": {"AudioMode": "AudioAndBackground"},
        "Output": output(),
    }
    return values | changes


def request(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "Tag": "VoiceSeparate",
        "Input": {"Object": "in/song.mp3"},
        "Operation": operation(),
    }
    return values | changes


def encoding(mode: str = "AudioAndBackground", **config: Any) -> dict[str, Any]:
    """Return a request with this encoding of its results, in ``AudioConfig``."""
    return request(Operation=operation(VoiceSeparate={"AudioMode": mode, "AudioConfig": config}))


def response(status: int = 200, body: bytes | str = b"", **headers: str) -> HttpResponse:
    """Return an answer; ``x_ci_request_id="…"`` is the header ``x-ci-request-id``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, named, body.encode() if isinstance(body, str) else body)


def error_body(code: str, message: str = "Said by the service.", extra: str = "") -> str:
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>"


def ci_request(method: str, path: str, *params: tuple[str, str], body: bytes = b"") -> HttpRequest:
    """Return a request to CI."""
    return HttpRequest(method=method, service=Service.CI, path=path, params=params, body=body)


def parsed(model: Any, content: str) -> Any:
    """Return a response with ``content`` as ``model``."""
    return read(model, parse_document(f"<Response>{content}</Response>".encode()))


def rejection(call: ApiRequest[Any]) -> str:
    """Return the message of the error that ``call`` raises instead of being sent."""
    with pytest.raises(RequestValidationError, match="Nothing was sent") as caught:
        call.http_request()
    return str(caught.value)
