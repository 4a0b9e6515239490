"""How jobs are waited for: the rules that the operator's wait and the sensor share. No Airflow, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from airflow_provider_ci.exceptions import (
    CIError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    without_signatures,
)
from airflow_provider_ci.protocol.admin_models import BatchJob
from airflow_provider_ci.protocol.models import CANCEL, Job

#: What is waited for: a job or a batch job.
J = TypeVar("J", bound=Job | BatchJob)
J_co = TypeVar("J_co", bound=Job | BatchJob, covariant=True)

#: Seconds for which a job id may be unknown to the service: its records may lag behind a submission.
UNKNOWN_JOB_GRACE = 120.0
#: The first pause between two polls, seconds.
FIRST_DELAY = 1.0
#: Each round of failed polls doubles the pauses in the triggerer, up to this factor; a good one halves them.
SLOWEST = 16.0
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


@contextmanager
def about(job_id: str) -> Iterator[None]:
    """Let an error say which job it is about: the task waits for it, and it goes on."""
    try:
        yield
    except CIError as error:
        error.job_id = error.job_id or job_id
        raise


class Log(Protocol):
    """A logger, of the standard library's or Airflow's making."""

    def info(self, message: str, /, *args: object) -> object: ...  # noqa: D102

    def warning(self, message: str, /, *args: object) -> object: ...  # noqa: D102

    def error(self, message: str, /, *args: object) -> object: ...  # noqa: D102


class Answer(Protocol[J_co]):
    """An answer about jobs or batch jobs."""

    @property
    def jobs_detail(self) -> Sequence[J_co]: ...  # noqa: D102

    @property
    def request_id(self) -> str | None: ...  # noqa: D102


class JobWatch(Generic[J]):
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

    def observe(self, answer: Answer[J], elapsed: float, asked: Sequence[str] | None = None) -> None:
        """Take in the answer to a poll.

        :param elapsed: seconds since the wait began.
        :param asked: the jobs that were asked for; default: all that are pending.
        :raises JobNotFoundError: an id is still unknown after the grace period.
        """
        self.request_id = answer.request_id
        missing = dict.fromkeys(self._pending if asked is None else (i for i in asked if i in self._pending))
        for job in answer.jobs_detail:
            if job.job_id in self._pending:
                missing.pop(job.job_id, None)
                self.see(job.job_id, job)
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

    def see(self, job_id: str, job: J) -> None:
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
            self._log.error("%s", sentence(job))
        elif not state.is_known:
            self._log.warning("Job %s: unknown state %r, waiting on", job_id, str(state))
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
        if new := [i for i in missing if i not in self._missing_since]:
            # an id never seen is missing since the wait began, also if that was in an earlier process
            self._missing_since.update({i: elapsed if i in self.jobs else 0.0 for i in new})
            self._log.warning("The service does not know (yet): %s", _shortened(new))
        overdue = [i for i in missing if elapsed - self._missing_since[i] > UNKNOWN_JOB_GRACE]
        if overdue:
            raise JobNotFoundError(
                f"The service does not know {_shortened(overdue)}, {elapsed:.0f} s after the wait began",
                job_id=overdue[0],
                request_id=self.request_id,
                hint="Check that bucket and region are those of the submission (records last about a month)",
            )


def sentence(job: Job | BatchJob) -> str:
    """Return how a job ended, with the service's reason, for a log or a message."""
    return _ending(job) + _why(job)


def _ending(job: Job | BatchJob) -> str:
    return f"Job {job.job_id} ended {job.job_state}"


def _sentences(jobs: Sequence[Job | BatchJob], total: int) -> str:
    named = [sentence(job) for job in jobs[:_NAMED_AT_MOST]]
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
