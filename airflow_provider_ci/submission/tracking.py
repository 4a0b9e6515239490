"""How jobs are waited for: the rules that the operator's wait and the sensor share. No Airflow, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from airflow_provider_ci.exceptions import (
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    ServerError,
    TencentCIError,
    ThrottledError,
    without_signatures,
)
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.errors import is_retryable
from airflow_provider_ci.protocol.jobs import CANCEL, Job

#: What is waited for: a job or a batch job.
J = TypeVar("J", bound=Job | BatchJob)
J_co = TypeVar("J_co", bound=Job | BatchJob, covariant=True)

#: Seconds for which a job id may be unknown to the service: its records may lag behind a submission.
NOT_FOUND_GRACE_PERIOD = 120.0
#: The first pause between two polls, seconds.
FIRST_DELAY = 1.0
#: Each failed poll doubles the pause, up to this factor; a good one halves it. In the triggerer a round of
#: polls counts as one.
MAX_BACKOFF_FACTOR = 16.0
#: The same factor while polls are refused. The task fails after ten refusals, and that should not take hours.
MAX_BACKOFF_FACTOR_WHEN_REFUSED = 4.0
#: Seconds that a wait lasts at most when nothing else limits it: seven days, as for Airflow's sensors.
DEFAULT_TIMEOUT = 7 * 24 * 3600.0
#: Each pause is this share of the time waited so far, so that a wait ends at most so much late.
_SHARE = 0.25
_NAMED_AT_MOST = 20


def poll_delay(elapsed: float, poll_interval: float) -> float:
    """Return the seconds to the next poll after waiting ``elapsed`` seconds.

    A quarter of the time waited, at least 1 second and at most ``poll_interval``: a job of 5 seconds is
    noticed within 1.25 seconds of its end, and one of 30 minutes costs about 75 requests at an interval of 30
    seconds.
    """
    return min(max(FIRST_DELAY, elapsed * _SHARE), poll_interval)


def is_outage(error: TencentCIError) -> bool:
    """Tell whether to wait on although a poll ended so, because it is an outage and says nothing about the
    job.

    Besides what :func:`~airflow_provider_ci.protocol.errors.is_retryable` names, that is a 404 without an
    error code. Each of the service's own errors has a code, so a gateway has answered that does not find the
    service.
    """
    return is_retryable(error) or (error.status == 404 and not error.code)


class Backoff:
    """The pauses between the polls of one wait: longer after failed polls, and as long as the service asks.

    :param poll_interval: longest pause while all is well, seconds.
    :param refusals_tolerated: polls in a row that may fail in a way that does not pass by itself.
    """

    def __init__(self, poll_interval: float, *, refusals_tolerated: int = 0) -> None:
        self.failure: TencentCIError | None = None  # of the last poll
        self._poll_interval = poll_interval
        self._refusals_tolerated = refusals_tolerated
        self._refusals = 0
        self._factor = 1.0
        self._retry_after = 0.0

    def pause(self, elapsed: float) -> float:
        """Return the seconds to the next poll after waiting ``elapsed`` seconds."""
        return max(poll_delay(elapsed, self._poll_interval) * self._factor, self._retry_after)

    def note_response(self) -> None:
        """Take note of a poll that was answered."""
        self.failure, self._refusals = None, 0
        self._factor, self._retry_after = max(self._factor / 2, 1.0), 0.0

    def note_failure(self, error: TencentCIError) -> None:
        """Take note of a poll that failed.

        :raises TencentCIError: ``error``, if it cannot be waited out.
        """
        slowest = MAX_BACKOFF_FACTOR
        if not is_outage(error):
            slowest = MAX_BACKOFF_FACTOR_WHEN_REFUSED
            self._refusals += 1
            if self._refusals > self._refusals_tolerated:
                raise error
        self.failure = error
        self._factor = max(self._factor, min(self._factor * 2, slowest))
        self._retry_after = retry_after(error)


def retry_after(error: TencentCIError) -> float:
    """Return the seconds that the service asked to be left alone."""
    return (error.retry_after or 0.0) if isinstance(error, ThrottledError | ServerError) else 0.0


@contextmanager
def name_job_in_errors(job_id: str) -> Iterator[None]:
    """Let an error say which job it is about: the task waits for it, and it goes on."""
    try:
        yield
    except TencentCIError as error:
        error.job_id = error.job_id or job_id
        raise


class Log(Protocol):
    """A logger, of the standard library's or Airflow's making."""

    def info(self, message: str, /, *args: object) -> object: ...  # noqa: D102

    def warning(self, message: str, /, *args: object) -> object: ...  # noqa: D102

    def error(self, message: str, /, *args: object) -> object: ...  # noqa: D102


class DescribeResponse(Protocol[J_co]):
    """An answer about jobs or batch jobs."""

    @property
    def jobs_detail(self) -> Sequence[J_co]: ...  # noqa: D102

    @property
    def request_id(self) -> str | None: ...  # noqa: D102


class JobTracker(Generic[J]):
    """Follows jobs from poll to poll and logs each change of state once.

    Of more than 20 jobs only those that end without success are logged one by one, and the rest as a count
    whenever another tenth of them has ended.

    :param job_ids: the jobs; repeated ids count once.
    :param log: receives one line for each change.
    """

    def __init__(self, job_ids: Sequence[str], log: Log) -> None:
        self.job_ids = list(dict.fromkeys(job_ids))
        self.jobs: dict[str, J] = {}
        self.unsuccessful: list[J] = []  # those that ended Failed or Cancel
        self.request_id: str | None = None
        self._pending = dict.fromkeys(self.job_ids)
        self._log = log
        self._missing_since: dict[str, float] = {}
        self._tenths_logged = 0

    @property
    def pending(self) -> list[str]:
        """The ids of the jobs that have not been seen to end."""
        return list(self._pending)

    @property
    def missing_since(self) -> dict[str, float]:
        """For each pending job that the service did not know when it was last asked for, since when, in
        seconds since the wait began.
        """
        return {job_id: since for job_id, since in self._missing_since.items() if job_id in self._pending}

    def restore_missing_since(self, missing_since: Mapping[str, float]) -> None:
        """Take over ``missing_since`` from an earlier process of the same wait."""
        self._missing_since.update(missing_since)

    def update(self, answer: DescribeResponse[J], elapsed: float, asked: Sequence[str] | None = None) -> None:
        """Take in the answer to a poll.

        :param elapsed: seconds since the wait began.
        :param asked: the jobs that were asked for; default: all that are pending.
        :raises JobNotFoundError: an id has been unknown for longer than the grace period.
        """
        self.request_id = answer.request_id
        missing = dict.fromkeys(self._pending if asked is None else (i for i in asked if i in self._pending))
        for job in answer.jobs_detail:
            if job.job_id in self._pending:
                missing.pop(job.job_id, None)
                self.update_job(job.job_id, job)
        if self._is_crowd:
            self._log_progress()
        self._miss(list(missing), elapsed)

    def error(self) -> JobError | None:
        """Return the error that names every job that ended without success, or ``None``."""
        bad = self.unsuccessful
        if not bad:
            return None
        cancelled_only = all(job.job_state == CANCEL for job in bad)
        one = bad[0] if len(self.job_ids) == 1 else None
        return (JobCancelledError if cancelled_only else JobFailedError)(
            _ending(bad[0]) if one else _sentences(bad, len(self.job_ids)),
            state=str(bad[0].job_state),
            code=_code(one) if one else None,
            service_message=one.message if one else None,
            request_id=self.request_id,
            job_id=bad[0].job_id,
            hint=(
                "Somebody cancelled it: submit it again if that was a mistake"
                if cancelled_only
                else "Check the input media and the outputs; a new submission is a new paid job"
            ),
        )

    def update_job(self, job_id: str, job: J) -> None:
        """Take in one job that is pending."""
        before, state = self.jobs.get(job_id), job.job_state
        self.jobs[job_id] = job
        self._missing_since.pop(job_id, None)
        if state.is_terminal:
            del self._pending[job_id]
            if not state.is_successful:
                self.unsuccessful.append(job)
        if before is not None and before.state == job.state:
            return
        if state.is_terminal and not state.is_successful:
            self._log.error("%s", describe_end(job))
        elif not state.is_known:
            self._log.warning("Job %s: unknown state %r, still waiting", job_id, str(state))
        elif not self._is_crowd:
            self._log.info("Job %s: %s", job_id, state)

    def _log_progress(self) -> None:
        total, ended = len(self.job_ids), len(self.job_ids) - len(self._pending)
        if ended * 10 // total > self._tenths_logged:
            self._tenths_logged = ended * 10 // total
            self._log.info(
                "%d of %d jobs have ended, %d without success", ended, total, len(self.unsuccessful)
            )

    @property
    def _is_crowd(self) -> bool:
        return len(self.job_ids) > _NAMED_AT_MOST

    def _miss(self, missing: list[str], elapsed: float) -> None:
        # The grace period begins when a job is first missed, not when the wait began: an earlier process,
        # before a resumption or a restart, may have seen the job seconds ago
        if new := [i for i in missing if i not in self._missing_since]:
            self._missing_since.update(dict.fromkeys(new, elapsed))
            self._log.warning("Jobs not found yet: %s", _shortened(new))
        overdue = [i for i in missing if elapsed - self._missing_since[i] > NOT_FOUND_GRACE_PERIOD]
        if overdue:
            seconds = elapsed - self._missing_since[overdue[0]]
            raise JobNotFoundError(
                f"The service has not known {_shortened(overdue)} for {seconds:.0f} s",
                job_id=overdue[0],
                request_id=self.request_id,
                hint="Check that bucket and region are those of the submission (records last about a month)",
            )


def describe_end(job: Job | BatchJob) -> str:
    """Return how a job ended, with the service's reason, for a log or a message."""
    return _ending(job) + _why(job)


def _ending(job: Job | BatchJob) -> str:
    return f"Job {job.job_id} ended {job.job_state}"


def _sentences(jobs: Sequence[Job | BatchJob], total: int) -> str:
    named = [describe_end(job) for job in jobs[:_NAMED_AT_MOST]]
    rest = f"; and {len(jobs) - _NAMED_AT_MOST} more" if len(jobs) > _NAMED_AT_MOST else ""
    return f"{len(jobs)} of {total} jobs did not succeed: {'; '.join(named)}{rest}"


def _why(job: Job | BatchJob) -> str:
    said = ": ".join(part for part in (_code(job), job.message) if part)
    return f" ({without_signatures(said)})" if said else ""


def _code(job: Job | BatchJob) -> str | None:
    # a cancelled job carries the meaningless code Success
    return job.code if job.code != "Success" else None


def _shortened(job_ids: Sequence[str]) -> str:
    rest = f" and {len(job_ids) - _NAMED_AT_MOST} more" if len(job_ids) > _NAMED_AT_MOST else ""
    return ", ".join(job_ids[:_NAMED_AT_MOST]) + rest
