"""Errors that the emulator answers with, and their bodies.

Codes and statuses: CI from Tencent document 460/42867 (body without ``Resource``), COS from 436/7730 (with
it).
"""

from __future__ import annotations

from lxml import etree

from tencent_ci_emulator.http.xml import to_bytes


class ServiceError(Exception):
    """Ends the handling of a request with an error answer: HTTP status, ``Code``, ``Message``, headers."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers: dict[str, str] = {}


def invalid_argument(message: str) -> ServiceError:
    """Return the fault for a field or parameter that breaks a rule; the message names it."""
    return ServiceError(400, "InvalidArgument", message)


def error_document(fault: ServiceError, request_id: str, trace_id: str, resource: str | None) -> bytes:
    """Return the XML body of an error. ``resource`` (host and path) belongs to COS answers only."""
    root = etree.Element("Error")
    fields = {
        "Code": fault.code,
        "Message": fault.message,
        "Resource": resource,
        "RequestId": request_id,
        "TraceId": trace_id,
    }
    for name, value in fields.items():
        if value is not None:
            etree.SubElement(root, name).text = _carriable(value)
    return to_bytes(root)


def _carriable(text: str) -> str:
    """A message may quote the request, which may hold characters that XML cannot carry."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
