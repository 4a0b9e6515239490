"""What the job list proves about earlier submissions. No Airflow and no I/O of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    InvalidRequestError,
    JobError,
    NotFoundError,
    PermissionDeniedError,
    TencentCIError,
)
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.protocol.wire import CLOCK_SKEW_TOLERANCE
from airflow_provider_ci.submission.idempotency_key import ParsedKey
from airflow_provider_ci.submission.tracking import DescribeResponse, J, Log
from airflow_provider_ci.submission.waiting import is_outage

#: What a reader of the list makes of its jobs, and what is looked for in that.
Jobs = TypeVar("Jobs")
Found = TypeVar("Found")
#: Something with the ``job_id`` and the ``creation_time`` of a job.
T = TypeVar("T", bound=Any)

#: A recorded time may be this many seconds ahead of the service's clock: the service refuses signatures that
#: begin later. One second more because creation times are in whole seconds.
CLOCK_SKEW = CLOCK_SKEW_TOLERANCE + 1
#: Pauses between two looks for a job that may still appear, in seconds; the last one repeats.
_PAUSES_BETWEEN_LOOKS = (1.0, 2.0, 5.0, 10.0)


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


@dataclass(kw_only=True)
class JobList(Generic[J]):
    """Reads the job list for the submissions of a task instance, and says what an absent job proves.

    :param job_api: the calls, for the input's bucket and region.
    :param resubmit_if_unknown: if listing jobs is not permitted, or the list may not show this type of job,
        assume that there is none, at the risk of a second job.
    :param list_consistency_delay: seconds by which the job list may lag behind a submission.
    """

    job_api: JobLookup[J]
    resubmit_if_unknown: bool
    list_consistency_delay: float
    log: Log
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    #: The jobs of which the list leaves out ``UserData``, and that the service does not describe.
    undescribed_ids: set[str] = field(default_factory=set, init=False)

    def search_until_certain(
        self,
        read: Callable[[], Jobs | None],
        select: Callable[[Jobs], Found | None],
        request: Tree,
        last_arrival: Callable[[float], float],
    ) -> Found | None:
        """Look in the job list until ``select`` finds what is looked for, or until that does not exist.

        That is certain once the service can no longer accept a submission, and the list has had time to show
        what was accepted before. A list that could not be read is read again until then.

        :param read: reads the list, with :meth:`read`; its ``None`` ends the search.
        :param select: returns what is looked for, if those jobs have it.
        :param last_arrival: called with the present time; returns the Unix time until which the service may
            still accept a submission that is in flight.
        :raises AmbiguousSubmissionError: it cannot be found out whether a job exists.
        """
        certain_at: float | None = None
        for pause in pauses_between_looks():
            failure: TencentCIError | None = None
            try:
                jobs = read()
            except TencentCIError as error:
                if _must_end_search(error):
                    raise
                failure = error
                self.log.warning("The job list could not be read, will try again: %s", error)
            else:
                if jobs is None:  # the user accepts the risk of a second job
                    return None
                if (found := select(jobs)) is not None:
                    return found
            now = self.clock()
            if certain_at is None:  # only now, because the first response may have corrected the clock
                certain_at = last_arrival(now) + self.list_consistency_delay
                self._log_search_until(certain_at, now)
            if now >= certain_at:
                self._raise_if_unknown(failure)
                self._conclude_from_absence(request)
                return None
            self.sleep(min(pause, certain_at - now))
        raise AssertionError("pauses never end")

    def read(self, request: Tree, since: float, collect: Callable[[Iterable[J]], Jobs]) -> Jobs | None:
        """Return what ``collect`` makes of the jobs that were created at the Unix time ``since`` or later.

        ``None``: listing them is not permitted, or the type is not listed, and the user accepts the risk of a
        second job.

        :raises AmbiguousSubmissionError: likewise, and the user does not accept it.
        """
        try:
            listed = self.job_api.list(request, datetime.fromtimestamp(since, UTC))
            return collect(job for job in listed if job.job_id and created_at(job, unknown=since) >= since)
        except PermissionDeniedError as error:
            if not self.resubmit_if_unknown:
                raise self._list_not_permitted(error) from error
            self.log.warning(
                "Listing jobs is not permitted; submitting, at the risk of a second paid job: %s", error
            )
            return None
        except (InvalidRequestError, NotFoundError) as error:
            if self.job_api.is_list_documented(request):
                raise
            self._accept_risk_or_raise(request, error)
            return None

    def _log_search_until(self, certain_at: float, now: float) -> None:
        if now < certain_at:
            self.log.info(
                "Looking in the job list until %s, in case an earlier submission of this task was accepted",
                datetime.fromtimestamp(certain_at, UTC).strftime("%H:%M:%S UTC"),
            )

    def _raise_if_unknown(self, failure: TencentCIError | None) -> None:
        """Refuse to conclude that there is no job if the last look did not show all jobs.

        :param failure: why that look failed, if it did.
        """
        if self.undescribed_ids:
            job_id = min(self.undescribed_ids)
            raise AmbiguousSubmissionError(
                f"It is unknown whether job {job_id} is this task's: the list leaves out its UserData, and"
                " the service does not describe it",
                job_id=job_id,
                hint="A retry looks at it again",
            )
        if failure is not None:
            raise _unread_list_error(failure) from failure

    def _conclude_from_absence(self, request: Tree) -> None:
        """Conclude that there is no job, if a list without it proves that or the user accepts the risk.

        For some types of job no document says that they are listed. Then the list proves it only if it shows
        any job of the type.

        :raises AmbiguousSubmissionError: it shows none, or it could not be read.
        """
        is_type_listed = self.job_api.is_list_documented(request)
        try:
            is_type_listed = is_type_listed or self.job_api.ask_if_listed(request)
        except (InvalidRequestError, NotFoundError) as error:
            self._accept_risk_or_raise(request, error)
            return
        except TencentCIError as error:
            if _must_end_search(error):
                raise
            raise _unread_list_error(error) from error
        if is_type_listed:
            self.log.info("The job list shows no job of an earlier submission: none was accepted")
        else:
            self._accept_risk_or_raise(request, None)

    def _accept_risk_or_raise(self, request: Tree, cause: TencentCIError | None) -> None:
        """Log that the job is submitted although the list may not show its type, if the user accepts that.

        :raises AmbiguousSubmissionError: the user does not.
        """
        tag = request.get("Tag")
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


class CopiedJobs:
    """Recognises jobs whose ``UserData`` somebody copied from an older job of a task instance.

    :param task_instance: :attr:`~airflow_provider_ci.submission.idempotency_key.TaskIdentity.digest`.
    """

    def __init__(self, task_instance: str, log: Log) -> None:
        self._task_instance = task_instance
        self._log = log
        # By nonce, the oldest job that was seen: when it was created, and its id
        self._originals: dict[str, tuple[float, str]] = {}
        self._logged_ids: set[str] = set()

    def leave_out(self, jobs: Iterable[T], key_of: Callable[[T], ParsedKey | None]) -> list[T]:
        """Return the jobs without copies, the oldest first.

        :param jobs: the newest first, as they are listed: their times are in whole seconds.
        """
        by_age = list(jobs)
        by_age.reverse()
        by_age.sort(key=created_at)
        for job in by_age:
            if (key := key_of(job)) is not None:
                this = (created_at(job), str(job.job_id))
                oldest = self._originals.get(key.nonce, this)
                self._originals[key.nonce] = this if this[0] < oldest[0] else oldest
        return [job for job in by_age if not self._is_copy(str(job.job_id), key_of(job))]

    def _is_copy(self, job_id: str, key: ParsedKey | None) -> bool:
        if key is None or self._originals[key.nonce][1] == job_id:
            return False
        if key.task_instance == self._task_instance:
            self._log_once(job_id, self._originals[key.nonce][1])
        return True

    def _log_once(self, job_id: str, original_id: str) -> None:
        if job_id in self._logged_ids:
            return
        self._logged_ids.add(job_id)
        self._log.warning(
            "Job %s has the UserData of job %s, which this task submitted: it is not this task's job."
            " Nothing to do",
            job_id,
            original_id,
        )


def last_arrival_of(sent_at: float, validity: float, now: float) -> float:
    """Return the Unix time until which the service may still accept a submission that is in flight.

    :param sent_at: when it was recorded. A time in the future comes from a clock that was wrong.
    :param validity: seconds after which the service no longer accepts it.
    """
    return max(min(sent_at, now) + validity, now)


def pauses_between_looks() -> Iterator[float]:
    """Yield the seconds between looks, without end."""
    yield from _PAUSES_BETWEEN_LOOKS
    while True:
        yield _PAUSES_BETWEEN_LOOKS[-1]


def created_at(job: Any, unknown: float = float("inf")) -> float:
    """Return the Unix time at which a job was created."""
    return job.creation_time.timestamp() if job.creation_time else unknown
