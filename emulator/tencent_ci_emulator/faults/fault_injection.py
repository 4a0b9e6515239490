"""Obeys the fault plan: spoils answers, breaks connections."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from email.utils import formatdate

from aiohttp import web

from tencent_ci_emulator.faults.effects import Effects, ErrorResponse, Interruption
from tencent_ci_emulator.http.service_errors import ServiceError
from tencent_ci_emulator.http.service_request import Service
from tencent_ci_emulator.http.xml import Element

#: The usual code of a status, of CI (460/42867) and of COS (436/7730) where that differs.
_CODES = {
    400: "InvalidArgument",
    401: "AccessDenied",
    403: "AccessDenied",
    404: "InvalidUrl",
    411: "MissingContentLength",
    413: "InvalidContent",
    429: "SlowDown",
    451: "UnavailableForLegalReasons",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
    301: "PermanentRedirect",
    307: "TemporaryRedirect",
}
_COS_CODES = {404: "NoSuchKey", 413: "EntityTooLarge"}
_TIMES = ("CreationTime", "StartTime", "EndTime", "CreateTime", "UpdateTime")


class DroppedError(Exception):
    """The connection has been broken; there is no answer."""


async def interrupt(interruption: Interruption, raw: web.BaseRequest, service: Service) -> None:
    """Delay, then drop the connection or raise the error, as told. The delay is in true seconds.

    :raises DroppedError: the connection is gone.
    :raises ServiceError: the answer is an error.
    """
    if interruption.delay:
        await asyncio.sleep(interruption.delay)
    if interruption.drop:
        if raw.transport is not None:
            raw.transport.abort()
        raise DroppedError
    if interruption.error is not None:
        raise _fault(interruption.error, service)


def _fault(error: ErrorResponse, service: Service) -> ServiceError:
    usual = _CODES.get(error.status, "InternalError")
    if service is Service.COS:
        usual = _COS_CODES.get(error.status, usual)
    fault = ServiceError(error.status, error.code or usual, error.message)
    if error.retry_after is not None:
        fault.headers["Retry-After"] = error.retry_after
    return fault


def rewrite(root: Element, effects: Effects) -> None:
    """Change a document of CI: another state, other element names and so on."""
    for is_wanted, change in _changes(effects):
        if is_wanted:
            change(root, effects)


def _changes(effects: Effects) -> list[tuple[object, Callable[[Element, Effects], None]]]:
    elements = effects.first("elements")
    return [
        (effects.first("state"), _set_state),
        (effects.first("empty_times"), _empty_times),
        (elements == "single", _join_missing),
        (elements == "repeated", _repeat_details),
        (effects.rename, _rename),
    ]


def _set_state(root: Element, effects: Effects) -> None:
    for state in root.iterfind("JobsDetail/State"):
        state.text = effects.first("state")


def _empty_times(root: Element, _effects: Effects) -> None:
    for name in _TIMES:
        for moment in root.iter(name):
            moment.text = None if moment.text == "-" else moment.text


def _join_missing(root: Element, _effects: Effects) -> None:
    """All unknown ids in one element, as the tables of the documents have it."""
    missing = root.findall("NonExistJobIds")
    for one in missing[1:]:
        missing[0].text = f"{missing[0].text},{one.text}"
        root.remove(one)


def _repeat_details(root: Element, _effects: Effects) -> None:
    """Every job twice, as two shards of a list might report it."""
    for detail in root.findall("JobsDetail"):
        detail.addnext(copy.deepcopy(detail))


def _rename(root: Element, effects: Effects) -> None:
    for old, new in effects.rename.items():
        for element in root.iter(old):
            element.tag = new


async def alter_response(
    response: web.StreamResponse, effects: Effects, raw: web.BaseRequest
) -> web.StreamResponse:
    """Return the answer with another body or headers, or send a part of it and break off.

    :raises DroppedError: the connection is gone after a part of the body.
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


async def _send_part(answer: web.Response, body: bytes, size: int, raw: web.BaseRequest) -> None:
    headers = {**answer.headers, "Content-Length": str(len(body)), "Connection": "close"}
    part = web.StreamResponse(status=answer.status, headers=headers)
    await part.prepare(raw)
    await part.write(body[:size])
    if raw.transport is not None:
        raw.transport.close()


def skewed_date(now: float) -> dict[str, str]:
    """Return the ``Date`` header of a service whose clock shows ``now``."""
    return {"Date": formatdate(now, usegmt=True)}
