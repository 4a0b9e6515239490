"""Describes together the jobs that all triggers of an event loop wait for on one connection, bucket and
region.

A thousand waiting triggers cost a hundred requests a round over one session instead of a thousand. Jobs that
were asked for together stay together, so batches remain full; the round is jittered as a whole.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field, replace
from itertools import count
from typing import NamedTuple
from weakref import WeakKeyDictionary

from lxml import etree

from airflow_provider_ci.exceptions import (
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    ServerError,
    TencentCIError,
    ThrottledError,
)
from airflow_provider_ci.hooks.aio import AsyncClient
from airflow_provider_ci.protocol.api_request import parse_response
from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST, DescribeJobs, JobsResponse, check_job_ids
from airflow_provider_ci.protocol.wire import Response
from airflow_provider_ci.protocol.xml import read
from airflow_provider_ci.submission.tracking import (
    FIRST_DELAY,
    MAX_BACKOFF_FACTOR,
    MAX_BACKOFF_FACTOR_WHEN_REFUSED,
    is_outage,
    poll_delay,
    retry_after,
)
from airflow_provider_ci.triggers.settings import recent_settings

#: Requests under way at once, for one connection, bucket and region.
CONCURRENCY = 8
#: Share by which a pause varies, and by which a job may be polled early to fill a request.
_JITTER = 0.1
#: Seconds to whose multiples polls are put off: a process that has just slept is slow, so that requests sent
#: together cost half as much as requests one by one.
_TICK = 0.1
# The golden ratio: its multiples, without their whole parts, lie more evenly than chance would lay them
_EVENLY = (math.sqrt(5) - 1) / 2
# Reading these would be most of what a poll costs
_NOT_NEEDED = tuple(
    f"{{*}}{name}"
    for name in (
        *("Input", "Operation", "Workflow", "Progress", "QueueId", "Tag", "SubTag"),
        *("CreationTime", "StartTime", "EndTime"),
    )
)


class Group(NamedTuple):
    """What jobs must share to be described with one request."""

    tencent_ci_conn_id: str
    bucket: str | None
    region: str | None


class Update(NamedTuple):
    """What a poll brought for some of a subscriber's jobs: an answer, or why there is none. Of each job the
    answer has only id, state, code and message.
    """

    job_ids: tuple[str, ...]
    answer: JobsResponse | None
    error: TencentCIError | None


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
    slow: float = 1.0  # the group's factor when this pause began
    told: str | None = None  # the state that all subscribers know, if the last poll was good
    limit: int = IDS_PER_REQUEST  # ids in a request with it: fewer while it may be what spoils requests
    is_apart: bool = False  # it was asked for in smaller requests, and has to find a full one again
    refusals: int = 0  # polls in a row that failed in a way that does not pass by itself


@asynccontextmanager
async def subscribe(
    group: Group, job_ids: Sequence[str], poll_interval: float, waited: float = 0.0
) -> AsyncIterator[asyncio.Queue[Update]]:
    """Yield a queue of the news that polls bring of ``job_ids``, until the block is left.

    News is each poll that fails or does not find a job, and each that finds it in another state or works
    again. A job is not asked for any more once it has ended. Leaving the block, also by cancellation, leaves
    nothing behind.

    :param poll_interval: longest pause between two polls of a job, seconds.
    :param waited: seconds that the wait has lasted already, in another process.
    :raises RequestValidationError: a value is not a job id.
    """
    check_job_ids(job_ids)
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(group) or pollers.setdefault(group, _Poller(group))
    subscriber = _Subscriber(asyncio.Queue(), poll_interval)
    try:
        poller.add(subscriber, job_ids, waited)
        yield subscriber.updates
    finally:
        poller.remove(subscriber, job_ids)
        if not poller.subscribers:
            del pollers[group]
            await poller.stop()


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Group, _Poller]] = WeakKeyDictionary()


class _DescribeStates(DescribeJobs):
    __slots__ = ()

    def parse(self, response: Response) -> JobsResponse:
        root = parse_response(response, self.action)
        etree.strip_elements(root, *_NOT_NEEDED)
        return replace(read(JobsResponse, root), request_id=response.request_id)


class _Poller:
    def __init__(self, group: Group) -> None:
        self.subscribers: set[_Subscriber] = set()
        self.jobs: dict[str, _Job] = {}
        self._group = group
        self._queue: list[tuple[float, int, _Job]] = []  # by due time; jobs that nobody waits for are skipped
        self._order = count()
        self._changed = asyncio.Event()
        self._slow = 1.0
        self._hold_until = 0.0  # the service asked for a pause until then
        self._client: AsyncClient | None = None
        self._stale = False  # the connection may have been corrected, or got new keys
        self._suspects: set[str] = set()  # jobs that are asked for in smaller requests
        self._requests: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._phase = random.random()  # noqa: S311 - not for security
        self._in_phase = 0

    def add(self, subscriber: _Subscriber, job_ids: Sequence[str], waited: float) -> None:
        self.subscribers.add(subscriber)
        now = _now()
        for job_id in dict.fromkeys(job_ids):
            job = self.jobs.get(job_id)
            if job is None:
                job = self.jobs[job_id] = _Job(job_id, since=now - waited)
                job.subscribers.add(subscriber)
                self._schedule_first(job, now)
            job.subscribers.add(subscriber)
            job.told = None
        if self._task is None:
            # in a context of its own: what is logged here does not belong to the trigger that came first
            self._task = asyncio.create_task(self._run(), context=Context())

    def remove(self, subscriber: _Subscriber, job_ids: Sequence[str]) -> None:
        self.subscribers.discard(subscriber)
        for job_id in job_ids:
            job = self.jobs.get(job_id)
            if job is not None:
                job.subscribers.discard(subscriber)
                if not job.subscribers:
                    del self.jobs[job_id]
                    self._suspects.discard(job_id)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _schedule(self, job: _Job, now: float, jitter: float = 1.0) -> None:
        job.slow = self._slow
        refused = min(1.0 + job.refusals, MAX_BACKOFF_FACTOR_WHEN_REFUSED)
        # Jobs that are asked for in smaller requests are asked for as much more seldom
        factor = min(job.slow * max(IDS_PER_REQUEST / job.limit, refused), MAX_BACKOFF_FACTOR)
        job.delay = self._usual_delay(job, now) * factor * jitter
        self._enqueue(job, now + job.delay)

    def _schedule_first(self, job: _Job, now: float) -> None:
        """Schedule the first poll of a job: of one that was waited for elsewhere, somewhere in its pause.

        After a restart all jobs come at once, and would be asked for at once for ever. So ten at a time they
        are spread over the pause, in which they are asked for as often as before.
        """
        job.slow = self._slow
        job.delay = self._usual_delay(job, now)
        first = min(FIRST_DELAY, job.delay)
        if job.delay > first:
            self._in_phase += 1
            if self._in_phase > IDS_PER_REQUEST:
                self._phase, self._in_phase = (self._phase + _EVENLY) % 1, 1
        self._enqueue(job, now + first + (job.delay - first) * self._phase)

    def _usual_delay(self, job: _Job, now: float) -> float:
        return poll_delay(now - job.since, min(subscriber.poll_interval for subscriber in job.subscribers))

    def _enqueue(self, job: _Job, due: float) -> None:
        job.due = math.ceil(due / _TICK) * _TICK
        heapq.heappush(self._queue, (job.due, next(self._order), job))
        if self._queue[0][2] is job:
            self._changed.set()

    async def _run(self) -> None:
        try:
            while True:
                batch = self._take_due(_now()) if len(self._requests) < CONCURRENCY else []
                if not batch:
                    await self._wait()
                    continue
                task = asyncio.create_task(self._poll(batch))
                self._requests.add(task)
                task.add_done_callback(self._request_ended)
        finally:  # here, not in stop(), which may be cancelled itself
            for task in self._requests:
                task.cancel()
            await asyncio.gather(*self._requests, return_exceptions=True)
            if self._client is not None:
                await self._client.close()

    def _request_ended(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        if len(self._requests) == CONCURRENCY - 1:
            self._changed.set()

    async def _wait(self) -> None:
        """Wait until the next job is due, another one becomes the next, or there is room for a request."""
        self._changed.clear()
        timer = None
        if self._queue and len(self._requests) < CONCURRENCY:
            due = max(self._queue[0][0], self._hold_until)
            timer = asyncio.get_running_loop().call_at(due, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _take_due(self, now: float) -> list[_Job]:
        """Return up to ten jobs: the first must be due, the others may be almost due."""
        batch: list[_Job] = []
        if now < self._hold_until:
            return batch
        while self._queue and len(batch) < (batch[0].limit if batch else IDS_PER_REQUEST):
            due, _, job = self._queue[0]
            if self.jobs.get(job.job_id) is not job:
                heapq.heappop(self._queue)
                continue
            early = job.delay * (1.0 if job.is_apart else _JITTER) if batch else 0.0
            if due - early > now or (batch and job.limit != batch[0].limit):
                break
            batch.append(heapq.heappop(self._queue)[2])
        if len(batch) == IDS_PER_REQUEST:
            for job in batch:
                job.is_apart = False
        return batch

    async def _poll(self, batch: list[_Job]) -> None:
        try:
            self._take_answer(batch, await self._describe(tuple(job.job_id for job in batch)))
        except Exception as error:  # also Airflow's own, for instance when the connection is gone
            known = (
                error
                if isinstance(error, TencentCIError)
                else TencentCIError(f"{type(error).__name__}: {error}")
            )
            self._take_failure(batch, known)
        finally:  # also after a cancellation inside, as of Airflow's request for the connection
            # one draw for all, so that they stay together
            jitter, now = random.uniform(1 - _JITTER, 1 + _JITTER), _now()  # noqa: S311 - not for security
            for job in batch:
                if self.jobs.get(job.job_id) is job:
                    self._schedule(job, now, jitter)

    async def _describe(self, ids: tuple[str, ...]) -> JobsResponse:
        if self._client is None:
            settings = await recent_settings(self._group.tencent_ci_conn_id)
            if self._client is None:  # another request may have made it meanwhile
                self._client = AsyncClient(settings, connections=CONCURRENCY)
        elif self._stale:
            self._stale = False
            with suppress(Exception):  # then those at hand have to do
                self._client.settings = await recent_settings(self._group.tencent_ci_conn_id)
        endpoint = self._client.settings.endpoint(self._group.bucket, self._group.region)
        return await self._client.once(_DescribeStates(ids), endpoint)

    def _take_answer(self, batch: list[_Job], answer: JobsResponse) -> None:
        if batch[0].slow == self._slow:  # it tells about the present pace
            self._slow = max(self._slow / 2, 1.0)
        states = {job.job_id: job.job_state for job in answer.jobs_detail}
        self._tell(
            [job for job in batch if job.told is None or states.get(job.job_id) != job.told], answer, None
        )
        for job in batch:
            job.is_apart = job.is_apart or job.limit < IDS_PER_REQUEST
            self._suspects.discard(job.job_id)
            job.limit, job.refusals = IDS_PER_REQUEST, 0
            state = job.told = states.get(job.job_id)
            # it may have been left and come anew meanwhile: that one has not been told
            if state is not None and state.is_terminal and self.jobs.get(job.job_id) is job:
                del self.jobs[job.job_id]

    def _take_failure(self, batch: list[_Job], error: TencentCIError) -> None:
        passing = is_outage(error)
        for job in batch:
            job.told = None
            job.refusals = 0 if passing else job.refusals + 1
        if not isinstance(error, ThrottledError | ServerError):
            self._stale = True
        if passing and batch[0].slow == self._slow:
            self._slow = min(self._slow * 2, MAX_BACKOFF_FACTOR)
        self._hold_until = max(self._hold_until, _now() + retry_after(error))
        is_split = _may_be_of_one(error) and len(batch) > 1 and self._may_suspect(batch)
        if is_split:
            for job in batch:  # whose fault it was shows when fewer are asked for together
                job.limit = (len(batch) + 1) // 2
                self._suspects.add(job.job_id)
        if passing or not is_split:
            self._tell(batch, None, error)

    def _may_suspect(self, batch: list[_Job]) -> bool:
        """Tell whether to look for the one job that spoils a batch. If many batches fail, it is rather the
        service, which must not be asked for each job then.
        """
        others = self._suspects.difference(job.job_id for job in batch)
        return len(others) <= IDS_PER_REQUEST

    def _tell(self, batch: list[_Job], answer: JobsResponse | None, error: TencentCIError | None) -> None:
        theirs: dict[_Subscriber, list[str]] = {}
        for job in batch:
            for subscriber in job.subscribers:
                theirs.setdefault(subscriber, []).append(job.job_id)
        for subscriber, ids in theirs.items():
            subscriber.updates.put_nowait(Update(tuple(ids), answer, error))


def _may_be_of_one(error: TencentCIError) -> bool:
    """Tell whether one of several ids may have spoilt a request: the service itself refused it, or its answer
    cannot be read.
    """
    if isinstance(error, InvalidRequestError | NotFoundError):
        return not is_outage(error)
    return isinstance(error, InvalidResponseError)


def _now() -> float:
    return asyncio.get_running_loop().time()
