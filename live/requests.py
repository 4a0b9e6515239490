"""Calls that the kit needs and that the provider does not make.

Sources: 436/7738 (PUT Bucket), 436/7732 (DELETE Bucket), 436/7743 (DELETE Object), 436/7736 (List Multipart
Uploads), 436/7740 (Abort Multipart Upload), 460/95754 (DELETE /asrbucket).
"""

# ruff: noqa: D102 - the methods are documented in ApiRequest

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar
from urllib.parse import quote, unquote

from airflow_provider_ci.exceptions import ServiceError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.api_request import ApiRequest, ci_request, drop_empty, parse_response
from airflow_provider_ci.protocol.errors import lacks_service, service_error
from airflow_provider_ci.protocol.jobs import DescribeJobs, JobsResponse, SubmitJob
from airflow_provider_ci.protocol.signing import sign
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.protocol.wire import Credentials, Endpoint, HttpRequest, HttpResponse, Service


def _raise_unless_done(response: HttpResponse, purpose: str, *, missing_is_done: bool = False) -> None:
    if response.is_success or (missing_is_done and response.status == 404):
        return
    raise service_error(response, purpose)


@dataclass(frozen=True, slots=True)
class CreateBucket(ApiRequest[None]):
    """``PUT /``: creates the bucket that the host names, private to its account."""

    purpose: ClassVar[str] = "create the bucket"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:PutBucket",)

    def http_request(self) -> HttpRequest:
        return HttpRequest(method="PUT", service=Service.COS, path="/")

    def parse(self, response: HttpResponse) -> None:
        _raise_unless_done(response, self.purpose)


@dataclass(frozen=True, slots=True)
class DeleteBucket(ApiRequest[None]):
    """``DELETE /``: deletes the bucket that the host names, if it is empty."""

    purpose: ClassVar[str] = "delete the bucket"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:DeleteBucket",)

    def http_request(self) -> HttpRequest:
        return HttpRequest(method="DELETE", service=Service.COS, path="/")

    def parse(self, response: HttpResponse) -> None:
        _raise_unless_done(response, self.purpose)


@dataclass(frozen=True, slots=True)
class DeleteObject(ApiRequest[None]):
    """``DELETE /<key>``: deletes an object. A missing one counts as deleted."""

    key: str
    purpose: ClassVar[str] = "delete the object"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:DeleteObject",)

    def http_request(self) -> HttpRequest:
        return HttpRequest(method="DELETE", service=Service.COS, path=f"/{self.key}")

    def parse(self, response: HttpResponse) -> None:
        _raise_unless_done(response, self.purpose, missing_is_done=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload in parts that has not been completed: it keeps a bucket from being deleted."""

    key: str = ""
    upload_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _UploadsResult:
    upload: tuple[Upload, ...] = ()
    encoding_type: str | None = None


@dataclass(frozen=True, slots=True)
class ListUploads(ApiRequest[Sequence[Upload]]):
    """``GET /?uploads``: lists unfinished uploads whose keys begin with ``prefix``, the first thousand."""

    prefix: str
    purpose: ClassVar[str] = "list the unfinished uploads"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:ListMultipartUploads",)

    def http_request(self) -> HttpRequest:
        params = drop_empty((("prefix", self.prefix), ("encoding-type", "url")))
        return HttpRequest(method="GET", service=Service.COS, path="/", params=(("uploads", ""), *params))

    def parse(self, response: HttpResponse) -> Sequence[Upload]:
        root = parse_response(response, self.purpose, "ListMultipartUploadsResult")
        result = xml.read(_UploadsResult, root)
        decode = unquote if result.encoding_type == "url" else str
        return [replace(each, key=decode(each.key)) for each in result.upload]


@dataclass(frozen=True, slots=True)
class AbortUpload(ApiRequest[None]):
    """``DELETE /<key>?uploadId=…``: removes an unfinished upload. A missing one counts as removed."""

    upload: Upload
    purpose: ClassVar[str] = "abort the upload"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:AbortMultipartUpload",)

    def http_request(self) -> HttpRequest:
        params = (("uploadId", self.upload.upload_id),)
        return HttpRequest(method="DELETE", service=Service.COS, path=f"/{self.upload.key}", params=params)

    def parse(self, response: HttpResponse) -> None:
        _raise_unless_done(response, self.purpose, missing_is_done=True)


@dataclass(frozen=True, slots=True)
class CloseService(ApiRequest[None]):
    """``DELETE /asrbucket``, ``DELETE /mediabucket``: closes a service of the bucket that the host names."""

    service: str
    purpose: ClassVar[str] = "close the service of the bucket"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DeleteAsrBucket", "ci:DeleteMediaBucket")

    def http_request(self) -> HttpRequest:
        return ci_request("DELETE", f"/{self.service}bucket")

    def parse(self, response: HttpResponse) -> None:
        try:
            _raise_unless_done(response, self.purpose)
        except ServiceError as error:
            if not lacks_service(error):  # such an error says that it is closed already
                raise


@dataclass(frozen=True, slots=True)
class SubmitUnchecked(ApiRequest[JobsResponse]):
    """``POST /jobs`` without the provider's checks, which refuse what the kit wants to try out."""

    job: Tree = field(repr=False)
    purpose: ClassVar[str] = SubmitJob.purpose
    cam_actions: ClassVar[tuple[str, ...]] = SubmitJob.cam_actions
    idempotent: ClassVar[bool] = False

    def http_request(self) -> HttpRequest:
        return ci_request("POST", "/jobs", body=self.job)

    def parse(self, response: HttpResponse) -> JobsResponse:
        return SubmitJob(self.job).parse(response)


@dataclass(frozen=True, slots=True)
class ReadCreationTime(ApiRequest[str]):
    """``GET /jobs/<id>``: the job's ``CreationTime`` as the service writes it."""

    job_id: str
    purpose: ClassVar[str] = DescribeJobs.purpose
    cam_actions: ClassVar[tuple[str, ...]] = DescribeJobs.cam_actions

    def http_request(self) -> HttpRequest:
        return DescribeJobs([self.job_id]).http_request()

    def parse(self, response: HttpResponse) -> str:
        root = parse_response(response, self.purpose)
        times = (each.text for each in root.iter() if xml.local_name(each.tag) == "CreationTime")
        return next((text.strip() for text in times if text), "")


@dataclass(frozen=True, slots=True)
class CreateTemplateUnchecked(ApiRequest[str]):
    """``POST /template`` without the provider's checks; returns the template's id."""

    template: Tree = field(repr=False)
    purpose: ClassVar[str] = "create the template"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateMediaTemplate",)
    idempotent: ClassVar[bool] = False

    def http_request(self) -> HttpRequest:
        return ci_request("POST", "/template", body=self.template)

    def parse(self, response: HttpResponse) -> str:
        root = parse_response(response, self.purpose)
        ids = (each.text for each in root.iter() if xml.local_name(each.tag) == "TemplateId")
        return next((text for text in ids if text), "")


@dataclass(frozen=True, slots=True)
class DeleteTemplateStrictly(ApiRequest[None]):
    """``DELETE /template/<id>``; a missing template is an error."""

    template_id: str
    purpose: ClassVar[str] = "delete the template"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DeleteMediaTemplate",)

    def http_request(self) -> HttpRequest:
        return ci_request("DELETE", f"/template/{self.template_id}")

    def parse(self, response: HttpResponse) -> None:
        parse_response(response, self.purpose)


def presigned_url(key: str, endpoint: Endpoint, credentials: Credentials, *, now: float, seconds: int) -> str:
    """Return an address from which anybody can read the object for so many seconds (436/14116)."""
    host = endpoint.host(Service.COS)
    signature = sign(
        "GET",
        f"/{key}",
        (),
        (("host", host),),
        secret_id=credentials.secret_id,
        secret_key=credentials.secret_key,
        key_time=(int(now) - 60, int(now) + seconds),
    )
    pairs = (pair.partition("=") for pair in signature.split("&"))
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, _, value in pairs)
    token = f"&x-cos-security-token={quote(credentials.token, safe='-_.~')}" if credentials.token else ""
    return f"https://{host}/{quote(key, safe='/-_.~')}?{query}{token}"
