"""A remote call: one small class each, that builds a request and reads the response."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from lxml import etree

from airflow_provider_ci.exceptions import InvalidResponseError, ServiceError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.errors import service_error
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse

T = TypeVar("T")
_WHY_MAX = 300  # the parser quotes names of the document, of any length


class ApiRequest(Generic[T]):
    """A remote call. ``purpose`` completes "Cannot …" in error messages.

    ``cam_actions`` are what the account's CAM policy must allow (``docs/permissions.md``). ``idempotent``
    says whether the call may be repeated when its response was lost.
    """

    purpose: ClassVar[str]
    cam_actions: ClassVar[tuple[str, ...]]
    idempotent: ClassVar[bool] = True

    @property
    def expires_at(self) -> float | None:
        """Until when the call may be made, where that matters; the service refuses it later."""
        return None

    def http_request(self) -> HttpRequest:
        """Return what to send."""
        raise NotImplementedError

    def parse(self, response: HttpResponse) -> T:
        """Return what a success answer says.

        :raises ServiceError: the service answered with an error.
        :raises InvalidResponseError: the answer is not what the documents promise.
        """
        raise NotImplementedError


def drop_empty(params: Iterable[tuple[str, str | None]]) -> tuple[tuple[str, str], ...]:
    """Return the parameters that have a value."""
    return tuple((name, value) for name, value in params if value)


def parse_response(response: HttpResponse, purpose: str) -> etree._Element:
    """Return the root of a success answer.

    :raises ServiceError: an error status, or an ``Error`` document in a 2xx answer.
    :raises InvalidResponseError: not the documented XML.
    """
    if not 200 <= response.status < 300:
        raise service_error(response, purpose)
    try:
        root = xml.parse_response(response.body)
    except xml.XMLError as error:
        raise invalid_response_error(response, purpose, str(error)) from None
    name = xml.local_name(root.tag)
    if name == "Error":
        raise service_error(response, purpose)
    if name != "Response":
        raise invalid_response_error(response, purpose, f"the answer is <{name}>, not <Response>")
    return root


def read_response(model: type[T], response: HttpResponse, purpose: str) -> T:
    """Return an answer as ``model``.

    :raises ServiceError: it is a refusal.
    """
    return xml.read(model, parse_response(response, purpose))


def invalid_response_error(response: HttpResponse, purpose: str, why: str) -> InvalidResponseError:
    """Return the error for an answer that is not what the documents promise."""
    return InvalidResponseError(
        f"Cannot {purpose}: {why[:_WHY_MAX]}", status=response.status, request_id=response.request_id
    )


def acknowledged(response: HttpResponse, purpose: str, gone_already: Sequence[str]) -> bool:
    """Tell whether a deletion changed anything: repeated after a lost answer, it finds nothing to delete."""
    try:
        if response.body.strip() or not 200 <= response.status < 300:
            parse_response(response, purpose)
    except ServiceError as error:
        if error.code in gone_already:
            return False
        raise
    return True
