"""Finds the job of an earlier submission in the job list. No Airflow and no I/O of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    JobCancelledError,
    JobError,
    PermissionDeniedError,
    TencentCIError,
)
from airflow_provider_ci.protocol.batches import BatchRequest
from airflow_provider_ci.protocol.jobs import CANCEL, JobRequest
from airflow_provider_ci.protocol.wire import CLOCK_SKEW_TOLERANCE
from airflow_provider_ci.submission.idempotency_key import (
    WORKER,
    IdempotencyKey,
    R,
    TaskIdentity,
    is_job_of,
    user_data_of,
)
from airflow_provider_ci.submission.record import SubmissionRecord
from airflow_provider_ci.submission.tracking import DescribeResponse, J, Log
from airflow_provider_ci.submission.waiting import is_outage

#: Pauses between looks while a submission may still arrive, seconds; the last one repeats.
_LOOK_PAUSES = (1.0, 2.0, 5.0, 10.0)
# With a clock further ahead of the service's, the submission's signature would not have been valid yet
_CLOCK_SKEW = CLOCK_SKEW_TOLERANCE + 1

R_contra = TypeVar("R_contra", bound=JobRequest | BatchRequest, contravariant=True)


class JobService(Protocol[R_contra, J]):
    """What is needed of the hook, bound to the input's bucket and region: for jobs, or for batch jobs.

    ``prepare`` is called before a new submission is recorded, and may refuse it. ``can_resubmit`` tells that
    nothing came of a job, so that a retry may submit it anew; ``has_ended`` that nothing of it runs any more.
    ``listing_permission`` names what ``list`` needs.
    """

    listing_permission: str

    def prepare(self, request: R_contra) -> None: ...  # noqa: D102

    def submit(self, request: R_contra, expires_at: float | None) -> J: ...  # noqa: D102

    def describe(self, job_id: str) -> DescribeResponse[J]: ...  # noqa: D102

    def list(self, request: R_contra, since: datetime) -> Iterable[J]: ...  # noqa: D102

    def cancel(self, job_id: str) -> None: ...  # noqa: D102

    def can_resubmit(self, job: J) -> bool: ...  # noqa: D102

    def has_ended(self, job: J) -> bool: ...  # noqa: D102


class JobSearch(Generic[R, J]):
    """Looks for the job of a task instance's submission.

    :param service: the hook, bound to bucket and region.
    :param resubmit_if_unknown: find nothing when the job list may not be read, at the risk of a second job.
    :param validity: seconds after which a submission can no longer be accepted.
    :param list_consistency_delay: seconds that the job list may lag behind.
    :param abandon: called with each job of this task instance that was submitted for another request, until
        it says that nothing is left to be done.
    """

    def __init__(
        self,
        *,
        service: JobService[R, J],
        identity: TaskIdentity,
        resubmit_if_unknown: bool,
        validity: float,
        list_consistency_delay: float,
        abandon: Callable[[str], bool],
        log: Log,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._service = service
        self._identity = identity
        self._resubmit_if_unknown = resubmit_if_unknown
        self._validity = validity
        self._list_lag = list_consistency_delay
        self._abandon = abandon
        self._log = log
        self._clock = clock
        self._sleep = sleep
        #: Jobs of earlier submissions that have ended without success.
        self.ended_jobs: list[J] = []
        self._abandoned: set[str] = set()
        self._copies: set[str] = set()
        self._described: dict[str, J] = {}
        self._undescribed: set[str] = set()

    def search_until_certain(
        self,
        submitted: R,
        since: Callable[[], float],
        sent_at: float | None,
        *,
        record: SubmissionRecord | None = None,
        by_this_try: bool = False,
    ) -> J | None:
        """Look in the job list until the job is found, or until it certainly does not exist.

        :param submitted: the request with its ``UserData``.
        :param since: Unix time before which it was not submitted.
        :param sent_at: when the submission was recorded that may still arrive; ``None``: perhaps just now.
        :param record: of an earlier try, where there is one.
        :param by_this_try: this very try has sent it, whose job it then is even if it has ended without
            success already.
        """
        until: float | None = None
        failure: TencentCIError | None = None
        for pause in look_pauses():
            try:
                listed = self._list(submitted, since() - _CLOCK_SKEW)
                failure = None
            except TencentCIError as error:
                if isinstance(error, JobError) or not is_outage(error):
                    raise
                listed, failure = [], error
                self._log.warning("A look at the job list failed, trying again: %s", error)
            if listed is None:  # the list may not be read, and the user takes the risk
                return None
            found = self._select(listed, submitted, record, by_this_try=by_this_try)
            if found is not None:
                return found
            now = self._clock()
            if until is None:  # after the first look, which may correct the clock
                until = self._latest_arrival(sent_at, now) + self._list_lag
                if now < until:
                    self._log.info(
                        "Looking in the job list until %s for the job of a submission whose response is"
                        " not known",
                        _time(until),
                    )
            if now >= until and self._undescribed:
                raise AmbiguousSubmissionError(
                    f"It is unknown whether job {min(self._undescribed)} is this task's: the list leaves out"
                    " its UserData, and the service does not describe it",
                    job_id=min(self._undescribed),
                    hint="A retry looks at it again",
                )
            if now >= until and failure is not None:
                raise AmbiguousSubmissionError(
                    "It is unknown whether a job was accepted: the job list could not be read",
                    **failure.details
                    | {
                        "service_message": failure.service_message or failure.message,
                        "hint": "It may run and be billed. A retry looks for it again",
                    },
                ) from failure
            if now >= until:
                self._log.info("The job list shows no job of an earlier submission: none was accepted")
                return None
            self._sleep(min(pause, until - now))
        raise AssertionError("pauses never end")

    def _list(self, submitted: R, begin: float) -> list[J] | None:
        """Return the jobs since ``begin``; ``None`` if they may not be listed and the user takes the risk."""
        try:
            listed = list(self._service.list(submitted, datetime.fromtimestamp(begin, UTC)))
        except PermissionDeniedError as error:
            if self._resubmit_if_unknown:
                self._log.warning(
                    "The jobs may not be listed, submitting at the risk of a second job: %s", error
                )
                return None
            raise AmbiguousSubmissionError(
                "It is unknown whether the job was accepted before, and the jobs may not be listed",
                **error.details
                | {
                    "hint": f"Permit {self._service.listing_permission}, or look in the console and clear the"
                    ' task if there is none, or set on_ambiguous_submit="resubmit"'
                },
            ) from error
        recent = [
            whole
            for job in listed
            if job.job_id and (job.creation_time is None or job.creation_time.timestamp() >= begin)
            if (whole := self._with_user_data(job, submitted)) is not None
        ]
        return self._without_copies(recent)

    def _with_user_data(self, job: J, submitted: R) -> J | None:
        """Return the job with what only its description may hold: the list may leave out ``UserData``.

        ``None``: it cannot be described at the moment, so that it is not judged in this look.
        """
        if user_data_of(job) is not None or not is_job_of(job, submitted):
            return job
        job_id = str(job.job_id)
        if job_id not in self._described:
            described = [one for one in self._service.describe(job_id).jobs_detail if one.job_id == job_id]
            if not described:
                self._undescribed.add(job_id)
                return None
            self._undescribed.discard(job_id)
            self._described[job_id] = described[0]
        whole = self._described[job_id]
        return job if user_data_of(whole) is None else whole

    def _select(
        self, listed: list[J], submitted: R, record: SubmissionRecord | None, *, by_this_try: bool
    ) -> J | None:
        """Return the job of the submission, if it is listed and may still be used."""
        self._abandon_other_requests(listed, submitted)
        own = [job for job in listed if is_job_of(job, submitted)]
        usable = [job for job in own if not self._service.can_resubmit(job)]
        if usable:
            return self._oldest(usable)
        ended = [job for job in own if self._carries_key(job)]  # only a key tells it from the jobs of others
        if by_this_try:
            return next((job for job in ended if self._is_newer_than_ended(job)), None)
        if record is not None:
            for job in own:
                refuse_if_cancelled_by_others(job, record)
        self.ended_jobs += ended
        return self._interrupted(listed, submitted) if record is None else None

    def _interrupted(self, listed: list[J], submitted: R) -> J | None:
        """Return the job of a try that was cleared while a worker waited for it, where no record says so."""
        wanted = self._own_key(submitted)
        if wanted is None:
            return None
        for job in listed:
            key = IdempotencyKey.parse(user_data_of(job))
            if (
                key is not None
                and (key.task_instance, key.request, key.waits)
                == (wanted.task_instance, wanted.request, WORKER)
                and key.max_tries < wanted.max_tries
                and not self._service.has_ended(job)
            ):
                log_interrupted(job, self._log)
                return job
        return None

    def _abandon_other_requests(self, listed: list[J], submitted: R) -> None:
        """Abandon the jobs that an earlier try of this very task instance submitted for another request."""
        wanted = self._own_key(submitted)
        for job in listed:
            key = IdempotencyKey.parse(user_data_of(job))
            is_other = (
                wanted is not None
                and key is not None
                and key[:2] == wanted[:2]
                and key.request != wanted.request
                and not job.job_state.is_terminal
            )
            job_id = str(job.job_id)
            if is_other and job_id not in self._abandoned and self._abandon(job_id):
                self._abandoned.add(job_id)

    def _without_copies(self, jobs: list[J]) -> list[J]:
        """Return the jobs without those into whose ``UserData`` somebody has copied an earlier one's."""
        genuine: dict[str, J] = {}
        for job in sorted(jobs, key=_creation):
            key = IdempotencyKey.parse(user_data_of(job))
            first = genuine.setdefault(key.nonce if key else str(job.job_id), job)
            if first is not job and self._carries_key(job) and str(job.job_id) not in self._copies:
                self._copies.add(str(job.job_id))
                self._log.warning(
                    "Job %s has the UserData of job %s, which this task submitted: it is not this task's job",
                    job.job_id,
                    first.job_id,
                )
        return list(genuine.values())

    def _oldest(self, jobs: list[J]) -> J:
        first, *others = sorted(jobs, key=_creation)
        if others:
            ids = ", ".join(str(job.job_id) for job in others)
            self._log.error("Suspected duplicates of job %s, each billed: %s", first.job_id, ids)
        self._log.info("Found job %s (%s), submitted before", first.job_id, first.job_state)
        return first

    def _carries_key(self, job: J) -> bool:
        key = IdempotencyKey.parse(user_data_of(job))
        return key is not None and key.task_instance == self._identity.digest

    def _own_key(self, submitted: R) -> IdempotencyKey | None:
        operation: Any = submitted.operation
        return IdempotencyKey.parse(operation.user_data if operation else None)

    def _is_newer_than_ended(self, job: J) -> bool:
        return all(
            job.job_id != ended.job_id and _creation(job, never=0.0) >= _creation(ended, never=0.0)
            for ended in self.ended_jobs
        )

    def _latest_arrival(self, sent_at: float | None, now: float) -> float:
        """Return until when a submission can arrive."""
        sent_at = now if sent_at is None else min(sent_at, now)
        return max(sent_at + self._validity, now)


def refuse_if_cancelled_by_others(job: Any, record: SubmissionRecord) -> None:
    """Refuse to replace a job that was cancelled, unless a try of this task has asked for it.

    :raises JobCancelledError: somebody else has cancelled it.
    """
    if job.job_state != CANCEL or record.is_own_cancellation(job):
        return
    raise JobCancelledError(
        f"Job {job.job_id} of an earlier try was cancelled, and not by this task",
        job_id=job.job_id,
        state=str(job.job_state),
        hint="It is not submitted again. Clear the task to pay for a new job",
    )


def log_interrupted(job: Any, log: Log) -> None:
    """Say that a cleared task continues with its job."""
    log.warning(
        "The task was cleared while it waited for job %s (%s), which has not ended: waiting for this job."
        " Clear the task after its end to pay for a new one",
        job.job_id,
        job.job_state,
    )


def look_pauses() -> Iterator[float]:
    """Yield the pauses between looks, for ever."""
    yield from _LOOK_PAUSES
    while True:
        yield _LOOK_PAUSES[-1]


def _creation(job: Any, never: float = float("inf")) -> float:
    return job.creation_time.timestamp() if job.creation_time else never


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S UTC")
