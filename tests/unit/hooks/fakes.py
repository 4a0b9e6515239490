"""The metadata service and STS on loopback, for tests of credentials."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tencentcloud.common.sign import Sign

from tests.patience import PATIENCE

ROLE = "ci-worker"
PREFIX = "/latest/meta-data/cam/security-credentials/"


@dataclass
class Issuer:
    """Gives out generations of temporary keys: ``AKIDtmp1``, ``key-1``, ``token-1``, then ``AKIDtmp2`` …

    :param lifetime: seconds.
    :param skew: seconds that the service's clock is ahead.
    :param answer: replaces the answer: called with a request, returns status and body, or ``None``.
    """

    lifetime: float = 7200.0
    skew: float = 0.0
    answer: Callable[[Request], tuple[int, Any] | None] | None = None
    requests: list[Request] = field(default_factory=list)
    issued: int = 0
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        return time.time() + self.skew

    def respond(self, request: Request) -> tuple[int, Any]:
        with self._lock:
            self.requests.append(request)
        if self.answer is not None and (response := self.answer(request)) is not None:
            return response
        return self.handle(request)

    def handle(self, request: Request) -> tuple[int, Any]:
        raise NotImplementedError

    def issue(self) -> dict[str, Any]:
        with self._lock:
            self.issued += 1
            number = self.issued
        return {
            "TmpSecretId": f"AKIDtmp{number}",
            "TmpSecretKey": f"key-{number}",
            "Token": f"token-{number}",
        }

    @property
    def expiry(self) -> int:
        return int(self.now() + self.lifetime)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Metadata(Issuer):
    """598/85616."""

    def handle(self, request: Request) -> tuple[int, Any]:
        if request.path == PREFIX:
            return 200, f"{ROLE}\n".encode()
        if request.path != PREFIX + ROLE:
            return 404, b"Not Found"
        return 200, {**self.issue(), "ExpiredTime": self.expiry, "Expiration": "...", "Code": "Success"}


@dataclass
class STS(Issuer):
    """1312/48197 and 1312/73070; checks the signature by the SDK's own routine."""

    keys: dict[str, str] = field(default_factory=dict)
    identity: str = "the-identity-token-1"

    def handle(self, request: Request) -> tuple[int, Any]:
        action = request.headers["x-tc-action"]
        assert (request.method, request.path) == ("POST", "/")
        assert request.headers["x-tc-version"] == "2018-08-13"
        assert request.headers["x-tc-region"]
        refusal = self._refusal(request, action)
        if refusal is not None:
            return 200, refused(refusal)
        credentials = self.issue()
        return 200, {"Response": {"Credentials": credentials, "ExpiredTime": self.expiry, "RequestId": "r-1"}}

    def _refusal(self, request: Request, action: str) -> str | None:
        if action == "AssumeRoleWithWebIdentity":
            assert request.headers["authorization"] == "SKIP"
            known = request.json["WebIdentityToken"] == self.identity
            return None if known else "InvalidParameter.WebIdentityTokenError"
        assert action == "AssumeRole"
        timestamp = int(request.headers["x-tc-timestamp"])
        if abs(timestamp - self.now()) > 300:
            return "AuthFailure.SignatureExpire"
        return None if self._is_signed(request, timestamp) else "AuthFailure.SignatureFailure"

    def _is_signed(self, request: Request, timestamp: int) -> bool:
        algorithm, _, rest = request.headers["authorization"].partition(" ")
        fields = dict(part.split("=", 1) for part in rest.split(", "))
        secret_id, _, scope = fields["Credential"].partition("/")
        date = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
        assert (algorithm, scope) == ("TC3-HMAC-SHA256", f"{date}/sts/tc3_request")
        names = fields["SignedHeaders"].split(";")
        headers = "".join(f"{name}:{request.headers[name]}\n" for name in names)
        digest = hashlib.sha256(request.body).hexdigest()
        canonical = f"POST\n/\n\n{headers}\n{fields['SignedHeaders']}\n{digest}"
        text = f"{algorithm}\n{timestamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = self.keys.get(secret_id)
        return key is not None and Sign.sign_tc3(key, date, "sts", text) == fields["Signature"]


def refused(code: str, message: str = "Said by STS.") -> dict[str, Any]:
    return {"Response": {"Error": {"Code": code, "Message": message}, "RequestId": "r-2"}}


@contextmanager
def serving(issuer: Any) -> Iterator[Any]:
    """Serve until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = issuer.respond(Request(self.command, self.path, headers, sent))
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response_only(status)
            self.send_header("Date", formatdate(issuer.now(), usegmt=True))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()
