"""COS object calls that a job's input and results need (436/7749 PUT, 436/7753 GET).

Bodies are streamed by the transport: :class:`PutObject` names no body, and :class:`GetObject` is read in
pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.errors import service_error
from airflow_provider_ci.protocol.operations import RemoteCall
from airflow_provider_ci.protocol.validation import is_object_key
from airflow_provider_ci.protocol.wire import Request, Response, Service


class _ObjectOperation(RemoteCall[None]):
    key: str
    method: ClassVar[str]

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: the key is empty, begins with ``/`` or has control characters.
        """
        if not is_object_key(self.key):
            allowed = "a key without / at its begin and without control characters"
            raise RequestValidationError([f"object key is {self.key!r}, allowed: {allowed}"])
        return Request(method=self.method, service=Service.COS, path="/" + self.key)

    def parse(self, response: Response) -> None:
        """Return nothing, or raise the service's error."""
        if not 200 <= response.status < 300:
            raise service_error(response, self.action)


@dataclass(frozen=True, slots=True)
class GetObject(_ObjectOperation):
    """``GET /<key>``."""

    key: str
    method: ClassVar[str] = "GET"
    action: ClassVar[str] = "download the object"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:GetObject",)


@dataclass(frozen=True, slots=True)
class PutObject(_ObjectOperation):
    """``PUT /<key>``; ``content_md5`` (base64) lets the service refuse a damaged upload. At most 5 GB."""

    key: str
    content_md5: str
    method: ClassVar[str] = "PUT"
    action: ClassVar[str] = "upload the object"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:PutObject",)

    def request(self) -> Request:
        """Return the request."""
        plain = _ObjectOperation.request(self)
        return Request(
            method=plain.method,
            service=plain.service,
            path=plain.path,
            headers=(("Content-MD5", self.content_md5),),
        )
