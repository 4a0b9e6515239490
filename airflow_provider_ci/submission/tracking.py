"""What is known of the jobs that a task waits for, from poll to poll. Neither Airflow nor I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from airflow_provider_ci.exceptions import (
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    TencentCIError,
    strip_signatures,
)
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.errors import is_lasting_failure
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED, RUNNING, Job
from airflow_provider_ci.protocol.results import result_failure

#: What is waited for: a job or a batch job.
J = TypeVar("J", bound=Job | BatchJob)
J_co = TypeVar("J_co", bound=Job | BatchJob, covariant=True)

#: Seconds for which a job id may be unknown to the service: its records may lag behind a submission.
NOT_FOUND_GRACE_PERIOD = 120.0
_INPUT_NOT_FOUND = "ResourceNotFound"
# Messages name at most this many jobs. With more jobs than this, the log gives counts
_MAX_JOBS_NAMED = 20


@contextmanager
def name_job_in_errors(job_id: str) -> Iterator[None]:
    """Set ``job_id`` on the provider's errors that are raised inside the block."""
    try:
        yield
    except TencentCIError as error:
        error.job_id = error.job_id or job_id
        raise


class Log(Protocol):
    """The methods of a logger that are used here: the standard library's and Airflow's have them."""

    def info(self, message: str, /, *args: object) -> object: ...  # noqa: D102

    def warning(self, message: str, /, *args: object) -> object: ...  # noqa: D102

    def error(self, message: str, /, *args: object) -> object: ...  # noqa: D102


class DescribeResponse(Protocol[J_co]):
    """The service's response about jobs or batch jobs."""

    @property
    def jobs_detail(self) -> Sequence[J_co]: ...  # noqa: D102

    @property
    def request_id(self) -> str | None: ...  # noqa: D102


class JobTracker(Generic[J]):
    """Follows jobs from poll to poll and logs each change of state once, and each tenth of a job's progress.

    With more than 20 jobs it logs only those that end without success, and a count whenever another tenth of
    all has ended.

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
        self._progress_logged: dict[str, int] = {}

    @property
    def pending(self) -> list[str]:
        """The ids of the jobs that have not been seen to end."""
        return list(self._pending)

    @property
    def missing_since(self) -> dict[str, float]:
        """Since when each pending job has been missing, on the clock of :meth:`update`."""
        return {job_id: since for job_id, since in self._missing_since.items() if job_id in self._pending}

    def restore_missing_since(self, missing_since: Mapping[str, float]) -> None:
        """Continue with the ``missing_since`` of an earlier process of the same wait."""
        self._missing_since.update(missing_since)

    def update(self, response: DescribeResponse[J], now: float, asked: Sequence[str] | None = None) -> None:
        """Update the jobs from the response to a poll.

        :param now: seconds on any clock, as long as it is always the same one.
        :param asked: the jobs that were asked for; default: all that are pending.
        :raises JobNotFoundError: an id has been missing for longer than the grace period.
        """
        self.request_id = response.request_id
        asked = self.pending if asked is None else asked
        missing = {job_id: None for job_id in asked if job_id in self._pending}
        for job in response.jobs_detail:
            if job.job_id in self._pending:
                missing.pop(job.job_id, None)
                self.update_job(job)
        if self._logs_counts:
            self._log_count()
        self._note_missing(list(missing), now)

    def update_job(self, job: J) -> None:
        """Update one pending job."""
        job_id, state = str(job.job_id), job.job_state
        before = self.jobs.get(job_id)
        self.jobs[job_id] = job
        self._missing_since.pop(job_id, None)
        if state.is_terminal:
            del self._pending[job_id]
            if not state.is_successful or result_failure(job) is not None:
                self.unsuccessful.append(job)
        tenths = tenths_of_progress(job)
        if before is None or before.job_state != state or tenths > self._progress_logged.get(job_id, 0):
            if tenths:
                self._progress_logged[job_id] = tenths
            self._log_state(job)

    def error(self) -> JobError | None:
        """Return the error that names every job that ended without success, or ``None``."""
        if not self.unsuccessful:
            return None
        first = self.unsuccessful[0]
        kind: type[JobError] = JobFailedError
        hint = "Check the input media and the outputs; a new submission is a new paid job"
        if all(job.job_state == CANCEL for job in self.unsuccessful):
            kind, hint = JobCancelledError, "Somebody cancelled it: submit it again if that was a mistake"
        elif len(self.job_ids) == 1 and isinstance(first, Job) and first.code == _INPUT_NOT_FOUND:
            hint = (
                "Check that the input exists; set check_input=True where the job is submitted, so that a"
                " missing input fails before a job is paid"
            )
        details: dict[str, Any] = {
            "state": str(first.job_state),
            "request_id": self.request_id,
            "job_id": first.job_id,
            "hint": hint,
        }
        if len(self.job_ids) > 1:
            return kind(self._unsuccessful_jobs(), **details)
        # the error itself shows code and message
        return kind(_end_of(first), code=_error_code(first), service_message=first.message, **details)

    def _unsuccessful_jobs(self) -> str:
        count = len(self.unsuccessful)
        ends = "; ".join(describe_end(job) for job in self.unsuccessful[:_MAX_JOBS_NAMED])
        rest = f"; and {count - _MAX_JOBS_NAMED} more" if count > _MAX_JOBS_NAMED else ""
        return f"{count} of {len(self.job_ids)} jobs did not succeed: {ends}{rest}"

    @property
    def _logs_counts(self) -> bool:
        return len(self.job_ids) > _MAX_JOBS_NAMED

    def _log_state(self, job: J) -> None:
        state = job.job_state
        failure = result_failure(job)
        if state.is_terminal and (failure is not None or not state.is_successful):
            self._log.error("%s", describe_end(job))
        elif not state.is_known:
            self._log.warning("Job %s: unknown state %r, still waiting", job.job_id, str(state))
        elif not self._logs_counts:
            progress = f" ({job.progress} %)" if tenths_of_progress(job) else ""
            self._log.info("Job %s: %s%s", job.job_id, state, progress)

    def _log_count(self) -> None:
        total = len(self.job_ids)
        ended = total - len(self._pending)
        tenths = ended * 10 // total
        if tenths > self._tenths_logged:
            self._tenths_logged = tenths
            self._log.info(
                "%d of %d jobs have ended, %d without success", ended, total, len(self.unsuccessful)
            )

    def _note_missing(self, missing: Sequence[str], now: float) -> None:
        # The grace period begins when a job is first missed, not when the wait began: an earlier process,
        # before a resumption or a restart, may have seen the job seconds ago
        newly_missing = [job_id for job_id in missing if job_id not in self._missing_since]
        if newly_missing:
            self._missing_since.update(dict.fromkeys(newly_missing, now))
            self._log.warning("Jobs not found yet, looking again: %s", _list_ids(newly_missing))
        lost = [job_id for job_id in missing if now - self._missing_since[job_id] > NOT_FOUND_GRACE_PERIOD]
        if lost:
            seconds = now - self._missing_since[lost[0]]
            raise JobNotFoundError(
                f"The service has not found {_list_ids(lost)} for {seconds:.0f} s",
                job_id=lost[0],
                request_id=self.request_id,
                hint="Check that bucket and region are those of the submission (records last about a month)",
            )


def would_fail_again(job: Job | BatchJob) -> bool:
    """Tell whether the same job would fail again if it were submitted again, and be paid for again.

    Nothing is paid for a batch job itself, so one that has made no jobs may always be submitted again.
    """
    if not isinstance(job, Job) or job.job_state != FAILED:
        return False
    return is_lasting_failure(job.code, job.message)


def tenths_of_progress(job: Job | BatchJob) -> int:
    """Return how much of a running job is done, from 1 to 9; 0 if that is less, or unknown: the service says
    it of some types of job only.
    """
    is_running = job.job_state == RUNNING and job.progress is not None
    return min(max(job.progress or 0, 0) // 10, 9) if is_running else 0


def describe_end(job: Job | BatchJob) -> str:
    """Return how a job ended, with the service's reason, for a log or a message."""
    if result_failure(job) is not None:
        return _end_of(job)
    reason = ": ".join(part for part in (_error_code(job), job.message) if part)
    return _end_of(job) + (f" ({strip_signatures(reason)})" if reason else "")


def _end_of(job: Job | BatchJob) -> str:
    failure = result_failure(job)
    but = f", but its result reports a failure: {failure}" if failure else ""
    return f"Job {job.job_id} ended {job.job_state}{but}"


def _error_code(job: Job | BatchJob) -> str | None:
    # a cancelled job carries the meaningless code Success
    return job.code if job.code != "Success" else None


def _list_ids(job_ids: Sequence[str]) -> str:
    rest = f" and {len(job_ids) - _MAX_JOBS_NAMED} more" if len(job_ids) > _MAX_JOBS_NAMED else ""
    return ", ".join(job_ids[:_MAX_JOBS_NAMED]) + rest
