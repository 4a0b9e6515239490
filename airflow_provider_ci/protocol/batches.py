"""Batch jobs: one request that makes a job for each input (460/80155, 436/113271).

:mod:`.batch_rules` holds the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar

from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.api_request import ApiRequest, invalid_response_error, parse_response
from airflow_provider_ci.protocol.batch_rules import check_batch
from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.jobs import CallbackKafkaConfig as CallbackKafkaConfig
from airflow_provider_ci.protocol.jobs import CallbackMqConfig as CallbackMqConfig
from airflow_provider_ci.protocol.jobs import JobListRequest, JobState, split_ids
from airflow_provider_ci.protocol.jobs import Output as Output
from airflow_provider_ci.protocol.rules import check_choice, check_id
from airflow_provider_ci.protocol.voice_separation import AudioConfig as AudioConfig
from airflow_provider_ci.protocol.voice_separation import VoiceSeparate as VoiceSeparate
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service

_PATH = "/inventorytriggerjob"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInput:
    """What a batch job works on: one of an inventory's manifest, a list of URLs, a prefix, an object."""

    manifest: str | None = None
    url_file: str | None = None
    prefix: str | None = None
    object: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeInterval:
    """Only inputs uploaded within it are taken; texts as in ``2025-01-01T00:00:00+0800``."""

    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJobParam:
    """The parameters of a batch job's jobs; the template wins if both are given."""

    template_id: str | None = None
    voice_separate: VoiceSeparate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOperation:
    """What to do with each input. Unlike in ``POST /jobs``, queue and callback are in here."""

    tag: str | None = None
    job_param: BatchJobParam | None = None
    output: Output | None = None
    queue_id: str | None = None
    queue_type: str | None = None
    time_interval: TimeInterval | None = None
    user_data: str | None = None
    job_level: int | None = None
    callback_url: str | None = field(default=None, repr=False, metadata=element("CallBack"))
    callback_format: str | None = field(default=None, metadata=element("CallBackFormat"))
    callback_type: str | None = field(default=None, metadata=element("CallBackType"))
    callback_mq_config: CallbackMqConfig | None = field(default=None, metadata=element("CallBackMqConfig"))
    callback_kafka_config: CallbackKafkaConfig | None = field(
        default=None, metadata=element("CallBackKafkaConfig")
    )
    workflow_ids: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """The body of ``POST /inventorytriggerjob``. ``type`` is ``Job`` or ``Workflow``."""

    name: str | None = None
    type: str | None = None
    input: BatchInput | None = None
    operation: BatchOperation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """One batch job. Its jobs are found by ``GET /jobs?inventoryTriggerJobId=``.

    ``tag``, ``progress`` (0 to 100) and ``queue_id`` are known from Tencent's SDKs only.
    """

    code: str | None = None
    message: str | None = None
    type: str | None = None
    name: str | None = None
    job_id: str | None = None
    tag: str | None = None
    progress: int | None = None
    state: str | None = None
    creation_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    queue_id: str | None = None
    input: BatchInput | None = None
    operation: BatchOperation | None = None

    @property
    def job_state(self) -> JobState:
        """The state as a value that knows what it means; ``""`` if the service sent none."""
        return JobState((self.state or "").strip())

    @property
    def may_be_cancelled(self) -> bool:
        """Whether cancelling it can still save something: it makes jobs until it has ended."""
        return not self.job_state.is_terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchesResponse:
    """The body of every answer about batch jobs."""

    request_id: str | None = None
    jobs_detail: tuple[BatchJob, ...] = ()
    non_exist_job_ids: tuple[str, ...] = field(
        default=(), metadata=element("NonExistJobIds", "NonExistJobId")
    )
    next_token: str | None = None


@dataclass(frozen=True, slots=True)
class CreateBatch(ApiRequest[BatchesResponse]):
    """``POST /inventorytriggerjob`` (460/80155). Not idempotent: a second call pays for every input again."""

    batch: BatchRequest
    expires_at: float | None = None
    purpose: ClassVar[str] = "create the batch job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateInventoryTriggerJob",)
    idempotent: ClassVar[bool] = False

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: the batch job breaks a documented rule.
        """
        check_batch(self.batch)
        body = xml.to_bytes(xml.to_element(self.batch, "Request"))
        return HttpRequest(method="POST", service=Service.CI, path=_PATH, body=body)

    def parse(self, response: HttpResponse) -> BatchesResponse:
        """Return the accepted batch job.

        :raises InvalidResponseError: the answer names no id.
        """
        answer = _answer(response, self.purpose)
        if not (answer.jobs_detail and answer.jobs_detail[0].job_id):
            raise invalid_response_error(response, self.purpose, "the answer has no JobId")
        return answer


@dataclass(frozen=True, slots=True)
class DescribeBatch(ApiRequest[BatchesResponse]):
    """``GET /inventorytriggerjob/<id>`` (460/76892); an unknown id comes back in ``non_exist_job_ids``."""

    job_id: str
    purpose: ClassVar[str] = "describe the batch job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeInventoryTriggerJob",)

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: the id is none.
        """
        check_id("job_id", self.job_id)
        return HttpRequest(method="GET", service=Service.CI, path=f"{_PATH}/{self.job_id}")

    def parse(self, response: HttpResponse) -> BatchesResponse:
        """Return the batch job, if the service knows it."""
        return _answer(response, self.purpose)


@dataclass(frozen=True, slots=True)
class CancelBatch(ApiRequest[None]):
    """``PUT /inventorytriggerjob/<id>?cancel``. What becomes of jobs that it has made is not documented."""

    job_id: str
    purpose: ClassVar[str] = "cancel the batch job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CancelInventoryTriggerJob",)

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: the id is none.
        """
        check_id("job_id", self.job_id)
        return HttpRequest(
            method="PUT", service=Service.CI, path=f"{_PATH}/{self.job_id}", params=(("cancel", ""),)
        )

    def parse(self, response: HttpResponse) -> None:
        """Return nothing, or raise the service's error, which may sit in a 200 answer too."""
        if response.body.strip() or not 200 <= response.status < 300:
            parse_response(response, self.purpose)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBatches(JobListRequest[BatchesResponse, BatchJob]):
    """``GET /inventorytriggerjob``: one page of batch jobs.

    :param type: ``Job`` or ``Workflow``.
    :param workflow_id: only those of this workflow.
    :param job_id: only this one.
    :param name: only those of this name.
    """

    type: str = "Job"
    workflow_id: str | None = None
    job_id: str | None = None
    name: str | None = None
    purpose: ClassVar[str] = "list batch jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeInventoryTriggerJobs",)

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: an argument outside the documented values.
        """
        check_choice("type", self.type, ("Job", "Workflow"))
        return self.page_request(
            _PATH,
            ("type", self.type),
            ("workflowId", self.workflow_id),
            ("jobId", self.job_id),
            ("name", self.name),
        )

    def parse(self, response: HttpResponse) -> BatchesResponse:
        """Return the page."""
        return _answer(response, self.purpose)

    def items(self, answer: BatchesResponse) -> Sequence[BatchJob]:
        """Return the batch jobs of the page."""
        return answer.jobs_detail

    def next_page(self, answer: BatchesResponse) -> ListBatches | None:
        """Return the call for the next page, or ``None``."""
        return self.page_after(answer.next_token, answer.jobs_detail)


def _answer(response: HttpResponse, purpose: str) -> BatchesResponse:
    answer = xml.read(BatchesResponse, parse_response(response, purpose))
    return replace(
        answer,
        non_exist_job_ids=split_ids(answer.non_exist_job_ids),
        request_id=response.request_id or answer.request_id,
    )
