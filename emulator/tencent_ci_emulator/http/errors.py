"""Errors that end a request, and their XML documents.

Codes and statuses: CI from Tencent document 460/42867 (body without ``Resource``), COS from 436/7730 (with
it).
"""

from __future__ import annotations

from tencent_ci_emulator.http.xml import build, printable, to_bytes


class ServiceError(Exception):
    """Ends a request with an error response: HTTP status, ``Code``, ``Message`` and further headers."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers: dict[str, str] = {}


class InvalidArgumentError(ServiceError):
    """A field or parameter breaks a rule; the message names it."""


def invalid_argument(message: str) -> InvalidArgumentError:
    """Return the error for a field or parameter that breaks a rule; the message names it."""
    return InvalidArgumentError(400, "InvalidArgument", message)


def error_document(error: ServiceError, request_id: str, trace_id: str, resource: str | None) -> bytes:
    """Return the XML body of an error. ``resource`` (host and path) belongs to errors of COS only."""
    # A message may quote the request, which may hold characters that XML cannot carry
    content = {
        "Code": error.code,
        "Message": printable(error.message),
        "Resource": None if resource is None else printable(resource),
        "RequestId": request_id,
        "TraceId": trace_id,
    }
    return to_bytes(build("Error", content))
