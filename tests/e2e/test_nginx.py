"""The settings of docs/events.md in a real nginx, before a server that says what reaches it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e import nginx
from tests.patience import PATIENCE, wait_until

pytestmark = pytest.mark.skipif(nginx.program() is None, reason="no nginx: apt-get install nginx-light")

PATH = "/tencent-ci/callbacks/tencent_ci_default/the-secret-in-the-path"


class Upstream(BaseHTTPRequestHandler):
    """Says which path it got, and how long the body was."""

    def do_POST(self) -> None:
        length = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.path} {length}".encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with nginx.nginx(f"http://127.0.0.1:{server.server_address[1]}", tmp_path) as url:
            yield url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_callback_is_passed_on_and_its_secret_is_not_logged(url: str, tmp_path: Path) -> None:
    response = requests.post(url + PATH, data=b"x" * 1000, timeout=PATIENCE)
    assert (response.status_code, response.text) == (200, f"{PATH} 1000")
    assert requests.get(url, timeout=PATIENCE).status_code == 404
    log = tmp_path / "access.log"
    wait_until(log.read_text)  # nginx responds first, and logs afterwards
    assert log.read_text().count("\n") == 1
    assert "the-secret-in-the-path" not in log.read_text()


@pytest.mark.parametrize(
    ("method", "path", "length", "status"),
    [
        ("GET", PATH, 0, 403),
        ("POST", "/api/v2/dags", 0, 404),
        ("GET", "/", 0, 404),
        ("POST", PATH, 17 * 1024 * 1024, 413),
    ],
)
def test_anything_else_is_refused(url: str, method: str, path: str, length: int, status: int) -> None:
    headers = {"Content-Length": str(length)}  # of a body that nginx need not see
    assert requests.request(method, url + path, headers=headers, timeout=PATIENCE).status_code == status


def test_whoever_posts_a_flood_has_to_wait_and_holds_up_no_other_address(url: str) -> None:
    """500 posts take twenty seconds, the one of another address comes at once."""
    address = url.removeprefix("http://").split(":")
    with ExitStack() as connections:

        def post(source: str) -> socket.socket:
            made = socket.create_connection((address[0], int(address[1])), PATIENCE, (source, 0))
            connections.enter_context(made)
            made.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            return made

        flood = [post("127.0.0.1") for _ in range(500)]
        assert post("127.0.0.2").recv(12) == b"HTTP/1.1 200"
        flood[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            flood[-1].recv(12)
        flood[-1].settimeout(PATIENCE)
        assert flood[-1].recv(12) == b"HTTP/1.1 200", "none is refused"
