"""Tencent's Python SDK, pointed at an emulator in each way that it allows."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
from qcloud_cos import CosConfig, CosS3Client
from requests.adapters import HTTPAdapter

from tencent_ci_emulator.server import Emulator

logging.getLogger("qcloud_cos").setLevel(logging.CRITICAL)

WAYS = ("session", "domain", "ip", "proxy")
#: For a test of which the way is not the subject, in a module whose fixture ``client`` takes all of them
one_way = pytest.mark.parametrize("client", WAYS[:1], indirect=True)


class ToEmulator(HTTPAdapter):
    """Sends every request to the emulator but leaves the Host header as signed: what production sees."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._address = urlsplit(url).netloc

    def send(self, request, *args, **kwargs):
        parts = urlsplit(request.url)
        request.headers["Host"] = parts.netloc
        request.url = urlunsplit(parts._replace(netloc=self._address))
        return super().send(request, *args, **kwargs)


def python_client(emulator: Emulator, way: str = "session") -> CosS3Client:
    """Return a client with a session of its own, which does not repeat requests."""
    session = requests.Session()
    ways = {
        "session": {},
        "domain": {"Domain": f"127.0.0.1:{emulator.port}"},
        "ip": {"IP": "127.0.0.1", "Port": emulator.port},
        "proxy": {"Proxies": {"http": emulator.url}},
    }
    if way == "session":
        session.mount("http://", ToEmulator(emulator.url))
    config = CosConfig(
        Region=emulator.region,
        SecretId=emulator.secret_id,
        SecretKey=emulator.secret_key,
        Scheme="http",
        **ways[way],
    )
    return CosS3Client(config, retry=0, session=session)
