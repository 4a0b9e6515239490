"""Applies the effects of the fault plan: interrupts calls, alters responses, drops connections."""

from __future__ import annotations

import asyncio
import copy
from email.utils import formatdate

from aiohttp import web

from tencent_ci_emulator.faults.effects import Effects, ErrorResponse, Interruption
from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.http.service_request import Service
from tencent_ci_emulator.http.xml import Element

# The usual code of a status, of CI (460/42867), and of COS (436/7730) where that differs
_CODES = {
    301: "PermanentRedirect",
    307: "TemporaryRedirect",
    400: "InvalidArgument",
    401: "AccessDenied",
    403: "AccessDenied",
    404: "InvalidUrl",
    411: "MissingContentLength",
    413: "InvalidContent",
    429: "SlowDown",
    451: "UnavailableForLegalReasons",
    501: "NotImplemented",
    503: "ServiceUnavailable",
}
_COS_CODES = {404: "NoSuchKey", 413: "EntityTooLarge"}
_TIMES = ("CreationTime", "StartTime", "EndTime", "CreateTime", "UpdateTime")


class DroppedError(Exception):
    """The connection has been closed without a complete response."""


async def interrupt(interruption: Interruption, raw: web.BaseRequest, service: Service) -> None:
    """Delay, then close the connection or raise the error, if the fault plan says so. Delays take true time.

    :raises DroppedError: the connection is closed.
    :raises ServiceError: the response is an error.
    """
    if interruption.delay:
        await asyncio.sleep(interruption.delay)
    if interruption.drop:
        if raw.transport is not None:
            raw.transport.abort()
        raise DroppedError
    if interruption.error is not None:
        raise _to_service_error(interruption.error, service)


def _to_service_error(error: ErrorResponse, service: Service) -> ServiceError:
    codes = _CODES | _COS_CODES if service is Service.COS else _CODES
    service_error = ServiceError(
        error.status, error.code or codes.get(error.status, "InternalError"), error.message
    )
    if error.retry_after is not None:
        service_error.headers["Retry-After"] = error.retry_after
    return service_error


def rewrite(root: Element, effects: Effects) -> None:
    """Change states, times, element names and repetitions in a response of CI."""
    state, elements = effects.first("state"), effects.first("elements")
    if state:
        for element in root.iterfind("JobsDetail/State"):
            element.text = state
    if effects.first("empty_times"):
        for element in root.iter(*_TIMES):
            element.text = None if element.text == "-" else element.text
    if elements == "single":
        _join_missing_ids(root)
    if elements == "repeated":
        for detail in root.findall("JobsDetail"):
            detail.addnext(copy.deepcopy(detail))
    for name, new_name in effects.rename.items():
        for element in root.iter(name):
            element.tag = new_name


def _join_missing_ids(root: Element) -> None:
    """Put all unknown ids into one element, as the tables of the documents have it."""
    missing = root.findall("NonExistJobIds")
    for element in missing[1:]:
        missing[0].text = f"{missing[0].text},{element.text}"
        root.remove(element)


async def alter_response(
    response: web.StreamResponse, effects: Effects, raw: web.BaseRequest
) -> web.StreamResponse:
    """Return the response with another body or headers, or send a part of it and close the connection.

    :raises DroppedError: the connection is closed after a part of the body.
    """
    response.headers.update(effects.headers)
    if not isinstance(response, web.Response) or response.prepared:
        return response
    body = effects.body
    if body is not None:
        response.headers.popall("Content-Length", None)
        response.body = body
    truncate = effects.first("truncate")
    if truncate is not None and isinstance(response.body, bytes):
        await _send_part(response, response.body, truncate, raw)
        raise DroppedError
    return response


async def _send_part(response: web.Response, body: bytes, size: int, raw: web.BaseRequest) -> None:
    headers = {**response.headers, "Content-Length": str(len(body)), "Connection": "close"}
    part = web.StreamResponse(status=response.status, headers=headers)
    await part.prepare(raw)
    await part.write(body[:size])
    if raw.transport is not None:
        raw.transport.close()


def skewed_date(now: float) -> dict[str, str]:
    """Return the ``Date`` header of a service whose clock shows ``now``."""
    return {"Date": formatdate(now, usegmt=True)}
