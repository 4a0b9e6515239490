"""Whatever reaches the emulator's port, it responds or hangs up, does not fail itself, and keeps running."""

from __future__ import annotations

import contextlib
import gzip
import logging
import random
import resource
import socket
import time
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.protocol.signing import sign
from tencent_ci_emulator.server import Emulator
from tests.patience import PATIENCE

from .documents import PARTS, TEXTS, document
from .effort import effort

_MIB = 1024 * 1024


class Failures(logging.Handler):
    """What the emulator reports as a failure of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()}\n{record.exc_info and record.exc_info[1]!r}")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(max_object_bytes=200_000, max_request_bytes=100_000) as running:
        yield running


@pytest.fixture
def failures() -> Iterator[Failures]:
    handler, logger = Failures(), logging.getLogger("tencent_ci_emulator")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def sent(emulator: Emulator, data: bytes, *, is_all: bool = False) -> bytes:
    """Return the answer to bytes, until the server hangs up.

    :param is_all: say at once that no more will come, upon which the server may hang up without an answer.
    """
    with socket.create_connection(("127.0.0.1", emulator.port), PATIENCE) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
            if is_all:
                with contextlib.suppress(OSError):  # ENOTCONN: the server has already hung up
                    connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
    return answer


def is_serving(emulator: Emulator) -> bool:
    answer = sent(emulator, request_bytes(emulator, "PUT", "/after", b"all that"))
    return answer.startswith(b"HTTP/1.1 200 OK")


def request_bytes(
    emulator: Emulator, method: str, path: str, body: bytes = b"", query: str = "", extra: bytes = b""
) -> bytes:
    """Return a request with a good signature; ``path`` decoded, ``query`` and ``extra`` as sent."""
    host, now = f"127.0.0.1:{emulator.port}", int(time.time())
    authorization = sign(
        method,
        path,
        (),
        [("host", host)],
        secret_id=emulator.secret_id,
        secret_key=emulator.secret_key,
        key_time=(now - 60, now + 600),
    )
    target = quote(path, safe="/,", errors="surrogateescape") + query
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    )
    return head.encode() + extra + b"\r\n" + body


PATHS = (
    *("/jobs", "/jobs/", "/jobs/j1,j2", "/template", "/template/t1", "/queue", "/queue/p1", "/asrqueue"),
    *(
        "/asrqueue/p1",
        "/asrbucket",
        "/mediabucket",
        "/inventorytriggerjob",
        "/inventorytriggerjob/b1",
        "/",
        "/a",
    ),
    *(
        "/_emulator/",
        "/_emulator/objects/a",
        "/_emulator/ledger/requests",
        "/_emulator/faults",
        "//a",
        "/../a",
    ),
)
PARAMETERS = (
    *(
        "cancel",
        "tag=VoiceSeparate",
        "states",
        "size",
        "nextToken",
        "orderByTime",
        "startCreationTime",
        "queueId",
    ),
    *(
        "ids",
        "name",
        "category",
        "pageNumber",
        "pageSize",
        "queueIds",
        "state",
        "regions",
        "bucketNames",
        "uploads",
    ),
    *(
        "bucketName",
        "jobId",
        "type",
        "uploadId",
        "partNumber",
        "prefix",
        "marker",
        "delimiter",
        "max-keys",
        "acl",
    ),
    *(
        "encoding-type=url",
        "list-type=2",
        "start-after",
        "ci-process=videoinfo",
        "q-signature",
        "inputObject",
    ),
    *("continuation-token", "key-marker", "upload-id-marker", "max-parts", "part-number-marker", "versions"),
)
EXTRA = (
    *(
        b"",
        b"",
        b"Content-MD5: AAAA\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Range: bytes=-\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(
        b"Range: bytes=99999999999999999999-\r\n",
        b"If-Match: \xff\r\n",
        b"x-cos-meta-a: \xff\x80\r\n",
        b"Cookie: a\r\n",
    ),
    *(
        b"Content-Type: \xff/\xff; charset=x\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\n",
        b"a: \r\n",
    ),
    *(
        b"x-cos-copy-source: a\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        b"X-Emulator-Token: \xff\r\n",
    ),
    *(
        b"Expect: \xff\r\n",
        b"x-cos-sdk-retry: true\r\n",
        b"Content-Disposition: a\xc2\x85b\r\n",
        b"Content-Range: x\r\n",
    ),
)
_OPERATION = {name: PARTS[name] for name in ("VoiceSeparate", "TemplateId", "Output", "UserData", "JobLevel")}
_CALLBACKS = {"CallBack": "https://example.org/ci", "CallBackFormat": "JSON", "CallBackType": "Url"}
_TAGS = ("VoiceSeparate", "VoiceSeparate", "VoiceSeparate", "Snapshot", "Transcode", "MediaInfo", "New")
_REQUESTS: tuple[dict[str, Any], ...] = (
    {"Input": {"Object": "in/a.mp4"}, "Operation": _OPERATION, "QueueId": "p1", **_CALLBACKS},
    {"Input": {"Url": "https://example.org/a.mp4"}, "Operation": [PARTS, PARTS]},
    {"Name": "stems", **PARTS["VoiceSeparate"]},
    {"Name": "queue", "State": "Active", "NotifyConfig": {"Url": "https://example.org/ci", "State": "On"}},
    {
        "Name": "batch",
        "Type": "Job",
        "Input": {"Prefix": "in/"},
        "Operation": {
            "Tag": "VoiceSeparate",
            "JobParam": {"VoiceSeparate": PARTS["VoiceSeparate"]},
            "Output": PARTS["Output"],
            "TimeInterval": {"Start": "2025-01-01T00:00:00+0800"},
            **_CALLBACKS,
        },
    },
)


def _request_body(rng: random.Random) -> bytes:
    tree = {"Tag": rng.choice(_TAGS), **rng.choice(_REQUESTS)}
    kept = {name: value for name, value in tree.items() if rng.random() < 0.95}
    body = document(rng, kept, "Request", rng.randrange(5))
    return rng.choice(
        (body, body, body, b"", b"<", b"\xff" * 50, gzip.compress(body), b"<Request/>", b"x" * 120_000)
    )


def _parameter(rng: random.Random) -> str:
    name = rng.choice(PARAMETERS)
    if "=" in name or rng.random() < 0.2:
        return name
    value = rng.choice(
        (rng.choice(TEXTS)[:2000].encode(), bytes(rng.randrange(256) for _ in range(4)), b"1", b"10")
    )
    return f"{name}={quote_from_bytes(value)}"


SEEDS = st.integers(0, 2**64).map(random.Random)


@effort(120)
@given(SEEDS)
def test_signed_calls_get_a_response_or_an_error(
    emulator: Emulator, failures: Failures, rng: random.Random
) -> None:
    method = rng.choice(("GET", "GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "get"))
    path = rng.choice((*PATHS, "/jobs/\udcff", "/\x01\x7f", "/" + rng.choice(TEXTS)[:500].encode().decode()))
    query = "&".join(_parameter(rng) for _ in range(rng.choice((0, 1, 1, 2, 4))))
    body = _request_body(rng) if method in ("PUT", "POST", "DELETE") else b""
    data = request_bytes(emulator, method, path, body, f"?{query}" if query else "", rng.choice(EXTRA))
    answer = sent(emulator, data, is_all=True)
    assert not failures.lines
    assert b"InternalError" not in answer
    assert answer == b"" or answer.startswith(b"HTTP/"), answer[:100]
    assert emulator.secret_key.encode() not in answer


@effort(120)
@given(SEEDS)
def test_bytes_that_are_hardly_http(emulator: Emulator, failures: Failures, rng: random.Random) -> None:
    data = request_bytes(emulator, rng.choice(("GET", "PUT", "POST")), rng.choice(PATHS), _request_body(rng))
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(min(len(data), 500) + 1)
        piece = rng.choice(
            (
                *(
                    b"\r\n",
                    b"\n",
                    b"\x00",
                    b"\xff",
                    b" ",
                    b":",
                    b"HTTP/9.9",
                    b"\r\n\r\n",
                    b"GET / HTTP/1.1\r\n\r\n",
                ),
                *(
                    b"http://[::1",
                    b"http://a@b:99999/",
                    b"*",
                    b"?" * 9000,
                    b"%",
                    b"%ff",
                    b"\r\nTransfer-Encoding: chunked",
                ),
                *(
                    b"\r\nContent-Length: -1",
                    b"\r\nContent-Length: 99",
                    b"\r\nHost: \xff",
                    b"a: b\r\n" * 500,
                    b"\t" * 9000,
                ),
                *(
                    b"\r\nAuthorization: q-",
                    b"\r\nHost: a.ci.b.myqcloud.com",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                    b"\x16\x03\x01",
                ),
                bytes(rng.randrange(256) for _ in range(20)),
            )
        )
        data = rng.choice(
            (data[:at], data[:at] + piece + data[at:], data[:at] + piece + data[at + len(piece) :])
        )
    answer = sent(emulator, data, is_all=True)
    assert not failures.lines
    assert b"InternalError" not in answer
    assert answer == b"" or answer.startswith(b"HTTP/"), answer[:100]
    assert emulator.secret_key.encode() not in answer


CHUNKS = (
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"-1\r\n",
    b"g\r\n",
    b"ffffffffff\r\n",
    b"5;a=b\r\nhello\r\n",
    b"5\r\nhel",
    b"\r\n",
)


@effort(60)
@given(st.lists(st.sampled_from(CHUNKS), max_size=6), st.sampled_from(("/jobs", "/object")))
def test_bodies_in_chunks(emulator: Emulator, failures: Failures, chunks: list[bytes], path: str) -> None:
    data = request_bytes(emulator, "PUT" if path == "/object" else "POST", path)
    data = data.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"".join(chunks)
    answer = sent(emulator, data, is_all=True)
    assert not failures.lines
    assert answer == b"" or answer.startswith(b"HTTP/"), answer[:100]


def test_it_still_serves_after_all_that(emulator: Emulator) -> None:
    assert is_serving(emulator)


def test_a_flood_is_cut_off(emulator: Emulator, failures: Failures) -> None:
    """Bodies without end and bombs are not kept in memory, nor on disk."""
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(b" " * _MIB) for _ in range(80))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pieces = [b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 1500
    for path, method in (("/jobs", "POST"), ("/flood", "PUT")):
        head = request_bytes(emulator, method, path).replace(
            b"Content-Length: 0", b"Transfer-Encoding: chunked"
        )
        with socket.create_connection(("127.0.0.1", emulator.port), PATIENCE) as connection:
            connection.sendall(head + b"".join(pieces[:8]))
            assert b" 413 " in connection.recv(20)
        with (
            socket.create_connection(("127.0.0.1", emulator.port), PATIENCE) as connection,
            contextlib.suppress(ConnectionError),
        ):
            for piece in (head, *pieces):
                connection.sendall(piece)
        packed = request_bytes(emulator, method, path, bomb, extra=b"Content-Encoding: gzip\r\n")
        assert sent(emulator, packed).startswith(b"HTTP/1.1 ")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024, f"the process has grown by {grown} KiB"
    assert not [*(emulator.config.data_dir / "incoming").iterdir()]
    assert not failures.lines
    assert is_serving(emulator)


def test_clients_that_say_nothing_more_do_not_hold_it(emulator: Emulator, failures: Failures) -> None:
    with contextlib.ExitStack() as stack:
        begun = request_bytes(emulator, "PUT", "/slow", b"x" * 1000)
        for length in range(0, len(begun), 20):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", emulator.port), PATIENCE))
            connection.sendall(begun[:length])
        assert is_serving(emulator)
    assert is_serving(emulator)
    assert not failures.lines
