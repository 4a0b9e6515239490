"""Asks the service about the jobs of which callbacks have come, and resumes the tasks that wait for them.

A callback is only a reason to look. A task is resumed if the service says that its jobs have ended, and if it
has been deferred for some seconds: Airflow may fail a task that resumes at once. Everything else is looked at
again some times, and then left to the triggerer, which polls too.

Connections, and the buckets of one, are looked at beside each other, so that none waits for another whose
service fails or hangs. Together they stay within the limits of the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_ci import metrics
from airflow_provider_ci.callback_endpoint.asset_events import add_events
from airflow_provider_ci.callback_endpoint.job_reader import JobReader
from airflow_provider_ci.callback_endpoint.rare_warnings import RareWarnings
from airflow_provider_ci.callback_endpoint.rate_limit import RateLimit
from airflow_provider_ci.callback_endpoint.resting_thread import RestingThread
from airflow_provider_ci.callback_endpoint.waiting_tasks import WaitingTask, WaitingTasks, resume
from airflow_provider_ci.exceptions import ConfigurationError, TencentCIError
from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST
from airflow_provider_ci.submission.waiting import retry_after
from airflow_provider_ci.triggers.settings import provider_errors_only, recent_settings

if TYPE_CHECKING:
    from airflow_provider_ci.callback_endpoint.received_jobs import ReceivedJob, ReceivedJobs
    from airflow_provider_ci.hooks.connection import ConnectionSettings
    from airflow_provider_ci.protocol.callbacks import NamedBucket
    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.wire import Endpoint

log = logging.getLogger(__name__)

#: Seconds between two looks at jobs of a connection, in which callbacks are gathered.
LOOK_PAUSE = 0.5
#: The same while there are more jobs than a look is about: 50 jobs in a second.
LOOK_PAUSE_WHEN_BUSY = 0.2
#: Jobs in one look at most: one request to the service, and one transaction that resumes their tasks.
JOBS_PER_LOOK = IDS_PER_REQUEST
#: Requests to the service in a second, at most, of one process.
REQUESTS_PER_SECOND = 10.0
#: Seconds for which a task must have been deferred before it is resumed.
DEFERRED_SECONDS = 5.0
#: Buckets of a connection that only callbacks name, and that are asked at once. Callbacks may name any.
NAMED_BUCKETS_AT_ONCE = 5
#: Seconds for which a look in a further one waits for its turn. A look in one that hangs takes a minute.
LONGEST_WAIT_FOR_TURN = 300.0


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the looks at the jobs of all connections share."""

    jobs: ReceivedJobs
    settings: Callable[[str], Awaitable[ConnectionSettings]]
    waiting_tasks: WaitingTasks
    thread: RestingThread
    requests: RateLimit
    warnings: RareWarnings


class Processing:
    """Looks at received jobs, in the background, as long as there are any."""

    def __init__(self, jobs: ReceivedJobs) -> None:
        requests = RateLimit(REQUESTS_PER_SECOND)
        self._shared = _Shared(jobs, self.settings, WaitingTasks(), RestingThread(), requests, RareWarnings())
        self._masked: dict[str, ConnectionSettings] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

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

    def add(self, conn_id: str, job_ids: Mapping[str, Sequence[NamedBucket]]) -> bool:
        """Add jobs of which a callback has come.

        :param job_ids: the jobs, and the buckets that the callback names.
        :return: ``False`` if there was no room for one of them.
        """
        has_room = self._shared.jobs.add(conn_id, job_ids, time.monotonic())
        running = self._running.get(conn_id)
        if running is None or running.done():
            # in an empty context: what it logs does not belong to the request that came first
            self._running[conn_id] = asyncio.create_task(self._run(conn_id), context=Context())
        return has_room

    async def _run(self, conn_id: str) -> None:
        while self._shared.jobs.has_jobs_of(conn_id):
            looks = _ConnectionLooks(conn_id, self._shared)
            try:
                await looks.run()
            finally:  # callbacks may come while it closes the session
                await looks.close()


@dataclass(slots=True)
class _Look:
    """A look at a job, in one bucket after another until there is nothing left to find.

    :param places: the buckets that are left, each with the tasks that wait for the job there.
    :param named: those of them that only callbacks name.
    :param waiting: the triggers of the tasks that have not been resumed.
    """

    job: ReceivedJob
    places: dict[Endpoint, list[WaitingTask]]
    named: frozenset[Endpoint]
    waiting: set[int]
    is_waited_for: bool
    not_before: float


class _LookInBucket(NamedTuple):
    look: _Look
    tasks: list[WaitingTask]


class _ConnectionLooks:
    """The looks at the jobs of one connection, as long as there are any."""

    def __init__(self, conn_id: str, shared: _Shared) -> None:
        self._conn_id = conn_id
        self._shared = shared
        self._reader = JobReader(shared.requests, self._log_failure)
        # the buckets that are asked, each with the looks that are left to do in it
        self._buckets: dict[Endpoint, list[_LookInBucket]] = {}
        # the same for those that only callbacks name, and that wait for their turn before each request
        self._named_buckets: dict[Endpoint, list[_LookInBucket]] = {}
        self._turns = asyncio.Semaphore(NAMED_BUCKETS_AT_ONCE)
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Look at jobs until none is left."""
        pause = LOOK_PAUSE
        async with self._group:
            while self._shared.jobs.has_jobs_of(self._conn_id):
                await asyncio.sleep(pause)
                batch = self._shared.jobs.take_due(self._conn_id, time.monotonic(), JOBS_PER_LOOK)
                if batch:
                    await self._begin_looks(batch)
                pause = LOOK_PAUSE if len(batch) < JOBS_PER_LOOK else LOOK_PAUSE_WHEN_BUSY

    async def close(self) -> None:
        """Close the session and its sockets."""
        await self._reader.close()

    async def _begin_looks(self, batch: list[ReceivedJob]) -> None:
        try:
            with provider_errors_only():
                settings = await self._shared.settings(self._conn_id)
                find = partial(self._shared.waiting_tasks.find, is_busy=len(batch) == JOBS_PER_LOOK)
                tasks = await self._shared.thread.run(find, self._conn_id, [job.job_id for job in batch])
                looks = [self._make_look(settings, job, tasks.get(job.job_id, [])) for job in batch]
        except TencentCIError as error:
            self._log_failure(error)
            for job in batch:
                self._return_for_later(job, 0.0)
            return
        for look in looks:
            self._look_in_next_bucket(look)

    def _make_look(self, settings: ConnectionSettings, job: ReceivedJob, tasks: list[WaitingTask]) -> _Look:
        """Return a look that begins where tasks wait for the job, and where callbacks say that it is."""
        job.needs_event = job.needs_event and bool(settings.callbacks and settings.callbacks.asset)
        places: dict[Endpoint, list[WaitingTask]] = {}
        for task in tasks:
            try:
                endpoint = settings.endpoint(task.trigger.bucket, task.trigger.region)
            except ConfigurationError as error:  # the triggerer fails this task
                self._log_failure(error)
            else:
                places.setdefault(endpoint, []).append(task)
        job.waited_in |= dict.fromkeys(places)
        named: list[Endpoint] = []
        if job.needs_event:
            own = settings.endpoint()
            buckets = _named_buckets(settings, job.buckets, own)
            named = [place for place in buckets if place != own and place not in job.waited_in]
            for place in (*job.waited_in, *named, own):
                places.setdefault(place, [])
        waiting = {task.trigger_id for task in tasks}
        not_before = time.monotonic() + _remaining_seconds(tasks)
        return _Look(job, places, frozenset(named), waiting, bool(tasks), not_before)

    def _look_in_next_bucket(self, look: _Look) -> None:
        """Look in the next bucket in which there may be something to find; if none is left, end the look."""
        while look.places:
            place = next(filter(partial(self._may_begin, look), look.places), next(iter(look.places)))
            tasks = look.places.pop(place)
            if not look.job.needs_event and not any(_may_be_resumed(task) for task in tasks):
                continue
            buckets = self._named_buckets if place in look.named else self._buckets
            if place not in buckets:
                buckets[place] = []
                self._group.create_task(self._look_in_bucket(place, buckets))
            buckets[place].append(_LookInBucket(look, tasks))
            return
        if look.is_waited_for and not look.waiting and not look.job.needs_event:
            self._shared.jobs.settle(look.job, time.monotonic())
        else:
            self._return_for_later(look.job, look.not_before)

    def _may_begin(self, look: _Look, place: Endpoint) -> bool:
        """Tell whether a look in a bucket may begin at once, or joins those that are to be done there."""
        has_turn = len(self._named_buckets) < NAMED_BUCKETS_AT_ONCE
        return has_turn or place not in look.named or place in self._named_buckets

    async def _look_in_bucket(self, place: Endpoint, buckets: dict[Endpoint, list[_LookInBucket]]) -> None:
        looks = buckets[place]
        while looks:
            some = looks[:JOBS_PER_LOOK]
            del looks[:JOBS_PER_LOOK]
            await self._look(place, some, self._turn() if buckets is self._named_buckets else nullcontext())
            for look, _ in some:
                self._look_in_next_bucket(look)
        del buckets[place]

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until few enough of the buckets that callbacks name are being asked: each in turn."""
        try:
            async with asyncio.timeout(LONGEST_WAIT_FOR_TURN):
                await self._turns.acquire()
        except TimeoutError:
            raise TencentCIError(
                f"Other buckets that callbacks name were asked for {LONGEST_WAIT_FOR_TURN:g} s, at most"
                f" {NAMED_BUCKETS_AT_ONCE} are asked at once",
                hint="Send the callbacks of each bucket to a connection with this bucket; if callbacks name"
                " buckets that are not yours, change callback_secret",
            ) from None
        try:
            yield
        finally:
            self._turns.release()

    async def _look(
        self, place: Endpoint, looks: list[_LookInBucket], turn: AbstractAsyncContextManager[None]
    ) -> None:
        """Ask for jobs in a bucket, add their events, and resume the tasks that wait for them there."""
        job_ids: dict[str, None] = {}
        for look, tasks in looks:
            for task in filter(_may_be_resumed, tasks):
                job_ids |= dict.fromkeys(task.trigger.job_ids)
            if look.job.needs_event:
                job_ids[look.job.job_id] = None
        with_results = any(look.job.needs_event for look, _ in looks)
        try:
            with provider_errors_only():
                async with turn:
                    settings = await self._shared.settings(self._conn_id)
                    jobs = await self._reader.describe(settings, place, [*job_ids], with_results=with_results)
        except TencentCIError as error:
            self._log_failure(error, place)
            for look, _ in looks:
                look.not_before = max(look.not_before, time.monotonic() + retry_after(error))
            return
        asset = settings.callbacks.asset if settings.callbacks else None
        if asset is not None:
            with self._failures_logged():
                await self._add_events(asset, place, [look.job for look, _ in looks], jobs)
        with self._failures_logged():
            resumed = await self._resume([task for _, tasks in looks for task in tasks], jobs)
            for look, _ in looks:
                look.waiting -= resumed

    async def _add_events(
        self, asset: str, place: Endpoint, received: Iterable[ReceivedJob], jobs: Mapping[str, Job]
    ) -> None:
        ended = {
            job.job_id: found
            for job in received
            if job.needs_event and (found := jobs.get(job.job_id)) and found.job_state.is_terminal
        }
        if not ended:
            return
        added = await self._shared.thread.run(add_events, asset, list(ended.values()), place)
        for job in received:  # not earlier: the database may fail
            job.needs_event = job.needs_event and job.job_id not in ended
        if added is None:
            if count := self._shared.warnings.count(f"asset {asset}", len(ended)):
                log.warning(
                    "No event of %d jobs, the last of which is %s: Airflow has no active asset %r. Unpause a"
                    " DAG that uses it, or correct callback_asset",
                    count,
                    list(ended)[-1],
                    asset,
                )
            return
        for job_id in added:
            metrics.count("callback_events")
            log.info("Job %s, of which a callback came, is an event of asset %r", job_id, asset)

    async def _resume(self, tasks: Iterable[WaitingTask], jobs: Mapping[str, Job]) -> set[int]:
        """Resume tasks whose jobs have ended, and return the triggers of those that were resumed."""
        over = {task.trigger_id: task for task in tasks if _may_be_resumed(task) and _is_over(task, jobs)}
        if not over:
            return set()

        def resume_and_forget() -> set[int]:
            resumed = resume(over.values())
            self._shared.waiting_tasks.forget(over.values())
            return resumed

        resumed = await self._shared.thread.run(resume_and_forget)
        for task in over.values():
            if task.trigger_id in resumed:
                metrics.count("tasks_resumed_by_callback")
                job_id = task.trigger.job_ids[0]
                log.info("Resumed the task that waits for job %s, of which a callback came", job_id)
        return resumed

    @contextmanager
    def _failures_logged(self) -> Iterator[None]:
        try:
            with provider_errors_only():
                yield
        except TencentCIError as error:
            self._log_failure(error)

    def _log_failure(self, error: TencentCIError, place: Endpoint | None = None) -> None:
        if count := self._shared.warnings.count(f"{self._conn_id} {type(error).__name__}"):
            log.warning(
                "%d looks at jobs of callbacks failed, will try again: connection %r%s: %s",
                count,
                self._conn_id,
                f", bucket {place.bucket!r}" if place else "",
                error,
            )

    def _return_for_later(self, job: ReceivedJob, not_before: float) -> None:
        if self._shared.jobs.return_for_later(job, time.monotonic(), not_before):
            return
        if not job.needs_event:
            if count := self._shared.warnings.count("forgotten"):
                log.warning(
                    "Forgot %d callbacks: no task waits for their jobs, or these have not ended", count
                )
        elif count := self._shared.warnings.count(f"{self._conn_id} without an event"):
            log.warning(
                "Forgot %d callbacks without an event: connection %r does not find their jobs, they have not"
                " ended, or looks failed. If the last, %s, is in a bucket that its callback does not name,"
                " send its callbacks to a connection with this bucket",
                count,
                self._conn_id,
                job.job_id,
            )


def _named_buckets(
    settings: ConnectionSettings, buckets: Iterable[NamedBucket], own: Endpoint
) -> Iterator[Endpoint]:
    """Yield the buckets that callbacks name, if they are of the same account as the connection's own: whoever
    posts could name a bucket of theirs, and make its jobs events.
    """
    for bucket, region in buckets:
        if _account(bucket) == _account(own.bucket):
            try:
                yield settings.endpoint(bucket, region)
            except ConfigurationError:
                continue


def _account(bucket: str) -> str:
    return bucket.rpartition("-")[2]


def _may_be_resumed(task: WaitingTask) -> bool:
    """Tell whether a task has been deferred long enough. One with many jobs is left to the triggerer."""
    is_small = len(task.trigger.job_ids) <= IDS_PER_REQUEST
    return is_small and task.deferred_for() >= DEFERRED_SECONDS


def _remaining_seconds(tasks: Iterable[WaitingTask]) -> float:
    """Return the seconds until all tasks have been deferred long enough."""
    return max((DEFERRED_SECONDS - task.deferred_for() for task in tasks), default=0.0)


def _is_over(task: WaitingTask, jobs: Mapping[str, Job]) -> bool:
    """Tell whether a task's jobs have ended, or one of them without success, as its trigger would."""
    states = [job.job_state if (job := jobs.get(job_id)) else None for job_id in task.trigger.job_ids]
    ended = [state for state in states if state is not None and state.is_terminal]
    return len(ended) == len(states) or not all(state.is_successful for state in ended)
