"""One paid job for each of many items, whatever dies and whichever response is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.submission.bulk_jobs import BulkJobs, BulkRequests
from airflow_provider_ci.submission.bulk_records import BulkRecords
from airflow_provider_ci.submission.idempotency_key import TaskIdentity
from airflow_provider_ci.submission.job_list import JobLookup
from airflow_provider_ci.submission.tracking import Log


class BulkJobApi(JobLookup[Job], Protocol):
    """The calls about the jobs of many items, in the inputs' bucket and region.

    A request that has only ``Tag`` stands for all of them in ``list``, ``is_list_documented`` and
    ``ask_if_listed``.
    """

    def submit(self, request: Tree, expires_at: float | None) -> tuple[Job, str | None]:
        """Submit a paid job; return it with the request id. Threads call this.

        :param expires_at: Unix time, by the service's clock, after which the service refuses the request.
        """

    def submitting_at_once(self) -> AbstractContextManager[None]:
        """Return a context in which ``submit`` sends each request once, and does not repeat it itself."""

    def list(self, request: Tree, since: datetime, states: Sequence[str] = ()) -> Iterable[Job]:
        """Return the jobs created since then that may belong to ``request``, the newest first."""

    def describe_many(self, job_ids: Sequence[str]) -> Sequence[Job]:
        """Return those of the jobs that the service finds."""

    def cancel_many(self, job_ids: Sequence[str]) -> None:
        """Ask the service to cancel those of the jobs that have not begun."""


@dataclass(kw_only=True)
class BulkSubmission:
    """Gets one job for each of many items: an earlier try's, or a new one.

    :param before_submission: called once with the numbers of the items that have no job, before the first of
        them is submitted, and only if there is one; may refuse them.
    :param refuse_if_overtaken: called before each chunk of submissions if there is no store: asks Airflow,
        and raises if this try no longer owns the task.
    :param raise_if_killed: raises :class:`~airflow_provider_ci.exceptions.TaskKilledError` if the task was
        killed.
    :param who_waits: who waits for the jobs: ``worker`` or ``triggerer``.
    :param may_have_submitted: an earlier try may have submitted without leaving a record.
    :param clear_discards_record: clearing the task empties the store (Airflow 3.4 or newer), so submissions
        may be in flight although there is no record of them.
    :param only_failed: jobs from before a clear count as well, if they did not end ``Failed`` or ``Cancel``;
        otherwise only those that have not ended.
    :param max_submissions_per_second: the highest rate. Throttling halves it for a while.
    :param max_active_jobs: how many of these jobs may be waiting or running at once.
    :param run_start: returns the Unix time, by the service's clock, before which no job can be this task's.
    :param resubmit_if_unknown: submit again if listing jobs is not permitted, or the list may not show this
        type of job, at the risk of a second job.
    :param on_progress: called at least each second while jobs are submitted.
    :param clock: returns the Unix time by the service's clock, as far as it is known.
    :param monotonic: returns the seconds of a clock that nobody sets.
    """

    job_api: BulkJobApi
    tag: str
    before_submission: Callable[[Sequence[int]], None]
    records: BulkRecords
    refuse_if_overtaken: Callable[[], None]
    raise_if_killed: Callable[[], None]
    identity: TaskIdentity
    who_waits: str
    may_have_submitted: bool
    clear_discards_record: bool
    only_failed: bool
    max_submissions_per_second: float
    max_active_jobs: int
    run_start: Callable[[], float]
    resubmit_if_unknown: bool
    on_progress: Callable[[BulkJobs], None]
    log: Log
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    #: What is known of the jobs, also when :meth:`get_or_submit` raises.
    jobs: BulkJobs = field(default_factory=lambda: BulkJobs.without_jobs(0), init=False)

    def find_jobs_of_earlier_tries(self, requests: BulkRequests) -> Sequence[int]:
        """Find the jobs of earlier tries, and return the items that have none so far. Submits nothing."""
        raise NotImplementedError

    def get_or_submit(self, requests: BulkRequests) -> BulkJobs:
        """Return the jobs of all items, and submit those of which there are none. May cost money.

        An item for which the service certainly accepts no job is in ``refusals``.

        :raises AmbiguousSubmissionError: it cannot be found out whether there are jobs.
        :raises StateStoreError: a record could not be read or written; nothing was sent without one.
        :raises TaskKilledError: the task was killed, or a later try has begun.
        :raises TencentCIError: the service refuses all submissions.
        """
        raise NotImplementedError
