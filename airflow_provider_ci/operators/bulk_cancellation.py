"""Ends a bulk task that is killed or runs out of time: it cancels those of its jobs that have not begun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_ci.exceptions import TaskKilledError, TencentCIError
from airflow_provider_ci.operators.cancellation import REQUEST_SECONDS, JobCancellation
from airflow_provider_ci.operators.kill_guard import KillGuard

if TYPE_CHECKING:
    from airflow_provider_ci.operators.base import BucketAndRegion

# Requests in a row that may fail
_FAILURES_TOLERATED = 3


@dataclass(kw_only=True)
class BulkCancellation(JobCancellation):
    """Asks the service to cancel the jobs of a try that may not have begun, ten with a request.

    :param pending_ids: returns the jobs that have not been seen to end, in the order of their submission. The
        newest are cancelled first, because they are the last to begin.
    :param record: records for a retry that this task asks for the cancellation, at that Unix time by the
        service's clock; ``None``: the request had no effect.
    """

    not_cancelled: ClassVar[str] = "They were not cancelled and are still running"
    was_not_cancelled: ClassVar[str] = "They were not cancelled"
    not_answered: ClassVar[str] = (
        "Their cancellation was requested and not answered: they may still be running"
    )
    requested: ClassVar[str] = (
        "Their cancellation was requested; the service cancels only jobs that have not begun"
    )
    seconds_after_timeout: ClassVar[float] = 60.0

    pending_ids: Callable[[], Sequence[str]]
    bucket_and_region: Callable[[], BucketAndRegion]
    record: Callable[[float | None], None]
    outcome: str = field(default=not_cancelled, init=False)

    @property
    def pending(self) -> int:
        """How many jobs have not been seen to end."""
        return len(self.pending_ids())

    def cancel_jobs_if_owner(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs that an earlier try submitted, for which a later try may be waiting.

        :raises TencentCIError: this try does not own the jobs, or Airflow cannot be asked.
        """
        if reason := self._ask_reason_to_keep_job():
            raise TencentCIError(reason)
        self.hook().cancel_jobs(job_ids, **self.bucket_and_region())

    @property
    def _has_jobs(self) -> bool:
        return self.pending > 0

    @property
    def _subject(self) -> str:
        return f"{self.pending} jobs of this task"

    def _send_requests(self) -> None:
        from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST, CancelJobs

        ids = [*reversed(self.pending_ids())]
        hook, location = self.hook(), self.bucket_and_region()
        failures = 0
        for start in range(0, len(ids), IDS_PER_REQUEST):
            self._renew_record()
            request = CancelJobs(tuple(ids[start : start + IDS_PER_REQUEST]))
            try:
                hook.call_within(request, REQUEST_SECONDS, **location)
                failures = 0
            except (
                TencentCIError
            ):  # of ten jobs one may be unknown; of several requests in a row, the service
                failures += 1
                if failures >= _FAILURES_TOLERATED or len(ids) <= IDS_PER_REQUEST:
                    raise

    def _renew_record(self) -> None:
        """Record the time again if many requests take so long that the first one's is too long ago: a retry
        takes a job for cancelled by somebody else that ended much later.
        """
        from airflow_provider_ci.submission.record import CANCEL_TAKES_EFFECT

        now = self.hook().now()
        if self._requested_at is not None and now > self._requested_at + CANCEL_TAKES_EFFECT / 2:
            self._requested_at = now
            self._record_request()

    def _record_request(self) -> None:
        self.record(self._requested_at)


@dataclass
class BulkKillGuard(KillGuard):
    """Notes that the task was killed, and ends it at the next checkpoint."""

    cancellation: BulkCancellation

    def _error(self) -> TaskKilledError:
        if pending := self.cancellation.pending:
            return TaskKilledError(
                f"The task was killed while {pending} of its jobs were in progress",
                hint=f"{self.cancellation.outcome}. A retry finds those that are paid for",
            )
        hint = "A retry finds the jobs that are paid for" if self.try_state.is_retry else None
        return TaskKilledError("The task was killed before this try submitted a job", hint=hint)
