"""Which host names the emulator answers to. Its demo keys are public: a page whose name was made to point to
127.0.0.1 (DNS rebinding) can sign with them, and must get nothing.
"""

from __future__ import annotations

import socket
import time

import pytest

from airflow_provider_ci.protocol.signing import sign
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import Client
from tests.patience import PATIENCE

COS_HOST = "demo-1250000000.cos.ap-guangzhou.myqcloud.com"


@pytest.fixture(scope="module")
def emulator():
    with Emulator() as running:
        assert Client(running)("PUT", "/in/a", b"recording")[0].status == 200
        yield running


def send(emulator, target, *hosts, version="1.1", signed_host=None, more=""):
    """Send a request byte by byte, so that its hosts can be anything; return status and body."""
    now = int(time.time())
    signed = [("host", signed_host or (hosts[0] if hosts else ""))]
    authorization = sign(
        "GET", "/in/a", (), signed, key_time=(now - 60, now + 600),
        secret_id=emulator.secret_id, secret_key=emulator.secret_key,
    )  # fmt: skip
    lines = [f"GET {target} HTTP/{version}", *(f"Host: {host}" for host in hosts)]
    lines += [f"Authorization: {authorization}", "Connection: close", *more.splitlines()]
    with socket.create_connection(("127.0.0.1", emulator.port), PATIENCE) as raw:
        raw.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = b""
        while block := raw.recv(65536):
            answer += block
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        f"{COS_HOST}.evil.example",
        "xcos.ap-guangzhou.myqcloud.com",
        "me@127.0.0.1",
        "localhost:evil.example",
        "localhost, evil.example",
        "[::1]evil.example",
        "[::2]",
        "192.0.2.1",
        "0.0.0.0",
        "",
        ".",
    ],
)
def test_other_host_names_get_nothing(emulator, host):
    host = host.format(port=emulator.port)
    status, body = send(emulator, "/in/a", host)
    assert status == 400
    assert b"recording" not in body
    # and none of its other paths
    for path in ("/", "/jobs?tag=VoiceSeparate", "/_emulator/", "/_emulator/ledger/jobs"):
        assert send(emulator, path, host)[0] in (400, 401, 403)


def test_the_refusal_names_the_hosts_that_are_served(emulator):
    status, body = send(emulator, "/in/a", "evil.example")
    assert (status, b"<Code>InvalidHost</Code>" in body) == (400, True)
    assert b"does not answer to the host 'evil.example', only to localhost" in body
    assert COS_HOST.encode() in body


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_request_without_a_host_gets_nothing(emulator, version):
    assert send(emulator, "/in/a", version=version)[0] == 400


def test_two_hosts_get_nothing(emulator):
    own = f"127.0.0.1:{emulator.port}"
    for hosts in ((own, "evil.example"), ("evil.example", own)):
        assert send(emulator, "/in/a", *hosts)[0] == 400


def test_the_host_of_a_url_in_the_request_line_counts_too(emulator):
    own = f"127.0.0.1:{emulator.port}"
    assert send(emulator, "http://evil.example/in/a", own)[0] == 400
    assert send(emulator, f"http://{own}/in/a", "evil.example")[0] == 400
    assert send(emulator, "http://evil.example/_emulator/", own)[0] == 401
    assert send(emulator, f"http://{own}/in/a", own) == (200, b"recording")
    assert send(emulator, f"http://{COS_HOST}/in/a", COS_HOST) == (200, b"recording")
    assert send(emulator, f"http://{COS_HOST}:80/in/a", COS_HOST) == (200, b"recording")


def test_a_forwarded_host_says_nothing(emulator):
    own = f"127.0.0.1:{emulator.port}"
    assert send(emulator, "/in/a", "evil.example", more=f"X-Forwarded-Host: {own}")[0] == 400
    assert send(emulator, "/in/a", own, more="X-Forwarded-Host: evil.example")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost",
        "localhost.",
        "emulator.localhost:{port}",
        "[::1]:{port}",
        COS_HOST,
        f"{COS_HOST}:{{port}}",
        "demo-1250000000.cos.ap-guangzhou.tencentcos.cn",
        "demo-1250000000.cos-internal.ap-guangzhou.tencentcos.cn",
        "demo-1250000000.cos.accelerate.myqcloud.com",
    ],
)
def test_own_names_and_those_of_the_service_are_served(emulator, host):
    assert send(emulator, "/in/a", host.format(port=emulator.port)) == (200, b"recording")


def test_the_list_of_buckets_is_not_taken_for_a_list_of_objects(emulator):
    for host in ("service.cos.myqcloud.com", "service.cos.ap-guangzhou.myqcloud.com"):
        response, body = Client(emulator)("GET", "/", host=host)
        assert (response.status, b"NotImplemented" in body) == (501, True)


def test_other_machines_reach_it_by_address_and_host_name_only():
    with Emulator(host="0.0.0.0", allow_remote=True, secret_id="my-id", secret_key="my-key") as emulator:
        for host in ("192.0.2.1", "[2001:db8::1]:80", socket.gethostname(), "127.0.0.1"):
            assert Client(emulator)("GET", "/", host=host)[0].status == 200
        for host in ("evil.example", f"{socket.gethostname()}.evil.example"):
            assert Client(emulator)("GET", "/", host=host)[0].status == 400
