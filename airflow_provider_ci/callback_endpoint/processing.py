"""Asks the service about the jobs of which callbacks have come, and resumes the tasks that wait for them.

A callback is only a reason to look. A task is resumed if the service says that its jobs have ended, and if it
has been deferred for some seconds: Airflow may fail a task that resumes at once. Everything else is looked at
again some times, and then left to the triggerer, which polls too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from airflow_provider_ci import metrics
from airflow_provider_ci.callback_endpoint.asset_events import add_events
from airflow_provider_ci.callback_endpoint.rare_warnings import RareWarnings
from airflow_provider_ci.callback_endpoint.rate_limit import REST, RateLimit
from airflow_provider_ci.callback_endpoint.waiting_tasks import WaitingTask, WaitingTasks, resume
from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.hooks.aio import AsyncClient
from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST, DescribeJobs
from airflow_provider_ci.submission.waiting import may_be_due_to_one_id, retry_after
from airflow_provider_ci.triggers.poller import DescribeStates, describe_in_parts
from airflow_provider_ci.triggers.settings import provider_errors_only, recent_settings

if TYPE_CHECKING:
    from airflow_provider_ci.callback_endpoint.received_jobs import ReceivedJob, ReceivedJobs
    from airflow_provider_ci.hooks.connection import ConnectionSettings
    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.wire import Endpoint

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between two looks, in which callbacks are gathered.
LOOK_PAUSE = 0.5
#: The same while there are more jobs than a look is about: 50 jobs in a second.
LOOK_PAUSE_WHEN_BUSY = 0.2
#: Jobs in one look at most: one request to the service, and one transaction that resumes their tasks.
JOBS_PER_LOOK = IDS_PER_REQUEST
#: Requests to the service in a second, at most, of one process.
REQUESTS_PER_SECOND = 10.0
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
        self._masked: dict[str, ConnectionSettings] = {}
        self._requests = RateLimit(REQUESTS_PER_SECOND)
        self._worked = 0.0  # seconds of the processor that the present look has used in threads
        self._running: asyncio.Task[None] | None = None
        self._failures = RareWarnings()
        self._forgotten = RareWarnings()

    async def settings(self, conn_id: str) -> ConnectionSettings:
        """Return the settings of a connection, and keep their secrets out of the log.

        :raises Exception: the connection cannot be looked up, or is not as it should be.
        """
        from airflow.providers.common.compat.sdk import mask_secret

        settings = await recent_settings(conn_id)
        if self._masked.get(conn_id) is not settings:
            for secret in settings.secrets:
                mask_secret(secret)
            self._masked[conn_id] = settings
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
        pause = LOOK_PAUSE
        while len(self._jobs):
            await asyncio.sleep(pause)
            self._worked = 0.0
            if batch := self._jobs.take_due(time.monotonic(), JOBS_PER_LOOK):
                await self._look(batch)
            pause = LOOK_PAUSE if len(batch) < JOBS_PER_LOOK else LOOK_PAUSE_WHEN_BUSY
            pause = max(pause, REST * self._worked)

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
            self._log_failure(error)
            not_before = time.monotonic() + retry_after(error)
            for job in batch:
                self._return_for_later(job, not_before)

    async def _look_with(self, settings: ConnectionSettings, batch: list[ReceivedJob]) -> None:
        job_ids = [job.job_id for job in batch]
        find = partial(self._tasks.find, is_busy=len(batch) == JOBS_PER_LOOK)
        tasks = await self._in_thread(find, settings.conn_id, job_ids)
        asset = settings.callbacks.asset if settings.callbacks else None
        if asset is None:
            for job in batch:
                job.needs_event = False
        jobs = await self._describe(settings, _jobs_to_describe(settings, batch, tasks))
        if asset is not None:
            await self._add_events(asset, batch, settings.endpoint(), jobs)
        found = [task for each in tasks.values() for task in each]
        over = [task for task in found if _may_be_resumed(task) and _is_over(task, settings, jobs)]
        resumed = await self._resume(over)
        for job in batch:
            waiting = tasks.get(job.job_id, [])
            if not waiting or any(task.trigger_id not in resumed for task in waiting):
                self._return_for_later(job, time.monotonic() + _remaining_seconds(waiting))

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        def run() -> T:
            began = time.thread_time()
            try:
                return work(*arguments)
            finally:
                self._worked += time.thread_time() - began

        return await asyncio.to_thread(run)

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
                request = DescribeJobs(some) if has_asset else DescribeStates(some)
                described = await self._describe_some(client, request, endpoint)
                jobs |= {(endpoint, str(job.job_id)): job for job in described}
        return jobs

    async def _describe_some(
        self, client: AsyncClient, request: DescribeJobs, endpoint: Endpoint
    ) -> tuple[Job, ...]:
        """Describe jobs, fewer at a time if the service refuses the request: one id may be the reason."""
        await self._requests.wait()
        try:
            return (await describe_in_parts(client, request, endpoint)).jobs_detail
        except TencentCIError as error:
            if not may_be_due_to_one_id(error):
                raise
            if len(request.job_ids) == 1:
                self._log_failure(error)
                return ()
        half = (len(request.job_ids) + 1) // 2
        parts = (replace(request, job_ids=ids) for ids in (request.job_ids[:half], request.job_ids[half:]))
        first, rest = [await self._describe_some(client, part, endpoint) for part in parts]
        return first + rest

    async def _add_events(
        self, asset: str, batch: list[ReceivedJob], endpoint: Endpoint, jobs: _Jobs
    ) -> None:
        found = {job.job_id: jobs.get((endpoint, job.job_id)) for job in batch if job.needs_event}
        ended = [job for job in found.values() if job is not None and job.job_state.is_terminal]
        added = await self._in_thread(add_events, asset, ended, endpoint) if ended else []
        for received in batch:  # not earlier: the database may fail
            job = found.get(received.job_id)
            received.needs_event = job is not None and not job.job_state.is_terminal
        for job_id in added:
            metrics.count("callback_events")
            log.info("Job %s, of which a callback came, is an event of asset %r", job_id, asset)

    async def _resume(self, tasks: list[WaitingTask]) -> set[int]:
        """Resume tasks, and return the triggers of those that were resumed."""
        if not tasks:
            return set()
        resumed = await self._in_thread(resume, tasks)
        self._tasks.forget(tasks)
        for task in {task.trigger_id: task for task in tasks if task.trigger_id in resumed}.values():
            metrics.count("tasks_resumed_by_callback")
            job_id = task.trigger.job_ids[0]
            log.info("Resumed the task that waits for job %s, of which a callback came", job_id)
        return resumed

    def _log_failure(self, error: TencentCIError) -> None:
        if count := self._failures.count(type(error).__name__):
            log.warning("%d looks at jobs of callbacks failed, will try again: %s", count, error)

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
