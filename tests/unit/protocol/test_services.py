"""Services that are opened for a bucket."""

from __future__ import annotations

import pytest

from airflow_provider_ci.exceptions import InvalidRequestError
from airflow_provider_ci.protocol.job_types.known_types import JOB_TYPES
from airflow_provider_ci.protocol.services import BucketBinding, OpenBucket

from .builders import ci_request, error_body, rejection, response


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (OpenBucket(), ci_request("POST", "/asrbucket")),
        (OpenBucket("media"), ci_request("POST", "/mediabucket")),
        (OpenBucket("pic"), ci_request("POST", "/picbucket")),
        (OpenBucket("ai_"), ci_request("POST", "/ai_bucket")),
        (OpenBucket("file_"), ci_request("POST", "/file_bucket")),
    ],
)
def test_the_request_has_the_documented_form(call, expected):
    assert call.http_request() == expected


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (OpenBucket("../x"), "service is '../x'"),
        (OpenBucket("ai"), "service is 'ai', allowed: asr, media, pic, ai_, file_"),
    ],
)
def test_arguments_outside_the_documented_values_are_rejected(call, says):
    assert says in rejection(call)


@pytest.mark.parametrize(
    "code",
    [
        *("MediaBucketAlreadyBinded", "BucketAlreadyBinded", "1100"),
        *("AsrBucketAlreadyBinded", "ASRBucketAlreadyBinded", "PicBucketAlreadyBinded"),
    ],
)
def test_opening_a_service_that_is_open_is_no_error(code):
    for status in (200, 400, 403, 409):
        assert OpenBucket().parse(response(status, error_body(code))) is None


def test_opening_a_service_returns_the_bucket():
    for name in ("AsrBucket", "MediaBucket", "PicBucket", "AIBucket"):
        body = f"<Response><{name}><BucketId>a-1</BucketId></{name}></Response>"
        assert OpenBucket().parse(response(200, body)) == BucketBinding(bucket_id="a-1")
    assert OpenBucket().parse(response(200, "<Response/>")) == BucketBinding(), "opened, if tersely"
    with pytest.raises(InvalidRequestError):
        OpenBucket().parse(response(400, error_body("BindedBucketNumLimit")))


def test_every_type_of_job_needs_a_service_that_can_be_opened():
    for kind in JOB_TYPES.values():
        assert OpenBucket(kind.service).http_request().path == f"/{kind.service}bucket"
