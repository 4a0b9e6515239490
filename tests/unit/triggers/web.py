"""A service on loopback for the poller, on the same event loop: counts requests, ids and connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.patience import PATIENCE
from tests.scripted_server import job_xml
from tests.signatures import Authorization

#: Returns an answer instead of the usual one, or ``None``.
Answer = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass
class WebService:
    """All jobs are ``Running`` until they are put into ``ended``.

    :param secret_key: if set, a request that is not signed with it is refused.
    """

    secret_key: str | None = None
    ended: set[str] = field(default_factory=set)
    requests: list[tuple[str, ...]] = field(default_factory=list)
    answer: Answer | None = None
    url: str = ""
    _server: Any = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def connections(self) -> int:
        return len(self._server.connections)

    @property
    def job_polls(self) -> Counter[str]:
        return Counter(job_id for ids in self.requests for job_id in ids)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until a request makes ``condition`` true."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_no_connection(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.connections:
                await asyncio.sleep(0)

    async def describe(self, request: web.Request) -> web.StreamResponse:
        ids = tuple(request.match_info["ids"].split(","))
        self.requests.append(ids)
        self._changed.set()
        if self.secret_key is not None and not self._is_signed(request, self.secret_key):
            return refusal(403, "SignatureDoesNotMatch")
        if self.answer is not None and (answer := await self.answer(request)) is not None:
            return answer
        details = (job_xml(job_id, "Success" if job_id in self.ended else "Running") for job_id in ids)
        return web.Response(body=f"<Response>{''.join(details)}</Response>", content_type="application/xml")

    def _is_signed(self, request: web.Request, secret_key: str) -> bool:
        authorization = Authorization(request.headers["Authorization"])
        return authorization.fits("GET", request.path, (), [*request.headers.items()], secret_key=secret_key)


def refusal(status: int, code: str, **headers: str) -> web.Response:
    body = f"<Error><Code>{code}</Code><Message>Said by the service.</Message></Error>"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(status=status, body=body, headers=named)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[WebService]:
    """Serve until the block is left; the last connection must be gone by then."""
    service = WebService(**settings)
    application = web.Application()
    application.router.add_get("/jobs/{ids}", service.describe)
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service._server = runner.server
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
        await service.until_no_connection()
    finally:
        await runner.cleanup()
