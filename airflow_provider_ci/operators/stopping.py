"""How a task that waits for a job ends before the job does: killed by Airflow, or over its time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import JobTimeoutError, TaskKilledError

if TYPE_CHECKING:
    from airflow_provider_ci.operators.services import BoundService

# The supervisor kills the process 5 s after SIGTERM
_KILL_SECONDS = 4.0
# How soon a waiting task notices that it was told to stop
_NAP = 1.0


class StoppingMixin:
    """A task that notices that it was told to stop, and then has its job cancelled, best effort. The service
    cancels only jobs that have not begun.
    """

    job_id: str | None = None
    _killed = False
    _cancel_asked = False
    _cancel_accepted = False

    if TYPE_CHECKING:
        cancel_on_kill: bool
        log: Any

        @property
        def service(self) -> BoundService[Any, Any]: ...  # noqa: D102

    def on_kill(self) -> None:
        """Cancel the job, best effort. Airflow lets ``execute`` go on afterwards: it then raises."""
        self._killed = True
        self._cancel()

    def raise_if_killed(self) -> None:
        """End a task that was told to stop, before it does anything that costs.

        :raises TaskKilledError: it was.
        """
        if not self._killed:
            return
        self._cancel()
        if self.job_id is None:
            raise TaskKilledError("The task was told to stop before a job was submitted")
        raise TaskKilledError(
            f"The task was told to stop while job {self.job_id} was under way",
            job_id=self.job_id,
            hint=self._fate,
        )

    def _sleep(self, seconds: float) -> None:
        """Sleep in naps: a signal handler cannot end a longer sleep."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.raise_if_killed()
            time.sleep(min(left, _NAP))
        self.raise_if_killed()

    def _raise_overdue(self, state: str | None, passed: str) -> None:
        self._cancel()
        raise JobTimeoutError(
            f"Job {self.job_id} is {state or 'unknown'} {passed}",
            job_id=self.job_id,
            state=state,
            hint=self._fate,
        )

    @property
    def _fate(self) -> str:
        if self._cancel_accepted:
            return "Its cancellation was asked for, which the service grants only before the job begins"
        return "It was not cancelled and goes on"

    def _cancel(self) -> None:
        if not self.cancel_on_kill or self.job_id is None or self._cancel_asked:
            return
        self._cancel_asked = True
        try:
            self.service.cancel_within(self.job_id, _KILL_SECONDS)
        except Exception as error:  # best effort: whatever goes wrong must not hide why the task ends
            self.log.warning("Job %s could not be cancelled: %s", self.job_id, error)
        else:
            self._cancel_accepted = True
            self.log.info(
                "Asked to cancel job %s; the service cancels only jobs that have not begun", self.job_id
            )
