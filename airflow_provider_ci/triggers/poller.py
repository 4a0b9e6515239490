"""Each event loop has one poller for each connection, bucket and region, which polls all triggers' jobs.

A thousand waiting triggers cost a hundred requests a round over one session, instead of a thousand. Jobs that
were in one request get the same jitter, so they are due together again, and requests stay full.
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
    ResponseTooLargeError,
    ServerError,
    TencentCIError,
    ThrottledError,
)
from airflow_provider_ci.hooks.aio import AsyncClient
from airflow_provider_ci.protocol.api_request import parse_response
from airflow_provider_ci.protocol.jobs import (
    IDS_PER_REQUEST,
    DescribeJobs,
    JobsResponse,
    check_job_ids,
    merge_responses,
)
from airflow_provider_ci.protocol.wire import Endpoint, HttpResponse
from airflow_provider_ci.protocol.xml import read
from airflow_provider_ci.submission.tracking import tenths_of_progress
from airflow_provider_ci.submission.waiting import (
    FIRST_DELAY,
    MAX_BACKOFF_FACTOR,
    MAX_BACKOFF_FACTOR_WHEN_REFUSED,
    decrease_factor,
    first_delay,
    increase_factor,
    is_outage,
    may_be_due_to_one_id,
    poll_delay,
    retry_after,
)
from airflow_provider_ci.triggers.settings import provider_errors_only, recent_settings

#: Requests under way at once, for one connection, bucket and region.
CONCURRENCY = 8
# Share by which pauses vary at random
_JITTER = 0.1
# Share of its pause by which a job may be polled early, to fill a request
_EARLY_SHARE = 0.1
# Due times are rounded up to multiples of this, in seconds, so that requests are sent together: one for which
# the process wakes up alone costs twice as much time
_TICK = 0.1
# Multiples of the golden ratio, without their integer parts, are spread more evenly than random numbers
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
# Parsing these elements would be most of what a poll costs
_UNUSED_ELEMENTS = tuple(
    f"{{*}}{name}"
    for name in (
        *("Input", "Operation", "Workflow", "QueueId", "Tag", "SubTag"),
        *("CreationTime", "StartTime", "EndTime"),
    )
)


class Group(NamedTuple):
    """What jobs must share to be described with one request."""

    tencent_ci_conn_id: str
    bucket: str | None
    region: str | None


class Update(NamedTuple):
    """The outcome of a poll for some of a subscriber's jobs: either a response or an error. The response has
    only the id, state, progress, code and message of each job.
    """

    job_ids: tuple[str, ...]
    response: JobsResponse | None
    error: TencentCIError | None


@dataclass(eq=False, slots=True)
class _Subscriber:
    updates: asyncio.Queue[Update]
    poll_interval: float
    shortest_pause: float


@dataclass(eq=False, slots=True)
class _PolledJob:
    job_id: str
    since: float  # when the wait began, by the loop's clock
    subscribers: set[_Subscriber] = field(default_factory=set)
    due: float = 0.0
    delay: float = 0.0
    backoff_factor: float = 1.0  # the poller's factor when this pause began
    refusal_factor: float = 1.0  # this job's own; grows while its polls are refused
    reported_state: str | None = None  # the state that all subscribers know; None: the next poll is reported
    reported_tenths: int = 0  # of the progress, that all subscribers know
    max_batch_size: int = (
        IDS_PER_REQUEST  # ids in a request with this job; fewer while it may be what makes requests fail
    )
    may_be_early: bool = False  # it was in a smaller request; joins any request until it is in a full one

    @property
    def poll_interval(self) -> float:
        return min(subscriber.poll_interval for subscriber in self.subscribers)

    @property
    def shortest_pause(self) -> float:
        return min(subscriber.shortest_pause for subscriber in self.subscribers)


@asynccontextmanager
async def subscribe(
    group: Group,
    job_ids: Sequence[str],
    poll_interval: float,
    waited: float = 0.0,
    shortest_pause: float = FIRST_DELAY,
) -> AsyncIterator[asyncio.Queue[Update]]:
    """Yield a queue of updates about ``job_ids``. Leaving the block, also by cancellation, unsubscribes.

    There is an update for each poll that fails or does not find a job, for each change of a job's state, for
    each tenth of its progress, and for the first successful poll after a failed one. A job is not polled any
    more once it has ended.

    :param poll_interval: longest pause between two polls of a job, seconds.
    :param waited: seconds that the wait has lasted already, in another process.
    :param shortest_pause: shortest pause between two polls, seconds.
    :raises RequestValidationError: a value is not a job id.
    """
    check_job_ids(job_ids)
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(group) or pollers.setdefault(group, _Poller(group))
    subscriber = _Subscriber(asyncio.Queue(), poll_interval, shortest_pause)
    try:
        poller.add(subscriber, job_ids, waited)
        yield subscriber.updates
    finally:
        poller.remove(subscriber, job_ids)
        if not poller.subscribers:
            del pollers[group]
            await poller.stop()


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Group, _Poller]] = WeakKeyDictionary()


class DescribeStates(DescribeJobs):
    """Describes jobs by id, state, code and message alone."""

    __slots__ = ()

    def parse(self, response: HttpResponse) -> JobsResponse:  # noqa: D102 - as in the base class
        root = parse_response(response, self.purpose)
        etree.strip_elements(root, *_UNUSED_ELEMENTS)
        return replace(read(JobsResponse, root), request_id=response.request_id)


class _Poller:
    def __init__(self, group: Group) -> None:
        self.subscribers: set[_Subscriber] = set()
        self.jobs: dict[str, _PolledJob] = {}
        self._group = group
        # Sorted by due time. May hold jobs that nobody waits for any more
        self._queue: list[tuple[float, int, _PolledJob]] = []
        self._order = count()
        self._wake_up = asyncio.Event()
        self._backoff_factor = 1.0
        self._paused_until = 0.0  # no requests before this time, as the service asked
        self._client: AsyncClient | None = None
        self._reload_connection = False
        # Jobs in smaller requests, because one of them may make requests fail
        self._suspects: set[str] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._first_phase = random.random()  # noqa: S311 - not for security
        self._jobs_added = 0

    def add(self, subscriber: _Subscriber, job_ids: Sequence[str], waited: float) -> None:
        self.subscribers.add(subscriber)
        now = _now()
        for job_id in job_ids:
            job = self.jobs.get(job_id)
            if job is None or subscriber.shortest_pause < job.shortest_pause:
                # in the second case the job's next poll may be far away, and is not made
                others = set() if job is None else job.subscribers
                others.add(subscriber)
                job = self.jobs[job_id] = _PolledJob(job_id, since=now - waited, subscribers=others)
                self._schedule_first(job, now)
            job.subscribers.add(subscriber)
            job.reported_state = None
        if self._task is None:
            # In an empty context: its log lines do not belong to the trigger that came first
            self._task = asyncio.create_task(self._run(), context=Context())

    def remove(self, subscriber: _Subscriber, job_ids: Sequence[str]) -> None:
        self.subscribers.discard(subscriber)
        for job_id in job_ids:
            job = self.jobs.get(job_id)
            if job is None:
                continue
            job.subscribers.discard(subscriber)
            if not job.subscribers:
                del self.jobs[job_id]
                self._suspects.discard(job_id)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _schedule_first(self, job: _PolledJob, now: float) -> None:
        """Schedule the first poll of a job. After a restart a thousand jobs are added at once, so they are
        spread over their pause, ten at a time; the phase says where in it, from 0 to 1.
        """
        job.backoff_factor = self._backoff_factor
        job.delay = poll_delay(now - job.since, job.poll_interval, job.shortest_pause)
        phase = (self._first_phase + self._jobs_added // IDS_PER_REQUEST * _GOLDEN_RATIO) % 1
        self._jobs_added += 1
        first = first_delay(now - job.since, job.poll_interval, phase, job.shortest_pause)
        self._enqueue(job, now + first)

    def _schedule_next(self, job: _PolledJob, now: float, jitter: float) -> None:
        job.backoff_factor = self._backoff_factor
        # Jobs in requests of half the size are polled half as often
        own_factor = max(job.refusal_factor, IDS_PER_REQUEST / job.max_batch_size)
        factor = min(self._backoff_factor * own_factor, MAX_BACKOFF_FACTOR)
        pause = poll_delay(now - job.since, job.poll_interval, job.shortest_pause)
        job.delay = pause * factor * jitter
        self._enqueue(job, now + job.delay)

    def _enqueue(self, job: _PolledJob, due: float) -> None:
        job.due = math.ceil(due / _TICK) * _TICK
        heapq.heappush(self._queue, (job.due, next(self._order), job))
        if self._queue[0][2] is job:
            self._wake_up.set()

    async def _run(self) -> None:
        try:
            while True:
                batch = self._pop_batch(_now()) if len(self._requests) < CONCURRENCY else []
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
            self._wake_up.set()

    async def _wait(self) -> None:
        """Wait until a job is due, perhaps one that is added meanwhile, or one more request may be sent."""
        self._wake_up.clear()
        timer = None
        if self._queue and len(self._requests) < CONCURRENCY:
            due = max(self._queue[0][0], self._paused_until)
            timer = asyncio.get_running_loop().call_at(due, self._wake_up.set)
        try:
            await self._wake_up.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _pop_batch(self, now: float) -> list[_PolledJob]:
        """Remove the jobs of one request from the queue: one that is due, and others that are almost due."""
        first = self._first_in_queue()
        if first is None or max(first.due, self._paused_until) > now:
            return []
        batch: list[_PolledJob] = []
        job: _PolledJob | None = first
        while job is not None and len(batch) < first.max_batch_size and _may_join(first, job, now):
            heapq.heappop(self._queue)
            batch.append(job)
            job = self._first_in_queue()
        if len(batch) == IDS_PER_REQUEST:  # their common jitter keeps them together from now on
            for job in batch:
                job.may_be_early = False
        return batch

    def _first_in_queue(self) -> _PolledJob | None:
        while self._queue:
            job = self._queue[0][2]
            if self._is_subscribed(job):
                return job
            heapq.heappop(self._queue)  # nobody waits for it any more
        return None

    async def _poll(self, batch: list[_PolledJob]) -> None:
        try:
            with provider_errors_only():
                response = await self._describe(tuple(job.job_id for job in batch))
                self._handle_response(batch, response)
        except TencentCIError as error:
            self._handle_failure(batch, error)
        finally:  # also if the lookup of the connection ends with a CancelledError, as Airflow's can
            # the same jitter for all, so that they stay together
            jitter, now = random.uniform(1 - _JITTER, 1 + _JITTER), _now()  # noqa: S311 - not for security
            for job in batch:
                if self._is_subscribed(job):
                    self._schedule_next(job, now, jitter)

    async def _describe(self, job_ids: tuple[str, ...]) -> JobsResponse:
        if self._client is None:
            settings = await recent_settings(self._group.tencent_ci_conn_id)
            if self._client is None:  # another request may have made one meanwhile
                self._client = AsyncClient(settings, connections=CONCURRENCY)
        elif self._reload_connection:
            self._reload_connection = False
            with suppress(Exception):  # keep the present settings
                self._client.settings = await recent_settings(self._group.tencent_ci_conn_id)
        endpoint = self._client.settings.endpoint(self._group.bucket, self._group.region)
        return await describe_in_parts(self._client, DescribeStates(job_ids), endpoint)

    def _handle_response(self, batch: list[_PolledJob], response: JobsResponse) -> None:
        if self._was_scheduled_with_present_factor(batch):
            self._backoff_factor = decrease_factor(self._backoff_factor)
        described = {str(job.job_id): job for job in response.jobs_detail}
        changed = []
        for job in batch:
            found = described.get(job.job_id)
            state, tenths = (None, 0) if found is None else (found.job_state, tenths_of_progress(found))
            if job.reported_state is None or state != job.reported_state or tenths > job.reported_tenths:
                changed.append(job)
            job.reported_state, job.reported_tenths = state, max(tenths, job.reported_tenths)
            self._suspects.discard(job.job_id)
            job.may_be_early = job.may_be_early or job.max_batch_size < IDS_PER_REQUEST
            job.max_batch_size = IDS_PER_REQUEST
            job.refusal_factor = 1.0
            if state is not None and state.is_terminal and self._is_subscribed(job):
                del self.jobs[job.job_id]
        self._report(changed, response, None)

    def _handle_failure(self, batch: list[_PolledJob], error: TencentCIError) -> None:
        """Slow down, and find out what is wrong. Which of these happens depends on the error:

        ========================  ==============  ===============  ========  ===========
        error                     all pauses      pauses of batch  settings  batch
        ========================  ==============  ===============  ========  ===========
        throttled, or 5xx         doubled         normal again     .         .
        any other outage          doubled         normal again     reloaded  .
        response not readable     doubled         normal again     reloaded  halved
        request or ids refused    .               doubled          reloaded  halved
        anything else refused     .               doubled          reloaded  .
        ========================  ==============  ===============  ========  ===========
        """
        self._paused_until = max(self._paused_until, _now() + retry_after(error))
        if not isinstance(error, ThrottledError | ServerError):
            self._reload_connection = True
        if is_outage(error) and self._was_scheduled_with_present_factor(batch):
            self._backoff_factor = increase_factor(self._backoff_factor)
        for job in batch:
            job.reported_state = None
            if is_outage(error):
                job.refusal_factor = 1.0
            else:
                job.refusal_factor = increase_factor(job.refusal_factor, MAX_BACKOFF_FACTOR_WHEN_REFUSED)
        is_halved = may_be_due_to_one_id(error) and self._may_halve(batch)
        if is_halved:
            for job in batch:
                job.max_batch_size = (len(batch) + 1) // 2
                if self._is_subscribed(job):
                    self._suspects.add(job.job_id)
        # The trigger fails after ten refusals, so one is reported only once it is known which job is refused
        if is_outage(error) or not is_halved:
            self._report(batch, None, error)

    def _is_subscribed(self, job: _PolledJob) -> bool:
        """Tell whether somebody still waits for a job. While it is polled, all its subscribers may leave, and
        new ones subscribe to the same id. Then ``self.jobs`` has a new entry, which is polled by itself.
        """
        return self.jobs.get(job.job_id) is job

    def _was_scheduled_with_present_factor(self, batch: list[_PolledJob]) -> bool:
        """Tell whether a poll was scheduled with the present factor. If many requests fail at once, only the
        first changes it.
        """
        return batch[0].backoff_factor == self._backoff_factor

    def _may_halve(self, batch: list[_PolledJob]) -> bool:
        """Tell whether to look for one job that makes a batch fail. If many batches fail, the cause is
        probably the service, which must then not get more requests.
        """
        others = self._suspects.difference(job.job_id for job in batch)
        return len(batch) > 1 and len(others) <= IDS_PER_REQUEST

    def _report(
        self, jobs: list[_PolledJob], response: JobsResponse | None, error: TencentCIError | None
    ) -> None:
        ids_by_subscriber: dict[_Subscriber, list[str]] = {}
        for job in jobs:
            for subscriber in job.subscribers:
                ids_by_subscriber.setdefault(subscriber, []).append(job.job_id)
        for subscriber, ids in ids_by_subscriber.items():
            subscriber.updates.put_nowait(Update(tuple(ids), response, error))


async def describe_in_parts(client: AsyncClient, request: DescribeJobs, endpoint: Endpoint) -> JobsResponse:
    """Describe jobs, fewer at a time if the results of those that ended are too large for one response."""
    try:
        return await client.call(request, endpoint, max_attempts=1)
    except ResponseTooLargeError:
        if len(request.job_ids) == 1:
            raise
    half = (len(request.job_ids) + 1) // 2
    first, rest = (replace(request, job_ids=ids) for ids in (request.job_ids[:half], request.job_ids[half:]))
    response = await describe_in_parts(client, first, endpoint)
    return merge_responses(response, await describe_in_parts(client, rest, endpoint))


def _may_join(first: _PolledJob, job: _PolledJob, now: float) -> bool:
    """Tell whether a job may be polled in one request with ``first``: it is due or almost due."""
    early = job.delay * (1.0 if job.may_be_early else _EARLY_SHARE)
    return job.due - early <= now and job.max_batch_size == first.max_batch_size


def _now() -> float:
    return asyncio.get_running_loop().time()
