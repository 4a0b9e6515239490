"""From a connection to the services and back: ids, common headers, authentication, error answers."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import replace

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tencent_ci_emulator.admin.calls import Admin
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.faults.effects import NO_EFFECTS
from tencent_ci_emulator.faults.fault_injection import DroppedError, interrupt, rewrite, skewed_date, spoil
from tencent_ci_emulator.http.authentication import authenticate
from tencent_ci_emulator.http.hosts import foreign_host
from tencent_ci_emulator.http.request_log import Watch
from tencent_ci_emulator.http.service_errors import ServiceFault, error_document
from tencent_ci_emulator.http.service_request import Incoming, Service
from tencent_ci_emulator.jobs.ci import CIService
from tencent_ci_emulator.ledger import Entry
from tencent_ci_emulator.objects.object_calls import COSService

_log = logging.getLogger(__name__)


class Gateway:
    """The handler of all requests. ``now`` is the true time, which signatures are checked by."""

    def __init__(
        self,
        config: EmulatorConfig,
        ci: CIService,
        cos: COSService,
        now: Callable[[], float],
        watch: Watch,
        admin: Admin,
    ) -> None:
        self._config = config
        self._ci = ci
        self._cos = cos
        self._now = now
        self._watch = watch
        self._admin = admin

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Never raises for what a client sent."""
        request = Incoming.read(raw.method, raw.raw_path, raw.headers.items())
        if self._admin.serves(request):
            return await self._admin.handle(request, raw)
        request_id = secrets.token_hex(12)
        problem = foreign_host(request, self._config)
        if problem is not None:
            _log.warning("%s: refused, %s", problem, request_id)
            refusal = ServiceFault(400, "InvalidHost", problem)
            return _fault_response(refusal, request, _common_headers(request.service, request_id), request_id)
        if request.may_be_call and self._ci.knows(request) and not self._cos.has(request):
            request = replace(request, service=Service.CI)
        entry = self._watch.received(request, request_id)
        try:
            response = await self._respond(request, raw, request_id, entry)
            entry.note(status=response.status)
            said = str(response.status)
        except DroppedError:
            entry.note(dropped=True)
            response = web.Response(status=500)  # which nobody receives
            said = "dropped"
        # Neither query nor headers are logged: they may hold a signature or a token
        shown = request.path.encode(errors="replace").decode()
        _log.info("%s %s %r: %s, %s", request.service.value, request.method, shown, said, request_id)
        return response

    async def _respond(
        self, request: Incoming, raw: web.BaseRequest, request_id: str, entry: Entry
    ) -> web.StreamResponse:
        headers = _common_headers(request.service, request_id)
        effects = NO_EFFECTS
        try:
            body = await self._early_body(request, raw)
            effects = self._watch.effects(request, body, entry)
            request = replace(request, effects=effects)
            if effects.clock_skew:
                headers.update(skewed_date(self._now() + effects.clock_skew))
            await interrupt(effects.before, raw, request.service)
            response = await self._answer(request, raw, headers, body)
            self._watch.acted(response, entry)
            await interrupt(effects.after, raw, request.service)
        except ServiceFault as fault:
            entry.note(code=fault.code)
            response = _fault_response(fault, request, headers, request_id)
        except (ConnectionError, HttpProcessingError):
            incomplete = ServiceFault(400, "IncompleteBody", "the request body broke off or is malformed")
            response = _fault_response(incomplete, request, headers, request_id)
        except DroppedError:
            raise
        except Exception:
            _log.exception("request %s failed in the emulator itself", request_id)
            failure = ServiceFault(500, "InternalError", "the emulator failed; its log says why")
            response = _fault_response(failure, request, headers, request_id)
        return await spoil(response, effects, raw)

    async def _early_body(self, request: Incoming, raw: web.BaseRequest) -> bytes | None:
        """The body of a CI call, if the fault plan may look at it; a client that is cut off has sent it."""
        if request.service is not Service.CI or self._watch.faults.is_empty:
            return None
        await _invite_body(raw)
        return await self._body(raw)

    async def _answer(
        self, request: Incoming, raw: web.BaseRequest, headers: dict[str, str], body: bytes | None
    ) -> web.StreamResponse:
        authenticate(request, self._config, self._now() + request.effects.clock_skew)
        if body is None:
            await _invite_body(raw)
        if request.service is Service.COS:
            return await self._cos.handle(request, raw, headers)
        if body is None:
            body = await self._body(raw)
        answer = self._ci.handle(request, body, headers["x-ci-request-id"])
        if answer.body:
            headers = {**headers, "Content-Type": "application/xml"}
        return web.Response(status=answer.status, body=rewrite(answer.body, request.effects), headers=headers)

    async def _body(self, raw: web.BaseRequest) -> bytes:
        if raw.method not in ("POST", "PUT"):
            return b""
        if raw.content_length is None and "Transfer-Encoding" not in raw.headers:
            raise ServiceFault(411, "MissingContentLength", "Content-Length is missing")
        body = bytearray()
        limit = self._config.max_request_bytes
        if (raw.content_length or 0) <= limit:
            async for block in raw.content.iter_any():
                body += block
                if len(body) > limit:
                    break
            else:
                return bytes(body)
        raise ServiceFault(413, "InvalidContent", f"the body is larger than {limit} bytes")


async def _invite_body(raw: web.BaseRequest) -> None:
    """A client may wait for this before it sends a long body; refused requests never get it."""
    if raw.headers.get("Expect", "").lower() == "100-continue" and raw.transport is not None:
        raw.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _common_headers(service: Service, request_id: str) -> dict[str, str]:
    """460/42866 for CI, 436/7729 for COS."""
    return {"Server": f"tencent-{service.value}", f"x-{service.value}-request-id": request_id}


def _fault_response(
    fault: ServiceFault, request: Incoming, headers: dict[str, str], request_id: str
) -> web.Response:
    trace_id = secrets.token_hex(16)
    resource = None
    if request.service is Service.COS:
        resource = (request.header("host") or "") + request.path
    body = error_document(fault, request_id, trace_id, resource)
    return web.Response(
        status=fault.status,
        body=None if request.method == "HEAD" else body,
        headers={
            **headers,
            **fault.headers,
            f"x-{request.service.value}-trace-id": trace_id,
            "Content-Type": "application/xml",
        },
    )
