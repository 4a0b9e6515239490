"""Bytes that are hardly HTTP, answered on a real connection: a typed error, soon, in bounded memory."""

from __future__ import annotations

import gzip
import itertools
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_ci.exceptions import InvalidResponseError, TencentCIError, TransportError
from airflow_provider_ci.hooks import clock
from airflow_provider_ci.protocol.jobs import DescribeJobs, JobsResponse
from airflow_provider_ci.protocol.xml import MAX_BYTES
from tests.conftest import CREDENTIALS
from tests.patience import PATIENCE, SOON
from tests.scripted_server import job_xml

from .clients import TRANSPORTS, Send, settings_for
from .documents import answer_models, response
from .effort import effort
from .wire import RawServer

ANSWER = f"<Response>{job_xml()}</Response>".encode()
_MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as running:
        yield running


@pytest.fixture(params=TRANSPORTS)
def send(request: pytest.FixtureRequest, server: RawServer, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Sends a call and soon gives up."""
    monkeypatch.setattr(clock, "_clocks", {})  # a hostile Date may have been believed
    return TRANSPORTS[request.param](settings_for(server.url, connect_timeout=0.5, read_timeout=0.5))


@pytest.fixture(params=TRANSPORTS)
def send_patiently(
    request: pytest.FixtureRequest, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> Send:
    """Sends a call and gives up only because of what it reads."""
    monkeypatch.setattr(clock, "_clocks", {})
    return TRANSPORTS[request.param](settings_for(server.url, read_timeout=PATIENCE))


STARTS = (
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 403 No", b"HTTP/1.1 500 No"),
    *(
        b"HTTP/1.0 200",
        b"HTTP/1.1 200",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 99999 OK",
        b"HTTP/1.1 -1 OK",
        b"ICY 200 OK",
    ),
    *(
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + b"HTTP/1.1 200 OK",
        b"HTTP/1.1 101 Switching",
        b"HTTP/1.1 204 No",
    ),
    *(
        b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:9/",
        b"HTTP/1.1 200 " + b"x" * 70_000,
        b"",
        b"\x16\x03\x01",
    ),
    *(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK",
        b"HTTP/1.1 \xff\xff OK",
        b"HTTP/1.1 304 No",
    ),
)
FIELDS = (
    *(
        b"Content-Length: -1",
        b"Content-Length: 0",
        b"Content-Length: 5, 5",
        b"Content-Length: 9" + b"9" * 5000,
    ),
    *(
        b"Content-Length: +5",
        b"Content-Length: 0x5",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Content-Length:",
    ),
    *(
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: gzip, chunked",
    ),
    *(
        b"Transfer-Encoding: xchunked",
        b"Content-Encoding: gzip",
        b"Content-Encoding: deflate",
        b"Content-Encoding: br",
    ),
    *(
        b"Content-Encoding: zstd",
        b"Content-Type: application/xml; charset=utf-16",
        b"Content-Type: \xff",
        b"Date: x",
    ),
    *(
        b"Date: Sun, 22 Nov 2026 00:00:00 GMT",
        b"Retry-After: 1e999",
        b"Set-Cookie: a=b; Domain=.com",
        b"a:" * 100,
    ),
    *(
        b"x-ci-request-id: \xff\xfe\x01\x1b[31m",
        b"x-ci-request-id: " + b"r" * 60_000,
        b"no colon",
        b": no name",
    ),
    *(
        b" folded: yes",
        b"a\x00b: c",
        b"a b: c",
        b"\r",
        b"Connection: upgrade\r\nUpgrade: websocket",
        b"Trailer: a",
    ),
    *(
        b"\r\n".join(b"a%d: b" % number for number in range(300)),
        b"Location: http://[::1",
        b"X: " + b"\t" * 3000,
    ),
)
CHUNKED = (
    b"%x\r\n%s\r\n0\r\n\r\n" % (len(ANSWER), ANSWER),
    b"%x;a=b\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(ANSWER), ANSWER),
    b"-5\r\n" + ANSWER,
    b"+5\r\n" + ANSWER,
    b"0x5\r\n" + ANSWER,
    b"g\r\n" + ANSWER,
    b"f" * 70_000 + b"\r\n",
    b"ffffffffffffffff\r\n" + ANSWER,
    b"5\r\nabc",
    b"1\r\nab\r\n",
    b"0\r\n" + b"a: b\r\n" * 300,
    b"\r\n" * 100,
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer as the service gives it, most of whose parts may have been replaced."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    rng = random.Random(draw(st.integers(0, 2**64)))
    body = rng.choice(
        (ANSWER, ANSWER, response(rng, rng.choice(answer_models()), 3), *CHUNKED, b"", b"\xff" * 9000)
    )
    fields = [rng.choice(FIELDS) for _ in range(rng.choice((0, 1, 1, 2, 4)))]
    if body in CHUNKED:
        fields.append(b"Transfer-Encoding: chunked")
    elif rng.random() < 0.7:
        fields.append(b"Content-Length: %d" % (len(body) + rng.choice((0, 0, 0, 1, -1))))
    if rng.random() < 0.1:
        body = rng.choice((gzip.compress, zlib.compress))(body)
    data = b"\r\n".join([rng.choice(STARTS), *fields, b"", body])
    for _ in range(rng.choice((0, 0, 0, 1))):
        at = rng.randrange(len(data) + 1)
        data = rng.choice((data[:at], data[:at] + b"\r\n" + data[at:], data[:at] + b"\x00" + data[at + 1 :]))
    return data


@effort(60)
@given(answers())
@example(b"HTTP/1.1 301 Moved\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n" + ANSWER)
def test_a_response_is_read_or_rejected(server: RawServer, send: Send, data: bytes) -> None:
    server.answer = lambda: (data,)
    try:
        assert isinstance(send(DescribeJobs(["j1"])), JobsResponse)
    except TencentCIError as error:
        shown = str(error) + repr(error) + repr(error.__cause__)
        assert len(str(error)) < 4000
        assert CREDENTIALS.secret_key not in shown
        assert str(CREDENTIALS.token) not in shown
        assert "q-signature" not in shown


def test_a_valid_response_is_read_after_invalid_ones(server: RawServer, send_patiently: Send) -> None:
    server.answer = lambda: (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ANSWER), ANSWER)
    assert send_patiently(DescribeJobs(["j1"])).jobs_detail[0].job_id == "j1"


@contextmanager
def bounded_memory(limit: int) -> Iterator[None]:
    """Fail if the block allocates more than ``limit`` bytes at any time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak} bytes were in use, allowed: {limit}"


#: The most that reading a response may allocate.
MEMORY_LIMIT = 6 * MAX_BYTES


@cache
def bomb(wbits: int) -> bytes:
    """Return a small compressed body that has twice the allowed memory when it is unpacked."""
    compressor = zlib.compressobj(9, wbits=wbits)
    blank = b" " * _MIB
    packed = [compressor.compress(blank) for _ in range(2 * MEMORY_LIMIT // _MIB)]
    return b"".join([*packed, compressor.flush()])


HEAD = b"HTTP/1.1 200 OK\r\n"


def whole(head: bytes, wbits: int) -> Callable[[], Iterable[bytes]]:
    return lambda: (HEAD + head + b"Content-Length: %d\r\n\r\n" % len(bomb(wbits)), bomb(wbits))


def endless(head: bytes, piece: bytes) -> Callable[[], Iterable[bytes]]:
    # until the client leaves
    return lambda: itertools.chain((HEAD + head,), itertools.repeat(piece))


TOO_LARGE = {
    "gzip": whole(b"Content-Encoding: gzip\r\n", 31),
    "deflate": whole(b"Content-Encoding: deflate\r\n", 15),
    "no end": endless(b"\r\n", b"x" * 65536),
    "no last chunk": endless(b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "a length of terabytes": endless(b"Content-Length: 99999999999999\r\n\r\n", b"x" * 65536),
}


@pytest.mark.parametrize("answer", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_response_is_read_up_to_a_limit(
    server: RawServer, send_patiently: Send, answer: Callable[[], Iterable[bytes]]
) -> None:
    server.answer = answer
    with bounded_memory(MEMORY_LIMIT), pytest.raises(InvalidResponseError):
        send_patiently(DescribeJobs(["j1"]))


NOT_HTTP = {
    "gzip as transfer encoding": whole(b"Transfer-Encoding: gzip\r\n", 31),
    "headers without end": endless(b"", b"a: b\r\n" * 1000),
    "a header without end": endless(b"a: ", b"x" * 65536),
    "a status line without end": lambda: itertools.repeat(b"HTTP/1.1 200 " + b"x" * 65536),
    "a chunk size without end": endless(b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 65536),
    "trailers without end": endless(b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 1000),
}


@pytest.mark.parametrize("answer", NOT_HTTP.values(), ids=NOT_HTTP)
def test_no_response_fills_the_memory_until_time_is_up(
    server: RawServer, send: Send, answer: Callable[[], Iterable[bytes]]
) -> None:
    server.answer = answer
    with bounded_memory(MEMORY_LIMIT), pytest.raises(TencentCIError):
        send(DescribeJobs(["j1"]))


SLOW = {
    "100 Continue without end": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a status line that drips": b"H",
}


@pytest.mark.parametrize("piece", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_response_blocks_a_worker(server: RawServer, transport: str, piece: bytes) -> None:
    def drip() -> Iterator[bytes]:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            yield piece
            time.sleep(0.02)

    server.answer = drip
    send = TRANSPORTS[transport](settings_for(server.url, connect_timeout=SOON, read_timeout=SOON))
    start = time.monotonic()
    with pytest.raises(TransportError) as caught:
        send(DescribeJobs(["j1"]))
    assert caught.value.sent
    assert time.monotonic() - start < PATIENCE, "only the end of the drips ended it"
