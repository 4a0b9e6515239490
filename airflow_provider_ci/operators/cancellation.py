"""How a task that waits for a job ends before the job does: told to stop by Airflow, or over its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Thread
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_ci import current_try
from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    JobTimeoutError,
    ServerError,
    ServiceError,
    StateStoreError,
    TaskKilledError,
    TencentCIError,
    ThrottledError,
    TransportError,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.operators.services import BoundService
    from airflow_provider_ci.protocol.batches import BatchRequest
    from airflow_provider_ci.protocol.jobs import JobRequest
    from airflow_provider_ci.submission.record import SubmissionRecords

# The supervisor kills the process 5 s after SIGTERM
_KILL_SECONDS = 4.0
# on_kill interrupts code that may hold what the cancellation needs: a module that is being imported, or the
# channel to Airflow. So it waits for a part of that time only, and the next checkpoint for the rest
_HANDLER_SECONDS = 1.5
# For a checkpoint that comes after that time, in a process that was not killed after all
_LEAST_SECONDS = 1.0
# How soon a waiting task notices that it was told to stop
_NAP = 1.0

# The task goes on with its job in these: in the triggerer, or in another try
_LEFT_TO_OTHERS = {
    current_try.OVERTAKEN: "Airflow has given up on this try, and the job is left to the next one",
    "deferred": "the task waits for it in the triggerer",
}
# Somebody has ended the task, or asks for another try of it
_ENDED_BY_SOMEBODY = frozenset(
    {"failed", "skipped", "upstream_failed", current_try.REMOVED, current_try.RESTARTING}
)
_HANDED_OVER = "the task has finished its work, and the job is left to those that wait for it"


class CancelOnKillMixin:
    """A task that notices that it was told to stop, and then has its job cancelled, best effort. The service
    cancels only jobs that have not begun.

    A job is cancelled only by the try that owns it. Airflow ends also processes that it has given up on, for
    instance because they could not reach it, when a retry waits for the same job already. So it is asked
    first, and if it cannot be asked, nothing is cancelled.
    """

    job_id: str | None = None
    #: The job was found by its request alone, and may be somebody else's.
    may_be_others = False
    _killed = False
    _kill_deadline = 0.0
    _cancel_settled = False  # there is nothing to try again
    _has_cancelled = False  # the service has accepted the request
    _cancel_requested_at: float | None = None
    _is_cancelling = False
    _attempt: Future[str | None] | None = None
    _fate = "It was not cancelled and goes on"
    _context: Context | None = None
    _is_executing = False
    _has_finished = False
    _sent: tuple[datetime, JobRequest | BatchRequest] | None = None
    _is_in_flight = False
    #: Whether a submission was sent whose response is not known.
    is_unanswered = False

    if TYPE_CHECKING:
        cancel_on_kill: bool
        durable: bool
        log: Any

        @property
        def service(self) -> BoundService[Any, Any]: ...  # noqa: D102

        def submission_records(self, context: Context) -> SubmissionRecords: ...  # noqa: D102

        def now(self) -> float: ...  # noqa: D102

    def on_kill(self) -> None:
        """Cancel the job, best effort. Airflow 3 lets ``execute`` go on afterwards: it then raises."""
        if not self._killed:
            self._killed = True
            self._kill_deadline = time.monotonic() + _KILL_SECONDS
            if self._is_in_flight:
                self.log.warning("%s", self.unknown_outcome("The task was told to stop"))
        self._cancel(_HANDLER_SECONDS if self._is_executing else _KILL_SECONDS)

    @contextmanager
    def stoppable(self, context: Context) -> Iterator[None]:
        """Run what the task does: whatever ends it after ``on_kill``, the job is cancelled before it ends."""
        self._context, self._is_executing = context, True
        # in dag.test() a task that was deferred is resumed in the same object
        self._has_finished = self._cancel_settled = self._has_cancelled = self.is_unanswered = False
        self._attempt = None
        try:
            yield
            self._has_finished = True
        except TaskDeferred:
            self._has_finished = True
            raise
        except TaskKilledError:  # of a checkpoint, which has tried
            raise
        except BaseException:
            if self._killed:
                self._cancel()
            raise
        finally:
            self._is_executing = False

    @contextmanager
    def submitting(self, request: JobRequest | BatchRequest) -> Iterator[None]:
        """Send a submission, and remember if it stays unknown whether the service has accepted it.

        :raises TaskKilledError: the task was told to stop; nothing is sent.
        """
        self.raise_if_killed()
        # what was sent before is known not to have been accepted
        self._sent, self._is_in_flight, self.is_unanswered = (datetime.now(UTC), request), True, False
        try:
            yield
        except AmbiguousSubmissionError:
            self.is_unanswered = True
            raise
        except TencentCIError:  # it was refused, or never left
            raise
        except BaseException:  # the wait for the answer was ended
            self.is_unanswered = True
            raise
        finally:
            self._is_in_flight = False

    def raise_if_killed(self) -> None:
        """End a task that was told to stop, before it does anything that costs.

        :raises TaskKilledError: it was.
        """
        if not self._killed:
            return
        self._cancel()
        if self._has_cancelled:
            self._note_cancel_request_again()
        if self.job_id is not None:
            raise TaskKilledError(
                f"The task was told to stop while job {self.job_id} was under way",
                job_id=self.job_id,
                hint=self._fate,
            )
        if self.is_unanswered:
            raise self.unknown_outcome("The task was told to stop")
        if self.is_retry:
            raise TaskKilledError(
                "The task was told to stop before this try submitted a job", hint=self._earlier_submission
            )
        raise TaskKilledError("The task was told to stop before a job was submitted")

    def raise_if_not_owner(self) -> None:
        """Keep a try that Airflow has given up on from cancelling a job that a later one may wait for.

        :raises TencentCIError: this is such a try, or Airflow cannot be asked.
        """
        if reason := self._reason_not_to_cancel():
            raise TencentCIError(reason)

    def _sleep(self, seconds: float) -> None:
        """Sleep in naps: a signal handler cannot end a longer sleep."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.raise_if_killed()
            time.sleep(min(left, _NAP))
        self.raise_if_killed()

    def _raise_overdue(self, state: str | None, passed: str) -> None:
        # Nothing comes after this that would try again, so that one refused request would be a paid job
        end, pause = time.monotonic() + _KILL_SECONDS, 0.5
        self._cancel()
        while (
            self.cancel_on_kill
            and not self._cancel_settled
            and self._attempt is None  # it has failed: one that is not answered is not begun again
            and time.monotonic() + pause < end
        ):
            self._sleep(pause)
            pause *= 2
            self._cancel(max(end - time.monotonic(), _LEAST_SECONDS))
        raise JobTimeoutError(
            f"Job {self.job_id} is {state or 'unknown'} {passed}",
            job_id=self.job_id,
            state=state,
            hint=self._fate,
        )

    @property
    def _earlier_submission(self) -> str:
        """Say what is recorded of an earlier try, whose job this one has been looking for."""
        record = None
        if self._context is not None:
            with suppress(StateStoreError):
                record = self.submission_records(self._context).load()
        if record is None:
            return "The job of an earlier try, if there is one, is still running"
        if record.job_id is not None:
            return f"Job {record.job_id} of an earlier try is still running, if it has not ended"
        sent_at = datetime.fromtimestamp(record.since, UTC)
        return (
            f"An earlier try may have submitted a job at {sent_at:%Y-%m-%d %H:%M:%S} UTC, which is billed:"
            f" look for the UserData {record.idempotency_key!r} with"
            f" TencentCIHook.{self.service.listing_method}"
        )

    @property
    def is_retry(self) -> bool:
        """Whether an earlier try may have submitted a job that this one continues with."""
        return self.durable and self._context is not None and self._context["ti"].try_number > 1

    def unknown_outcome(self, what_happened: str) -> TaskKilledError:
        """Return what is known of a submission whose response this process will not read, and how to look."""
        assert self._sent is not None  # noqa: S101 - for the type checker
        sent_at, request = self._sent
        data = request.operation.user_data if request.operation else None
        where = f"in the console or with TencentCIHook.{self.service.listing_method}"
        named = f"sent at {sent_at:%Y-%m-%d %H:%M:%S} UTC" + (f", UserData {data!r}" if data else "")
        look = "A retry looks for it and goes on with it; without one, look" if self.durable else "Look"
        return TaskKilledError(
            f"{what_happened} while it is unknown whether the service has accepted its submission: a job may"
            " run, and be billed",
            hint=f"{look} for it {where}: {named}",
        )

    def _cancel(self, seconds: float | None = None) -> None:
        """Have the job cancelled, or go on waiting for that.

        :param seconds: how long to wait; default: what is left until the process is killed.
        """
        if not self.cancel_on_kill or self.job_id is None or self._cancel_settled or self._is_cancelling:
            return
        if seconds is None:
            left = self._kill_deadline - time.monotonic()
            seconds = max(left, _LEAST_SECONDS) if self._killed else _KILL_SECONDS
        self._is_cancelling = True  # another signal may come meanwhile
        try:
            self._try_to_cancel(seconds)
        finally:
            self._is_cancelling = False

    def _try_to_cancel(self, seconds: float) -> None:
        attempt = self._attempt = self._attempt or _in_background(self._cancel_own_job)
        if not wait([attempt], seconds).done:  # the next checkpoint goes on waiting for it
            self._fate = "Its cancellation has been begun and not been answered: it may go on"
            self.log.warning("Job %s could not be cancelled within %.1f s", self.job_id, seconds)
            return
        try:
            reason = attempt.result()
        except Exception as error:  # best effort: whatever goes wrong must not hide why the task ends
            self._attempt = None  # the next checkpoint tries again
            self._note_failure(error)
            return
        self._cancel_settled = True
        if reason is not None:
            self._fate = f"It was not cancelled: {reason}"
            self.log.warning("Job %s is not cancelled: %s", self.job_id, reason)
            return
        self._fate = "Its cancellation was asked for, which the service grants only before the job begins"
        self.log.info(
            "Asked to cancel job %s; the service cancels only jobs that have not begun", self.job_id
        )

    def _note_failure(self, error: Exception) -> None:
        refused = isinstance(error, ServiceError) and not isinstance(error, ServerError | ThrottledError)
        self._cancel_settled = refused
        unanswered = isinstance(error, TransportError) and error.sent
        self._fate = (
            "Its cancellation was asked for and not answered: it may go on"
            if unanswered
            else "It was not cancelled and goes on"
        )
        self.log.warning("Job %s could not be cancelled: %s", self.job_id, error)

    def _cancel_own_job(self) -> str | None:
        """Ask the service to cancel the job; return why not, if it is not this try's to cancel."""
        if reason := self._reason_not_to_cancel():
            return reason
        self._cancel_requested_at = self.now()
        self._note_cancel_request()
        try:
            self.service.cancel_within(str(self.job_id), _KILL_SECONDS)
        except TencentCIError as error:
            if _is_not_cancelled(error):
                self._cancel_requested_at = None
                self._note_cancel_request()
            raise
        self._has_cancelled = True
        return None

    def _note_cancel_request(self) -> None:
        """Record whose wish the cancellation is: what others have cancelled is not submitted again."""
        if self._context is not None:
            records = self.submission_records(self._context)
            records.note_cancel_request(str(self.job_id), self._cancel_requested_at)

    def _is_perhaps_others(self) -> bool:
        if self.may_be_others or self._context is None:
            return self.may_be_others
        return self.submission_records(self._context).may_be_others(str(self.job_id))

    def _note_cancel_request_again(self) -> None:
        """Repeat the record, which the interrupted code may have overwritten when it went on."""
        try:
            self._note_cancel_request()
        except StateStoreError as error:
            self.log.warning("%s", error)

    def _reason_not_to_cancel(self) -> str | None:
        if self._is_perhaps_others():
            return "it was found by its request alone, and may be somebody else's"
        if not self.durable:  # then no other try ever goes on with it
            return _HANDED_OVER if self._has_finished else None
        try:
            state = current_try.state_of_try(self._context)
        except Exception as error:
            raise TencentCIError(
                "Airflow could not be asked whether this try still owns the job:"
                f" {str(error) or type(error).__name__}"
            ) from error
        if self._has_finished and state not in _ENDED_BY_SOMEBODY:
            return _HANDED_OVER
        return _LEFT_TO_OTHERS.get(str(state))


def _is_not_cancelled(error: TencentCIError) -> bool:
    """Tell whether a request to cancel certainly had no effect."""
    if isinstance(error, TransportError):
        return not error.sent
    return isinstance(error, ServiceError) and not isinstance(error, ServerError)


def _in_background(work: Any) -> Future[Any]:
    """Begin ``work`` in a thread, which bounds how long one waits for it, also for a lock that the
    interrupted code holds.
    """
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=run, name="ci-cancel", daemon=True).start()
    return outcome
