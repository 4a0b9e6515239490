"""A server in front of an emulator: records each request's signature, and answers some as badly as it can."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.patience import PATIENCE

#: What a server quotes of its own computation; no part of it belongs into a log.
SERVERS_OWN = "the-string-that-the-server-signed"
_SIGNATURE = re.compile(r"(?:q-signature|Signature)=([0-9a-f]{40,64})")


@dataclass
class Front:
    """``signatures`` are those that came; keys ``in/quoted`` and so on are answered as their name says."""

    port: int
    signatures: set[str] = field(default_factory=set)
    requests: int = 0
    url: str = ""
    polled: dict[str, int] = field(default_factory=dict)

    def record(self, headers: Any) -> None:
        self.requests += 1
        self.signatures.update(_SIGNATURE.findall(headers.get("Authorization", "")))


def _quoting(headers: Any) -> bytes:
    """An error whose text and further elements quote the request's headers."""
    quoted = "&#10;".join(f"{name}: {value}" for name, value in headers.items()).replace("&q", "&amp;q")
    return (
        f"<Error><Code>SignatureDoesNotMatch</Code><Message>It does not match: {quoted}</Message>"
        f"<StringToSign>{SERVERS_OWN}</StringToSign><FormatString>{SERVERS_OWN}</FormatString>"
        f"<Authorization>{quoted}</Authorization><RequestId>r1</RequestId></Error>"
    ).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front

    def serve(self) -> None:
        front = self.front
        front.record(self.headers)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if b"in/quoted" in body or self.is_later_poll():
            self.answer(403, {}, _quoting(self.headers))
            return
        if "ambiguous" in self.path or "slow" in self.path:  # is the job there?
            self.answer(500, {}, b"<html>q-signature=0</html>")
            return
        if self.command == "GET" and front.requests % 7 == 0:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n")
            self.close_connection = True
            return
        status, headers, data = self.forwarded(body)
        if b"in/slow" in body:
            self.connection.settimeout(PATIENCE)
            with suppress(OSError):
                self.connection.recv(1)  # until the client gives up
        if b"in/ambiguous" in body or b"in/slow" in body:
            self.close_connection = True
            return
        if b"in/polled" in body:
            front.polled.update(dict.fromkeys(re.findall(r"<JobId>(\w+)</JobId>", data.decode()), 0))
        self.answer(status, headers, data)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = serve  # noqa: N815

    def is_later_poll(self) -> bool:
        """Tell whether the triggerer asks for a job of ``in/polled``: the task itself does it once before."""
        for job_id in self.front.polled:
            if job_id in self.path:
                self.front.polled[job_id] += 1
                return self.front.polled[job_id] > 1
        return False

    def forwarded(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.front.port, timeout=PATIENCE)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            kept = {
                name: value
                for name, value in response.getheaders()
                if name.lower().startswith("x-") or name in ("Content-Type", "ETag")
            }
            return response.status, kept, response.read()
        finally:
            connection.close()

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def in_front_of(port: int) -> Iterator[Front]:
    """Serve in front of the emulator at ``port``."""
    front = Front(port)
    handler = type("Handler", (_Handler,), {"front": front})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    front.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield front
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
