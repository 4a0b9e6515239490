"""The admin path ``/_emulator/``: fault plan, ledger, clock and status page.

It is not a part of the service: only hosts that name no bucket have it, so that objects may have any key.

The plan, the ledger and the clock need the admin token in the header ``X-Emulator-Token``, which no page of
another origin can make a browser send. The status page and the results that it plays are open to this
machine, whose users could read the folder anyway. A request from elsewhere, or for a host name that is not
this machine's (DNS rebinding), needs the token, which browsers may send as a password.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import BasicAuth, web

from tencent_ci_emulator.admin.status_page import StatusPage
from tencent_ci_emulator.clock import Clock, VirtualClock
from tencent_ci_emulator.config import EmulatorConfig, is_loopback
from tencent_ci_emulator.faults.fault_plan import FaultPlan, FaultPlanError
from tencent_ci_emulator.http.hosts import names_this_machine
from tencent_ci_emulator.http.service_request import ServiceRequest
from tencent_ci_emulator.ledger import Ledger

PATH = "/_emulator"
TOKEN_HEADER = "X-Emulator-Token"  # noqa: S105 - its name

_COMMON_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_JOBS_TO_A_PAGE = 1000


class _RefusedError(Exception):
    """Ends a call with an HTTP status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Call:
    """One call with a token: ``id`` is the rest of its path after the first part, ``body`` its JSON."""

    params: Mapping[str, str]
    id: str
    body: Any

    def number(self, name: str) -> int | None:
        """Return a parameter that is a whole number, ``None`` if it is absent."""
        text = self.params.get(name)
        if text is not None and not re.fullmatch("[0-9]{1,18}", text):
            raise _RefusedError(400, f"{name} is {text!r}, allowed: a whole number")
        return None if text is None else int(text)


class AdminCalls:
    """Handles the calls of the admin path."""

    def __init__(
        self, config: EmulatorConfig, clock: Clock, faults: FaultPlan, ledger: Ledger, page: StatusPage
    ) -> None:
        self._config = config
        self._clock = clock
        self._faults = faults
        self._ledger = ledger
        self._page = page
        # They run in a thread of their own: a clock waits until the emulator's work is done
        self._handlers: dict[str, Callable[[_Call], dict[str, Any]]] = {
            "GET faults": lambda _call: {"rules": faults.rules()},
            "PUT faults": lambda call: {"ids": faults.replace(call.body)},
            "POST faults": self._add_rules,
            "DELETE faults": self._remove_all_rules,
            "DELETE faults/{id}": self._remove_rule,
            "GET ledger/requests": self._list_requests,
            "GET ledger/jobs": self._list_jobs,
            "GET ledger/inputs": self._count_jobs_of_inputs,
            "GET ledger/callbacks": self._list_callbacks,
            "DELETE ledger": self._clear_ledger,
            "GET clock": lambda _call: self._describe_clock(),
            "POST clock": self._advance_clock,
        }

    def serves(self, request: ServiceRequest) -> bool:
        """Return whether a request is for the admin path, not for the service."""
        return request.region is None and f"{request.path}/".startswith(f"{PATH}/")

    async def handle(self, request: ServiceRequest, raw: web.Request) -> web.StreamResponse:
        """Handle a request for the admin path."""
        try:
            return await self._handle(request, raw)
        except _RefusedError as refused:
            response = _json({"error": str(refused)}, refused.status)
        except FaultPlanError as error:
            details = {"field": error.field, "given": error.given, "allowed": error.allowed}
            response = _json({"error": str(error), **details}, 400)
        if response.status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="airflow-ci-emulator", charset="UTF-8"'
        return response

    async def _handle(self, request: ServiceRequest, raw: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(PATH).removeprefix("/")
        name, _, rest = path.partition("/")
        if name in ("", "objects"):
            self._check_reader(request, raw)
            if request.method not in ("GET", "HEAD"):
                raise _RefusedError(405, f"{request.method} is not served here, allowed: GET, HEAD")
            return self._page.serve_object(rest) if name else self._page.serve_page()
        if not self._is_token(request.header(TOKEN_HEADER.lower())):
            raise _RefusedError(403, f"the header {TOKEN_HEADER} is missing or wrong")
        exact, by_id = f"{request.method} {path}", f"{request.method} {name}/{{id}}"
        handler = self._handlers.get(exact) or self._handlers.get(by_id)
        if handler is None:
            known = ", ".join(each.replace(" ", f" {PATH}/") for each in self._handlers)
            raise _RefusedError(404, f"{request.method} {request.path} is not served, known: {known}")
        body = await self._read_json(raw) if request.method in ("PUT", "POST") else None
        return _json(await asyncio.to_thread(handler, _Call(request.nonempty_params, rest, body)))

    def _check_reader(self, request: ServiceRequest, raw: web.Request) -> None:
        if is_loopback(raw.remote or "") and names_this_machine(request):
            return
        if not (self._is_token(request.header(TOKEN_HEADER.lower())) or self._is_token(_password(request))):
            raise _RefusedError(401, f"not from this machine: the admin token is needed, as {TOKEN_HEADER}")

    def _is_token(self, text: str | None) -> bool:
        token = self._config.admin_token.encode()
        return text is not None and hmac.compare_digest(text.encode(errors="surrogateescape"), token)

    async def _read_json(self, raw: web.Request) -> Any:
        try:
            return json.loads(await raw.read())
        except web.HTTPRequestEntityTooLarge:
            limit = self._config.max_request_bytes
            raise _RefusedError(413, f"the body is larger than {limit} bytes") from None
        except (ValueError, RecursionError):
            raise _RefusedError(400, "the body is no JSON document") from None

    def _add_rules(self, call: _Call) -> dict[str, Any]:
        is_plan = isinstance(call.body, dict) and "rules" in call.body
        return {"ids": self._faults.load(call.body) if is_plan else self._faults.add_rules([call.body])}

    def _remove_all_rules(self, _call: _Call) -> dict[str, Any]:
        self._faults.clear()
        return {"rules": []}

    def _remove_rule(self, call: _Call) -> dict[str, Any]:
        if not self._faults.remove(call.id):
            raise _RefusedError(404, f"there is no rule {call.id}")
        return {"rules": self._faults.rules()}

    def _list_requests(self, call: _Call) -> dict[str, Any]:
        operation = call.params.get("operation")
        records = self._ledger.requests(operation, status=call.number("status"), id=call.params.get("id"))
        return {"count": self._ledger.count(operation), "requests": [asdict(record) for record in records]}

    def _list_jobs(self, call: _Call) -> dict[str, Any]:
        jobs = self._ledger.accepted_jobs(
            key=call.params.get("key"),
            user_data=call.params.get("user_data"),
            after=call.number("after") or 0,
            limit=_JOBS_TO_A_PAGE,
        )
        return {"jobs": [asdict(job) for job in jobs]}

    def _count_jobs_of_inputs(self, call: _Call) -> dict[str, Any]:
        counts = self._ledger.jobs_of_inputs(call.params.get("prefix", ""))
        repeated = [(key, count) for key, count in counts.items() if count > 1]
        return {
            "jobs": counts.total(),
            "inputs": len(counts),
            "inputs_with_several_jobs": len(repeated),
            "several_jobs": dict(repeated[:_JOBS_TO_A_PAGE]),
        }

    def _list_callbacks(self, call: _Call) -> dict[str, Any]:
        records = self._ledger.callbacks(call.params.get("job_id"))
        return {"callbacks": [asdict(record) for record in records]}

    def _clear_ledger(self, _call: _Call) -> dict[str, Any]:
        self._ledger.clear()
        return {}

    def _describe_clock(self) -> dict[str, Any]:
        return {"now": self._clock.now(), "virtual": isinstance(self._clock, VirtualClock)}

    def _advance_clock(self, call: _Call) -> dict[str, Any]:
        seconds = call.body.get("advance") if isinstance(call.body, dict) else None
        if not isinstance(self._clock, VirtualClock):
            raise _RefusedError(409, "the clock is the machine's; start the emulator with --virtual-clock")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= 1e9:
            raise _RefusedError(400, 'the body must be {"advance": <seconds, 0 to 1000000000>}')
        try:
            self._clock.advance(seconds)
        except TimeoutError as error:
            raise _RefusedError(504, str(error)) from None
        return self._describe_clock()


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(body, default=str, indent=1).encode() + b"\n",
        headers={**_COMMON_HEADERS, "Content-Type": "application/json"},
    )


def _password(request: ServiceRequest) -> str | None:
    """Return the password of HTTP Basic, which browsers ask their users for."""
    try:
        return str(BasicAuth.decode(request.header("authorization") or "", "utf-8").password)
    except ValueError:
        return None
