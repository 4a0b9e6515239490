"""COS object calls that a job's input and results need (436/7749 PUT, 436/7753 GET, 436/7745 HEAD, 460/38935
media information).

Bodies are streamed by the transport: :class:`PutObject` names no body, and :class:`GetObject` is read in
pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Generic, TypeVar

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.api_request import ApiRequest, invalid_response_error, parse_response
from airflow_provider_ci.protocol.errors import service_error
from airflow_provider_ci.protocol.media_info import MediaInfo
from airflow_provider_ci.protocol.names import is_object_key, object_address, redact_address
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service
from airflow_provider_ci.protocol.xml import read

T = TypeVar("T")

_DIGITS_MAX = 18  # Python refuses to read numbers of thousands of digits


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHead:
    """What COS tells of an object: ``size`` in bytes, ``storage_class`` as it names it.

    ``tier`` is where an object of class ``INTELLIGENT_TIERING`` lies, ``restore`` the state of an archived
    object's restoration.
    """

    size: int
    storage_class: str = "STANDARD"
    tier: str | None = None
    restore: str | None = None
    etag: str | None = None
    content_type: str | None = None

    @property
    def is_archived(self) -> bool:
        """Whether the content cannot be read before it has been restored."""
        archived = any("ARCHIVE" in name.upper() for name in (self.storage_class, self.tier or ""))
        return archived and 'ongoing-request="false"' not in (self.restore or "")


class _ObjectOperation(ApiRequest[T], Generic[T]):
    key: str
    method: ClassVar[str]

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: the key is empty, begins with ``/``, has control characters, or is an
            object's whole address.
        """
        if not is_object_key(self.key):
            allowed = "a key without / at its begin and without control characters"
            raise RequestValidationError([f"object key is {self.key!r}, allowed: {allowed}"])
        address = object_address(self.key)
        if address is not None and address.bucket is not None:
            allowed = f"a key: write bucket={address.bucket!r}, key={address.key!r}"
            raise RequestValidationError([f"object key is {redact_address(self.key)!r}, allowed: {allowed}"])
        return HttpRequest(method=self.method, service=Service.COS, path="/" + self.key)


class _TransferOperation(_ObjectOperation[None]):
    def parse(self, response: HttpResponse) -> None:
        """Return nothing, or raise the service's error."""
        if not 200 <= response.status < 300:
            raise service_error(response, self.purpose)


@dataclass(frozen=True, slots=True)
class GetObject(_TransferOperation):
    """``GET /<key>``."""

    key: str
    method: ClassVar[str] = "GET"
    purpose: ClassVar[str] = "download the object"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:GetObject",)


@dataclass(frozen=True, slots=True)
class PutObject(_TransferOperation):
    """``PUT /<key>``; ``content_md5`` (base64) lets the service refuse a damaged upload. At most 5 GB.

    Without ``content_type`` the service keeps ``application/octet-stream``.
    """

    key: str
    content_md5: str
    content_type: str | None = None
    method: ClassVar[str] = "PUT"
    purpose: ClassVar[str] = "upload the object"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:PutObject",)

    def http_request(self) -> HttpRequest:
        """Return the request."""
        plain = _TransferOperation.http_request(self)
        return replace(plain, headers=(("Content-MD5", self.content_md5),), content_type=self.content_type)


@dataclass(frozen=True, slots=True)
class HeadObject(_ObjectOperation[ObjectHead]):
    """``HEAD /<key>``: whether the object exists, and what it is. Needs ``cos:HeadObject``."""

    key: str
    method: ClassVar[str] = "HEAD"
    purpose: ClassVar[str] = "look at the object"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:HeadObject",)

    def parse(self, response: HttpResponse) -> ObjectHead:
        """Return what the headers tell.

        :raises NotFoundError: there is no such object, or no such bucket: the answer has no body to say.
        """
        if not 200 <= response.status < 300:
            raise service_error(response, self.purpose)
        length = response.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) <= _DIGITS_MAX):
            raise invalid_response_error(response, self.purpose, f"Content-Length is {length!r}")
        return ObjectHead(
            size=int(length),
            storage_class=response.headers.get("x-cos-storage-class") or "STANDARD",
            tier=response.headers.get("x-cos-storage-tier"),
            restore=response.headers.get("x-cos-restore"),
            etag=response.headers.get("etag"),
            content_type=response.headers.get("content-type"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _MediaInfoAnswer:
    media_info: MediaInfo | None = None


@dataclass(frozen=True, slots=True)
class GetMediaInfo(_ObjectOperation[MediaInfo]):
    """``GET /<key>?ci-process=videoinfo`` (460/38935): what is in a media file."""

    key: str
    method: ClassVar[str] = "GET"
    purpose: ClassVar[str] = "read the media information"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:GetObject",)

    def http_request(self) -> HttpRequest:
        """Return the request."""
        plain = _ObjectOperation.http_request(self)
        return replace(plain, params=(("ci-process", "videoinfo"),))

    def parse(self, response: HttpResponse) -> MediaInfo:
        """Return format and streams.

        :raises InvalidResponseError: the answer has neither.
        """
        info = read(_MediaInfoAnswer, parse_response(response, self.purpose)).media_info
        if info is None:
            raise invalid_response_error(response, self.purpose, "the response has no MediaInfo")
        return info
