"""The emulator on the wire: status lines, headers and bodies, byte for byte, by a plain HTTP client."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import logging
import re
import socket
import threading
import time
from urllib.parse import quote

import pytest
from lxml import etree

from airflow_provider_ci.protocol.signing import sign
from tencent_ci_emulator.objects.object_store import ObjectStore
from tencent_ci_emulator.server import Emulator
from tests.emulator.unit.test_media_files import wav
from tests.patience import PATIENCE, wait_until
from tests.recording import SHORT

JOB = """<Request><Tag>VoiceSeparate</Tag><Input><Object>in/a.mp3</Object></Input><Operation>
<VoiceSeparate><AudioMode>IsAudio</AudioMode></VoiceSeparate>
<Output><Region>ap-guangzhou</Region><Bucket>demo-1250000000</Bucket><AuObject>out/v.${ext}</AuObject></Output>
</Operation></Request>"""


class Client:
    def __init__(self, emulator):
        self.emulator = emulator

    def __call__(
        self, method, path, body=None, *, query="", host=None, headers=(), authorization=None, **keys
    ):
        credentials = {"secret_id": self.emulator.secret_id, "secret_key": self.emulator.secret_key, **keys}
        host = host or f"127.0.0.1:{self.emulator.port}"
        if authorization is None:
            now = int(time.time())
            authorization = sign(
                method, path, (), [("host", host)], key_time=(now - 60, now + 600), **credentials
            )
        sent = {"Host": host, **dict(headers)}
        if authorization:
            sent["Authorization"] = authorization
        connection = http.client.HTTPConnection("127.0.0.1", self.emulator.port, timeout=PATIENCE)
        try:
            target = quote(path, safe="/,", errors="surrogateescape") + (f"?{query}" if query else "")
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def error(self, *args, **kwargs):
        response, body = self(*args, **kwargs)
        root = etree.fromstring(body)
        assert body.startswith(b"<?xml version='1.0' encoding='UTF-8'?>")
        assert root.tag == "Error"
        return response.status, root.findtext("Code"), root.findtext("Message"), root, response


@pytest.fixture(scope="module")
def emulator():
    with Emulator(max_object_bytes=1_000_000, max_request_bytes=20_000) as running:
        yield running


@pytest.fixture
def client(emulator):
    return Client(emulator)


def test_an_error_of_ci_has_all_ids_and_no_resource(client):
    status, code, _, root, response = client.error("GET", "/jobs", authorization="")
    assert (status, code) == (401, "MissingAuthorization")
    assert [child.tag for child in root] == ["Code", "Message", "RequestId", "TraceId"]
    assert response.getheader("Server") == "tencent-ci"
    assert response.getheader("Content-Type") == "application/xml"
    assert response.getheader("x-ci-request-id") == root.findtext("RequestId")
    assert response.getheader("x-ci-trace-id") == root.findtext("TraceId")


def test_an_error_of_cos_names_its_resource(client):
    status, code, _, root, response = client.error("GET", "/in/none.mp3")
    assert (status, code) == (404, "NoSuchKey")
    assert [child.tag for child in root] == ["Code", "Message", "Resource", "RequestId", "TraceId"]
    assert root.findtext("Resource").endswith("/in/none.mp3")
    assert response.getheader("Server") == "tencent-cos"
    assert response.getheader("x-cos-request-id") == root.findtext("RequestId")


def test_every_successful_response_has_a_request_id(client):
    response, body = client("POST", "/jobs", JOB)
    assert response.status == 200
    assert response.getheader("x-ci-request-id")
    assert response.getheader("x-ci-trace-id") is None
    assert body.startswith(b"<?xml")
    response, _ = client("PUT", "/a", b"x")
    assert response.getheader("x-cos-request-id")


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ("", "MissingContent", ""),
        ("<Request>", "InvalidContent", "well-formed"),
        ("<Response/>", "InvalidContent", "Request"),
        ('<!DOCTYPE r [<!ENTITY e SYSTEM "file:///x">]><Request>&e;</Request>', "InvalidContent", "DTD"),
        ("<Request/>", "InvalidArgument", "Tag"),
        (JOB.replace("IsAudio", "Loud"), "InvalidArgument", "AudioMode"),
        (JOB.replace("<Tag>VoiceSeparate", "<Tag>Transcode"), "InvalidArgument", "Tag"),
        (JOB.replace("in/a.mp3", "/in/a.mp3"), "InvalidArgument", "Input.Object"),
        (JOB.replace("<Tag>VoiceSeparate</Tag>", ""), "InvalidArgument", "Tag"),
        (JOB.replace("</Operation>", "<JobLevel>7</JobLevel></Operation>"), "InvalidArgument", "JobLevel"),
        (JOB.replace("</Operation>", "</Operation><Operation/>"), "InvalidArgument", "Operation"),
        (JOB.replace("demo-1250000000", "none-1250000000"), "InvalidArgument", "Output.Bucket"),
        (JOB.replace("ap-guangzhou", "ap-beijing"), "InvalidArgument", "Output.Region"),
        (JOB.replace("<Operation>", "<Operation><TemplateId>t1</TemplateId>"), "TemplateNotFound", "t1"),
    ],
)  # fmt: skip
def test_submissions_that_break_a_rule_are_refused(client, body, code, named):
    status, given, message, *_ = client.error(
        "POST", "/jobs", body or b"", headers={"Content-Length": len(body)}
    )
    assert (status, given) == (400, code)
    assert named in message


def test_bodies_that_are_too_large_are_refused(client):
    assert client.error("POST", "/jobs", b"x" * 20_001)[:2] == (413, "InvalidContent")
    chunks = iter([b"x" * 10_000] * 3)
    assert client.error("POST", "/jobs", chunks)[:2] == (413, "InvalidContent")
    assert client.error("PUT", "/big", b"x" * 1_000_001)[:2] == (413, "EntityTooLarge")
    assert client.error("PUT", "/big", iter([b"x" * 600_000] * 2))[:2] == (413, "EntityTooLarge")
    assert client.error("GET", "/big")[1] == "NoSuchKey"


def signed_head(emulator, method, path, *headers):
    """The first lines of a signed request, as bytes, for tests that send them by a socket of their own."""
    now, host = int(time.time()), f"127.0.0.1:{emulator.port}"
    keys = {"secret_id": emulator.secret_id, "secret_key": emulator.secret_key}
    authorization = sign(method, path, (), [("host", host)], key_time=(now - 60, now + 600), **keys)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Authorization: {authorization}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_request_without_its_length_is_refused(emulator):
    for method, path, service in (("POST", "/jobs", "ci"), ("PUT", "/a", "cos")):
        with socket.create_connection(("127.0.0.1", emulator.port), PATIENCE) as raw:
            raw.sendall(signed_head(emulator, method, path))
            response = raw.recv(10_000)
        assert response.startswith(b"HTTP/1.1 411")
        assert f"tencent-{service}".encode() in response


def test_a_wrong_content_md5_is_refused(client):
    right = base64.b64encode(hashlib.md5(b"content").digest()).decode()
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert client("PUT", "/md5", b"content", headers={"Content-MD5": right})[0].status == 200
    assert client.error("PUT", "/md5", b"content2", headers={"Content-MD5": wrong})[:2] == (400, "BadDigest")
    assert client("GET", "/md5")[1] == b"content"
    assert client.error("POST", "/jobs", JOB, headers={"Content-MD5": wrong})[:2] == (400, "InvalidContent")


@pytest.mark.parametrize(
    ("asked", "status", "content", "content_range"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=5-100", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, None, None),
        ("bytes=5-4", 416, None, None),
        ("lines=1-2", 416, None, None),
    ],
)
def test_a_get_returns_the_requested_range(client, asked, status, content, content_range):
    client("PUT", "/range", b"0123456789")
    response, body = client("GET", "/range", headers={"Range": asked})
    assert response.status == status
    assert response.getheader("Content-Range") == content_range
    if content is not None:
        assert body == content


def test_head_conditions_on_the_etag_and_delete(client):
    client("PUT", "/c", b"content")
    etag = f'"{hashlib.md5(b"content").hexdigest()}"'
    response, body = client("HEAD", "/c")
    assert (response.status, response.getheader("ETag"), response.getheader("Content-Length")) == (
        200,
        etag,
        "7",
    )
    assert body == b""
    assert client("GET", "/c", headers={"If-None-Match": etag})[0].status == 304
    assert client("GET", "/c", headers={"If-Match": '"0"'})[0].status == 412
    assert client("DELETE", "/c")[0].status == 204
    assert client("DELETE", "/c")[0].status == 204
    response, body = client("HEAD", "/c")
    assert (response.status, body) == (404, b"")
    client("PUT", "/empty", b"")
    assert client("GET", "/empty")[1] == b""


def test_no_key_names_a_path(client, emulator):
    for path in (
        "/../../escape",
        "/..%2f..%2fescape",
        "//etc/passwd",
        "/a/../../b",
        "/a\0b",
        "/\udcff",
        "/" + "x" * 850,
    ):
        assert client("PUT", path, b"inside")[0].status == 200
        assert client("GET", path)[1] == b"inside"
    folder = emulator.config.data_dir
    database = {f"emulator.sqlite3{suffix}" for suffix in ("", "-wal", "-shm")}
    assert {path.name for path in folder.iterdir()} <= {"lock", "objects", "incoming", "parts", *database}
    assert all(re.fullmatch("[0-9a-f]{32}", path.name) for path in (folder / "objects").iterdir())
    assert client.error("PUT", "/" + "x" * 851, b"")[:2] == (400, "KeyTooLong")


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "code"),
    [
        ("GET", "/jobs", "", 400, "InvalidArgument"),
        ("GET", "/jobs", "tag=Nonsense", 400, "InvalidArgument"),
        ("GET", "/jobs", "tag=VoiceSeparate&size=101", 400, "InvalidArgument"),
        ("GET", "/jobs", "tag=VoiceSeparate&size=0", 400, "InvalidArgument"),
        ("GET", "/jobs", "tag=VoiceSeparate&states=Paused", 400, "InvalidArgument"),
        ("GET", "/jobs", "tag=VoiceSeparate&orderByTime=up", 400, "InvalidArgument"),
        ("GET", "/jobs", "tag=VoiceSeparate&startCreationTime=yesterday", 400, "InvalidArgument"),
        ("GET", "/jobs", "tag=VoiceSeparate&nextToken=x", 400, "InvalidArgument"),
        ("GET", "/jobs/" + ",".join(f"j{n}" for n in range(11)), "", 400, "InvalidArgument"),
        ("PUT", "/jobs/j1", "", 404, "InvalidUrl"),
        ("DELETE", "/jobs/j1", "", 404, "InvalidUrl"),
        ("GET", "/jobs/", "", 404, "InvalidUrl"),
        ("PUT", "/jobs/jnone", "cancel", 400, "InvalidArgument"),
        ("GET", "/a", "ci-process=imageInfo", 501, "NotImplemented"),
        ("GET", "/none", "ci-process=videoinfo", 404, "NoSuchKey"),
        ("PUT", "/a", "partNumber=1&uploadId=x", 404, "NoSuchUpload"),
        ("GET", "/a", "uploadId=%ff", 404, "NoSuchUpload"),
        ("POST", "/a", "", 405, "MethodNotAllowed"),
        ("GET", "/", "versions", 501, "NotImplemented"),
    ],
)
def test_calls_that_cannot_be_served_are_refused(client, method, path, query, status, code):
    body = b"" if method in ("PUT", "POST") else None
    assert client.error(method, path, body, query=query)[:2] == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/jobs/\udcff", ""),
        ("PUT", "/jobs/\udcff", "cancel"),
        ("GET", "/jobs", "tag=VoiceSeparate&queueId=%ff"),
        ("GET", "/template", "name=%01"),
    ],
)
def test_text_that_no_response_could_carry_is_refused(client, caplog, method, path, query):
    body = b"" if method == "PUT" else None
    assert client.error(method, path, body, query=query)[:2] == (400, "InvalidArgument")
    assert "failed" not in caplog.text


def test_a_compressed_object_is_stored_unchanged(client):
    packed = gzip.compress(b"content")
    md5 = base64.b64encode(hashlib.md5(packed).digest()).decode()
    headers = {"Content-Encoding": "gzip", "Content-MD5": md5}
    assert client("PUT", "/packed", packed, headers=headers)[0].status == 200
    response, body = client("GET", "/packed")
    assert (response.headers["Content-Encoding"], body) == ("gzip", packed)


def test_a_compressed_call_is_not_unpacked(client):
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < 20_000
    error = client.error("POST", "/jobs", bomb, headers={"Content-Encoding": "gzip"})
    assert error[:2] == (400, "InvalidContent")


def test_empty_parameters_count_as_absent(client):
    query = "tag=VoiceSeparate&nextToken=&states=&queueId=&size=&orderByTime="
    response, body = client("GET", "/jobs", query=query)
    assert response.status == 200
    assert etree.fromstring(body).find("NextToken") is not None


@pytest.mark.parametrize(
    ("host", "status", "code"),
    [
        ("none-1250000000.ci.ap-guangzhou.myqcloud.com", 400, "InvalidHost"),
        ("demo-1250000000.ci.ap-beijing.myqcloud.com", 400, "InvalidHost"),
        ("ci.ap-guangzhou.myqcloud.com", 404, "InvalidUrl"),
    ],
)
def test_unknown_buckets_and_regions_are_refused_by_ci(client, host, status, code):
    assert client.error("GET", "/jobs", query="tag=VoiceSeparate", host=host)[:2] == (status, code)


def test_unknown_buckets_and_regions_are_refused_by_cos(client):
    for host in (
        "none-1250000000.cos.ap-guangzhou.myqcloud.com",
        "demo-1250000000.cos.ap-beijing.myqcloud.com",
    ):
        assert client.error("GET", "/a", host=host)[:2] == (404, "NoSuchBucket")


def test_a_refused_upload_is_not_stored(client):
    assert client.error("PUT", "/refused", b"x", secret_key="wrong")[:2] == (403, "SignatureDoesNotMatch")
    assert client.error("GET", "/refused")[1] == "NoSuchKey"


def test_an_incomplete_upload_leaves_nothing(client, emulator, caplog):
    incoming = emulator.config.data_dir / "incoming"
    with socket.create_connection(("127.0.0.1", emulator.port), PATIENCE) as raw:
        raw.sendall(signed_head(emulator, "PUT", "/half", "Content-Length: 1000") + b"half")
        wait_until(lambda: list(incoming.iterdir()))
    wait_until(lambda: not list(incoming.iterdir()))
    assert client.error("GET", "/half")[1] == "NoSuchKey"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_header_with_255_channels_ends_in_a_failed_job(client, tmp_path, caplog):
    client("PUT", "/in/a.mp3", wav(tmp_path / "a.wav", channels=255).read_bytes())
    job_id = etree.fromstring(client("POST", "/jobs", JOB)[1]).findtext("JobsDetail/JobId")

    def detail():
        return etree.fromstring(client("GET", f"/jobs/{job_id}")[1]).find("JobsDetail")

    wait_until(lambda: detail().findtext("State") == "Failed")
    assert detail().findtext("Code") == "ResourceNotSupported"
    assert "255 channels at 8000 Hz cannot be converted" in detail().findtext("Message")
    assert client("GET", "/in/a.mp3", query="ci-process=videoinfo")[0].status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_client_that_stops_reading_harms_nothing(emulator, client, caplog):
    client("PUT", "/long", b"x" * 900_000)
    for _ in range(5):
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", emulator.port))
            raw.sendall(signed_head(emulator, "GET", "/long"))
            assert raw.recv(100).startswith(b"HTTP/1.1 200")
    assert len(client("GET", "/long")[1]) == 900_000
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_client_that_expects_100_continue_is_asked_for_the_body(emulator):
    with socket.create_connection(("127.0.0.1", emulator.port), PATIENCE) as raw:
        raw.sendall(signed_head(emulator, "PUT", "/e", "Content-Length: 2", "Expect: 100-continue"))
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"ok")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200")


def test_neither_secrets_nor_signatures_are_logged(client, caplog):
    with caplog.at_level(logging.DEBUG):
        client("GET", "/jobs", query="tag=VoiceSeparate")
        client("GET", "/a", query="x-cos-security-token=hush", headers={"x-cos-security-token": "hush"})
        client("GET", "/a", secret_key="wrong")
    logged = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("tencent_ci_emulator")
    )
    assert "ci GET '/jobs'" in logged
    for secret in (client.emulator.secret_key, client.emulator.secret_id, "q-signature", "hush"):
        assert secret not in logged


def test_objects_and_jobs_are_there_after_a_restart(tmp_path):
    with Emulator(tmp_path, queue_seconds=60) as emulator:
        client = Client(emulator)
        client("PUT", "/in/a.mp3", SHORT.read_bytes())
        root = etree.fromstring(client("POST", "/jobs", JOB)[1])
        job_id = root.findtext("JobsDetail/JobId")
    assert not list(tmp_path.glob("*-wal"))
    with Emulator(tmp_path) as emulator:
        client = Client(emulator)
        assert client("GET", "/in/a.mp3")[1] == SHORT.read_bytes()

        def state():
            return etree.fromstring(client("GET", f"/jobs/{job_id}")[1]).findtext("JobsDetail/State")

        wait_until(lambda: state() == "Success")
        assert client("GET", "/out/v.aac")[0].status == 200


def test_a_failed_start_raises_and_a_stop_leaves_nothing(tmp_path):
    threads = set(threading.enumerate())
    with Emulator(tmp_path) as first:
        with pytest.raises(RuntimeError, match="running already"):
            first.start()
        with pytest.raises(OSError, match="another emulator uses the folder"):
            Emulator(tmp_path).start()
        with pytest.raises(OSError, match="address already in use"):
            Emulator(port=first.port).start()
        port = first.port
    with pytest.raises(RuntimeError, match="not running"):
        _ = first.url
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), PATIENCE)
    assert set(threading.enumerate()) <= threads
    temporary = Emulator().start()
    folder = temporary.config.data_dir
    assert folder.exists()
    temporary.stop()
    temporary.stop()
    assert not folder.exists()


def test_stop_does_not_wait_for_idle_clients_or_long_jobs():
    with Emulator(run_seconds=600) as emulator:
        client = Client(emulator)
        client("PUT", "/in/a.mp3", SHORT.read_bytes())
        client("POST", "/jobs", JOB)
        idle = socket.create_connection(("127.0.0.1", emulator.port), PATIENCE)
        began = time.monotonic()
    idle.close()
    assert time.monotonic() - began < PATIENCE  # the job would run for 600 s


def test_the_airflow_connection_to_it():
    with Emulator(security_token="token-of-the-test", buckets=["other-1250000000"]) as emulator:
        assert emulator.connection == {
            "conn_type": "tencent_ci",
            "login": emulator.secret_id,
            "password": emulator.secret_key,
            "extra": {
                "bucket": "demo-1250000000",
                "region": "ap-guangzhou",
                "endpoint_url": emulator.url,
                "security_token": "token-of-the-test",
            },
        }
        assert Client(emulator)("GET", "/jobs", query="tag=Tts")[0].status == 401
        token = {"x-cos-security-token": "token-of-the-test"}
        assert Client(emulator)("GET", "/jobs", query="tag=Tts", headers=token)[0].status == 200


def test_an_object_that_is_overwritten_while_it_is_opened_is_read_again(client, monkeypatch):
    look, seen = ObjectStore.get, []
    assert client("PUT", "/in/raced", b"old")[0].status == 200
    monkeypatch.setattr(ObjectStore, "get", lambda *args: seen.append(look(*args)) or seen[-1])
    assert client("GET", "/in/raced")[1] == b"old"
    assert client("PUT", "/in/raced", b"new")[0].status == 200
    stale = seen[:1]
    monkeypatch.setattr(ObjectStore, "get", lambda *args: stale.pop() if stale else look(*args))
    assert client("GET", "/in/raced")[1] == b"new"
    monkeypatch.setattr(ObjectStore, "get", lambda *args: seen[0])
    assert client.error("GET", "/in/raced")[:2] == (500, "InternalError")
