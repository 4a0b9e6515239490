"""The hook's calls about jobs, and about batch jobs, bound to the bucket and region of an operator."""

# ruff: noqa: D102 - what the methods do is said where they are asked for

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_ci.protocol.batch_rules import check_batch
from airflow_provider_ci.protocol.batches import BatchesResponse, BatchJob, BatchRequest
from airflow_provider_ci.protocol.job_rules import check
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED, PENDING_STATES, Job, JobRequest, JobsResponse
from airflow_provider_ci.protocol.results import BatchResult, BatchTally, JobResult, batch_result, job_result
from airflow_provider_ci.submission import durable_submission
from airflow_provider_ci.submission.recovery import JobService, R_contra
from airflow_provider_ci.submission.tracking import J, name_job_in_errors

if TYPE_CHECKING:
    from airflow_provider_ci.operators.base_job import TencentCIBaseJobOperator


class BoundService(JobService[R_contra, J], Protocol[R_contra, J]):
    """What an operator needs besides what its durable submission does.

    ``listing_method`` names the hook's method by which a user can look for a job.
    """

    listing_method: str

    def check(self, request: R_contra) -> None:
        """Refuse a request that breaks a documented rule.

        :raises RequestValidationError: naming every such field.
        """

    def cancel_within(self, job_id: str, seconds: float) -> None:
        """Ask once to cancel, for a process that is about to be killed."""

    def result(self, job: J) -> Any:
        """Return the job as JSON-native data."""


class BoundJobs:
    """Jobs. ``prepare`` looks at the input, if the operator is told to."""

    listing_permission = "ci:DescribeMediaJobs"
    listing_method = "list_jobs"

    def __init__(
        self,
        operator: TencentCIBaseJobOperator[Any, Any],
        prepare: Callable[[JobRequest], None] | None = None,
    ) -> None:
        self._hook = operator.hook
        self._operator = operator
        self._log = operator.log
        self._place = operator.bucket_and_region
        self._prepare = prepare

    def check(self, request: JobRequest) -> None:
        check(request)

    def prepare(self, request: JobRequest) -> None:
        if self._prepare is not None:
            self._prepare(request)

    def submit(self, request: JobRequest, expires_at: float | None) -> Job:
        with self._operator.submitting(request):
            job, request_id = self._hook.submit_job(request, expires_at=expires_at, **self._place)
            self._operator.job_id = job.job_id
        self._log.info("Submitted job %s (%s, request id %s)", job.job_id, job.state, request_id)
        return job

    def describe(self, job_id: str) -> JobsResponse:
        with name_job_in_errors(job_id):
            return self._hook.describe_jobs([job_id], **self._place)

    def list(self, request: JobRequest, since: datetime) -> Iterable[Job]:
        input_object = (request.input.object if request.input else None) or ""
        return self._hook.list_jobs(
            tag=str(request.tag), input_object=input_object, start_creation_time=since, **self._place
        )

    def cancel(self, job_id: str) -> None:
        self._operator.raise_if_not_owner()
        self._hook.cancel_jobs([job_id], **self._place)

    def cancel_within(self, job_id: str, seconds: float) -> None:
        from airflow_provider_ci.protocol.jobs import CancelJobs

        self._hook.call_within(CancelJobs((job_id,)), seconds, **self._place)

    def can_resubmit(self, job: Job) -> bool:
        return job.job_state in (FAILED, CANCEL)

    def has_ended(self, job: Job) -> bool:
        return job.job_state.is_terminal

    def result(self, job: Job) -> JobResult:
        return job_result(job)


class BoundBatches:
    """Batch jobs. ``tally`` counts their jobs."""

    # the action's name is not documented; this is how the API names such a call
    listing_permission = "listing batch jobs (ci:DescribeInventoryTriggerJobs)"
    listing_method = "list_batches"

    def __init__(self, operator: TencentCIBaseJobOperator[Any, Any]) -> None:
        self._hook = operator.hook
        self._operator = operator
        self._log = operator.log
        self._place = operator.bucket_and_region

    def check(self, request: BatchRequest) -> None:
        check_batch(request)

    def prepare(self, request: BatchRequest) -> None:
        pass

    def submit(self, request: BatchRequest, expires_at: float | None) -> BatchJob:
        with self._operator.submitting(request):
            batch, request_id = self._hook.batches.create(request, expires_at=expires_at, **self._place)
            self._operator.job_id = batch.job_id
        self._log.info("Created batch job %s (%s, request id %s)", batch.job_id, batch.state, request_id)
        return batch

    def describe(self, job_id: str) -> BatchesResponse:
        with name_job_in_errors(job_id):
            return self._hook.batches.describe(job_id, **self._place)

    def list(self, request: BatchRequest, since: datetime) -> Iterable[BatchJob]:  # noqa: ARG002 - few enough
        return self._hook.batches.list(start_creation_time=since, **self._place)

    def cancel(self, job_id: str) -> None:
        self._operator.raise_if_not_owner()
        self._hook.batches.cancel(job_id, **self._place)

    def cancel_within(self, job_id: str, seconds: float) -> None:
        from airflow_provider_ci.protocol.batches import CancelBatch

        self._hook.call_within(CancelBatch(job_id), seconds, **self._place)

    def can_resubmit(self, job: BatchJob) -> bool:
        # of a batch job that failed or was cancelled midway, the jobs that it has made are paid for
        if job.job_state not in (FAILED, CANCEL) or self._has_jobs(job):
            return False
        now = self._hook.now()
        ended_at = min(job.end_time.timestamp(), now) if job.end_time else now
        left = ended_at + durable_submission.LIST_CONSISTENCY_DELAY - now
        if left <= 0:
            return True
        self._hook.sleep(left)  # the list may not show them yet
        return not self._has_jobs(job)

    def has_ended(self, job: BatchJob) -> bool:
        # a batch job has succeeded as soon as it has made its jobs, which run on
        if not job.job_state.is_terminal:
            return False
        return next(iter(self.jobs(str(job.job_id), PENDING_STATES)), None) is None

    def _has_jobs(self, batch: BatchJob) -> bool:
        return self.has_jobs(str(batch.job_id))

    def result(self, job: BatchJob) -> BatchResult:
        return batch_result(job, BatchTally())

    def jobs(self, batch_id: str, states: Iterable[str] = ()) -> Iterable[Job]:
        """Return an iterator over the jobs that a batch job has made."""
        return self._hook.list_jobs(inventory_trigger_job_id=batch_id, states=tuple(states), **self._place)

    def has_jobs(self, batch_id: str, states: Iterable[str] = ()) -> bool:
        """Tell whether a batch job has made any job, or any in these states."""
        found = self._hook.list_jobs(
            inventory_trigger_job_id=batch_id, states=tuple(states), size=1, **self._place
        )
        return next(iter(found), None) is not None
