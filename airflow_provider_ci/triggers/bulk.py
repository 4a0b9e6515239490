"""Waits in the triggerer until all jobs of a bulk task have ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import RequestValidationError, TencentCIError
from airflow_provider_ci.triggers.job import ENDED, REFUSALS_TOLERATED, TencentCIJobTrigger, load

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.aio import AsyncClient
    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.submission.bulk_waiting import BulkState
    from airflow_provider_ci.triggers.events import Event

# Failed jobs that are read from the list for the progress, at most
_FAILURES_READ_MAX = 1000


class TencentCIBulkTrigger(TencentCIJobTrigger):
    """Waits until the job list shows no pending job of a bulk task, or until the jobs in ``job_ids`` have
    ended, or the deadline has passed; then fires one event. The worker then asks how they have ended.

    The further arguments are those of :class:`~airflow_provider_ci.triggers.job.TencentCIJobTrigger`.

    :param job_ids: the jobs, if there are few, or the list may not show them; otherwise empty.
    :param tag: the type of the jobs.
    :param task_digest: of the task instance, which the keys in the jobs' ``UserData`` name.
    :param total: how many items the task has, for the progress in the log.
    :param ended: how many of them were known to have ended when the wait began.
    :param state: what the worker needs to continue; the event has it.
    """

    def __init__(
        self,
        job_ids: Sequence[str] = (),
        *,
        tag: str,
        task_digest: str,
        total: int,
        ended: int = 0,
        state: dict[str, Any],
        **arguments: Any,
    ) -> None:
        super().__init__(job_ids, **arguments)
        for name, value in (("tag", tag), ("task_digest", task_digest)):
            if not (isinstance(value, str) and value):
                raise RequestValidationError([f"{name} is {value!r:.200}, allowed: a string"])
        if not isinstance(state, dict) or "since" not in state:
            raise RequestValidationError([f"state is {state!r:.200}, allowed: that of a bulk task"])
        self.tag = tag
        self.task_digest = task_digest
        self.total = total
        self.ended = ended
        self.state = state

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and exactly the constructor's arguments, JSON-native."""
        path, arguments = super().serialize()
        own = {name: getattr(self, name) for name in ("tag", "task_digest", "total", "ended", "state")}
        return path, {**arguments, **own}

    @staticmethod
    def _read_ids(job_ids: Any) -> list[str]:
        return TencentCIJobTrigger._read_ids(job_ids) if job_ids else []

    @property
    def _shown_ids(self) -> str:
        return "of this bulk task"

    def _event(self, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "state": self.state,
            "deadline": self.deadline,
            "started_at": self.started_at,
        }

    async def _reason_not_to_cancel(self) -> str | None:
        """Return why the jobs still belong to the task; ``None`` if it has ended. A task that was cleared
        continues with them.
        """
        from airflow_provider_ci import current_try

        ti: Any = self.task_instance
        try:
            state = await asyncio.to_thread(current_try.state_of_task, ti)
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise TencentCIError(f"Airflow could not be asked for the task's state: {reason}") from error
        if state in current_try.ENDED:
            return None
        return f"the task is {state or 'cleared'} and still needs them"

    async def _pending_ids(self, client: AsyncClient, endpoint: Endpoint) -> list[str]:
        """Return the jobs that have not ended; from the list, those that have not begun, the newest first."""
        from airflow_provider_ci.protocol.jobs import PAUSE, SUBMITTED

        if self.job_ids:
            return await super()._pending_ids(client, endpoint)
        return [str(job.job_id) async for job in self._own_jobs(client, endpoint, (SUBMITTED, PAUSE))]

    async def _wait(self) -> dict[str, Any]:
        await load("airflow_provider_ci.submission.progress")
        await (self._wait_for_ids() if self.job_ids else self._wait_for_list())
        return self._event(ENDED)

    async def _wait_for_ids(self) -> None:
        """Wait until the jobs have ended, also without success: others may still be running then."""
        await load("airflow_provider_ci.triggers.poller")
        from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD, JobTracker
        from airflow_provider_ci.submission.waiting import is_outage
        from airflow_provider_ci.triggers.poller import Group, subscribe

        tracker: JobTracker[Job] = JobTracker(self.job_ids, self.log)
        group = Group(self.tencent_ci_conn_id, self.bucket, self.region)
        refusals = 0
        is_failing = False
        async with subscribe(group, self.job_ids, self.poll_interval, self._waited) as updates:
            while tracker.pending:
                job_ids, response, error = await updates.get()
                if response is not None:
                    is_failing, refusals = False, 0
                    found = {job.job_id for job in response.jobs_detail}
                    # the worker decides about jobs that are not found for so long
                    if self._waited > NOT_FOUND_GRACE_PERIOD and not found.issuperset(job_ids):
                        return
                    tracker.update(response, time.monotonic(), asked=job_ids)
                if error is None:
                    continue
                if not is_failing:
                    self.log.warning("Poll failed, will keep trying: %s", error)
                is_failing = True
                if not is_outage(error):
                    refusals += 1
                    if refusals > REFUSALS_TOLERATED:
                        raise error

    async def _wait_for_list(self) -> None:
        """Wait until the list shows no pending job of the task."""
        await load("airflow_provider_ci.triggers.settings")
        await self._look_until_over(_ListLook(self).is_over)

    async def _own_jobs(
        self, client: AsyncClient, endpoint: Endpoint, states: Sequence[str]
    ) -> AsyncIterator[Job]:
        from airflow_provider_ci.submission.bulk_waiting import is_of_task

        async for job in self._listed_jobs(client, endpoint, states):
            if is_of_task(job, self.task_digest):
                yield job

    async def _listed_jobs(
        self, client: AsyncClient, endpoint: Endpoint, states: Sequence[str]
    ) -> AsyncIterator[Job]:
        """Yield the jobs since the task's first submission, page by page."""
        from datetime import UTC, datetime

        from airflow_provider_ci.protocol.jobs import ListJobs

        request: Any = ListJobs(
            tag=self.tag, states=states, start_creation_time=datetime.fromtimestamp(self.state["since"], UTC)
        )
        while request is not None:
            page = await client.call(request, endpoint)
            for job in page.jobs_detail:
                yield job
            request = request.next_page(page)


class _ListLook:
    """What the job list has shown of the jobs that a trigger waits for."""

    def __init__(self, trigger: TencentCIBulkTrigger) -> None:
        from airflow_provider_ci.submission.bulk_waiting import CountSchedule
        from airflow_provider_ci.submission.progress import WaitProgress

        self._trigger = trigger
        self._counts = CountSchedule()
        self._progress = WaitProgress(trigger.total, trigger.log, time.time, trigger.started_at)

    async def is_over(self, client: AsyncClient, endpoint: Endpoint, now: float) -> bool:
        """Read the list. Return whether it shows no pending job of the task, and cannot be late any more."""
        from airflow_provider_ci.protocol.jobs import CANCEL, FAILED, PENDING_STATES
        from airflow_provider_ci.submission.bulk_waiting import is_of_task

        trigger = self._trigger
        is_count_due = self._counts.is_due(now)
        read = own = 0
        async for job in trigger._listed_jobs(client, endpoint, PENDING_STATES):
            read += 1
            own += is_of_task(job, trigger.task_digest)
            if own and not is_count_due:
                return False
        if is_count_due and own:
            self._counts.note_count(read, now)
            await self._report(own, client, endpoint, (FAILED, CANCEL))
        return not own and not self._may_be_late(client)

    def _may_be_late(self, client: AsyncClient) -> bool:
        from airflow_provider_ci.submission.durable_submission import LIST_CONSISTENCY_DELAY

        since: float = self._trigger.state["last_submission"]
        return bool(client.settings.clock.now() < since + LIST_CONSISTENCY_DELAY)

    async def _report(
        self, running: int, client: AsyncClient, endpoint: Endpoint, states: Sequence[str]
    ) -> None:
        from airflow_provider_ci.submission.bulk_waiting import is_of_task
        from airflow_provider_ci.submission.progress import Counts

        trigger = self._trigger
        read = failed = 0
        async for job in trigger._listed_jobs(client, endpoint, states):
            read += 1
            failed += is_of_task(job, trigger.task_digest)
            if read == _FAILURES_READ_MAX:
                break
        self._progress.update(Counts(running, trigger.total - running, failed))


def parse_bulk_event(event: Any) -> tuple[Event, BulkState]:
    """Return a checked event of :class:`TencentCIBulkTrigger`, and the state that it has.

    :raises TencentCIError: it is no such event.
    """
    from airflow_provider_ci.triggers.events import parse_event, wrong_event_error

    parsed = parse_event(event, needs_ids=False)
    state = event.get("state")
    if not isinstance(state, dict) or "manifest" not in state:
        raise wrong_event_error("without the state of its task")
    return parsed, state  # type: ignore[return-value]
