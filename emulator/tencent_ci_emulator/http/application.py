"""The web application: middlewares that every request passes, and the handlers of CI and COS behind them.

A request is recorded, and its errors become documents; then the fault plan has its way with it; then its
signature is checked; then the service that it is for answers it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tencent_ci_emulator.admin.admin_calls import AdminCalls
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import BadPageTokenError
from tencent_ci_emulator.faults.effects import NO_EFFECTS, Effects
from tencent_ci_emulator.faults.fault_injection import (
    DroppedError,
    alter_response,
    interrupt,
    rewrite,
    skewed_date,
)
from tencent_ci_emulator.faults.fault_plan import FaultPlan, Subject
from tencent_ci_emulator.http.authentication import authenticate
from tencent_ci_emulator.http.ci_call import Call, Handler, comma_list
from tencent_ci_emulator.http.hosts import find_host_problem
from tencent_ci_emulator.http.operations import BUCKET_LISTS, CANCELLATIONS, JOB_CALLS
from tencent_ci_emulator.http.service_errors import ServiceError, error_document, invalid_argument
from tencent_ci_emulator.http.service_request import Service, ServiceRequest
from tencent_ci_emulator.http.xml import Element, XMLError, build, parse, to_bytes
from tencent_ci_emulator.ledger import Ledger
from tencent_ci_emulator.objects.names import is_xml_text
from tencent_ci_emulator.objects.object_calls import ObjectCalls

_log = logging.getLogger(__name__)

NextHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class _State:
    """What the middlewares know of a request that is being answered.

    :param record: the number of its record in the ledger.
    :param body: the body of a CI call, once it has been read.
    """

    request: ServiceRequest
    request_id: str
    record: int = 0
    effects: Effects = NO_EFFECTS
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the headers that all responses have: 460/42866 for CI, 436/7729 for COS."""
        service = self.request.service.value
        self.headers = {"Server": f"tencent-{service}", f"x-{service}-request-id": self.request_id}


#: That of the request which the running task answers
_state: ContextVar[_State] = ContextVar("state")


class Application:
    """Answers all requests.

    :param now: the true time, which signatures are checked by: clients sign by it, whatever the emulator's
        clock shows.
    :param handlers: the handlers of CI's calls by the operation's name.
    :param is_known: whether a bucket has one of the ids that a path of CI names.
    """

    def __init__(
        self,
        config: EmulatorConfig,
        now: Callable[[], float],
        clock_now: Callable[[], float],
        handlers: Mapping[str, Handler],
        is_known: Callable[[str, str, list[str]], bool],
        objects: ObjectCalls,
        faults: FaultPlan,
        ledger: Ledger,
        admin: AdminCalls,
    ) -> None:
        self._config = config
        self._now = now
        self._clock_now = clock_now
        self._handlers = handlers
        self._is_known = is_known
        self._objects = objects
        self._faults = faults
        self._ledger = ledger
        self._admin = admin

    def build(self) -> web.Application:
        """Return the application for a server. Its one route is for all paths: keys may be any."""
        # Any, as the type of a middleware wants its parameters named otherwise
        middlewares: Any = (self._choose_service, self._record, self._answer_errors, self._inject_faults)
        application = web.Application(middlewares=middlewares)
        # The body is invited only when the request has passed the middlewares
        application.router.add_route("*", "/{path:.*}", self._answer, expect_handler=_invite_later)
        return application

    @web.middleware
    async def _choose_service(self, raw: web.Request, handler: NextHandler) -> web.StreamResponse:
        request = ServiceRequest.read(raw.method, raw.raw_path, raw.headers.items())
        if self._admin.serves(request):
            return await self._admin.handle(request, raw)
        is_key = self._objects.has(request) if request.may_be_ci_call else True
        if not is_key and self._is_known(request.bucket or "", *_named_ids(request)):
            request = request.with_service(Service.CI)
        _state.set(_State(request, secrets.token_hex(12)))
        return await handler(raw)

    @web.middleware
    async def _record(self, raw: web.Request, handler: NextHandler) -> web.StreamResponse:
        """Note the request in ledger and log."""
        state = _state.get()
        request = state.request
        problem = find_host_problem(request, self._config)
        if problem is not None:
            _log.warning("%s: refused, %s", problem, state.request_id)
            return _error_response(ServiceError(400, "InvalidHost", problem), state)
        state.record = self._ledger.received(request, state.request_id, self._clock_now())
        try:
            response = await handler(raw)
            self._ledger.note(state.record, status=response.status)
            outcome = str(response.status)
        except DroppedError:
            self._ledger.note(state.record, dropped=True)
            response = web.Response(status=500)  # which nobody receives
            outcome = "dropped"
        # Neither query nor headers are logged: they may hold a signature or a token
        path = request.path.encode(errors="replace").decode()
        _log.info("%s %s %r: %s, %s", request.service.value, request.method, path, outcome, state.request_id)
        return response

    @web.middleware
    async def _answer_errors(self, raw: web.Request, handler: NextHandler) -> web.StreamResponse:
        state = _state.get()
        try:
            response = await handler(raw)
        except ServiceError as error:
            self._ledger.note(state.record, code=error.code)
            response = _error_response(error, state)
        except (ConnectionError, HttpProcessingError):
            message = "the request body broke off or is malformed"
            response = _error_response(ServiceError(400, "IncompleteBody", message), state)
        except DroppedError:
            raise
        except web.HTTPException as error:  # a path that is no path, such as *
            response = _error_response(ServiceError(error.status, "InvalidURI", error.reason), state)
        except Exception:
            _log.exception("request %s failed in the emulator itself", state.request_id)
            message = "the emulator failed; its log says why"
            response = _error_response(ServiceError(500, "InternalError", message), state)
        return await alter_response(response, state.effects, raw)

    @web.middleware
    async def _inject_faults(self, raw: web.Request, handler: NextHandler) -> web.StreamResponse:
        state = _state.get()
        request = state.request
        if not self._faults.is_empty:
            if request.service is Service.CI:  # a rule may look at it; a client that is cut off has sent it
                state.body = await self._read_body(raw)
            subject = Subject(request.operation, request.ids, _object_key(request, state.body))
            effects = state.effects = self._faults.on_call(subject)
            if effects.rules:
                self._ledger.note(state.record, faults=effects.rules)
            if effects.clock_skew:
                state.headers.update(skewed_date(self._now() + effects.clock_skew))
        await interrupt(state.effects.before, raw, request.service)
        response = await handler(raw)
        await interrupt(state.effects.after, raw, request.service)
        return response

    async def _answer(self, raw: web.Request) -> web.StreamResponse:
        state = _state.get()
        authenticate(state.request, self._config, self._now() + state.effects.clock_skew)
        if state.request.service is Service.COS:
            _invite_body(raw)
            return await self._objects.handle(state.request, raw, state.headers, state.effects)
        if state.body is None:
            state.body = await self._read_body(raw)
        document = self._answer_ci(state)
        if document is None:
            return web.Response(headers=state.headers)
        rewrite(document, state.effects)
        headers = {**state.headers, "Content-Type": "application/xml"}
        return web.Response(body=to_bytes(document), headers=headers)

    def _answer_ci(self, state: _State) -> Element | None:
        request, name = state.request, state.request.operation
        if not all(is_xml_text(text) for text in (request.path, *request.given_params.values())):
            raise invalid_argument("the path or a parameter has characters that XML cannot carry")
        handler = self._handlers.get(name)
        if handler is None or (name in CANCELLATIONS and not request.has_flag("cancel")):
            message = f"{request.method} {request.path} is not a call of this service"
            raise ServiceError(404, "InvalidUrl", message)
        call = Call(
            bucket=self._bucket(request),
            id=request.id,
            params=request.given_params,
            body=state.body or b"",
            content_md5=request.header("content-md5"),
            list_consistency_delay=state.effects.list_consistency_delay,
        )
        try:
            content = handler(call)
        except BadPageTokenError:
            raise invalid_argument("nextToken is not one that this service has given") from None
        if content is None:
            return None
        if name in JOB_CALLS:
            document = build("Response", content)
        else:
            document = build("Response", {"RequestId": state.request_id, **content})
        if name == "submit":
            self._ledger.note(
                state.record, ids=tuple(one.text or "" for one in document.iterfind("JobsDetail/JobId"))
            )
        return document

    def _bucket(self, request: ServiceRequest) -> str:
        if request.service_only and request.operation not in BUCKET_LISTS:
            raise ServiceError(404, "InvalidUrl", "this address of the regional host is not served")
        bucket = request.bucket or self._config.default_bucket
        if bucket not in self._config.buckets:
            raise ServiceError(400, "InvalidHost", f"bucket {bucket} does not exist here")
        if request.region not in (None, self._config.region):
            raise ServiceError(400, "InvalidHost", f"bucket {bucket} is in region {self._config.region}")
        return bucket

    async def _read_body(self, raw: web.Request) -> bytes:
        """Return the body of a CI call."""
        if raw.method not in ("POST", "PUT"):
            return b""
        if raw.content_length is None and "Transfer-Encoding" not in raw.headers:
            raise ServiceError(411, "MissingContentLength", "Content-Length is missing")
        _invite_body(raw)
        body, limit = bytearray(), self._config.max_request_bytes
        if (raw.content_length or 0) <= limit:
            async for block in raw.content.iter_any():
                body += block
                if len(body) > limit:
                    break
            else:
                return bytes(body)
        raise ServiceError(413, "InvalidContent", f"the body is larger than {limit} bytes")


async def _invite_later(_raw: web.Request) -> None:
    """Do not ask for the body yet: a request that is refused never gets that far."""


def _invite_body(raw: web.Request) -> None:
    """Ask a client for the body that it holds back until it is asked."""
    if raw.headers.get("Expect", "").lower() == "100-continue" and raw.transport is not None:
        raw.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _named_ids(request: ServiceRequest) -> tuple[str, list[str]]:
    kind, _, ids = request.path.removeprefix("/").partition("/")
    return kind, comma_list(ids)


def _object_key(request: ServiceRequest, body: bytes | None) -> str | None:
    """Return the object key that a call is about: its own, or the input of the job that it names."""
    if request.service is Service.COS:
        return request.path.removeprefix("/") or request.given_params.get("prefix")
    if request.method == "POST" and body:
        try:
            root = parse(body)
        except XMLError:
            return request.given_params.get("inputobject")
        return root.findtext("Input/Object") or root.findtext("Input/Prefix")
    return request.given_params.get("inputobject")


def _error_response(error: ServiceError, state: _State) -> web.Response:
    request, trace_id = state.request, secrets.token_hex(16)
    resource = (request.header("host") or "") + request.path if request.service is Service.COS else None
    body = error_document(error, state.request_id, trace_id, resource)
    return web.Response(
        status=error.status,
        body=None if request.method == "HEAD" else body,
        headers={
            **state.headers,
            **error.headers,
            f"x-{request.service.value}-trace-id": trace_id,
            "Content-Type": "application/xml",
        },
    )
