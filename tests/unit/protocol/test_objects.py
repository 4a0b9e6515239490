"""Looking at objects: what the headers and the media information tell."""

from __future__ import annotations

import pytest

from airflow_provider_ci.exceptions import (
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RequestValidationError,
)
from airflow_provider_ci.protocol.objects import GetMediaInfo, GetObject, HeadObject, ObjectHead, PutObject
from airflow_provider_ci.protocol.wire import HttpRequest, Service

from .builders import BUCKET, response


def test_what_is_sent():
    assert HeadObject("in/人.mp3").http_request() == HttpRequest(
        method="HEAD", service=Service.COS, path="/in/人.mp3"
    )
    assert GetMediaInfo("in/a").http_request() == HttpRequest(
        method="GET", service=Service.COS, path="/in/a", params=(("ci-process", "videoinfo"),)
    )


def test_the_headers_describe_an_object():
    head = HeadObject("a").parse(
        response(
            200,
            content_length="12",
            etag='"e"',
            content_type="audio/mpeg",
            x_cos_storage_class="MAZ_STANDARD",
        )
    )
    assert head == ObjectHead(size=12, storage_class="MAZ_STANDARD", etag='"e"', content_type="audio/mpeg")
    assert HeadObject("a").parse(response(200, content_length="0")).storage_class == "STANDARD"


@pytest.mark.parametrize(
    ("headers", "archived"),
    [
        ({}, False),
        ({"x_cos_storage_class": "STANDARD_IA"}, False),
        ({"x_cos_storage_class": "ARCHIVE"}, True),
        ({"x_cos_storage_class": "DEEP_ARCHIVE"}, True),
        ({"x_cos_storage_class": "INTELLIGENT_TIERING", "x_cos_storage_tier": "FREQUENT"}, False),
        ({"x_cos_storage_class": "INTELLIGENT_TIERING", "x_cos_storage_tier": "ARCHIVE"}, True),
        ({"x_cos_storage_class": "ARCHIVE", "x_cos_restore": 'ongoing-request="true"'}, True),
        (
            {"x_cos_storage_class": "ARCHIVE", "x_cos_restore": 'ongoing-request="false", expiry-date="…"'},
            False,
        ),
    ],
)
def test_whether_it_must_be_restored_first(headers, archived):
    assert HeadObject("a").parse(response(200, content_length="1", **headers)).is_archived is archived


@pytest.mark.parametrize(
    "length",
    [None, "", "-1", "many", "１", "5, 5", "9" * 19, pytest.param("9" * 5000, id="thousands of digits")],
)
def test_a_length_that_is_none(length):
    headers = {} if length is None else {"content_length": length}
    with pytest.raises(InvalidResponseError, match="Content-Length") as caught:
        HeadObject("a").parse(response(200, **headers))
    assert len(str(caught.value)) < 400


def test_errors_without_a_body():
    with pytest.raises(NotFoundError, match="Cannot look at the object"):
        HeadObject("a").parse(response(404))
    with pytest.raises(PermissionDeniedError):
        HeadObject("a").parse(response(403))


def test_media_information():
    body = (
        "<Response><MediaInfo><Format><Duration>13.0</Duration></Format>"
        "<Stream><Audio><Channel>2</Channel></Audio><Video/></Stream></MediaInfo></Response>"
    )
    info = GetMediaInfo("a").parse(response(200, body))
    assert info.format.duration == 13.0
    assert [stream.channel for stream in info.stream.audio] == [2]
    assert info.stream.video == ()
    with pytest.raises(InvalidResponseError, match="no MediaInfo"):
        GetMediaInfo("a").parse(response(200, "<Response/>"))


@pytest.mark.parametrize("call", [HeadObject, GetObject, GetMediaInfo, lambda key: PutObject(key, "md5")])
@pytest.mark.parametrize(
    "address",
    [
        f"cos://{BUCKET}/in/a%20b.mp3",
        f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/in/a%20b.mp3?sign=hush",
    ],
)
def test_an_address_is_no_key(call, address):
    with pytest.raises(RequestValidationError, match="object key is") as caught:
        call(address).http_request()
    assert f"allowed: a key: write bucket='{BUCKET}', key='in/a b.mp3'" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_key_may_look_like_another_address():
    assert HeadObject("http://example.org/a.mp3").http_request().path == "/http://example.org/a.mp3"
