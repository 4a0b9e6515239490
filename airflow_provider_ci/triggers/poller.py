"""Describes together the jobs that all triggers of an event loop wait for on one connection, bucket and
region.

A thousand waiting triggers cost a hundred requests a round over one session instead of a thousand. Jobs that
were asked for together stay together, so batches remain full; the round is jittered as a whole.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple
from weakref import WeakKeyDictionary

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    CIError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    ThrottledError,
)
from airflow_provider_ci.hooks.aio import AsyncClient, load_settings
from airflow_provider_ci.protocol.errors import is_retryable
from airflow_provider_ci.protocol.models import JobsAnswer
from airflow_provider_ci.protocol.operations import IDS_PER_REQUEST, DescribeJobs, check_job_ids
from airflow_provider_ci.waiting import poll_delay

#: Requests under way at once, for one connection, bucket and region.
CONCURRENCY = 8
#: Each failed request doubles the pauses of its group, up to this factor; each good one halves it again.
SLOWEST = 16.0
#: Share by which a pause varies, and by which a job may be polled early to fill a request.
_JITTER = 0.1


class Group(NamedTuple):
    """What jobs must share to be described with one request."""

    ci_conn_id: str
    bucket: str | None
    region: str | None


class Update(NamedTuple):
    """What a poll brought for some of a subscriber's jobs: an answer, or why there is none."""

    job_ids: tuple[str, ...]
    answer: JobsAnswer | None
    error: CIError | None


@dataclass(eq=False, slots=True)
class _Subscriber:
    updates: asyncio.Queue[Update]
    poll_interval: float


@dataclass(eq=False, slots=True)
class _Job:
    job_id: str
    since: float
    subscribers: set[_Subscriber] = field(default_factory=set)
    due: float = 0.0
    delay: float = 0.0
    alone: bool = False  # after a request with it was refused, so that it cannot spoil its neighbours' again


@asynccontextmanager
async def subscribe(
    group: Group, job_ids: Sequence[str], poll_interval: float
) -> AsyncIterator[asyncio.Queue[Update]]:
    """Yield a queue of what polls bring for ``job_ids``, until the block is left.

    A job is not asked for any more once it has ended. Leaving the block, also by cancellation, leaves nothing
    behind.

    :param poll_interval: longest pause between two polls of a job, seconds.
    :raises RequestValidationError: a value is not a job id.
    """
    check_job_ids(job_ids)
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.setdefault(group, _Poller(group)) if group not in pollers else pollers[group]
    subscriber = _Subscriber(asyncio.Queue(), poll_interval)
    poller.add(subscriber, job_ids)
    try:
        yield subscriber.updates
    finally:
        poller.remove(subscriber, job_ids)
        if not poller.jobs:
            pollers.pop(group, None)
            await poller.stop()


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Group, _Poller]] = WeakKeyDictionary()


class _Poller:
    def __init__(self, group: Group) -> None:
        self.jobs: dict[str, _Job] = {}
        self._group = group
        self._queue: list[tuple[float, int, _Job]] = []  # by due time; jobs that nobody waits for are skipped
        self._order = count()
        self._changed = asyncio.Event()
        self._slow = 1.0
        self._client: AsyncClient | None = None
        self._stale = True
        self._requests: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, subscriber: _Subscriber, job_ids: Sequence[str]) -> None:
        now = _now()
        for job_id in dict.fromkeys(job_ids):
            job = self.jobs.get(job_id)
            if job is None:
                job = self.jobs[job_id] = _Job(job_id, since=now)
                job.subscribers.add(subscriber)
                self._schedule(job, now, jitter=1.0)
            job.subscribers.add(subscriber)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def remove(self, subscriber: _Subscriber, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            job = self.jobs.get(job_id)
            if job is not None:
                job.subscribers.discard(subscriber)
                if not job.subscribers:
                    del self.jobs[job_id]

    async def stop(self) -> None:
        tasks = [task for task in (self._task, *self._requests) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    def _schedule(self, job: _Job, now: float, *, jitter: float, at_least: float = 0.0) -> None:
        interval = min(subscriber.poll_interval for subscriber in job.subscribers)
        job.delay = max(poll_delay(now - job.since, interval) * self._slow * jitter, at_least)
        job.due = now + job.delay
        heapq.heappush(self._queue, (job.due, next(self._order), job))
        self._changed.set()

    async def _run(self) -> None:
        while True:
            batch = self._take_due(_now()) if len(self._requests) < CONCURRENCY else []
            if not batch:
                await self._wait()
                continue
            task = asyncio.create_task(self._poll(batch))
            self._requests.add(task)
            task.add_done_callback(self._request_ended)

    def _request_ended(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        self._changed.set()

    async def _wait(self) -> None:
        """Wait until the next job is due, a job came or a request ended."""
        self._changed.clear()
        free = len(self._requests) < CONCURRENCY
        pause = max(self._queue[0][0] - _now(), 0.0) if self._queue and free else None
        try:
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _take_due(self, now: float) -> list[_Job]:
        """Return up to ten jobs: the first must be due, the others may be almost due."""
        batch: list[_Job] = []
        while self._queue and len(batch) < IDS_PER_REQUEST:
            due, _, job = self._queue[0]
            if self.jobs.get(job.job_id) is not job or due != job.due:
                heapq.heappop(self._queue)
                continue
            early = job.delay * _JITTER if batch else 0.0
            if due - early > now or (batch and job.alone):
                break
            batch.append(heapq.heappop(self._queue)[2])
            if job.alone:
                break
        return batch

    async def _poll(self, batch: list[_Job]) -> None:
        ids = tuple(job.job_id for job in batch)
        at_least = 0.0
        try:
            answer = await self._describe(ids)
        except Exception as error:  # also Airflow's own, for instance when the connection is gone
            known = error if isinstance(error, CIError) else CIError(f"{type(error).__name__}: {error}")
            at_least = self._take_failure(batch, known)
            self._tell(batch, None, known)
        else:
            self._slow = max(1.0, self._slow / 2)
            for job in batch:
                job.alone = False
            self._tell(batch, answer, None)
            self._forget_ended(answer)
        # one draw for all, so that they stay together
        jitter, now = random.uniform(1 - _JITTER, 1 + _JITTER), _now()  # noqa: S311 - not for security
        for job in batch:
            if self.jobs.get(job.job_id) is job:
                self._schedule(job, now, jitter=jitter, at_least=at_least)

    async def _describe(self, ids: tuple[str, ...]) -> JobsAnswer:
        if self._stale or self._client is None:
            settings = await load_settings(self._group.ci_conn_id)
            self._stale = False
            if self._client is None:
                self._client = AsyncClient(settings, connections=CONCURRENCY)
            self._client.settings = settings
        endpoint = self._client.settings.endpoint(self._group.bucket, self._group.region)
        return await self._client.once(DescribeJobs(ids), endpoint)

    def _take_failure(self, batch: list[_Job], error: CIError) -> float:
        """Slow down or isolate, according to ``error``; return the least pause that the service asks for."""
        if isinstance(error, InvalidRequestError | NotFoundError) and len(batch) > 1:
            for job in batch:
                job.alone = True
            return 0.0
        if isinstance(error, AuthenticationError | PermissionDeniedError):
            self._stale = True  # the connection may have got new keys since
        if is_retryable(error):
            self._slow = min(self._slow * 2, SLOWEST)
        return (error.retry_after or 0.0) if isinstance(error, ThrottledError | ServerError) else 0.0

    def _tell(self, batch: list[_Job], answer: JobsAnswer | None, error: CIError | None) -> None:
        if error is not None and len(batch) > 1 and batch[0].alone:
            return  # whose fault it was shows when each is asked for alone
        theirs: dict[_Subscriber, list[str]] = {}
        for job in batch:
            for subscriber in job.subscribers:
                theirs.setdefault(subscriber, []).append(job.job_id)
        for subscriber, ids in theirs.items():
            subscriber.updates.put_nowait(Update(tuple(ids), answer, error))

    def _forget_ended(self, answer: JobsAnswer) -> None:
        for job in answer.jobs_detail:
            if job.job_state.is_terminal:
                self.jobs.pop(job.job_id or "", None)


def _now() -> float:
    return asyncio.get_running_loop().time()
