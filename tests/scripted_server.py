"""A loopback HTTP server that plays a script of answers, also broken ones, and records what it was sent.

Each request takes the next answer of the script. A request that the script has no answer for gets status 599
and is reported when the server stops. Nothing is parsed by a library: what a test sees are the bytes of the
wire.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.patience import PATIENCE
from tests.signatures import Authorization

REQUEST_ID = "NjRhZmZhZDRfNjUyOWM4MGFf"
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived; ``connection`` counts the connections from 1."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    at: float

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None

    @property
    def authorization(self) -> Authorization:
        return Authorization(self.header("Authorization") or "")

    def is_signed_with(self, secret_key: str) -> bool:
        pairs = tuple(self.params.items())
        return self.authorization.fits(self.method, self.path, pairs, self.headers, secret_key=secret_key)


Play = Callable[["Exchange"], None]


@dataclass(frozen=True)
class Answer:
    """What happens to one request. ``before_reading`` answers act on the connection's unread request."""

    play: Play
    before_reading: bool = False


@dataclass
class Exchange:
    """One request on its connection, to be answered."""

    connection: socket.socket
    stopped: threading.Event
    recorded: Recorded | None = None
    keep_alive: bool = False

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def wait_for_client_to_leave(self, seconds: float = PATIENCE) -> None:
        self.connection.settimeout(0.02)
        end = monotonic() + seconds
        while not self.stopped.is_set() and monotonic() < end:
            try:
                if not self.connection.recv(_CHUNK):
                    return
            except TimeoutError:
                continue


def http(
    body: bytes | str = b"",
    status: int = 200,
    *,
    length: int | None = None,
    keep_alive: bool = True,
    **headers: str,
) -> Answer:
    """Answer in full; ``retry_after="7"`` is a header. A ``length`` that is not the body's truncates it."""
    data = head(body, status, length=length, keep_alive=keep_alive, **headers) + _bytes(body)

    def play(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.keep_alive = keep_alive and length is None

    return Answer(play)


def head(
    body: bytes | str = b"",
    status: int = 200,
    *,
    length: int | None = None,
    keep_alive: bool = True,
    **headers: str,
) -> bytes:
    """Return an answer's head, for a raw answer."""
    lines = [
        f"HTTP/1.1 {status} Whatever",
        "Content-Type: application/xml",
        f"Content-Length: {len(_bytes(body)) if length is None else length}",
        f"x-ci-request-id: {REQUEST_ID}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def raw(data: bytes) -> Answer:
    """Answer these bytes and close."""
    return Answer(lambda exchange: exchange.send(data))


def error(status: int, code: str, message: str = "Said by the service.", **headers: str) -> Answer:
    """Answer as the service refuses."""
    return http(f"<Error><Code>{code}</Code><Message>{message}</Message></Error>", status, **headers)


def reset_before_reading() -> Answer:
    """Reset the connection with the request in the kernel's buffer."""

    def play(exchange: Exchange) -> None:
        exchange.connection.recv(1, socket.MSG_PEEK)
        exchange.reset()

    return Answer(play, before_reading=True)


def reset_after_reading() -> Answer:
    """Reset the connection after the whole request was read."""
    return Answer(Exchange.reset)


def hang_up() -> Answer:
    """Close without an answer."""
    return Answer(lambda exchange: None)


def hang() -> Answer:
    """Never answer; returns once the client gives up."""
    return Answer(Exchange.wait_for_client_to_leave)


def drip(first: bytes = b"", *, seconds: float = 0.02) -> Answer:
    """Send ``first``, then a byte each ``seconds`` until the client gives up."""

    def play(exchange: Exchange) -> None:
        exchange.send(first)
        while not exchange.stopped.wait(seconds):
            exchange.send(b" ")

    return Answer(play)


def after(action: Callable[[], Any], answer: Answer) -> Answer:
    """Call ``action`` once the request has been read, then play ``answer``."""

    def play(exchange: Exchange) -> None:
        action()
        answer.play(exchange)

    return Answer(play)


@dataclass
class ScriptedServer:
    """Use as a context manager; ``url`` is where it listens."""

    requests: list[Recorded] = field(default_factory=list)
    unscripted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._script: list[Answer] = []
        self._always: dict[str, Callable[[Recorded], Answer]] = {}
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def play(self, *answers: Answer) -> None:
        """Append to the script."""
        self._script += answers

    def always(self, method: str, answer: Answer | Callable[[Recorded], Answer]) -> None:
        """Answer every request of ``method`` so, apart from the script."""
        self._always[method] = (lambda _, it=answer: it) if isinstance(answer, Answer) else answer

    @property
    def unplayed(self) -> int:
        return len(self._script)

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def __enter__(self) -> ScriptedServer:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        # a blocked accept() is not woken by closing the socket
        with socket.create_connection(("127.0.0.1", self.port)):
            pass
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()
        assert not any(thread.is_alive() for thread in self._threads)
        assert not self.unscripted, f"requests without an answer in the script: {self.unscripted}"

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        number = 0
        while True:
            connection, _ = self._listener.accept()
            if self._stopped.is_set():
                connection.close()
                return
            number += 1
            self._start(self._serve, connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection:
            try:
                connection.settimeout(0.05)
                while self._wait_for_data(connection) and self._exchange(connection, number):
                    pass
            except OSError:  # the client gave up
                pass

    def _wait_for_data(self, connection: socket.socket) -> bool:
        while not self._stopped.is_set():
            try:
                return bool(connection.recv(1, socket.MSG_PEEK))
            except TimeoutError:
                continue
        return False

    def _exchange(self, connection: socket.socket, number: int) -> bool:
        connection.settimeout(PATIENCE)
        exchange = Exchange(connection, self._stopped)
        with self._lock:
            unread = self._script.pop(0) if self._script and self._script[0].before_reading else None
        if unread is not None:
            unread.play(exchange)
            return False
        recorded = exchange.recorded = _read_request(connection, number)
        with self._lock:
            self.requests.append(recorded)
            answer = self._answer(recorded)
        answer.play(exchange)
        connection.settimeout(0.05)
        return exchange.keep_alive

    def _answer(self, recorded: Recorded) -> Answer:
        if recorded.method in self._always:
            return self._always[recorded.method](recorded)
        if self._script:
            return self._script.pop(0)
        self.unscripted.append(f"{recorded.method} {recorded.target}")
        return http("unscripted", 418, keep_alive=False)


def _read_request(connection: socket.socket, number: int) -> Recorded:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    top, _, body = data.partition(b"\r\n\r\n")
    start, *lines = top.decode("latin-1").split("\r\n")
    method, target, _ = start.split(" ")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
    while len(body) < sum(lengths):
        body += _received(connection)
    return Recorded(method, target, headers, body, number, monotonic())


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(_CHUNK)
    if not data:
        raise ConnectionError("the client left in the middle of its request")
    return data


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body


def job_xml(job_id: str = "j1", state: str = "Submitted", *, code: str = "Success", message: str = "") -> str:
    """Return one job as the service describes it."""
    return (
        f"<JobsDetail><Code>{code}</Code><Message>{message}</Message><JobId>{job_id}</JobId>"
        f"<State>{state}</State><CreationTime>2025-01-02T03:04:05+0800</CreationTime>"
        "<StartTime>-</StartTime><EndTime>-</EndTime><QueueId>p1</QueueId><Tag>VoiceSeparate</Tag></JobsDetail>"
    )


def jobs(*details: str, unknown: tuple[str, ...] = (), next_token: str = "") -> Answer:
    """Answer with these jobs, unknown ids, and the token of the next page."""
    missing = "".join(f"<NonExistJobIds>{job_id}</NonExistJobIds>" for job_id in unknown)
    token = f"<NextToken>{next_token}</NextToken>" if next_token else ""
    return http(f"<?xml version='1.0'?><Response>{''.join(details)}{missing}{token}</Response>")


def job(job_id: str = "j1", state: str = "Submitted", **more: str) -> Answer:
    """Answer with one job."""
    return jobs(job_xml(job_id, state, **more))
