"""The services that are opened for a bucket (460/95754, 436/115298, 1045/49940).

Unlike responses about jobs, these have ``RequestId`` in their bodies.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from airflow_provider_ci.exceptions import ServiceError
from airflow_provider_ci.protocol.api_request import ApiRequest, ci_request, read_response
from airflow_provider_ci.protocol.errors import is_open_already
from airflow_provider_ci.protocol.rules import check_choice
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse

#: The services that are opened for a bucket and have queues: smart audio and media processing.
ASR, MEDIA = "asr", "media"
SERVICES = (ASR, MEDIA)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketBinding:
    """A bucket for which a service is open. ``name`` equals ``bucket_id`` (1045/49940)."""

    bucket_id: str | None = None
    name: str | None = None
    region: str | None = None
    create_time: datetime | None = None
    alias_bucket_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketResponse:
    """The response to ``POST /asrbucket`` or ``POST /mediabucket``: one of the two is set."""

    request_id: str | None = None
    asr_bucket: BucketBinding | None = None
    media_bucket: BucketBinding | None = None


@dataclass(frozen=True, slots=True)
class OpenBucket(ApiRequest[BucketBinding | None]):
    """``POST /asrbucket`` (460/95754) or ``POST /mediabucket`` (436/115298): opens a service for the bucket.

    ``None`` if the service was open already, which is a success: the call may be repeated.
    """

    service: str = ASR
    purpose: ClassVar[str] = "open the service for the bucket"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateMediaBucket", "ci:CreateAsrBucket")

    def http_request(self) -> HttpRequest:  # noqa: D102
        check_choice("service", self.service, SERVICES)
        return ci_request("POST", f"/{self.service}bucket")

    def parse(self, response: HttpResponse) -> BucketBinding | None:  # noqa: D102
        try:
            opened = read_response(BucketResponse, response, self.purpose)
        except ServiceError as error:
            if is_open_already(error):
                return None
            raise
        return opened.asr_bucket or opened.media_bucket or BucketBinding()
