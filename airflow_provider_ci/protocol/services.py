"""The services that are opened for a bucket (460/95754, 436/115298, 1045/49940).

Unlike responses about jobs, these have ``RequestId`` in their bodies.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from airflow_provider_ci.exceptions import ServiceError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.api_request import ApiRequest, ci_request, parse_response
from airflow_provider_ci.protocol.errors import is_open_already
from airflow_provider_ci.protocol.job_types.job_type import AI, ASR, FILE, MEDIA, PICTURE
from airflow_provider_ci.protocol.rules import check_choice
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse

#: Smart audio, media processing, pictures, AI and files: a type of job needs one of them.
SERVICES = (ASR, MEDIA, PICTURE, AI, FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketBinding:
    """A bucket for which a service is open. ``name`` equals ``bucket_id`` (1045/49940)."""

    bucket_id: str | None = None
    name: str | None = None
    region: str | None = None
    create_time: datetime | None = None
    alias_bucket_id: str | None = None


@dataclass(frozen=True, slots=True)
class OpenBucket(ApiRequest[BucketBinding | None]):
    """``POST /asrbucket`` (460/95754), ``POST /mediabucket`` (436/115298) and others: opens a service for the
    bucket. The paths of the others are those of Tencent's Go SDK.

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
            root = parse_response(response, self.purpose)
        except ServiceError as error:
            if is_open_already(error):
                return None
            raise
        # AsrBucket, MediaBucket; the names for other services are not documented
        opened = (child for child in root if xml.local_name(child.tag).endswith("Bucket"))
        return next((xml.read(BucketBinding, each) for each in opened), BucketBinding())
