"""Cancels the job of a task that ends before its job does, best effort."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_ci import current_try
from airflow_provider_ci.exceptions import (
    JobCancelledError,
    JobError,
    ServerError,
    ServiceError,
    StateStoreError,
    TencentCIError,
    ThrottledError,
    TransportError,
)

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.bucket_jobs import JobApi
    from airflow_provider_ci.operators.try_state import TryState

#: Seconds that a request to cancel may take.
REQUEST_SECONDS = 4.0
# How long it may take until a job that the service cancels is shown as cancelled, in seconds
_CANCEL_SHOWS_WITHIN = 10.0

# Airflow's states in which the task continues with its job: in the triggerer, or in another try
_JOB_IS_STILL_WANTED = {
    current_try.OVERTAKEN: "Airflow has given up on this try, and the job is left to the next one",
    "deferred": "the task waits for it in the triggerer",
}
# States after which nobody waits for the job of a try that has finished
_ENDED_BY_USER = frozenset(
    {"failed", "skipped", "upstream_failed", current_try.REMOVED, current_try.RESTARTING}
)
_TRY_HAS_FINISHED = "the task has finished its work, and the job is left to those that wait for it"


class JobCancelledByOthersError(JobCancelledError, AirflowFailException):
    """Somebody else cancelled the job of a task. There is no retry, because it would submit the job again."""

    @classmethod
    def from_error(cls, error: JobError) -> JobCancelledByOthersError:
        """Return an error with the same message, after which Airflow does not retry the task."""
        hint = "Somebody else has cancelled it, so it is not submitted again. Clear the task for a new job"
        return cls(error.message, **error.details | {"hint": hint})


@dataclass(kw_only=True)
class JobCancellation:
    """Asks the service to cancel the job of a try. The service cancels only jobs that have not begun.

    Only the try that owns a job cancels it. Airflow also ends processes that it has given up on, for instance
    because they could not reach it, although a retry is already waiting for the same job. So this asks
    Airflow first, and cancels nothing if Airflow cannot be asked.

    The calls run in a thread, as the code that a signal interrupted may hold what they need: a module that
    is being imported, or the channel to Airflow. :meth:`cancel` waits a limited time for the thread; the next
    :meth:`cancel` waits for the same thread, unless it has finished.

    :param is_enabled: the operator's ``cancel_on_kill``.
    :param hook: returns the hook. This and ``job_api`` are called in the thread, as they import modules.
    :param job_api: returns the hook's calls.
    """

    not_cancelled: ClassVar[str] = "It was not cancelled and is still running"
    was_not_cancelled: ClassVar[str] = "It was not cancelled"
    not_answered: ClassVar[str] = "Its cancellation was requested and not answered: it may still be running"
    requested: ClassVar[str] = (
        "Its cancellation was requested; the service cancels only jobs that have not begun"
    )
    #: How long the requests may take after a timeout, seconds.
    seconds_after_timeout: ClassVar[float] = REQUEST_SECONDS

    try_state: TryState
    is_enabled: bool
    hook: Callable[[], TencentCIHook]
    job_api: Callable[[], JobApi[Any]]
    log: Any
    #: A sentence about what became of the job, for the error that ends the task.
    outcome: str = field(default=not_cancelled, init=False)
    # The service or Airflow has decided about the job, so another attempt would change nothing
    _is_settled: bool = field(default=False, init=False)
    # The service has accepted the request
    _is_accepted: bool = field(default=False, init=False)
    # A call of cancel() is waiting for the attempt
    _is_waiting: bool = field(default=False, init=False)
    _requested_at: float | None = field(default=None, init=False)
    _attempt: Future[str | None] | None = field(default=None, init=False)

    def reset(self) -> None:
        """Forget the attempts, before Airflow executes the operator again."""
        self._is_settled = self._is_accepted = False
        self._attempt = None

    @property
    def may_be_repeated(self) -> bool:
        """Whether the last attempt failed, and another one may succeed. An attempt whose response has not
        come is not repeated, as it may still succeed itself.
        """
        return self.is_enabled and not self._is_settled and self._attempt is None

    def cancel(self, seconds: float) -> None:
        """Begin an attempt to cancel the job, or continue to wait for the one that has begun.

        :param seconds: how long to wait. The attempt continues afterwards.
        """
        if not self.is_enabled or not self._has_jobs or self._is_settled or self._is_waiting:
            return
        self._is_waiting = True  # a second signal may call this while the first still waits
        try:
            self._wait_for_attempt(seconds)
        finally:
            self._is_waiting = False

    def cancel_if_owner(self, job_id: str) -> None:
        """Cancel a job that an earlier try submitted, which a later try may be waiting for.

        :raises TencentCIError: this try does not own the job, or Airflow cannot be asked.
        """
        if reason := self._ask_reason_to_keep_job():
            raise TencentCIError(reason)
        self.job_api().cancel(job_id)

    def record_request_again(self) -> None:
        """Repeat the record of an accepted request: the code that was interrupted may have overwritten it."""
        if not self._is_accepted:
            return
        try:
            self._record_request()
        except StateStoreError as error:
            self.log.warning("%s", error)

    def ask_if_cancelled_by_others(self, error: JobError, job: Any) -> bool:
        """Find out whether somebody else cancelled the job. Then a retry must not submit it again: that would
        undo what a person decided.

        :param error: the error with which the job ended.
        """
        if type(error) is not JobCancelledError:
            return False
        try:
            is_own = self.try_state.records.is_own_cancellation(job)
        except StateStoreError as store_error:
            self.log.warning("%s", store_error)
            return False
        return not is_own and not self._may_have_been_cancelled_by_earlier_try(job)

    def _may_have_been_cancelled_by_earlier_try(self, job: Any) -> bool:
        """Tell whether the job ended before this try began, or within seconds of that: an earlier try may
        then have asked for it. Only before Airflow 3.3, where no record says who asked.
        """
        context = self.try_state.context
        if context is None or not self.try_state.is_retry or self.try_state.records.has_store:
            return False
        began = context["ti"].start_date  # dag.test() of Airflow 2.11 has none
        if job.end_time is None or began is None:
            return False
        latest: float = began.timestamp() + min(self.hook().settings.clock.offset, 0) + _CANCEL_SHOWS_WITHIN
        return bool(job.end_time.timestamp() <= latest)

    @property
    def _has_jobs(self) -> bool:
        return self.try_state.job_id is not None

    @property
    def _subject(self) -> str:
        """What is cancelled, for the log: the beginning of a sentence."""
        return f"Job {self.try_state.job_id}"

    def _wait_for_attempt(self, seconds: float) -> None:
        attempt = self._attempt = self._attempt or _start_in_thread(self._cancel_own_job)
        if not wait([attempt], seconds).done:
            self.outcome = self.not_answered
            self.log.warning("%s could not be cancelled within %.1f s", self._subject, seconds)
            return
        try:
            reason_to_keep = attempt.result()
        except Exception as error:  # best effort: no failure may hide why the task ends
            self._attempt = None
            self._note_failure(error)
            return
        self._is_settled = True
        if reason_to_keep is not None:
            self.outcome = f"{self.was_not_cancelled}: {reason_to_keep}"
            self.log.warning("%s: %s", self._subject, self.outcome)
            return
        self.outcome = self.requested
        self.log.info("%s: %s", self._subject, self.outcome)

    def _note_failure(self, error: Exception) -> None:
        self._is_settled = isinstance(error, ServiceError) and not isinstance(
            error, ServerError | ThrottledError
        )
        self.outcome = self.not_cancelled
        if isinstance(error, TransportError) and error.sent:
            self.outcome = self.not_answered
        self.log.warning("%s could not be cancelled: %s", self._subject, error)

    def _cancel_own_job(self) -> str | None:
        """Ask the service to cancel the job. Return the reason if this try must not."""
        if reason := self._ask_reason_to_keep_job():
            return reason
        # before the request: if this process dies, a retry must know that its task asked for it
        self._requested_at = self.hook().now()
        self._record_request()
        try:
            self._send_requests()
        except TencentCIError as error:
            if _had_no_effect(error):
                self._requested_at = None
                self._record_request()
            raise
        self._is_accepted = True
        return None

    def _send_requests(self) -> None:
        self.job_api().cancel_within(str(self.try_state.job_id), REQUEST_SECONDS)

    def _record_request(self) -> None:
        self.try_state.records.note_cancel_request(str(self.try_state.job_id), self._requested_at)

    def _ask_reason_to_keep_job(self) -> str | None:
        """Ask Airflow whether this try owns its job; return why it must not be cancelled.

        :raises TencentCIError: Airflow cannot be asked.
        """
        if self.try_state.may_be_others_job:
            return "it was found by its request alone, and may be somebody else's"
        if not self.try_state.durable:  # no other try continues with it
            return _TRY_HAS_FINISHED if self.try_state.has_finished else None
        try:
            state = current_try.state_of_try(self.try_state.context)
        except Exception as error:
            raise TencentCIError(
                "Airflow could not be asked whether this try still owns the job:"
                f" {str(error) or type(error).__name__}"
            ) from error
        if self.try_state.has_finished and state not in _ENDED_BY_USER:
            return _TRY_HAS_FINISHED
        return _JOB_IS_STILL_WANTED.get(str(state))


def _had_no_effect(error: TencentCIError) -> bool:
    """Tell whether a request to cancel certainly had no effect."""
    if isinstance(error, TransportError):
        return not error.sent
    return isinstance(error, ServiceError) and not isinstance(error, ServerError)


def _start_in_thread(work: Callable[[], str | None]) -> Future[str | None]:
    outcome: Future[str | None] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=run, name="ci-cancel", daemon=True).start()
    return outcome
