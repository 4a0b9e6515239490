"""Finds the job of an earlier submission in the job list. No Airflow and no I/O of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic

from airflow_provider_ci.exceptions import JobCancelledError
from airflow_provider_ci.protocol.jobs import CANCEL
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.submission.idempotency_key import (
    ParsedKey,
    TaskIdentity,
    is_job_of,
    key_of_job,
    key_of_request,
)
from airflow_provider_ci.submission.job_list import (
    CLOCK_SKEW,
    CopiedJobs,
    JobList,
    JobLookup,
    created_at,
    last_arrival_of,
)
from airflow_provider_ci.submission.record import SubmissionRecord
from airflow_provider_ci.submission.tracking import J, Log, would_fail_again


class SubmittedBy(Enum):
    """Which try made the submission whose job is looked for. It decides whether a job that has ended counts.

    =================  ==========================  ==========================================
    try                the job ended ``Failed``    the job ended ``Cancel``
    =================  ==========================  ==========================================
    ``THIS_TRY``       found, fails this try       found, fails this try
    ``EARLIER_TRY``    not found: submitted again  error, unless this task cancelled the job
    ``CLEARED_TRY``    not found: submitted again  not found: submitted again
    ``UNRECORDED``     not found: submitted again  not found: submitted again
    =================  ==========================  ==========================================

    A job that would fail again (:func:`~.tracking.would_fail_again`) is found for ``EARLIER_TRY`` and
    ``UNRECORDED``, too, and fails this try.

    A job without this task's key in ``UserData`` may be somebody else's: if it has ended, no try continues
    with it.
    """

    THIS_TRY = "this try, whose response was lost"
    EARLIER_TRY = "a try since the last clear, as its record says"
    CLEARED_TRY = "a try before the last clear, as its record says"
    UNRECORDED = "perhaps a try that left no record"


@dataclass(kw_only=True)
class JobSearch(Generic[J]):
    """Looks for the job of a task instance's submission.

    :param job_api: the calls, for the input's bucket and region.
    :param run_start: returns the Unix time, by the service's clock, before which no job can belong to this
        task instance. It is called at each look, because each response can correct what is known of that
        clock.
    :param resubmit_if_unknown: if listing jobs is not permitted, or the list may not show this type of job,
        assume that there is none, at the risk of a second job.
    :param validity: seconds after which the service no longer accepts a submission.
    :param list_consistency_delay: seconds by which the job list may lag behind a submission.
    :param abandon: called with each job of this task instance that was submitted for another request. It
        returns whether it has done all it can; otherwise it is called again after the next look.
    """

    job_api: JobLookup[J]
    identity: TaskIdentity
    run_start: Callable[[], float]
    resubmit_if_unknown: bool
    validity: float
    list_consistency_delay: float
    abandon: Callable[[str], bool]
    log: Log
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    #: Jobs besides the one that was found, which the service may have accepted for the same submission.
    suspected_duplicates: set[str] = field(default_factory=set, init=False)
    # Jobs of earlier submissions that ended without a result
    _ended_jobs: list[J] = field(default_factory=list, init=False)
    _abandoned_ids: set[str] = field(default_factory=set, init=False)
    _described: dict[str, J] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._job_list: JobList[J] = JobList(
            job_api=self.job_api,
            resubmit_if_unknown=self.resubmit_if_unknown,
            list_consistency_delay=self.list_consistency_delay,
            log=self.log,
            clock=self.clock,
            sleep=self.sleep,
        )
        self._copied_jobs = CopiedJobs(self.identity.digest, self.log)

    def ignore_ended(self, *jobs: J) -> None:
        """Remember jobs that ended: they belong to earlier submissions, so no later search returns them."""
        self._ended_jobs += jobs

    def search_until_certain(
        self,
        submitted_request: Tree,
        by: SubmittedBy,
        record: SubmissionRecord | None = None,
        *,
        may_be_in_flight: bool = True,
    ) -> J | None:
        """Look in the job list until the job is found, or until it certainly does not exist.

        That is certain once the service can no longer accept the submission, and the list has had time to
        show what was accepted before. A failed look is repeated until then.

        :param submitted_request: the request with its ``UserData``.
        :param record: of the submission; ``None``: it is unknown when it was sent, perhaps just now.
        :param may_be_in_flight: the submission may still arrive at the service.
        :raises AmbiguousSubmissionError: it cannot be found out whether the job exists.
        :raises JobCancelledError: somebody else cancelled the job.
        """

        def read() -> list[J] | None:
            sent_since = self.run_start() if record is None else record.since
            return self._list(submitted_request, sent_since - CLOCK_SKEW)

        def select(jobs: list[J]) -> J | None:
            return self._abandon_others_and_select(jobs, submitted_request, by, record)

        def last_arrival(now: float) -> float:
            if not may_be_in_flight:
                return now
            return last_arrival_of(now if record is None else record.since, self.validity, now)

        return self._job_list.search_until_certain(read, select, submitted_request, last_arrival)

    def _list(self, submitted_request: Tree, since: float) -> list[J] | None:
        """Return the jobs created since then, with their ``UserData``.

        ``None``: listing them is not permitted, and the user accepts the risk of a second job.
        """
        recent = self._job_list.read(submitted_request, since, list)
        if recent is None:
            return None
        complete = (self._with_user_data(job, submitted_request) for job in recent)
        return self._copied_jobs.leave_out((job for job in complete if job is not None), key_of_job)

    def _with_user_data(self, job: J, submitted_request: Tree) -> J | None:
        """Return the job, described if it may be the submission's and the list left out its ``UserData``.

        ``None``: the service does not describe it now, so it remains unknown whose job it is.
        """
        if job.user_data is not None or not is_job_of(job, submitted_request):
            return job
        job_id = str(job.job_id)
        if job_id not in self._described:
            described = describe_job(self.job_api, job_id)
            if described is None:
                self._job_list.undescribed_ids.add(job_id)
                return None
            self._job_list.undescribed_ids.discard(job_id)
            self._described[job_id] = described
        described = self._described[job_id]
        return job if described.user_data is None else described

    def _abandon_others_and_select(
        self, jobs: list[J], submitted_request: Tree, by: SubmittedBy, record: SubmissionRecord | None
    ) -> J | None:
        """Return the job of the submission, if it is listed and counts: see :class:`SubmittedBy`.

        Jobs that this task instance submitted for another request are abandoned.
        """
        self._abandon_jobs_of_other_requests(jobs, submitted_request)
        matching = [job for job in jobs if is_job_of(job, submitted_request)]
        running_or_paid = [job for job in matching if not self.job_api.ask_if_ended_without_result(job)]
        if running_or_paid:
            return self._oldest(running_or_paid)
        # a job without a key that ended may be anybody's
        ended = [job for job in matching if self._is_of_this_task(key_of_job(job))]
        if by is SubmittedBy.THIS_TRY:
            return next((job for job in ended if self._is_newer_than_ended_jobs(job)), None)
        if by is not SubmittedBy.CLEARED_TRY and (failed := next(filter(would_fail_again, ended), None)):
            return failed
        self.ignore_ended(*ended)
        if by is SubmittedBy.EARLIER_TRY:
            for job in matching:
                refuse_if_cancelled_by_others(job, record)
            return None
        return self._find_job_of_cleared_try(jobs, submitted_request)

    def _find_job_of_cleared_try(self, jobs: list[J], submitted_request: Tree) -> J | None:
        """Return the job of a try that was cleared while its worker waited, if the job has not ended. If no
        record says that the worker waited, the job's key does.
        """
        wanted = key_of_request(submitted_request)
        if wanted is None:
            return None
        for job in jobs:
            key = key_of_job(job)
            if key is None or not key.was_cleared_while_worker_waited(wanted):
                continue
            if not self.job_api.ask_if_ended(job):
                log_job_of_cleared_try(job, self.log)
                return job
        return None

    def _abandon_jobs_of_other_requests(self, jobs: list[J], submitted_request: Tree) -> None:
        """Abandon the jobs that earlier tries of this task instance submitted for another request."""
        wanted = key_of_request(submitted_request)
        if wanted is None:
            return
        for job in jobs:
            key, job_id = key_of_job(job), str(job.job_id)
            if key is None or not key.is_other_request(wanted):
                continue
            if job.job_state.is_terminal or job_id in self._abandoned_ids:
                continue
            if self.abandon(job_id):
                self._abandoned_ids.add(job_id)

    def _oldest(self, jobs: list[J]) -> J:
        oldest, *others = sorted(jobs, key=created_at)
        if others:
            ids = [str(job.job_id) for job in others]
            self.suspected_duplicates.update(ids)
            self.log.error("Suspected duplicates of job %s, each billed: %s", oldest.job_id, ", ".join(ids))
        self.log.info("Found job %s (%s), submitted before", oldest.job_id, oldest.job_state)
        return oldest

    def _is_of_this_task(self, key: ParsedKey | None) -> bool:
        return key is not None and key.task_instance == self.identity.digest

    def _is_newer_than_ended_jobs(self, job: J) -> bool:
        return all(
            job.job_id != ended.job_id and created_at(job, unknown=0.0) >= created_at(ended, unknown=0.0)
            for ended in self._ended_jobs
        )


def describe_job(job_api: JobLookup[J], job_id: str) -> J | None:
    """Return the job as it is now; ``None`` if the service does not find it."""
    return next((job for job in job_api.describe(job_id).jobs_detail if job.job_id == job_id), None)


def refuse_if_cancelled_by_others(job: Any, record: SubmissionRecord | None) -> None:
    """Refuse to submit a cancelled job again, unless a try of this task asked for the cancellation.

    :raises JobCancelledError: somebody else cancelled it.
    """
    if job.job_state != CANCEL or (record is not None and record.is_own_cancellation(job)):
        return
    raise JobCancelledError(
        f"Job {job.job_id} of an earlier try was cancelled, and not by this task",
        job_id=job.job_id,
        state=str(job.job_state),
        hint="It is not submitted again. Clear the task to pay for a new job",
    )


def log_job_of_cleared_try(job: Any, log: Log) -> None:
    """Log that a cleared task continues with the job of the try that was cleared."""
    log.warning(
        "The task was cleared while it waited for job %s (%s), which has not ended: waiting for this job."
        " Clear the task after its end to pay for a new one",
        job.job_id,
        job.job_state,
    )
