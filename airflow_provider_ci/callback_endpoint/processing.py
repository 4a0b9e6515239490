"""Asks the service about the jobs of which callbacks have come, and resumes the tasks that wait for them.

A callback is only a reason to look. A task is resumed if the service says that its jobs have ended, and if it
has been deferred for some seconds: Airflow may fail a task that resumes at once. Everything else is looked at
again some times, and then left to the triggerer, which polls too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_ci import metrics
from airflow_provider_ci.callback_endpoint.asset_events import add_event
from airflow_provider_ci.callback_endpoint.rare_warnings import RareWarnings
from airflow_provider_ci.callback_endpoint.rate_limit import RateLimit
from airflow_provider_ci.callback_endpoint.waiting_tasks import WaitingTask, WaitingTasks, resume
from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.hooks.aio import AsyncClient
from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST, DescribeJobs
from airflow_provider_ci.submission.waiting import retry_after
from airflow_provider_ci.triggers.poller import DescribeStates, describe_in_parts
from airflow_provider_ci.triggers.settings import provider_errors_only, recent_settings

if TYPE_CHECKING:
    from airflow_provider_ci.callback_endpoint.received_jobs import ReceivedJob, ReceivedJobs
    from airflow_provider_ci.hooks.connection import ConnectionSettings
    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.wire import Endpoint

log = logging.getLogger(__name__)

#: Seconds between two looks, in which callbacks are gathered: ten jobs need one request to the service.
LOOK_PAUSE = 0.5
#: Jobs in one look at most.
JOBS_PER_LOOK = 100
#: Requests to the service in a second, at most, of one process.
REQUESTS_PER_SECOND = 10.0
#: Tasks that are resumed in a second, at most: each costs the API server some milliseconds.
RESUMPTIONS_PER_SECOND = 20.0
#: Seconds for which a task must have been deferred before it is resumed.
DEFERRED_SECONDS = 5.0


# Which jobs to describe: their ids, in order, by bucket
_JobIds: TypeAlias = "dict[Endpoint, dict[str, None]]"
# Jobs as the service describes them, by bucket and id
_Jobs: TypeAlias = "dict[tuple[Endpoint, str], Job]"


class Processing:
    """Looks at received jobs, in the background, as long as there are any."""

    def __init__(self, jobs: ReceivedJobs) -> None:
        self._jobs = jobs
        self._tasks = WaitingTasks()
        self._clients: dict[str, AsyncClient] = {}
        self._requests = RateLimit(REQUESTS_PER_SECOND)
        self._resumptions = RateLimit(RESUMPTIONS_PER_SECOND)
        self._running: asyncio.Task[None] | None = None
        self._failures = RareWarnings()
        self._forgotten = RareWarnings()

    async def settings(self, conn_id: str) -> ConnectionSettings:
        """Return the settings of a connection, and keep their secrets out of the log.

        :raises Exception: the connection cannot be looked up, or is not as it should be.
        """
        from airflow.providers.common.compat.sdk import mask_secret

        settings = await recent_settings(conn_id)
        for secret in settings.secrets:
            mask_secret(secret)
        return settings

    def add(self, conn_id: str, job_ids: Iterable[str]) -> bool:
        """Add jobs of which a callback has come.

        :return: ``False`` if there was no room for one of them.
        """
        has_room = self._jobs.add(conn_id, job_ids, time.monotonic())
        if self._running is None or self._running.done():
            # in an empty context: what it logs does not belong to the request that came first
            self._running = asyncio.create_task(self._run(), context=Context())
        return has_room

    async def _run(self) -> None:
        while len(self._jobs):
            try:
                await self._look_at_all()
            finally:  # callbacks may come while it closes the sessions
                await self._close_sessions()

    async def _look_at_all(self) -> None:
        while len(self._jobs):
            await asyncio.sleep(LOOK_PAUSE)
            if batch := self._jobs.take_due(time.monotonic(), JOBS_PER_LOOK):
                await self._look(batch)

    async def _close_sessions(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    async def _look(self, batch: list[ReceivedJob]) -> None:
        try:
            with provider_errors_only():
                settings = await self.settings(batch[0].conn_id)
                await self._look_with(settings, batch)
        except TencentCIError as error:
            if count := self._failures.count(type(error).__name__):
                log.warning("%d looks at jobs of callbacks failed, will try again: %s", count, error)
            not_before = time.monotonic() + retry_after(error)
            for job in batch:
                self._return_for_later(job, not_before)

    async def _look_with(self, settings: ConnectionSettings, batch: list[ReceivedJob]) -> None:
        job_ids = [job.job_id for job in batch]
        tasks = await asyncio.to_thread(self._tasks.find, settings.conn_id, job_ids)
        asset = settings.callbacks.asset if settings.callbacks else None
        if asset is None:
            for job in batch:
                job.needs_event = False
        jobs = await self._describe(settings, _jobs_to_describe(settings, batch, tasks))
        for job in batch:
            if asset is not None and job.needs_event:
                await self._add_event(asset, job, settings.endpoint(), jobs)
            waiting = tasks.get(job.job_id, ())
            over = [task for task in waiting if _may_be_resumed(task) and _is_over(task, settings, jobs)]
            for task in over:
                await self._resume(task)
            if not over:
                self._return_for_later(job, time.monotonic() + _remaining_seconds(waiting))

    async def _describe(self, settings: ConnectionSettings, wanted: _JobIds) -> _Jobs:
        """Return the jobs that the service finds, by bucket and id."""
        client = self._clients.get(settings.conn_id)
        if client is None:
            client = self._clients[settings.conn_id] = AsyncClient(settings)
        client.settings = settings
        has_asset = settings.callbacks is not None and settings.callbacks.asset is not None
        jobs: _Jobs = {}
        for endpoint, ids in wanted.items():
            for some in _chunks(tuple(ids), IDS_PER_REQUEST):
                await self._requests.wait()
                request = DescribeJobs(some) if has_asset else DescribeStates(some)
                response = await describe_in_parts(client, request, endpoint)
                jobs |= {(endpoint, str(job.job_id)): job for job in response.jobs_detail}
        return jobs

    async def _add_event(self, asset: str, received: ReceivedJob, endpoint: Endpoint, jobs: _Jobs) -> None:
        job = jobs.get((endpoint, received.job_id))
        if job is not None and not job.job_state.is_terminal:
            return
        is_added = job is not None and await asyncio.to_thread(add_event, asset, job, endpoint)
        received.needs_event = False  # not earlier: the database may fail
        if is_added:
            metrics.count("callback_events")
            log.info("Job %s, of which a callback came, is an event of asset %r", received.job_id, asset)

    async def _resume(self, task: WaitingTask) -> None:
        await self._resumptions.wait()
        if await asyncio.to_thread(resume, task):
            metrics.count("tasks_resumed_by_callback")
            job_id = task.trigger.job_ids[0]
            log.info("Resumed the task that waits for job %s, of which a callback came", job_id)

    def _return_for_later(self, job: ReceivedJob, not_before: float) -> None:
        is_kept = self._jobs.return_for_later(job, time.monotonic(), not_before)
        if not is_kept and (count := self._forgotten.count("callback")):
            log.warning("Forgot %d callbacks: no task waits for their jobs, or these have not ended", count)


def _jobs_to_describe(
    settings: ConnectionSettings, batch: Iterable[ReceivedJob], tasks: Mapping[str, list[WaitingTask]]
) -> _JobIds:
    """Return which jobs to describe in which bucket: those of tasks that may be resumed, and those that may
    need an event.
    """
    wanted: _JobIds = {}
    for job in batch:
        for task in tasks.get(job.job_id, ()):
            if _may_be_resumed(task):
                endpoint = settings.endpoint(task.trigger.bucket, task.trigger.region)
                wanted.setdefault(endpoint, {}).update(dict.fromkeys(task.trigger.job_ids))
        if job.needs_event:
            wanted.setdefault(settings.endpoint(), {})[job.job_id] = None
    return wanted


def _may_be_resumed(task: WaitingTask) -> bool:
    """Tell whether a task has been deferred long enough. One with many jobs is left to the triggerer."""
    is_small = len(task.trigger.job_ids) <= IDS_PER_REQUEST
    return is_small and task.deferred_for() >= DEFERRED_SECONDS


def _remaining_seconds(tasks: Iterable[WaitingTask]) -> float:
    """Return the seconds until all tasks have been deferred long enough."""
    return max((DEFERRED_SECONDS - task.deferred_for() for task in tasks), default=0.0)


def _is_over(task: WaitingTask, settings: ConnectionSettings, jobs: _Jobs) -> bool:
    """Tell whether a task's jobs have ended, or one of them without success, as its trigger would."""
    endpoint = settings.endpoint(task.trigger.bucket, task.trigger.region)
    states = [
        job.job_state if (job := jobs.get((endpoint, job_id))) else None for job_id in task.trigger.job_ids
    ]
    ended = [state for state in states if state is not None and state.is_terminal]
    return len(ended) == len(states) or not all(state.is_successful for state in ended)


def _chunks(values: tuple[str, ...], size: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
