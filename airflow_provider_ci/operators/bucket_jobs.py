"""The hook's calls about the jobs of one bucket, and about its batch jobs, under the same names: so an
operator and its submission need not know which of the two they have.
"""

# ruff: noqa: D102 - the protocols say what the methods do

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from airflow_provider_ci.hooks.callback_address import with_callback_address
from airflow_provider_ci.protocol.batch_rules import check_batch
from airflow_provider_ci.protocol.batches import BatchesResponse, BatchJob, CancelBatch
from airflow_provider_ci.protocol.job_rules import check_job
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.jobs import (
    CANCEL,
    FAILED,
    PENDING_STATES,
    CancelJobs,
    Job,
    JobsResponse,
)
from airflow_provider_ci.protocol.tree import Tree, find_text
from airflow_provider_ci.submission import durable_submission
from airflow_provider_ci.submission.job_list import JobLookup
from airflow_provider_ci.submission.tracking import J, name_job_in_errors

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.base import BucketAndRegion


class JobApi(JobLookup[J], Protocol[J]):
    """What an operator needs of the service.

    ``list_method`` is the hook's method with which a user can look for a job.
    """

    list_method: str

    def check(self, request: Tree) -> None:
        """Refuse a request that breaks a documented rule, or expects a callback without an endpoint.

        :raises RequestValidationError: names every field that breaks a rule.
        :raises ConfigurationError: the connection or this version of Airflow has no endpoint.
        """

    def submit(self, request: Tree, expires_at: float | None) -> tuple[J, str | None]:
        """Submit a paid job; return it with the request id.

        :param expires_at: Unix time, by the service's clock, after which the service refuses the request.
        """

    def cancel(self, job_id: str) -> None:
        """Ask the service to cancel a job. It cancels only jobs that have not begun."""

    def cancel_within(self, job_id: str, seconds: float) -> None:
        """Send this request once, within ``seconds``, for a process that is about to be killed."""


class JobsOfBucket:
    """The calls about the jobs of one bucket."""

    list_permission = "ci:DescribeMediaJobs"
    list_method = "list_jobs"

    def __init__(self, hook: TencentCIHook, bucket_and_region: BucketAndRegion) -> None:
        self._hook = hook
        self._bucket = bucket_and_region

    def check(self, request: Tree) -> None:
        check_job(request)
        with_callback_address(request, self._hook.settings)

    def submit(self, request: Tree, expires_at: float | None) -> tuple[Job, str | None]:
        return self._hook.submit_job(request, expires_at=expires_at, **self._bucket)

    def describe(self, job_id: str) -> JobsResponse:
        with name_job_in_errors(job_id):
            return self._hook.describe_jobs([job_id], **self._bucket)

    def list(self, request: Tree, since: datetime, states: Sequence[str] = ()) -> Iterable[Job]:
        # A list that is not documented for a type may not know the type's inputs either, and would seem empty
        is_filtered = self.is_list_documented(request)
        return self._hook.list_jobs(
            tag=str(request["Tag"]),
            # of a type without input, all jobs since then
            input_object=find_text(request, "Input.Object") if is_filtered else None,
            states=tuple(states),
            start_creation_time=since,
            **self._bucket,
        )

    def describe_many(self, job_ids: Sequence[str]) -> Sequence[Job]:
        return self._hook.describe_jobs(job_ids, **self._bucket).jobs_detail

    def submitting_at_once(self) -> AbstractContextManager[None]:
        self._hook.get_conn()  # threads would each open a session
        # what is repeated, and when, is decided for all submissions together
        return self._hook.limit(attempts=1)

    def is_list_documented(self, request: Tree) -> bool:
        return job_type(request["Tag"]).is_listed

    def ask_if_listed(self, request: Tree) -> bool:
        return shows_type(self._hook, str(request["Tag"]), self._bucket)

    def cancel(self, job_id: str) -> None:
        self._hook.cancel_jobs([job_id], **self._bucket)

    def cancel_within(self, job_id: str, seconds: float) -> None:
        self._hook.call_within(CancelJobs((job_id,)), seconds, **self._bucket)

    def ask_if_ended_without_result(self, job: Job) -> bool:
        return job.job_state in (FAILED, CANCEL)

    def ask_if_ended(self, job: Job) -> bool:
        return job.job_state.is_terminal


class BatchesOfBucket:
    """The calls about the batch jobs of one bucket. A batch job makes one job for each input, and the service
    charges for those jobs.

    :param tag: the type of those jobs.
    """

    # the action's name is not documented; this is how the API names such a call
    list_permission = "listing batch jobs (ci:DescribeInventoryTriggerJobs)"
    list_method = "batches.list"

    def __init__(self, hook: TencentCIHook, bucket_and_region: BucketAndRegion, tag: str) -> None:
        self._hook = hook
        self._bucket = bucket_and_region
        self._tag = tag

    def check(self, request: Tree) -> None:
        check_batch(request)
        with_callback_address(request, self._hook.settings)

    def submit(self, request: Tree, expires_at: float | None) -> tuple[BatchJob, str | None]:
        return self._hook.batches.create(request, expires_at=expires_at, **self._bucket)

    def describe(self, job_id: str) -> BatchesResponse:
        with name_job_in_errors(job_id):
            return self._hook.batches.describe(job_id, **self._bucket)

    def list(self, request: Tree, since: datetime) -> Iterable[BatchJob]:  # noqa: ARG002 - no filter
        return self._hook.batches.list(start_creation_time=since, **self._bucket)

    def is_list_documented(self, request: Tree) -> bool:  # noqa: ARG002 - the same for all
        return True

    def ask_if_listed(self, request: Tree) -> bool:  # noqa: ARG002 - the same for all
        return True

    def cancel(self, job_id: str) -> None:
        self._hook.batches.cancel(job_id, **self._bucket)

    def cancel_within(self, job_id: str, seconds: float) -> None:
        self._hook.call_within(CancelBatch(job_id), seconds, **self._bucket)

    def ask_if_ended_without_result(self, job: BatchJob) -> bool:
        """A batch job that failed or was cancelled midway may have made jobs, each of which is paid for.
        They appear in the job list only some seconds after its end, so this may wait for those seconds.
        """
        job_id = str(job.job_id)
        if job.job_state not in (FAILED, CANCEL) or self.find_job(job_id) is not None:
            return False
        if not self.ask_if_jobs_are_listed():
            return False  # there may be jobs all the same
        now = self._hook.now()
        ended_at = min(job.end_time.timestamp(), now) if job.end_time else now
        remaining = ended_at + durable_submission.LIST_CONSISTENCY_DELAY - now
        if remaining <= 0:
            return True
        self._hook.sleep(remaining)
        return self.find_job(job_id) is None

    def ask_if_ended(self, job: BatchJob) -> bool:
        """A batch job succeeds as soon as it has made its jobs, which are still running then."""
        return job.job_state.is_terminal and self.find_job(str(job.job_id), PENDING_STATES) is None

    def ask_if_jobs_are_listed(self) -> bool:
        """Find out whether the job list shows jobs of this type, so that one without jobs can be believed."""
        return job_type(self._tag).is_listed or shows_type(self._hook, self._tag, self._bucket)

    def jobs(self, batch_id: str, states: Iterable[str] = ()) -> Iterable[Job]:
        """Return an iterator over the jobs that a batch job has made, or over those of them in ``states``."""
        return self._hook.list_jobs(
            tag=self._tag, inventory_trigger_job_id=batch_id, states=tuple(states), **self._bucket
        )

    def find_job(self, batch_id: str, states: Iterable[str] = ()) -> Job | None:
        """Return one of the jobs that a batch job has made, if there is one; with ``states``, one in them."""
        found = self._hook.list_jobs(
            tag=self._tag, inventory_trigger_job_id=batch_id, states=tuple(states), size=1, **self._bucket
        )
        return next(iter(found), None)


def shows_type(hook: TencentCIHook, tag: str, bucket_and_region: BucketAndRegion) -> bool:
    """Find out whether the job list of a bucket shows any job of a type."""
    any_job = next(iter(hook.list_jobs(tag=tag, size=1, **bucket_and_region)), None)
    # a service without this tag may list jobs of other types
    return any_job is not None and any_job.tag == tag
