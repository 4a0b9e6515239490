"""The endpoint's HTTP: ``POST /<connection id>/<secret>`` with a callback in XML or JSON.

Of a body only the ids of jobs are read, which stand in its beginning: the body of a speech recognition may
have megabytes. Nothing else in it matters, because anybody may have written it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from airflow_provider_ci import metrics
from airflow_provider_ci.callback_endpoint.processing import Processing
from airflow_provider_ci.callback_endpoint.rare_warnings import RareWarnings
from airflow_provider_ci.callback_endpoint.rate_limit import RateLimit
from airflow_provider_ci.callback_endpoint.received_jobs import ReceivedJobs
from airflow_provider_ci.protocol.callbacks import HEAD_BYTES, find_job_ids
from airflow_provider_ci.protocol.xml import MAX_BYTES

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.callback_settings import CallbackSettings

log = logging.getLogger(__name__)

#: Responses in a second to accepted callbacks, and as many to refused ones: others use the API server too. A
#: client that gets no response soon sends nothing further over that connection.
RESPONSES_PER_SECOND = 25.0
#: Seconds that such a response is held back at most, so that at most 500 accepted callbacks wait and 50
#: refused ones. A request that waits costs 40 kB, most of them in Airflow's middlewares. Beyond that the
#: response comes at once.
LONGEST_DELAY = 20.0
LONGEST_DELAY_OF_REFUSAL = 2.0
#: Seconds after which a callback that was refused for want of room may come again.
RETRY_AFTER = 60
#: Bodies that are read at once; further requests wait.
MAX_READ_AT_ONCE = 50
#: Seconds within which a request must have been read.
READ_SECONDS = 10.0


def make_application(conn_ids: frozenset[str]) -> Starlette:
    """Return the ASGI application.

    :param conn_ids: the connections of which callbacks are accepted.
    """
    receiver = CallbackReceiver(conn_ids, Processing(ReceivedJobs()))
    route = Route("/{conn_id}/{secret}", receiver.receive, methods=["POST"])
    return Starlette(routes=[route])


# The client's next request costs it a new connection, and a body that was not read is not waited for
_CLOSE = {"Connection": "close"}


class RefusedError(Exception):
    """A request is refused, and its connection is closed.

    :param status: HTTP status of the response.
    :param reason: for the log, without anything that the request says.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = _CLOSE | ({"Retry-After": str(RETRY_AFTER)} if status == 503 else {})


class CallbackReceiver:
    """Takes callbacks, and passes the ids of their jobs on.

    :param conn_ids: the connections of which callbacks are accepted.
    """

    def __init__(self, conn_ids: frozenset[str], processing: Processing) -> None:
        self._conn_ids = conn_ids
        self._processing = processing
        self._refusals = RareWarnings()
        self._accepted = RateLimit(RESPONSES_PER_SECOND, LONGEST_DELAY)
        self._refused = RateLimit(RESPONSES_PER_SECOND, LONGEST_DELAY_OF_REFUSAL)
        self._reading = asyncio.Semaphore(MAX_READ_AT_ONCE)

    async def receive(self, request: Request) -> Response:
        """Remember the jobs of a callback, and respond."""
        try:
            await self._take(request)
        except RefusedError as refused:
            metrics.count("callbacks_refused")
            if count := self._refusals.count(refused.reason):
                log.warning("Refused %d callbacks: %s", count, refused.reason)
            await self._refused.wait()
            return PlainTextResponse("refused", refused.status, refused.headers)
        metrics.count("callbacks_accepted")
        is_in_turn = await self._accepted.wait()
        return PlainTextResponse("ok", headers=None if is_in_turn else _CLOSE)

    async def _take(self, request: Request) -> None:
        conn_id = request.path_params["conn_id"]
        await self._check_address(conn_id, request.path_params["secret"])
        job_ids = find_job_ids(await self._read_head(request))
        if not job_ids:
            raise RefusedError(400, "the body has no id of a job")
        if not self._processing.add(conn_id, job_ids):
            raise RefusedError(503, "too many jobs wait to be looked at")

    async def _check_address(self, conn_id: str, secret: str) -> None:
        callbacks = await self._callbacks_of(conn_id) if conn_id in self._conn_ids else None
        if callbacks is None or not callbacks.is_secret(secret):
            raise RefusedError(404, "the address has no accepted connection, or not its secret")

    async def _callbacks_of(self, conn_id: str) -> CallbackSettings | None:
        try:
            return (await self._processing.settings(conn_id)).callbacks
        except Exception as error:
            log.debug("Connection %r cannot be used: %s", conn_id, error)
            raise RefusedError(
                503, f"connection {conn_id!r} cannot be used: {type(error).__name__}"
            ) from None

    async def _read_head(self, request: Request) -> bytes:
        """Return the beginning of the body, and read the rest without keeping it."""
        try:
            async with asyncio.timeout(READ_SECONDS), self._reading:
                return await _read_head(request)
        except TimeoutError:
            raise RefusedError(408, f"the request was not read within {READ_SECONDS:g} s") from None
        except ClientDisconnect:
            raise RefusedError(400, "the client has left before the end of the body") from None


async def _read_head(request: Request) -> bytes:
    head, length = bytearray(), 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > MAX_BYTES:
            raise RefusedError(413, f"the body has more than {MAX_BYTES} bytes")
        head += chunk[: HEAD_BYTES - len(head)]
    return bytes(head)
