"""The admin path ``/_emulator/``: fault plan, ledger, clock and status page.

It is not a part of the service: only hosts that name no bucket have it, so with a bucket's host every key
stays usable.

Who changes or reads the plan, the ledger or the clock shows a token of its own, in the header
``X-Emulator-Token``; no page of another origin can make a browser send that. The status page and the results
it plays are open to this machine: who can reach them can start an emulator on the same folder, too. A request
from elsewhere, or for a host name that is not this machine's (DNS rebinding), needs the token, also accepted
as password, for browsers.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tencent_ci_emulator.admin.status_page import StatusPage
from tencent_ci_emulator.clock import Clock, VirtualClock
from tencent_ci_emulator.config import EmulatorConfig, is_loopback
from tencent_ci_emulator.faults.fault_plan import FaultPlan
from tencent_ci_emulator.faults.fault_rules import FaultPlanError
from tencent_ci_emulator.http.hosts import names_this_machine
from tencent_ci_emulator.http.service_request import Incoming
from tencent_ci_emulator.ledger import Ledger, as_json

PATH = "/_emulator"
TOKEN_HEADER = "X-Emulator-Token"  # noqa: S105 - its name
_COMMON_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_JOBS_TO_A_PAGE = 1000


class _RefusedError(Exception):
    """Ends a call with a status and a sentence."""

    def __init__(self, status: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": message, **details}


class Admin:
    """Answers what is asked of the emulator itself."""

    def __init__(
        self,
        config: EmulatorConfig,
        faults: FaultPlan,
        ledger: Ledger,
        clock: Clock,
        page: StatusPage,
    ) -> None:
        self._config = config
        self._token = config.admin_token.encode()
        self._faults = faults
        self._ledger = ledger
        self._clock = clock
        self._page = page

    def serves(self, request: Incoming) -> bool:
        """Tell whether a request is meant for this, not for the service."""
        return request.region is None and f"{request.path}/".startswith(f"{PATH}/")

    async def handle(self, request: Incoming, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer a request that this serves."""
        try:
            return await self._answer(request, raw)
        except _RefusedError as refused:
            response = _json(refused.body, refused.status)
        except FaultPlanError as error:
            details = {"field": error.field, "given": error.given, "allowed": error.allowed}
            response = _json({"error": str(error), **details}, 400)
        if response.status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="airflow-ci-emulator", charset="UTF-8"'
        return response

    async def _answer(self, request: Incoming, raw: web.BaseRequest) -> web.StreamResponse:
        path = request.path.removeprefix(PATH).removeprefix("/")
        name, _, rest = path.partition("/")
        if name in ("", "objects"):
            self._check_reader(request, raw)
            if request.method not in ("GET", "HEAD"):
                raise _RefusedError(405, f"{request.method} is not served here, allowed: GET, HEAD")
            return self._page.document() if not name else self._page.media(rest)
        self._check_token(request)
        calls: dict[tuple[str, str], Callable[[str, Incoming, web.BaseRequest], Awaitable[Any]]] = {
            ("GET", "faults"): self._list_rules,
            ("PUT", "faults"): self._replace_rules,
            ("POST", "faults"): self._add_rules,
            ("DELETE", "faults"): self._remove_rules,
            ("GET", "ledger"): self._show_ledger,
            ("DELETE", "ledger"): self._clear_ledger,
            ("GET", "clock"): self._show_clock,
            ("POST", "clock"): self._advance_clock,
        }
        call = calls.get((request.method, name))
        if call is None:
            known = ", ".join(f"{method} {PATH}/{part}" for method, part in calls)
            raise _RefusedError(404, f"{request.method} {request.path} is not served, known: {known}")
        return _json(await call(rest, request, raw))

    def _check_reader(self, request: Incoming, raw: web.BaseRequest) -> None:
        if is_loopback(raw.remote or "") and names_this_machine(request):
            return
        if not (self._is_token(request.header(TOKEN_HEADER.lower())) or self._is_token(_password(request))):
            raise _RefusedError(401, f"not from this machine: the admin token is needed, as {TOKEN_HEADER}")

    def _check_token(self, request: Incoming) -> None:
        if not self._is_token(request.header(TOKEN_HEADER.lower())):
            raise _RefusedError(403, f"the header {TOKEN_HEADER} is missing or wrong")

    def _is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(errors="surrogateescape"), self._token)

    async def _body(self, raw: web.BaseRequest) -> Any:
        body = bytearray()
        async for block in raw.content.iter_any():
            body += block
            if len(body) > self._config.max_request_bytes:
                raise _RefusedError(413, f"the body is larger than {self._config.max_request_bytes} bytes")
        try:
            return json.loads(bytes(body))
        except (ValueError, RecursionError):
            raise _RefusedError(400, "the body is no JSON document") from None

    async def _list_rules(self, _rest: str, _request: Incoming, _raw: web.BaseRequest) -> Any:
        return {"rules": self._faults.rules()}

    async def _replace_rules(self, _rest: str, _request: Incoming, raw: web.BaseRequest) -> Any:
        return {"ids": self._faults.replace(await self._body(raw))}

    async def _add_rules(self, _rest: str, _request: Incoming, raw: web.BaseRequest) -> Any:
        given = await self._body(raw)
        is_plan = isinstance(given, dict) and "rules" in given
        return {"ids": self._faults.load(given) if is_plan else self._faults.add_rules([given])}

    async def _remove_rules(self, rest: str, _request: Incoming, _raw: web.BaseRequest) -> Any:
        if not rest:
            self._faults.clear()
        elif not self._faults.remove(rest):
            raise _RefusedError(404, f"there is no rule {rest}")
        return {"rules": self._faults.rules()}

    async def _show_ledger(self, part: str, request: Incoming, _raw: web.BaseRequest) -> Any:
        params = request.given_params
        if part == "requests":
            operation = params.get("operation")
            found = self._ledger.requests(operation, status=_number(params, "status"), id=params.get("id"))
            return {"count": self._ledger.count(operation), "requests": as_json(found)}
        if part == "jobs":
            jobs = self._ledger.accepted_jobs(
                key=params.get("key"),
                user_data=params.get("user_data"),
                after=_number(params, "after") or 0,
                limit=_JOBS_TO_A_PAGE,
            )
            return {"jobs": as_json(jobs)}
        if part == "callbacks":
            return {"callbacks": as_json(self._ledger.callbacks(params.get("job_id")))}
        raise _RefusedError(404, "the parts of the ledger are requests, jobs and callbacks")

    async def _clear_ledger(self, _rest: str, _request: Incoming, _raw: web.BaseRequest) -> Any:
        self._ledger.clear()
        return {}

    async def _show_clock(self, _rest: str, _request: Incoming, _raw: web.BaseRequest) -> Any:
        return {"now": self._clock.now(), "virtual": isinstance(self._clock, VirtualClock)}

    async def _advance_clock(self, rest: str, request: Incoming, raw: web.BaseRequest) -> Any:
        given = await self._body(raw)
        seconds = given.get("advance") if isinstance(given, dict) else None
        if not isinstance(self._clock, VirtualClock):
            raise _RefusedError(409, "the clock is the machine's; start the emulator with --virtual-clock")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= 1e9:
            raise _RefusedError(400, 'the body must be {"advance": <seconds, 0 to 1000000000>}')
        try:
            await asyncio.to_thread(self._clock.advance, seconds)
        except TimeoutError as error:
            raise _RefusedError(504, str(error)) from None
        return await self._show_clock(rest, request, raw)


def _number(params: dict[str, str], name: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _RefusedError(400, f"{name} is {text!r}, allowed: a whole number")
    return int(text)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(body, default=str, indent=1).encode() + b"\n",
        headers={**_COMMON_HEADERS, "Content-Type": "application/json"},
    )


def _password(request: Incoming) -> str | None:
    """The password of HTTP Basic, which browsers ask their users for."""
    kind, _, value = (request.header("authorization") or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (ValueError, binascii.Error):
        return None
