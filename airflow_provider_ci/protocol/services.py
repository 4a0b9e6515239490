"""The services that are opened for a bucket. Documents: 460/95754, 436/115298, 1045/49940.

Unlike responses about jobs, these carry ``RequestId`` in their bodies.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from airflow_provider_ci.exceptions import ServiceError
from airflow_provider_ci.protocol.api_request import ApiRequest, read_response
from airflow_provider_ci.protocol.errors import is_open_already
from airflow_provider_ci.protocol.rules import check_choice
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
        return HttpRequest(method="POST", service=Service.CI, path=f"/{self.service}bucket")

    def parse(self, response: HttpResponse) -> BucketBinding | None:
        """Return the binding; ``None`` if the service was open already."""
        try:
            answer = read_response(BucketResponse, response, self.purpose)
        except ServiceError as error:
            if is_open_already(error):
                return None
            raise
        return answer.asr_bucket or answer.media_bucket or BucketBinding()
