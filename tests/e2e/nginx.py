"""nginx with the settings of docs/events.md, on loopback."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.e2e.airflow_stack import ROOT, free_port, wait_until
from tests.patience import PATIENCE

_START_SECONDS = 60
_MAIN = """
daemon off;
{user}
pid pid;
error_log {folder}/error.log;
events {{ worker_connections 20000; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {of_page}
}}
"""


def program() -> str | None:
    """Return nginx, which Debian keeps out of the ``PATH`` of users; ``None`` if it is missing."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@contextmanager
def nginx(api_server: str, folder: Path) -> Iterator[str]:
    """Serve with the page's settings in front of an API server until the block is left, and yield the URL.

    :param folder: an empty one, for the logs.
    """
    port, nginx = free_port(), program()
    assert nginx is not None, "no nginx: apt-get install nginx-light"
    # it refuses to start its workers as a user who may not read the folder
    user = "user root;" if os.geteuid() == 0 else ""
    of_page = settings_of_page()
    for what, instead in {
        "listen 443 ssl;": f"listen 127.0.0.1:{port};",
        "http://api-server:8080": api_server,
    }.items():
        assert of_page.count(what) == 1
        of_page = of_page.replace(what, instead)
    settings = folder / "nginx.conf"
    settings.write_text(_MAIN.format(folder=folder, user=user, of_page=of_page))
    process = subprocess.Popen(
        [nginx, "-p", str(folder), "-c", str(settings), "-e", str(folder / "error.log")],
        start_new_session=True,
    )
    try:
        wait_until(lambda: _listens(port), _START_SECONDS, "nginx listens", lambda: _check(process, folder))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def settings_of_page() -> str:
    """Return the block of the page."""
    page = (ROOT / "docs/events.md").read_text()
    (block,) = re.findall(r"^```text\n(limit_req_zone .*?)^```", page, re.DOTALL | re.MULTILINE)
    return str(block)


def _listens(port: int) -> bool:
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def _check(process: subprocess.Popen[bytes], folder: Path) -> None:
    assert process.poll() is None, (folder / "error.log").read_text()
