"""Makes calls by both transports, and fails them in ways that both must survive."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ci.hooks.aio import AsyncClient, load_settings
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.tree import Tree
from tests.conftest import BUCKET, REGION
from tests.scripted_server import Answer, hang_up, http, raw, reset_after_reading

REQUEST: Tree = {
    "Tag": "VoiceSeparate",
    "Input": {"Object": "in/song.mp3"},
    "Operation": {
        "VoiceSeparate": {"AudioMode": "IsAudio"},
        "Output": {"Region": REGION, "Bucket": BUCKET, "AuObject": "out/voice.aac"},
    },
}
BATCH: Tree = {
    "Name": "stems",
    "Type": "Job",
    "Input": {"Prefix": "in/"},
    "Operation": {
        "Tag": "VoiceSeparate",
        "JobParam": {"VoiceSeparate": {"AudioMode": "IsAudio"}},
        "Output": {"Region": REGION, "Bucket": BUCKET, "AuObject": "out/${InputName}-${jobid}.${ext}"},
    },
}
TEMPLATE: Tree = {"Tag": "VoiceSeparate", "Name": "stems", "AudioMode": "IsAudio", "AudioConfig": {}}
GARBAGE = [
    pytest.param(http("<html>A proxy's page</html>"), id="html"),
    pytest.param(http("no XML at all"), id="text"),
    pytest.param(http(""), id="empty"),
    pytest.param(http("<Response><JobsDetail>"), id="cut-off"),
    pytest.param(http("<Response>", length=5000, keep_alive=False), id="truncated"),
    pytest.param(http("<!DOCTYPE a [<!ENTITY b 'c'>]><Response/>"), id="dtd"),
    pytest.param(http("\x1f\x8b compressed", content_encoding="gzip"), id="gzip"),
    pytest.param(
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<Resp\r\n"), id="truncated-chunked"
    ),
    pytest.param(raw(b"SSH-2.0-OpenSSH_9.2\r\n"), id="another-protocol"),
]
LOST = [
    pytest.param(reset_after_reading(), id="reset-after-reading"),
    pytest.param(hang_up(), id="hang-up"),
    pytest.param(raw(b"HTTP/1.1 200 OK\r\nContent-Le"), id="cut-off-head"),
]


def by_hook(conn_id: str, *requests: ApiRequest[Any]) -> list[Any]:
    """Send requests one after another through one hook; return the parsed responses."""
    hook = TencentCIHook(conn_id)
    try:
        return [hook.call(request) for request in requests]
    finally:
        hook.close()


def by_loop(conn_id: str, *requests: ApiRequest[Any]) -> list[Any]:
    """Send requests one after another through one asynchronous client; return the parsed responses."""

    async def main() -> list[Any]:
        settings = await load_settings(conn_id)
        async with AsyncClient(settings) as client:
            return [await client.call(request, settings.endpoint()) for request in requests]

    return asyncio.run(main())


Send = Callable[..., list[Any]]


def chunked(*pieces: str) -> Answer:
    body = "".join(f"{len(piece.encode()):x}\r\n{piece}\r\n" for piece in [*pieces, ""])
    return raw(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{body}".encode())


def shown(error: BaseException) -> str:
    """Return what a traceback shows of an error, and more than that."""
    chain, cause = "".join(traceback.format_exception(error)), error
    while cause is not None:
        chain += repr(cause) + str(vars(cause))
        cause = cause.__cause__ or cause.__context__
    return chain
