"""Batch jobs: one request that submits a job for each input (460/80155, 436/113271).

A request is a tree: ``{"Name": …, "Type": "Job", "Input": {"Prefix": …}, "Operation": {"Tag": …, "JobParam":
{…}, "Output": {…}}}``. :mod:`.batch_rules` has its rules. Unlike ``POST /jobs``, a batch job has queue and
callback inside of ``Operation``.
"""

# ruff: noqa: D102 - the methods of the calls are documented in ApiRequest and PagedRequest

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar

from airflow_provider_ci.protocol.api_request import (
    ApiRequest,
    ci_request,
    invalid_response_error,
    raise_for_error,
    read_response,
)
from airflow_provider_ci.protocol.batch_rules import check_batch
from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.jobs import BaseListJobs, JobState, split_at_commas
from airflow_provider_ci.protocol.rules import check_choice, check_id
from airflow_provider_ci.protocol.tree import Tree, find_text
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse

_PATH = "/inventorytriggerjob"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """A batch job as the service describes it. ``ListJobs(inventory_trigger_job_id=…)`` lists its jobs.

    Only Tencent's SDKs document ``tag``, ``progress`` (0 to 100) and ``queue_id``.

    :param input: ``Input``: one of ``Manifest``, ``UrlFile``, ``Prefix`` and ``Object``.
    :param operation: ``Operation``, with the parameters of the jobs in ``JobParam``.
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
    # not shown: a URL may be signed, and a result may have megabytes
    input: Mapping[str, Any] | None = field(default=None, repr=False)
    operation: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def job_state(self) -> JobState:
        """The state, without whitespace around it; ``""`` if the service sent none."""
        return JobState((self.state or "").strip())

    @property
    def user_data(self) -> str | None:
        """The ``UserData`` of the submission, if the service returns it."""
        return find_text(self.operation, "UserData")

    @property
    def may_be_cancelled(self) -> bool:
        """Whether cancelling may still prevent jobs: a batch job submits jobs until it has ended."""
        return not self.job_state.is_terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchesResponse:
    """A response about batch jobs, with ``request_id`` taken from its headers."""

    request_id: str | None = None
    jobs_detail: tuple[BatchJob, ...] = ()
    non_exist_job_ids: tuple[str, ...] = field(
        default=(), metadata=element("NonExistJobIds", "NonExistJobId")
    )
    next_token: str | None = None


@dataclass(frozen=True, slots=True)
class CreateBatch(ApiRequest[BatchesResponse]):
    """``POST /inventorytriggerjob`` (460/80155): creates a batch job, whose jobs are paid for.

    Not idempotent: a second call pays for every input again. ``expires_at`` bounds how late a process that
    was suspended can still create it.
    """

    batch: Tree = field(repr=False)  # may have a secret in the address of its callback
    expires_at: float | None = None
    purpose: ClassVar[str] = "create the batch job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateInventoryTriggerJob",)
    idempotent: ClassVar[bool] = False

    def http_request(self) -> HttpRequest:
        check_batch(self.batch)
        return ci_request("POST", _PATH, body=self.batch)

    def parse(self, response: HttpResponse) -> BatchesResponse:
        batches = _read_batches(response, self.purpose)
        if not (batches.jobs_detail and batches.jobs_detail[0].job_id):
            raise invalid_response_error(response, self.purpose, "the response has no JobId")
        return batches


@dataclass(frozen=True, slots=True)
class DescribeBatch(ApiRequest[BatchesResponse]):
    """``GET /inventorytriggerjob/<id>`` (460/76892): describes a batch job.

    An id that the service does not find is in ``non_exist_job_ids`` of the response.
    """

    job_id: str
    purpose: ClassVar[str] = "describe the batch job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeInventoryTriggerJob",)

    def http_request(self) -> HttpRequest:
        check_id("job_id", self.job_id)
        return ci_request("GET", f"{_PATH}/{self.job_id}")

    def parse(self, response: HttpResponse) -> BatchesResponse:
        return _read_batches(response, self.purpose)


@dataclass(frozen=True, slots=True)
class CancelBatch(ApiRequest[None]):
    """``PUT /inventorytriggerjob/<id>?cancel``: cancels a batch job.

    What happens to the jobs that it has already submitted is not documented.
    """

    job_id: str
    purpose: ClassVar[str] = "cancel the batch job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CancelInventoryTriggerJob",)

    def http_request(self) -> HttpRequest:
        check_id("job_id", self.job_id)
        return ci_request("PUT", f"{_PATH}/{self.job_id}", params=(("cancel", ""),))

    def parse(self, response: HttpResponse) -> None:
        raise_for_error(response, self.purpose)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBatches(BaseListJobs[BatchesResponse, BatchJob]):
    """``GET /inventorytriggerjob``: lists batch jobs.

    :param type: ``Job`` or ``Workflow``.
    :param workflow_id: only batch jobs of this workflow.
    :param job_id: only the batch job with this id.
    :param name: only batch jobs with this name.
    """

    type: str = "Job"
    workflow_id: str | None = None
    job_id: str | None = None
    name: str | None = None
    purpose: ClassVar[str] = "list batch jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeInventoryTriggerJobs",)

    def http_request(self) -> HttpRequest:
        check_choice("type", self.type, ("Job", "Workflow"))
        return self.build_http_request(
            _PATH,
            ("type", self.type),
            ("workflowId", self.workflow_id),
            ("jobId", self.job_id),
            ("name", self.name),
        )

    def parse(self, response: HttpResponse) -> BatchesResponse:
        return _read_batches(response, self.purpose)


def _read_batches(response: HttpResponse, purpose: str) -> BatchesResponse:
    batches = read_response(BatchesResponse, response, purpose)
    return replace(
        batches,
        non_exist_job_ids=split_at_commas(batches.non_exist_job_ids),
        request_id=response.request_id or batches.request_id,
    )
