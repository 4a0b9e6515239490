"""Looking at objects: what the headers and the media information tell."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_provider_ci.exceptions import (
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RequestValidationError,
)
from airflow_provider_ci.protocol.objects import (
    GetMediaInfo,
    GetObject,
    HeadObject,
    ListedObject,
    ListObjects,
    ObjectHead,
    PutObject,
)
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
    assert len(caught.value.message) < 400


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


def listing(*contents: str, more: str = "", encoded: bool = True) -> str:
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    return f"<ListBucketResult><Name>b</Name>{encoding}{more}{''.join(contents)}</ListBucketResult>"


def entry(key: str, further: str = "") -> str:
    return f"<Contents><Key>{key}</Key><Size>5</Size>{further}</Contents>"


def test_a_list_is_requested_with_keys_that_xml_can_carry():
    assert ListObjects("in/声", "in/a").http_request() == HttpRequest(
        method="GET",
        service=Service.COS,
        path="/",
        params=(("prefix", "in/声"), ("marker", "in/a"), ("encoding-type", "url"), ("max-keys", "1000")),
    )


def test_a_page_of_a_list():
    further = (
        '<LastModified>2025-01-02T03:04:05.000Z</LastModified><ETag>"e"</ETag>'
        "<StorageClass>INTELLIGENT_TIERING</StorageClass><StorageTier>ARCHIVE</StorageTier>"
    )
    body = listing(
        entry("in/%E5%A3%B0%20a%2Bb.mp3", further),
        entry("in/b"),
        more="<IsTruncated>true</IsTruncated><NextMarker>in/%E5%A3%B0</NextMarker>",
    )
    page = ListObjects("in/").parse(response(200, body))
    first, second = ListObjects("in/").items(page)
    assert first == ListedObject(
        key="in/声 a+b.mp3",
        size=5,
        storage_class="INTELLIGENT_TIERING",
        storage_tier="ARCHIVE",
        last_modified=datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
        etag='"e"',
    )
    assert (second.key, second.storage_class) == ("in/b", "STANDARD")
    assert ListObjects("in/").next_page(page) == ListObjects("in/", "in/声")


def test_keys_that_the_service_did_not_encode_stay_as_they_are():
    page = ListObjects().parse(response(200, listing(entry("a%20b"), encoded=False)))
    assert [each.key for each in page.contents] == ["a%20b"]
    assert ListObjects().next_page(page) is None


def test_without_a_marker_the_next_page_begins_after_the_last_key():
    page = ListObjects().parse(
        response(200, listing(entry("a"), entry("b%2B"), more="<IsTruncated>true</IsTruncated>"))
    )
    assert ListObjects().next_page(page) == ListObjects("", "b+")


@pytest.mark.parametrize("contents", [[], [entry("a")]])
def test_a_list_that_does_not_move_on_is_an_error(contents):
    more = "<IsTruncated>true</IsTruncated><NextMarker>a</NextMarker>"
    with pytest.raises(InvalidResponseError, match="Cannot list the objects: NextMarker is 'a' again"):
        ListObjects("", "a").parse(response(200, listing(*contents, more=more)))


@pytest.mark.parametrize(
    ("storage_class", "tier", "may_be"),
    [
        ("STANDARD", None, False),
        ("DEEP_ARCHIVE", None, True),
        ("INTELLIGENT_TIERING", None, True),
        ("INTELLIGENT_TIERING", "FREQUENT", False),
        ("INTELLIGENT_TIERING", "DEEP_ARCHIVE", True),
    ],
)
def test_whether_a_listed_object_may_be_archived(storage_class, tier, may_be):
    listed = ListedObject(key="a", storage_class=storage_class, storage_tier=tier)
    assert listed.may_be_archived is may_be
