"""How many of a task's jobs are waiting or running, and which have failed, while it submits others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from airflow_provider_ci.exceptions import JobError, PermissionDeniedError, TencentCIError
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED, PENDING_STATES, Job
from airflow_provider_ci.submission.bulk_jobs import BulkJobApi, BulkJobs
from airflow_provider_ci.submission.idempotency_key import key_of_job
from airflow_provider_ci.submission.job_list import CLOCK_SKEW
from airflow_provider_ci.submission.tracking import Log, describe_end

# Pauses between two looks, in seconds: for failures, and for room
SECONDS_BETWEEN_LOOKS = 10.0
_JOBS_ON_PAGE = 100
# Failures that are logged one by one
_FAILURES_LOGGED = 20
# If the list does not show the jobs, so many of the oldest are described in one look for room
_JOBS_DESCRIBED = 500


@dataclass(kw_only=True)
class ActiveJobs:
    """Watches the jobs of a task while it submits.

    :param tag: the type of the jobs.
    :param task_instance: :attr:`~airflow_provider_ci.submission.idempotency_key.TaskIdentity.digest`.
    :param index_of: the numbers of the items, by their fingerprints.
    :param limit: how many jobs may be waiting or running.
    """

    job_api: BulkJobApi
    tag: str
    task_instance: str
    index_of: Mapping[str, int]
    jobs: BulkJobs
    limit: int
    log: Log
    count: int = field(init=False)
    _failures: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.count = sum(1 for _ in self.jobs.pending())

    @property
    def room(self) -> int:
        """How many jobs may be submitted now."""
        return self.limit - self.count

    @property
    def seconds_to_next_count(self) -> float:
        """How long to wait before jobs are counted: the list may lag behind what was just submitted, and is
        read at one page a second at most.
        """
        return max(SECONDS_BETWEEN_LOOKS, self.count / _JOBS_ON_PAGE)

    def recount(self) -> None:
        """Ask the service how many of the jobs have not ended. If it does not say, the count stays."""
        try:
            if not self._has_counted_listed():
                self._describe_oldest()
        except JobError:  # the task was killed
            raise
        except TencentCIError as error:
            self.log.warning("The active jobs could not be counted, will try again: %s", error)

    def failures(self) -> Callable[[], None]:
        """Ask the service which jobs have failed, for a thread. Return what notes them, for the main thread.

        One request: it has the latest failures.
        """
        try:
            latest = list(islice(self._list((FAILED, CANCEL)), _JOBS_ON_PAGE))
        except TencentCIError:  # the end of the wait finds them
            latest = []
        return lambda: self._note_failures(latest)

    def _has_counted_listed(self) -> bool:
        """Count the jobs that have not ended in the list; ``False``: it may not show them."""
        if not self.job_api.is_list_documented({"Tag": self.tag}):
            return False
        try:
            self.count = sum(map(self._is_of_task, self._list(PENDING_STATES)))
        except PermissionDeniedError:
            return False
        return True

    def _list(self, states: Iterable[str]) -> Iterable[Job]:
        if self.jobs.first_submission is None:
            return ()
        since = datetime.fromtimestamp(self.jobs.first_submission - CLOCK_SKEW, UTC)
        return self.job_api.list({"Tag": self.tag}, since, tuple(states))

    def _is_of_task(self, job: Job) -> bool:
        key = key_of_job(job)
        return key is not None and key.task_instance == self.task_instance

    def _describe_oldest(self) -> None:
        index_of = {str(self.jobs.job_ids[index]): index for index in self.jobs.pending()}
        for job in self.job_api.describe_many(list(islice(index_of, _JOBS_DESCRIBED))):
            if job.job_id in index_of:
                self.jobs.set_job(index_of[job.job_id], job.job_id, job.job_state)
        self.count = sum(1 for _ in self.jobs.pending())

    def _note_failures(self, failed: Iterable[Job]) -> None:
        for job in filter(self._is_of_task, failed):
            key = key_of_job(job)
            index = self.index_of.get(key.request) if key else None
            job_id = str(job.job_id)
            if index is None or job_id != self.jobs.job_ids[index] or job_id in self._failures:
                continue
            self._failures.add(job_id)
            self.jobs.set_job(index, job_id, job.job_state)
            if len(self._failures) <= _FAILURES_LOGGED:
                self.log.error("%s", describe_end(job))
