"""Ends a task that Airflow kills: SIGTERM, a click in the UI, a lost heartbeat."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_ci.exceptions import StateStoreError, TaskKilledError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.operators.cancellation import JobCancellation
    from airflow_provider_ci.operators.try_state import TryState

# Airflow's supervisor kills the process 5 s after SIGTERM
_SECONDS_UNTIL_SIGKILL = 4.0
# on_kill interrupts code that may hold what the cancellation needs, so it must return soon; the interrupted
# code waits for the rest of the time at its next checkpoint
_SECONDS_IN_ON_KILL = 1.5
# What a cancellation gets at least: a checkpoint may come later, in a process that was not killed after all
_LEAST_SECONDS = 1.0
# A signal handler cannot end a sleep, so a longer one is divided
_LONGEST_SLEEP = 1.0


@dataclass
class KillGuard:
    """Notes that the task was killed, and ends it at the next checkpoint. Airflow 3 does not end the task's
    code after ``on_kill``, so the code has to look: before each step that costs, and while it sleeps.
    """

    try_state: TryState
    cancellation: JobCancellation
    log: Any
    _is_killed: bool = field(default=False, init=False)
    _sigkill_at: float = field(default=0.0, init=False)

    def on_kill(self) -> None:
        """Note that the task was killed, and cancel its job. Called from Airflow's signal handler."""
        if not self._is_killed:
            self._is_killed = True
            self._sigkill_at = time.monotonic() + _SECONDS_UNTIL_SIGKILL
            if self.try_state.awaits_response:
                self.log.warning("%s", self.try_state.error_of_unknown_submission("The task was killed"))
        self.cancellation.cancel(
            _SECONDS_IN_ON_KILL if self.try_state.is_executing else _SECONDS_UNTIL_SIGKILL
        )

    @contextmanager
    def executing(self, context: Context) -> Iterator[None]:
        """Run the operator's code. Whatever ends it after ``on_kill``, the job is cancelled first."""
        self.try_state.begin(context)
        self.cancellation.reset()
        try:
            yield
            self.try_state.has_finished = True
        except TaskDeferred:
            self.try_state.has_finished = True
            raise
        except TaskKilledError:  # a checkpoint raised it, and has cancelled the job
            raise
        except BaseException:
            if self._is_killed:
                self._cancel()
            raise
        finally:
            self.try_state.is_executing = False

    def raise_if_killed(self) -> None:
        """End a task that was killed.

        :raises TaskKilledError: it was. The hint says what became of its job.
        """
        if not self._is_killed:
            return
        self._cancel()
        self.cancellation.record_request_again()
        raise self._error()

    def _error(self) -> TaskKilledError:
        """Return the error that ends the task, with what became of its job."""
        if self.try_state.job_id is not None:
            return TaskKilledError(
                f"The task was killed while job {self.try_state.job_id} was in progress",
                job_id=self.try_state.job_id,
                hint=self.cancellation.outcome,
            )
        if self.try_state.has_lost_response:
            return self.try_state.error_of_unknown_submission("The task was killed")
        if self.try_state.is_retry:
            return TaskKilledError(
                "The task was killed before this try submitted a job", hint=self._earlier_submission()
            )
        return TaskKilledError(
            "The task was killed before a job was submitted",
            hint="Nothing was paid. Clear the task to run it",
        )

    def sleep(self, seconds: float) -> None:
        """Sleep.

        :raises TaskKilledError: the task was killed meanwhile.
        """
        end = time.monotonic() + seconds
        while (remaining := end - time.monotonic()) > 0:
            self.raise_if_killed()
            time.sleep(min(remaining, _LONGEST_SLEEP))
        self.raise_if_killed()

    def cancel_after_timeout(self) -> str:
        """Cancel the job because the wait for it is over, and return what became of it.

        Nothing comes after this that would try again, so a request that fails is repeated for some seconds.
        """
        end, pause = time.monotonic() + self.cancellation.seconds_after_timeout, 0.5
        self._cancel()
        while self.cancellation.may_be_repeated and time.monotonic() + pause < end:
            self.sleep(pause)
            pause *= 2
            self.cancellation.cancel(max(end - time.monotonic(), _LEAST_SECONDS))
        return self.cancellation.outcome

    def _cancel(self) -> None:
        seconds = self.cancellation.seconds_after_timeout
        if self._is_killed:
            seconds = max(self._sigkill_at - time.monotonic(), _LEAST_SECONDS)
        self.cancellation.cancel(seconds)

    def _earlier_submission(self) -> str:
        """Return a sentence about the job of an earlier try, for which this one was looking."""
        record = None
        with suppress(StateStoreError):
            record = self.try_state.records.load()
        if record is None:
            return "The job of an earlier try, if there is one, may still be running"
        if record.job_id is not None:
            return f"Job {record.job_id} of an earlier try may still be running"
        sent_at = datetime.fromtimestamp(record.since, UTC)
        return (
            f"An earlier try may have submitted a job at {sent_at:%Y-%m-%d %H:%M:%S} UTC, which is billed:"
            f" look for the UserData {record.idempotency_key!r} with"
            f" TencentCIHook.{self.cancellation.job_api().list_method}"
        )
