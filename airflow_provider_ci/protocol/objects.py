"""Calls about objects in COS: upload (436/7749), download (436/7753), head (436/7745), and media information
(460/38935).

The transport streams bodies: :class:`PutObject` has no body here, and :class:`GetObject` parses none.
"""

# ruff: noqa: D102 - the methods of the calls are documented in ApiRequest

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

_DIGITS_MAX = 18  # Python raises an error for numbers of thousands of digits


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHead:
    """What COS says about an object: ``size`` in bytes, ``storage_class`` in its spelling.

    ``tier`` is the storage tier of an object of the class ``INTELLIGENT_TIERING``. ``restore`` is the state
    of an archived object's restoration.
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


class _ObjectRequest(ApiRequest[T], Generic[T]):
    key: str
    method: ClassVar[str]

    def http_request(self) -> HttpRequest:
        if not is_object_key(self.key):
            allowed = "a key that does not begin with / and has no control characters"
            raise RequestValidationError([f"object key is {self.key!r}, allowed: {allowed}"])
        address = object_address(self.key)
        if address is not None and address.bucket is not None:
            allowed = f"a key: write bucket={address.bucket!r}, key={address.key!r}"
            raise RequestValidationError([f"object key is {redact_address(self.key)!r}, allowed: {allowed}"])
        return HttpRequest(method=self.method, service=Service.COS, path="/" + self.key)


class _TransferRequest(_ObjectRequest[None]):
    def parse(self, response: HttpResponse) -> None:
        if not response.is_success:
            raise service_error(response, self.purpose)


@dataclass(frozen=True, slots=True)
class GetObject(_TransferRequest):
    """``GET /<key>``: downloads an object."""

    key: str
    method: ClassVar[str] = "GET"
    purpose: ClassVar[str] = "download the object"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:GetObject",)


@dataclass(frozen=True, slots=True)
class PutObject(_TransferRequest):
    """``PUT /<key>``: uploads at most 5 GB.

    ``content_md5`` (base64) lets the service reject a damaged upload. Without ``content_type`` the object has
    ``application/octet-stream``.
    """

    key: str
    content_md5: str
    content_type: str | None = None
    method: ClassVar[str] = "PUT"
    purpose: ClassVar[str] = "upload the object"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:PutObject",)

    def http_request(self) -> HttpRequest:
        plain = _TransferRequest.http_request(self)
        return replace(plain, headers=(("Content-MD5", self.content_md5),), content_type=self.content_type)


@dataclass(frozen=True, slots=True)
class HeadObject(_ObjectRequest[ObjectHead]):
    """``HEAD /<key>``: describes an object. It fails with ``NotFoundError`` without object or bucket."""

    key: str
    method: ClassVar[str] = "HEAD"
    purpose: ClassVar[str] = "look at the object"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:HeadObject",)

    def parse(self, response: HttpResponse) -> ObjectHead:
        if not response.is_success:
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
class _MediaInfoResponse:
    media_info: MediaInfo | None = None


@dataclass(frozen=True, slots=True)
class GetMediaInfo(_ObjectRequest[MediaInfo]):
    """``GET /<key>?ci-process=videoinfo`` (460/38935): describes the content of a media file."""

    key: str
    method: ClassVar[str] = "GET"
    purpose: ClassVar[str] = "read the media information"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:GetObject",)

    def http_request(self) -> HttpRequest:
        plain = _ObjectRequest.http_request(self)
        return replace(plain, params=(("ci-process", "videoinfo"),))

    def parse(self, response: HttpResponse) -> MediaInfo:
        info = read(_MediaInfoResponse, parse_response(response, self.purpose)).media_info
        if info is None:
            raise invalid_response_error(response, self.purpose, "the response has no MediaInfo")
        return info
