"""The services that are opened for a bucket: open, close, list. Documents: 460/95754, 436/115298, 1045/49940,
1045/49551. Unlike responses about jobs, these carry ``RequestId`` in their bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from airflow_provider_ci.exceptions import ServiceError
from airflow_provider_ci.protocol.api_request import ApiRequest, acknowledged, drop_empty, read_response
from airflow_provider_ci.protocol.errors import is_not_open, is_open_already
from airflow_provider_ci.protocol.lists import PAGE_SIZE_MAX, NumberedListRequest
from airflow_provider_ci.protocol.rules import check_choice, check_list
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service

#: What is opened for a bucket, and has queues: smart audio (``asr``) and media processing (``media``).
ASR, MEDIA = "asr", "media"
SERVICES = (ASR, MEDIA)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketBinding:
    """A bucket for which a service is open. ``name`` is the same as ``bucket_id`` (1045/49940)."""

    bucket_id: str | None = None
    name: str | None = None
    region: str | None = None
    create_time: datetime | None = None
    alias_bucket_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketResponse:
    """The answer to ``POST /asrbucket`` or ``POST /mediabucket``: one of the two is set."""

    request_id: str | None = None
    asr_bucket: BucketBinding | None = None
    media_bucket: BucketBinding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketClosedResponse:
    """The answer to ``DELETE /asrbucket``."""

    request_id: str | None = None
    bucket_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketsResponse:
    """The answer to ``GET /asrbucket`` or ``GET /mediabucket``: one of the two lists is filled."""

    request_id: str | None = None
    total_count: int | None = None
    page_number: int | None = None
    page_size: int | None = None
    asr_bucket_list: tuple[BucketBinding, ...] = ()
    media_bucket_list: tuple[BucketBinding, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenBucket(ApiRequest[BucketBinding | None]):
    """``POST /asrbucket`` (460/95754) or ``POST /mediabucket`` (436/115298): open a service for the bucket.

    May be repeated: that it is open already counts as success.
    """

    service: str = ASR
    purpose: ClassVar[str] = "open the service for the bucket"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateMediaBucket", "ci:CreateAsrBucket")

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: no such service.
        """
        check_choice("service", self.service, SERVICES)
        return HttpRequest(method="POST", service=Service.CI, path=_bucket_path(self.service))

    def parse(self, response: HttpResponse) -> BucketBinding | None:
        """Return the binding; ``None`` if the service was open already."""
        try:
            answer = read_response(BucketResponse, response, self.purpose)
        except ServiceError as error:
            if is_open_already(error):
                return None
            raise
        return answer.asr_bucket or answer.media_bucket or BucketBinding()


@dataclass(frozen=True, slots=True)
class CloseBucket(ApiRequest[bool]):
    """``DELETE /asrbucket`` (436/98018) or ``DELETE /mediabucket``: close a service for the bucket.

    The second is known by its permission only (``ci:DeleteMediaBucket``, 1045/49896).
    """

    service: str = ASR
    purpose: ClassVar[str] = "close the service for the bucket"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DeleteMediaBucket", "ci:DeleteAsrBucket")

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: no such service.
        """
        check_choice("service", self.service, SERVICES)
        return HttpRequest(method="DELETE", service=Service.CI, path=_bucket_path(self.service))

    def parse(self, response: HttpResponse) -> bool:
        """Tell whether it was open: it is closed in any case."""
        try:
            return acknowledged(response, self.purpose, ())
        except ServiceError as error:
            if is_not_open(error):
                return False
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBuckets(NumberedListRequest[BucketsResponse, BucketBinding]):
    """``GET /asrbucket`` or ``GET /mediabucket`` on the region's host (436/48988): one page of bindings.

    :param regions: only buckets of these regions; none leaves it to the service.
    :param bucket_names: only these buckets.
    :param bucket_name: begin of the bucket's name.
    """

    service: str = ASR
    regions: Sequence[str] = ()
    bucket_names: Sequence[str] = ()
    bucket_name: str | None = None
    page_size: int = PAGE_SIZE_MAX
    purpose: ClassVar[str] = "list buckets"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaBuckets", "ci:DescribeAsrBuckets")
    regional: ClassVar[bool] = True

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: an argument outside the documented values.
        """
        check_choice("service", self.service, SERVICES)
        check_list("regions", self.regions)
        check_list("bucket_names", self.bucket_names)
        params = (
            ("regions", ",".join(self.regions)),
            ("bucketNames", ",".join(self.bucket_names)),
            ("bucketName", self.bucket_name),
            *self.page_params(),
        )
        return HttpRequest(
            method="GET", service=Service.CI, path=_bucket_path(self.service), params=drop_empty(params)
        )

    def parse(self, response: HttpResponse) -> BucketsResponse:
        """Return the page."""
        return read_response(BucketsResponse, response, self.purpose)

    def items(self, answer: BucketsResponse) -> Sequence[BucketBinding]:
        """Return the bindings of the page."""
        return answer.asr_bucket_list or answer.media_bucket_list

    def next_page(self, answer: BucketsResponse) -> ListBuckets | None:
        """Return the call for the next page, or ``None``."""
        return self.page_after(answer, len(self.items(answer)))


def _bucket_path(service: str) -> str:
    return f"/{service}bucket"
