"""The remote calls about batch jobs: one request that makes a job for each input (460/80155)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.admin_models import BatchesResponse, BatchJob, BatchRequest
from airflow_provider_ci.protocol.admin_validation import check_batch, check_choice, check_id
from airflow_provider_ci.protocol.operations import (
    ApiRequest,
    Listing,
    invalid_response_error,
    parse_response,
    split_ids,
)
from airflow_provider_ci.protocol.wire import Request, Response, Service

_PATH = "/inventorytriggerjob"


@dataclass(frozen=True, slots=True)
class CreateBatch(ApiRequest[BatchesResponse]):
    """``POST /inventorytriggerjob`` (460/80155). Not idempotent: a second call pays for every input again."""

    batch: BatchRequest
    expires: float | None = None
    action: ClassVar[str] = "create the batch job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateInventoryTriggerJob",)
    idempotent: ClassVar[bool] = False

    @property
    def valid_until(self) -> float | None:
        """``expires``, Unix seconds: bounds how late a process that was held up can still submit."""
        return self.expires

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: the batch job breaks a documented rule.
        """
        check_batch(self.batch)
        body = xml.to_bytes(xml.to_element(self.batch, "Request"))
        return Request(method="POST", service=Service.CI, path=_PATH, body=body)

    def parse(self, response: Response) -> BatchesResponse:
        """Return the accepted batch job.

        :raises InvalidResponseError: the answer names no id.
        """
        answer = _answer(response, self.action)
        if not (answer.jobs_detail and answer.jobs_detail[0].job_id):
            raise invalid_response_error(response, self.action, "the answer has no JobId")
        return answer


@dataclass(frozen=True, slots=True)
class DescribeBatch(ApiRequest[BatchesResponse]):
    """``GET /inventorytriggerjob/<id>`` (460/76892); an unknown id comes back in ``non_exist_job_ids``."""

    job_id: str
    action: ClassVar[str] = "describe the batch job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeInventoryTriggerJob",)

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: the id is none.
        """
        check_id("job_id", self.job_id)
        return Request(method="GET", service=Service.CI, path=f"{_PATH}/{self.job_id}")

    def parse(self, response: Response) -> BatchesResponse:
        """Return the batch job, if the service knows it."""
        return _answer(response, self.action)


@dataclass(frozen=True, slots=True)
class CancelBatch(ApiRequest[None]):
    """``PUT /inventorytriggerjob/<id>?cancel``. What becomes of jobs that it has made is not documented."""

    job_id: str
    action: ClassVar[str] = "cancel the batch job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CancelInventoryTriggerJob",)

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: the id is none.
        """
        check_id("job_id", self.job_id)
        return Request(
            method="PUT", service=Service.CI, path=f"{_PATH}/{self.job_id}", params=(("cancel", ""),)
        )

    def parse(self, response: Response) -> None:
        """Return nothing, or raise the service's error, which may sit in a 200 answer too."""
        if response.body.strip() or not 200 <= response.status < 300:
            parse_response(response, self.action)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBatches(Listing[BatchesResponse, BatchJob]):
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
    action: ClassVar[str] = "list batch jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeInventoryTriggerJobs",)

    def request(self) -> Request:
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

    def parse(self, response: Response) -> BatchesResponse:
        """Return the page."""
        return _answer(response, self.action)

    def items(self, answer: BatchesResponse) -> Sequence[BatchJob]:
        """Return the batch jobs of the page."""
        return answer.jobs_detail

    def next_page(self, answer: BatchesResponse) -> ListBatches | None:
        """Return the call for the next page, or ``None``."""
        return self.page_after(answer.next_token, answer.jobs_detail)


def _answer(response: Response, action: str) -> BatchesResponse:
    answer = xml.read(BatchesResponse, parse_response(response, action))
    return replace(
        answer,
        non_exist_job_ids=split_ids(answer.non_exist_job_ids),
        request_id=response.request_id or answer.request_id,
    )
