"""Calls about objects in COS: upload (436/7749), download (436/7753), head (436/7745), list (436/7734), and
media information (460/38935).

The transport streams bodies: :class:`PutObject` has no body here, and :class:`GetObject` parses none.
"""

# ruff: noqa: D102 - the methods of the calls are documented in ApiRequest

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, Generic, TypeVar
from urllib.parse import unquote

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.api_request import (
    ApiRequest,
    drop_empty,
    invalid_response_error,
    parse_response,
)
from airflow_provider_ci.protocol.errors import service_error
from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.lists import PagedRequest
from airflow_provider_ci.protocol.media_info import MediaInfo
from airflow_provider_ci.protocol.names import is_object_key, object_address, redact_address
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service
from airflow_provider_ci.protocol.xml import read

T = TypeVar("T")

#: The objects on a page of a list, at most (436/7734).
OBJECTS_PER_PAGE = 1000
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
        is_restored = 'ongoing-request="false"' in (self.restore or "")
        return _is_archive(self.storage_class, self.tier) and not is_restored


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
            raise service_error(response, self.purpose, has_body=False)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """An object as a list shows it: ``size`` in bytes, ``storage_class`` and ``storage_tier`` as in
    :class:`ObjectHead`. ``etag`` has quotation marks.
    """

    key: str = ""
    size: int | None = None
    storage_class: str = "STANDARD"
    storage_tier: str | None = None
    last_modified: datetime | None = None
    etag: str | None = field(default=None, metadata=element("ETag"))

    @property
    def may_be_archived(self) -> bool:
        """Whether the content may have to be restored first. A list does not show whether it has been."""
        is_unknown = self.storage_class.upper() == "INTELLIGENT_TIERING" and self.storage_tier is None
        return is_unknown or _is_archive(self.storage_class, self.storage_tier)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPage:
    """One page of a list of objects. ``next_marker`` is ``None`` on the last."""

    contents: tuple[ListedObject, ...] = ()
    next_marker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ListBucketResult:
    contents: tuple[ListedObject, ...] = ()
    is_truncated: str | None = None
    next_marker: str | None = None
    encoding_type: str | None = None


@dataclass(frozen=True, slots=True)
class ListObjects(PagedRequest[ObjectPage, ListedObject]):
    """``GET /`` (436/7734): lists the objects whose keys begin with ``prefix``, in the order of their UTF-8.

    :param marker: the list begins after this key.
    """

    prefix: str = ""
    marker: str = ""
    purpose: ClassVar[str] = "list the objects"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:GetBucket",)

    def http_request(self) -> HttpRequest:
        # a key may have characters that XML cannot carry, unless it is encoded
        page = ("encoding-type", "url"), ("max-keys", str(OBJECTS_PER_PAGE))
        params = drop_empty((("prefix", self.prefix), ("marker", self.marker), *page))
        return HttpRequest(method="GET", service=Service.COS, path="/", params=params)

    def parse(self, response: HttpResponse) -> ObjectPage:
        result = read(_ListBucketResult, parse_response(response, self.purpose, "ListBucketResult"))
        decode = unquote if result.encoding_type == "url" else str
        contents = tuple(replace(each, key=decode(each.key)) for each in result.contents)
        if (result.is_truncated or "").strip().lower() != "true":
            return ObjectPage(contents=contents)
        marker = decode(result.next_marker or "") or (contents[-1].key if contents else "")
        if marker.encode() <= self.marker.encode():  # the next page would be this one, without end
            raise invalid_response_error(response, self.purpose, f"NextMarker is {marker!r} again")
        return ObjectPage(contents=contents, next_marker=marker)

    def items(self, page: ObjectPage) -> Sequence[ListedObject]:
        return page.contents

    def next_page(self, page: ObjectPage) -> ListObjects | None:
        return None if page.next_marker is None else replace(self, marker=page.next_marker)


def _is_archive(storage_class: str, tier: str | None) -> bool:
    return any("ARCHIVE" in name.upper() for name in (storage_class, tier or ""))
