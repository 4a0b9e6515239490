"""The web application: middlewares that every request passes, and the handlers of CI and COS behind them.

The middlewares, from the outside to the inside: find the service that a request is for, record the request,
turn errors into documents, apply the fault plan. Behind them the signature is checked and the call handled.
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
from tencent_ci_emulator.http.ci_call import Call, Handler, split_list
from tencent_ci_emulator.http.errors import (
    InvalidArgumentError,
    ServiceError,
    error_document,
    invalid_argument,
)
from tencent_ci_emulator.http.hosts import find_host_problem
from tencent_ci_emulator.http.operations import BUCKET_LISTS, CANCELLATIONS, JOB_CALLS
from tencent_ci_emulator.http.service_request import Service, ServiceRequest
from tencent_ci_emulator.http.xml import Element, XMLError, build, parse, shift_times, to_bytes
from tencent_ci_emulator.ledger import Ledger
from tencent_ci_emulator.objects.buckets import Buckets
from tencent_ci_emulator.objects.names import is_xml_text
from tencent_ci_emulator.objects.object_calls import ObjectCalls

_log = logging.getLogger(__name__)

NextHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class _Exchange:
    """One request and what its response needs.

    :param record: the number of the request's record in the ledger.
    :param body: the body of a CI call, once it has been read.
    :param headers: of the response.
    """

    request: ServiceRequest
    request_id: str
    record: int = 0
    effects: Effects = NO_EFFECTS
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Set the headers that all responses have: 460/42866 for CI, 436/7729 for COS."""
        service = self.request.service.value
        self.headers = {"Server": f"tencent-{service}", f"x-{service}-request-id": self.request_id}


#: The exchange of the running task
_exchange: ContextVar[_Exchange] = ContextVar("exchange")


@dataclass(frozen=True, slots=True)
class Application:
    """Handles all requests.

    :param now: the true time, by which clients sign, whatever the emulator's clock shows.
    :param clock_now: the time of the emulator's clock.
    :param handlers: the handlers of CI's calls by the operation's name.
    :param has_ids: whether a bucket has one of the ids that a path of CI names.
    """

    config: EmulatorConfig
    buckets: Buckets
    now: Callable[[], float]
    clock_now: Callable[[], float]
    handlers: Mapping[str, Handler]
    has_ids: Callable[[str, str, list[str]], bool]
    objects: ObjectCalls
    faults: FaultPlan
    ledger: Ledger
    admin: AdminCalls

    def build(self) -> web.Application:
        """Return the application for a server. It has one route for all paths, because keys may be any."""
        # Any, because aiohttp's type of a middleware has other names of parameters
        middlewares: Any = (self._find_service, self._record, self._convert_errors, self._inject_faults)
        application = web.Application(
            middlewares=middlewares, client_max_size=self.config.max_request_bytes + 1
        )
        # The client is asked for the body only when the request has passed the middlewares
        application.router.add_route("*", "/{path:.*}", self._handle, expect_handler=_do_not_ask_yet)
        return application

    @web.middleware
    async def _find_service(self, raw: web.Request, handler: NextHandler) -> web.StreamResponse:
        request = ServiceRequest.read(raw.method, raw.raw_path, raw.headers.items())
        if self.admin.serves(request):
            return await self.admin.handle(request, raw)
        if request.may_be_ci_call and not self.objects.has(request):
            kind, _, ids = request.path.removeprefix("/").partition("/")
            if self.has_ids(request.bucket or "", kind, split_list(ids)):
                request = request.as_ci_call()
        _exchange.set(_Exchange(request, secrets.token_hex(12)))
        return await handler(raw)

    @web.middleware
    async def _record(self, raw: web.Request, handler: NextHandler) -> web.StreamResponse:
        """Record the request in ledger and log."""
        exchange = _exchange.get()
        request = exchange.request
        problem = find_host_problem(request, self.config)
        if problem is not None:
            _log.warning("%s: refused, %s", problem, exchange.request_id)
            return _error_response(ServiceError(400, "InvalidHost", problem), exchange)
        exchange.record = self.ledger.add_request(request, exchange.request_id, self.clock_now())
        try:
            response = await handler(raw)
            self.ledger.update_request(exchange.record, status=response.status)
            outcome = str(response.status)
        except DroppedError:
            self.ledger.update_request(exchange.record, dropped=True)
            response = web.Response(status=500)  # which nobody receives
            outcome = "dropped"
        # Neither query nor headers are logged: they may hold a signature or a token
        path = request.path.encode(errors="replace").decode()
        _log.info(
            "%s %s %r: %s, %s", request.service.value, request.method, path, outcome, exchange.request_id
        )
        return response

    @web.middleware
    async def _convert_errors(self, raw: web.Request, handler: NextHandler) -> web.StreamResponse:
        """Turn errors into responses, and let the fault plan alter every response."""
        exchange = _exchange.get()
        try:
            response = await handler(raw)
        except ServiceError as error:
            if isinstance(error, InvalidArgumentError) and exchange.request.service is Service.CI:
                refusal = self.config.observed.invalid_argument
                error = ServiceError(refusal.status, refusal.code, error.message)
            self.ledger.update_request(exchange.record, code=error.code)
            response = _error_response(error, exchange)
        except (ConnectionError, HttpProcessingError):
            message = "the request body is incomplete or malformed"
            response = _error_response(ServiceError(400, "IncompleteBody", message), exchange)
        except DroppedError:
            raise
        except web.HTTPException as error:  # a path that is no path, such as *
            response = _error_response(ServiceError(error.status, "InvalidURI", error.reason), exchange)
        except Exception:
            _log.exception("request %s failed in the emulator itself", exchange.request_id)
            message = "the emulator failed; its log says why"
            response = _error_response(ServiceError(500, "InternalError", message), exchange)
        return await alter_response(response, exchange.effects, raw)

    @web.middleware
    async def _inject_faults(self, raw: web.Request, handler: NextHandler) -> web.StreamResponse:
        exchange = _exchange.get()
        request = exchange.request
        if not self.faults.is_empty:
            if request.service is Service.CI:
                # A rule may concern the body's object key; a client whose connection is dropped has sent it
                exchange.body = await self._read_body(raw)
            key = _find_object_key(request, exchange.body)
            effects = exchange.effects = self.faults.on_call(Subject(request.operation, request.ids, key))
            if effects.rules:
                self.ledger.update_request(exchange.record, faults=effects.rules)
            if effects.clock_skew:
                exchange.headers.update(skewed_date(self.now() + effects.clock_skew))
        await interrupt(exchange.effects.before, raw, request.service)
        response = await handler(raw)
        await interrupt(exchange.effects.after, raw, request.service)
        return response

    async def _handle(self, raw: web.Request) -> web.StreamResponse:
        exchange = _exchange.get()
        authenticate(exchange.request, self.config, self.now() + exchange.effects.clock_skew)
        if exchange.request.service is Service.COS:
            _ask_for_body(raw)
            return await self.objects.handle(exchange.request, raw, exchange.headers, exchange.effects)
        if exchange.body is None:
            exchange.body = await self._read_body(raw)
        document = self._handle_ci_call(exchange)
        if document is None:
            return web.Response(headers=exchange.headers)
        rewrite(document, exchange.effects)
        headers = {**exchange.headers, "Content-Type": "application/xml"}
        return web.Response(body=to_bytes(document), headers=headers)

    def _handle_ci_call(self, exchange: _Exchange) -> Element | None:
        request, name = exchange.request, exchange.request.operation
        if not all(is_xml_text(text) for text in (request.path, *request.nonempty_params.values())):
            raise invalid_argument("the path or a parameter has characters that XML cannot carry")
        handler = self.handlers.get(name)
        if handler is None or (name in CANCELLATIONS and not request.has_param("cancel")):
            message = f"{request.method} {request.path} is not a call of this service"
            raise ServiceError(404, "InvalidUrl", message)
        call = Call(
            bucket=self._bucket(request),
            id=request.id,
            params=request.nonempty_params,
            body=exchange.body or b"",
            content_md5=request.header("content-md5"),
            list_consistency_delay=exchange.effects.list_consistency_delay,
        )
        try:
            content = handler(call)
        except BadPageTokenError:
            raise invalid_argument("nextToken was not issued by this service") from None
        if content is None:
            return None
        request_id = {} if name in JOB_CALLS else {"RequestId": exchange.request_id}
        document = build("Response", {**request_id, **content})
        shift_times(document, self.config.observed.timestamps_offset)
        if name == "submit":
            ids = tuple(one.text or "" for one in document.iterfind("JobsDetail/JobId"))
            self.ledger.update_request(exchange.record, ids=ids)
        return document

    def _bucket(self, request: ServiceRequest) -> str:
        if request.names_no_bucket and request.operation not in BUCKET_LISTS:
            raise ServiceError(404, "InvalidUrl", "this path is not served on the regional host")
        bucket = request.bucket or self.config.default_bucket
        if not self.buckets.exists(bucket):
            raise ServiceError(400, "InvalidHost", f"bucket {bucket} does not exist here")
        if request.region not in (None, self.config.region):
            refusal = self.config.observed.wrong_region
            message = f"bucket {bucket} is in region {self.config.region}"
            raise ServiceError(refusal.status, refusal.code, message)
        return bucket

    async def _read_body(self, raw: web.Request) -> bytes:
        """Return the body of a CI call."""
        if raw.method not in ("POST", "PUT"):
            return b""
        if raw.content_length is None and "Transfer-Encoding" not in raw.headers:
            raise ServiceError(411, "MissingContentLength", "Content-Length is missing")
        _ask_for_body(raw)
        limit = self.config.max_request_bytes
        try:
            if (raw.content_length or 0) <= limit:
                return await raw.read()
        except web.HTTPRequestEntityTooLarge:
            pass
        raise ServiceError(413, "InvalidContent", f"the body is larger than {limit} bytes")


async def _do_not_ask_yet(_raw: web.Request) -> None:
    """Do not respond to ``Expect: 100-continue``: the body of a refused request is not wanted."""


def _ask_for_body(raw: web.Request) -> None:
    """Respond to ``Expect: 100-continue``, so that the client sends the body."""
    if raw.headers.get("Expect", "").lower() == "100-continue" and raw.transport is not None:
        raw.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _find_object_key(request: ServiceRequest, body: bytes | None) -> str | None:
    """Return the object key that a call is about: its own, or the input of the job that it names."""
    if request.service is Service.COS:
        return request.path.removeprefix("/") or request.nonempty_params.get("prefix")
    if request.method == "POST" and body:
        try:
            root = parse(body)
        except XMLError:
            return None
        return root.findtext("Input/Object") or root.findtext("Input/Prefix")
    return request.nonempty_params.get("inputobject")


def _error_response(error: ServiceError, exchange: _Exchange) -> web.Response:
    request, trace_id = exchange.request, secrets.token_hex(16)
    resource = (request.header("host") or "") + request.path if request.service is Service.COS else None
    body = error_document(error, exchange.request_id, trace_id, resource)
    return web.Response(
        status=error.status,
        body=None if request.method == "HEAD" else body,
        headers={
            **exchange.headers,
            **error.headers,
            f"x-{request.service.value}-trace-id": trace_id,
            "Content-Type": "application/xml",
        },
    )
