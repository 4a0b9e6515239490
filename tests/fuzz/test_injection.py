"""What users and templates put into arguments never changes host, path or headers of a request.

Either a ``ValueError`` that names the field comes before anything is sent, or the bytes on the wire have
exactly the host, the headers and the path that were meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.hooks import clock
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.batches import CancelBatch, CreateBatch, DescribeBatch, ListBatches
from airflow_provider_ci.protocol.jobs import CancelJobs, DescribeJobs, ListJobs, SubmitJob
from airflow_provider_ci.protocol.objects import GetMediaInfo, HeadObject
from airflow_provider_ci.protocol.templates import DeleteTemplate
from airflow_provider_ci.protocol.wire import Service
from tests.conftest import BUCKET, REGION
from tests.unit.protocol import builders

from .clients import TRANSPORTS, settings_for
from .effort import effort
from .wire import RawServer

PIECES = (
    *(
        "\r\n",
        "\n",
        "\r",
        "\x00",
        "\t",
        " ",
        "\x0b",
        "\x0c",
        "\x1b",
        "\x7f",
        "\x85",
        "\u2028",
        "\u00a0",
        "\ud800",
        "\ufeff",
    ),
    *(
        "@",
        "#",
        "?",
        "/",
        "\\",
        "..",
        ".",
        "./",
        "/../",
        "//",
        "%2f",
        "%2e%2e",
        "%0d%0a",
        "%00",
        "%",
        ":",
        ";",
        "&",
        "=",
        ",",
    ),
    *(
        "\u2024",
        "\uff0e",
        "\u3002",
        "\uff0f",
        "\u2044",
        "\u0430",
        "\u00e9",
        "e\u0301",
        "人",
        "𝒳",
        "xn--e1afmkfd",
        "İ",
    ),
    *(
        "host:80",
        "user:pass@",
        "[::1]",
        "evil.example.org",
        "http://evil.example.org/",
        "HTTP/1.1",
        "Host: evil",
    ),
    *(
        "\r\nHost: evil\r\n",
        "\r\n\r\nGET /evil HTTP/1.1\r\n",
        "?cancel",
        "j1",
        "a-1250000001",
        "ap-guangzhou",
        "+",
        "~",
    ),
    *(
        "${jobid}",
        "{{ x }}",
        "<a/>",
        "]]>",
        "&amp;",
        "'",
        '"',
        "`",
        "$(x)",
        "x" * 900,
        "x" * 9000,
        "<!DOCTYPE a>",
        "",
    ),
)
HOSTILE = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join) | st.text(max_size=20)
ANY = HOSTILE | st.sampled_from((None, 0, 1.5, True, b"bytes", ["list"], {"a": 1}))

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n<Response/>"
_HEADERS = {"host", "authorization", "user-agent", "accept-encoding", "connection"}
_ALLOWED = _HEADERS | {
    *(
        "accept",
        "content-length",
        "content-type",
        "content-md5",
        "x-ci-security-token",
        "x-cos-security-token",
    )
}


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as running:
        running.answer = lambda: (OK,)
        yield running


@pytest.fixture(autouse=True)
def own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_clocks", {})


def with_key(key: Any) -> dict[str, Any]:
    return builders.request(Input={"Object": key})


def with_operation(**changes: Any) -> SubmitJob:
    return SubmitJob(builders.request(Operation=builders.operation(**changes)))


def with_output(**changes: Any) -> SubmitJob:
    return with_operation(Output=builders.output(**changes))


def batch(**changes: Any) -> CreateBatch:
    operation = {
        "Tag": "VoiceSeparate",
        "JobParam": {"TemplateId": "t1"},
        "Output": builders.output(Object="${jobid}-b", AuObject="${jobid}-v"),
    }
    values = {"Name": "n", "Type": "Job", "Input": {"Prefix": "in/"}, "Operation": operation}
    return CreateBatch(values | changes)


Make = Callable[[Any], ApiRequest[Any]]
#: Calls by the field that the hostile value goes into: how the call is made, the field's name in errors, and
#: the path that is meant
FIELDS: dict[str, tuple[Make, str, Callable[[Any], str]]] = {
    "key of an object": (HeadObject, "object key", lambda key: f"/{key}"),
    "key of a media object": (GetMediaInfo, "object key", lambda key: f"/{key}"),
    "job id": (lambda one: DescribeJobs([one]), "job_id", lambda one: f"/jobs/{one}"),
    "second job id": (lambda one: CancelJobs(["j1", one]), "job_id", lambda one: f"/jobs/j1,{one}"),
    "template id": (DeleteTemplate, "template_id", lambda one: f"/template/{one}"),
    "batch id": (DescribeBatch, "job_id", lambda one: f"/inventorytriggerjob/{one}"),
    "batch id to cancel": (CancelBatch, "job_id", lambda one: f"/inventorytriggerjob/{one}"),
    "queue of a list": (lambda one: ListJobs(queue_id=one), "queueId", lambda _: "/jobs"),
    "tag of a list": (lambda one: ListJobs(tag=one), "tag", lambda _: "/jobs"),
    "input of a list": (lambda one: ListJobs(input_object=one), "input", lambda _: "/jobs"),
    "token of a list": (lambda one: ListJobs(next_token=one), "nextToken", lambda _: "/jobs"),
    "name of a batch list": (lambda one: ListBatches(name=one), "name", lambda _: "/inventorytriggerjob"),
    "input": (lambda one: SubmitJob(with_key(one)), "Input.Object", lambda _: "/jobs"),
    "queue": (lambda one: SubmitJob(builders.request(QueueId=one)), "QueueId", lambda _: "/jobs"),
    "tag": (lambda one: SubmitJob(builders.request(Tag=one)), "Tag", lambda _: "/jobs"),
    "template": (
        lambda one: with_operation(TemplateId=one, VoiceSeparate=None),
        "TemplateId",
        lambda _: "/jobs",
    ),
    "parameter": (
        lambda one: with_operation(VoiceSeparate={"AudioConfig": {"Bitrate": one}}),
        "Bitrate",
        lambda _: "/jobs",
    ),
    "any element": (lambda one: with_operation(New={"Deep": [one]}), "New.Deep", lambda _: "/jobs"),
    "name of an element": (lambda one: with_operation(New={str(one): 1}), "Operation.New", lambda _: "/jobs"),
    "input's url": (
        lambda one: SubmitJob(builders.request(Tag="SoundHound", Input={"Url": one}, Operation=None)),
        "Input",
        lambda _: "/jobs",
    ),
    "output": (lambda one: with_output(Object=one), "Object", lambda _: "/jobs"),
    "output's bucket": (lambda one: with_output(Bucket=one), "Bucket", lambda _: "/jobs"),
    "output's region": (lambda one: with_output(Region=one), "Region", lambda _: "/jobs"),
    "callback": (lambda one: SubmitJob(builders.request(CallBack=one)), "CallBack", lambda _: "/jobs"),
    "user data": (lambda one: with_operation(UserData=one), "UserData", lambda _: "/jobs"),
    "name of a batch": (lambda one: batch(Name=one), "Name", lambda _: "/inventorytriggerjob"),
    "prefix of a batch": (
        lambda one: batch(Input={"Prefix": one}),
        "Input",
        lambda _: "/inventorytriggerjob",
    ),
    "time of a batch": (
        lambda one: batch(Operation=dict(batch().batch["Operation"]) | {"TimeInterval": {"Start": one}}),
        "TimeInterval",
        lambda _: "/inventorytriggerjob",
    ),
}


def parts(data: bytes) -> tuple[str, bytes, bytes, list[tuple[str, str]], bytes]:
    """Return method, path, query, headers and body of the one request in ``data``."""
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    method, target, version = start.split(b" ")
    assert version == b"HTTP/1.1"
    path, _, query = target.partition(b"?")
    headers = [line.decode("ascii").split(": ", 1) for line in lines]
    return method.decode(), path, query, [(name.lower(), value) for name, value in headers], body


def check_wire(data: bytes, path: str, host: str) -> None:
    """The request has this host and path, and no header but those that it always has."""
    method, sent_path, query, headers, body = parts(data)
    names = [name for name, _ in headers]
    assert len(set(names)) == len(names)
    assert _HEADERS - {"connection"} <= set(names) <= _ALLOWED
    assert dict(headers)["host"] == host
    assert sent_path.isascii()
    assert unquote_to_bytes(sent_path) == path.encode()
    assert b"/./" not in sent_path
    assert b"/../" not in sent_path
    assert all("\x1f" < letter < "\x7f" for _, value in headers for letter in value)
    assert re.fullmatch(rb"([A-Za-z-]+(=[A-Za-z0-9._~%-]*)?(&|$))*", query)
    assert int(dict(headers).get("content-length", "0")) == len(body)
    if body:
        assert xml.parse_document(body).tag == "Request"
    assert method in ("GET", "PUT", "POST", "DELETE", "HEAD")


def is_named(error: BaseException, field: str) -> bool:
    return isinstance(error, ValueError) and field.lower() in str(error).lower()


@pytest.mark.parametrize("transport", TRANSPORTS)
@effort(120)
@given(name=st.sampled_from(sorted(FIELDS)), value=ANY)
def test_no_argument_changes_host_path_or_headers(
    server: RawServer, transport: str, name: str, value: Any
) -> None:
    make, field, path = FIELDS[name]
    server.received.clear()
    send = TRANSPORTS[transport](settings_for(server.url))
    try:
        send(make(value))
    except Exception as error:
        if not server.received:
            assert is_named(error, field), f"{name} {value!r}: {error!r}"
            return
        assert isinstance(error, TencentCIError)  # of the answer, which is empty
    assert len(server.received) == 1
    call = make(value)
    service = "cos" if isinstance(call, HeadObject | GetMediaInfo) else "ci"
    check_wire(server.received[0], path(value), f"{BUCKET}.{service}.{REGION}.myqcloud.com")


@pytest.mark.parametrize("transport", TRANSPORTS)
@effort(80)
@given(field=st.sampled_from(("bucket", "region")), value=ANY)
def test_no_bucket_or_region_changes_the_host(
    server: RawServer, transport: str, field: str, value: Any
) -> None:
    server.received.clear()
    try:
        settings = settings_for(server.url, **{field: value})
        TRANSPORTS[transport](settings)(DescribeJobs(["j1"]))
    except Exception as error:
        assert not server.received, repr(error)
        assert is_named(error, field), repr(error)
        return
    given_parts = {"bucket": BUCKET, "region": REGION, field: value}
    host = f"{given_parts['bucket']}.ci.{given_parts['region']}.myqcloud.com"
    check_wire(server.received[0], "/jobs/j1", host)
    assert host.replace("-", "").replace(".", "").isalnum()
    assert host.isascii()


EXTRA_FIELDS = (
    "endpoint_url",
    "security_token",
    "role_arn",
    "sts_endpoint_url",
    "profile",
    "external_id",
    "proxies",
)


@pytest.mark.parametrize("transport", TRANSPORTS)
@effort(80)
@given(field=st.sampled_from(EXTRA_FIELDS), value=HOSTILE, joined=st.booleans())
def test_no_extra_changes_host_path_or_headers(
    server: RawServer, transport: str, field: str, value: str, joined: bool
) -> None:
    server.received.clear()
    given_value = server.url + value if field.endswith("url") and joined else value
    try:
        settings = settings_for(server.url, **{field: given_value})
        origin = settings.endpoint().origin(Service.CI)
        if origin != server.url:  # another address, and nothing but an address
            assert re.fullmatch(r"https?://[!-~]+", origin)
            assert not set(origin.partition("//")[2]) & set("/?#@%\\")
            return
        TRANSPORTS[transport](settings)(DescribeJobs(["j1"]))
    except Exception as error:
        assert not server.received, repr(error)
        assert is_named(error, field), f"{field} {value!r}: {error!r}"
        return
    check_wire(server.received[0], "/jobs/j1", f"{BUCKET}.ci.{REGION}.myqcloud.com")
