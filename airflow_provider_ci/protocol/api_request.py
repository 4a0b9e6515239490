"""What all remote calls have in common.

Each call is a small class that builds a request and parses the response.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Generic, TypeVar

from airflow_provider_ci.exceptions import InvalidResponseError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.errors import service_error
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service

T = TypeVar("T")
_REASON_MAX = 300  # characters; the XML parser quotes names of the document, which may have any length


class ApiRequest(Generic[T]):
    """A remote call whose response is a ``T``.

    ``purpose`` completes "Cannot …" in error messages. ``cam_actions`` are what the account's CAM policy must
    allow (``docs/permissions.md``). ``idempotent`` says whether the call may be sent again when its response
    was lost.
    """

    purpose: ClassVar[str]
    cam_actions: ClassVar[tuple[str, ...]]
    idempotent: ClassVar[bool] = True

    @property
    def expires_at(self) -> float | None:
        """Unix time after which the service must reject the call; ``None`` for no limit."""
        return None

    def http_request(self) -> HttpRequest:
        """Return the HTTP request, unsigned.

        :raises RequestValidationError: an argument breaks a documented rule.
        """
        raise NotImplementedError

    def parse(self, response: HttpResponse) -> T:
        """Return the content of a successful response.

        :raises ServiceError: the service responded with an error, which a status of 200 may hide.
        :raises InvalidResponseError: the response is not the documented one.
        """
        raise NotImplementedError


def ci_request(
    method: str, path: str, *, params: tuple[tuple[str, str], ...] = (), body: Tree | None = None
) -> HttpRequest:
    """Return a request to CI.

    :param body: the content of the element ``Request``.
    """
    content = b"" if body is None else xml.tree_to_bytes(body, "Request")
    return HttpRequest(method=method, service=Service.CI, path=path, params=params, body=content)


def drop_empty(params: Iterable[tuple[str, str | None]]) -> tuple[tuple[str, str], ...]:
    """Return the parameters that have a value."""
    return tuple((name, value) for name, value in params if value)


def parse_response(response: HttpResponse, purpose: str, root_name: str = "Response") -> xml.Element:
    """Return the root element of a successful response, which is called ``root_name``.

    :raises ServiceError: an error status, or an ``Error`` document with a status of 200.
    :raises InvalidResponseError: not the documented XML.
    """
    if not response.is_success:
        raise service_error(response, purpose)
    try:
        root = xml.parse_response(response.body)
    except xml.XMLError as error:
        raise invalid_response_error(response, purpose, str(error)) from None
    name = xml.local_name(root.tag)
    if name == "Error":
        raise service_error(response, purpose)
    if name != root_name:
        raise invalid_response_error(response, purpose, f"the response is <{name}>, not <{root_name}>")
    return root


def read_response(model: type[T], response: HttpResponse, purpose: str) -> T:
    """Return a successful response as ``model``. Raises as :func:`parse_response` does."""
    return xml.read(model, parse_response(response, purpose))


def raise_for_error(response: HttpResponse, purpose: str) -> None:
    """Raise as :func:`parse_response` does, but accept a success without body."""
    if response.body.strip() or not response.is_success:
        parse_response(response, purpose)


def invalid_response_error(response: HttpResponse, purpose: str, reason: str) -> InvalidResponseError:
    """Return the error for a response that is not the documented one."""
    return InvalidResponseError(
        f"Cannot {purpose}: {reason[:_REASON_MAX]}",
        status=response.status,
        request_id=response.request_id,
        hint="Check endpoint_url and the proxies: something on the way may have sent this response",
    )
