"""Finds the job of an earlier submission in the job list. No Airflow and no I/O of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, Protocol

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    InvalidRequestError,
    JobCancelledError,
    JobError,
    NotFoundError,
    PermissionDeniedError,
    TencentCIError,
)
from airflow_provider_ci.protocol.jobs import CANCEL
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.protocol.wire import CLOCK_SKEW_TOLERANCE
from airflow_provider_ci.submission.idempotency_key import (
    ParsedKey,
    TaskIdentity,
    is_job_of,
    key_of_job,
    key_of_request,
)
from airflow_provider_ci.submission.record import SubmissionRecord
from airflow_provider_ci.submission.tracking import DescribeResponse, J, Log
from airflow_provider_ci.submission.waiting import is_outage

#: Pauses between two looks for a job that may still appear, in seconds; the last one repeats.
_PAUSES_BETWEEN_LOOKS = (1.0, 2.0, 5.0, 10.0)
# A recorded time may be this many seconds ahead of the service's clock: the service refuses signatures that
# begin later. One second more because creation times are in whole seconds
_CLOCK_SKEW = CLOCK_SKEW_TOLERANCE + 1


class JobLookup(Protocol[J]):
    """The calls that find out what became of jobs, or of batch jobs, in the input's bucket and region.

    ``list_permission`` names the permission that ``list`` needs.
    """

    list_permission: str

    def describe(self, job_id: str) -> DescribeResponse[J]:
        """Return the response that holds the job, if the service finds it."""

    def list(self, request: Tree, since: datetime) -> Iterable[J]:
        """Return the jobs created since then that may belong to ``request``."""

    def is_list_documented(self, request: Tree) -> bool:
        """Tell whether the documents say that ``list`` shows jobs of this type."""

    def ask_if_listed(self, request: Tree) -> bool:
        """Find out whether the list shows any job of this type, whoever submitted it. Makes a call."""

    def ask_if_ended_without_result(self, job: J) -> bool:
        """Find out whether a job ended without a result that is paid for, so that it may be submitted again.
        For a batch job this makes calls, and may wait some seconds.
        """

    def ask_if_ended(self, job: J) -> bool:
        """Find out whether a job has ended; a batch job has when all its jobs have, and this makes a call."""


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

    A job without this task's key in ``UserData`` may be somebody else's: if it has ended, ``THIS_TRY`` does
    not find it either.
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
    # Jobs of earlier submissions that ended without a result
    _ended_jobs: list[J] = field(default_factory=list, init=False)
    _abandoned_ids: set[str] = field(default_factory=set, init=False)
    _copied_ids: set[str] = field(default_factory=set, init=False)
    _described: dict[str, J] = field(default_factory=dict, init=False)
    _undescribed_ids: set[str] = field(default_factory=set, init=False)

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
        certain_at: float | None = None
        for pause in pauses_between_looks():
            sent_since = self.run_start() if record is None else record.since
            failure: TencentCIError | None = None
            try:
                jobs = self._list(submitted_request, sent_since - _CLOCK_SKEW)
            except TencentCIError as error:
                if _must_end_search(error):
                    raise
                jobs, failure = [], error
                self.log.warning("The job list could not be read, will try again: %s", error)
            if jobs is None:  # not permitted to list them, and the user accepts the risk of a second job
                return None
            found = self._abandon_others_and_select(jobs, submitted_request, by, record)
            if found is not None:
                return found
            now = self.clock()
            if certain_at is None:  # only now, because the first response may have corrected the clock
                last_arrival = self._last_arrival(record, now) if may_be_in_flight else now
                certain_at = last_arrival + self.list_consistency_delay
                self._log_search_until(certain_at, now)
            if now >= certain_at:
                self._raise_if_unknown(failure)
                self._conclude_from_empty_list(submitted_request)
                return None
            self.sleep(min(pause, certain_at - now))
        raise AssertionError("pauses never end")

    def _last_arrival(self, record: SubmissionRecord | None, now: float) -> float:
        """Return the time until which the service may still accept a submission that is in flight."""
        # a recorded time in the future comes from a clock that was wrong
        sent_at = now if record is None else min(record.since, now)
        return max(sent_at + self.validity, now)

    def _log_search_until(self, certain_at: float, now: float) -> None:
        if now < certain_at:
            self.log.info(
                "Looking in the job list until %s for the job of a submission whose response is not known",
                datetime.fromtimestamp(certain_at, UTC).strftime("%H:%M:%S UTC"),
            )

    def _raise_if_unknown(self, failure: TencentCIError | None) -> None:
        """Refuse to conclude that there is no job if the last look did not show all jobs.

        :param failure: why that look failed, if it did.
        """
        if self._undescribed_ids:
            job_id = min(self._undescribed_ids)
            raise AmbiguousSubmissionError(
                f"It is unknown whether job {job_id} is this task's: the list leaves out its UserData, and"
                " the service does not describe it",
                job_id=job_id,
                hint="A retry looks at it again",
            )
        if failure is not None:
            raise _unread_list_error(failure) from failure

    def _list(self, submitted_request: Tree, since: float) -> list[J] | None:
        """Return the jobs created since then, with their ``UserData``.

        ``None``: listing them is not permitted, and the user accepts the risk of a second job.
        """
        try:
            listed = list(self.job_api.list(submitted_request, datetime.fromtimestamp(since, UTC)))
        except PermissionDeniedError as error:
            if not self.resubmit_if_unknown:
                raise self._list_not_permitted(error) from error
            self.log.warning(
                "Listing jobs is not permitted; submitting, at the risk of a second paid job: %s", error
            )
            return None
        except (InvalidRequestError, NotFoundError) as error:
            if self.job_api.is_list_documented(submitted_request):
                raise
            self._accept_risk_or_raise(submitted_request, error)
            return None
        recent = [job for job in listed if job.job_id and _created_at(job, unknown=since) >= since]
        complete = (self._with_user_data(job, submitted_request) for job in recent)
        return self._without_copies([job for job in complete if job is not None])

    def _conclude_from_empty_list(self, submitted_request: Tree) -> None:
        """Conclude that there is no job, if an empty list proves it or the user accepts the risk.

        For some types of job no document says that they are listed. Then the list proves it only if it shows
        any job of the type.

        :raises AmbiguousSubmissionError: it shows none, or it could not be read.
        """
        is_type_listed = self.job_api.is_list_documented(submitted_request)
        try:
            is_type_listed = is_type_listed or self.job_api.ask_if_listed(submitted_request)
        except (InvalidRequestError, NotFoundError) as error:
            self._accept_risk_or_raise(submitted_request, error)
            return
        except TencentCIError as error:
            if _must_end_search(error):
                raise
            raise _unread_list_error(error) from error
        if is_type_listed:
            self.log.info("The job list shows no job of an earlier submission: none was accepted")
        else:
            self._accept_risk_or_raise(submitted_request, None)

    def _accept_risk_or_raise(self, submitted_request: Tree, cause: TencentCIError | None) -> None:
        """Log that the job is submitted although the list may not show its type, if the user accepts that.

        :raises AmbiguousSubmissionError: the user does not.
        """
        tag = submitted_request.get("Tag")
        if self.resubmit_if_unknown:
            self.log.warning(
                "The job list shows no job with Tag %s at all, and may not show this type; submitting, at the"
                " risk of a second paid job",
                tag,
            )
            return
        details = cause.details if cause is not None else {}
        hint = (
            "Look in the console and clear the task if there is none, or set"
            ' on_ambiguous_submit="resubmit"; a retry looks again'
        )
        raise AmbiguousSubmissionError(
            f"It is unknown whether the job was accepted before: the job list shows no job with Tag {tag} at"
            " all, and may not show this type",
            **details | {"hint": hint},
        ) from cause

    def _list_not_permitted(self, error: PermissionDeniedError) -> AmbiguousSubmissionError:
        hint = (
            f"Permit {self.job_api.list_permission}, or look in the console and clear the task if there is"
            ' none, or set on_ambiguous_submit="resubmit"'
        )
        return AmbiguousSubmissionError(
            "It is unknown whether the job was accepted before, and listing jobs is not permitted",
            **error.details | {"hint": hint},
        )

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
                self._undescribed_ids.add(job_id)
                return None
            self._undescribed_ids.discard(job_id)
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

    def _without_copies(self, jobs: list[J]) -> list[J]:
        """Return the jobs without copies: those whose ``UserData`` somebody copied from an older job."""
        originals: dict[str, J] = {}
        for job in sorted(jobs, key=_created_at):
            key, job_id = key_of_job(job), str(job.job_id)
            original = originals.setdefault(key.nonce if key else job_id, job)
            if original is job or not self._is_of_this_task(key) or job_id in self._copied_ids:
                continue
            self._copied_ids.add(job_id)
            self.log.warning(
                "Job %s has the UserData of job %s, which this task submitted: it is not this task's job",
                job_id,
                original.job_id,
            )
        return list(originals.values())

    def _oldest(self, jobs: list[J]) -> J:
        oldest, *others = sorted(jobs, key=_created_at)
        if others:
            ids = ", ".join(str(job.job_id) for job in others)
            self.log.error("Suspected duplicates of job %s, each billed: %s", oldest.job_id, ids)
        self.log.info("Found job %s (%s), submitted before", oldest.job_id, oldest.job_state)
        return oldest

    def _is_of_this_task(self, key: ParsedKey | None) -> bool:
        return key is not None and key.task_instance == self.identity.digest

    def _is_newer_than_ended_jobs(self, job: J) -> bool:
        return all(
            job.job_id != ended.job_id and _created_at(job, unknown=0.0) >= _created_at(ended, unknown=0.0)
            for ended in self._ended_jobs
        )


def _must_end_search(error: TencentCIError) -> bool:
    """Tell whether a call failed for a reason that does not pass, or because the task was killed."""
    return isinstance(error, JobError) or not is_outage(error)


def _unread_list_error(failure: TencentCIError) -> AmbiguousSubmissionError:
    return AmbiguousSubmissionError(
        "It is unknown whether a job was accepted: the job list could not be read",
        **failure.details
        | {
            "service_message": failure.service_message or failure.message,
            "hint": "It may run and be billed. A retry looks for it again",
        },
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


def pauses_between_looks() -> Iterator[float]:
    """Yield the seconds between looks, without end."""
    yield from _PAUSES_BETWEEN_LOOKS
    while True:
        yield _PAUSES_BETWEEN_LOOKS[-1]


def _created_at(job: Any, unknown: float = float("inf")) -> float:
    return job.creation_time.timestamp() if job.creation_time else unknown
