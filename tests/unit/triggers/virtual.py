"""An event loop whose clock jumps to the next timer, and a service that lives in it: hours pass in
milliseconds, and each run is like the one before.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_provider_ci.protocol.jobs import CancelJobs, DescribeJobs, Job, JobsResponse
from airflow_provider_ci.triggers import poller

T = TypeVar("T")
GROUP = poller.Group("c", None, None)
#: When virtual time begins, as Unix time.
EPOCH = 1e9
_TOO_LONG = 1_000_000.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Does not wait for timers. Nothing in it may wait for a socket or a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector: Any
        look = self._selector.select

        def select(timeout: float | None) -> Any:
            if timeout is None or self.now > _TOO_LONG > self.now - timeout:
                self.now = 2 * _TOO_LONG  # say it once: the tasks still have to be cancelled
                raise AssertionError("the test waits for something that does not come")
            self.now += timeout
            return look(0)

        self._selector.select = select

    def time(self) -> float:
        return self.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` in virtual time; nothing may be left behind."""

    async def checked() -> T:
        with nothing_left():
            return await main

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(checked())


@contextmanager
def nothing_left(ignoring: Callable[[asyncio.Task[Any]], bool] = lambda task: False) -> Iterator[None]:
    """Assert that the block leaves no task and no poller."""
    before = asyncio.all_tasks()
    yield
    assert [task for task in asyncio.all_tasks() - before if not ignoring(task)] == []
    assert not poller._pollers.get(asyncio.get_running_loop())


def now() -> float:
    return asyncio.get_running_loop().time()


def unix_time() -> float:
    """Return the Unix time; before a loop runs it is the moment at which the loop begins."""
    try:
        return EPOCH + now()
    except RuntimeError:
        return EPOCH


@dataclass
class Request:
    at: float
    job_ids: tuple[str, ...]
    group: str


@dataclass
class Service:
    """Stands in for :class:`AsyncClient`. A job runs until its end in ``ends``, or for ever."""

    latency: float = 0.05
    ends: dict[str, float] = field(default_factory=dict)
    final: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    #: Seconds after which a running job has made 100 % of its progress; it is not said of others.
    progress: dict[str, float] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)
    cancelled: list[tuple[str, ...]] = field(default_factory=list)
    #: Called before each answer; what it raises is the answer.
    before: Callable[[Request], Any] | None = None
    looked_up: list[float] = field(default_factory=list)
    open: int = 0
    busiest: int = 0
    _busy: int = 0

    def client(self, settings: Any, **_: Any) -> _Client:
        self.open += 1
        return _Client(self, settings)

    @property
    def loads(self) -> int:
        return len(self.looked_up)

    async def load_settings(self, conn_id: str) -> Any:
        self.looked_up.append(now())
        await asyncio.sleep(0)
        return _Settings(conn_id, self.loads)

    async def answer(self, settings: _Settings, call: Any, endpoint: str) -> Any:
        request = Request(now(), tuple(call.job_ids), endpoint)
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        try:
            await asyncio.sleep(self.latency)
            if isinstance(call, CancelJobs):
                self.cancelled.append(request.job_ids)
                return None
            assert isinstance(call, DescribeJobs)
            call.http_request()  # refuses what the service would
            self.requests.append(request)
            if self.before is not None and (error := self.before(request)) is not None:
                raise error
            found = tuple(self.job(i) for i in request.job_ids if i not in self.unknown)
            return JobsResponse(jobs_detail=found, non_exist_job_ids=tuple(self.unknown & {*request.job_ids}))
        finally:
            self._busy -= 1

    def job(self, job_id: str) -> Job:
        ended = self.ends.get(job_id, float("inf")) <= now()
        state = self.final.get(job_id, "Success") if ended else self.states.get(job_id, "Running")
        duration = self.progress.get(job_id)
        return Job(
            job_id=job_id, state=state, progress=None if duration is None else int(100 * now() / duration)
        )

    def polls_of(self, job_id: str) -> list[float]:
        return [request.at for request in self.requests if job_id in request.job_ids]

    def within(self, start: float, end: float) -> list[Request]:
        return [request for request in self.requests if start <= request.at < end]

    def job_polls(self, start: float = 0, end: float = float("inf")) -> Counter[str]:
        return Counter(job_id for request in self.within(start, end) for job_id in request.job_ids)


@dataclass
class _Settings:
    conn_id: str
    version: int

    def endpoint(self, bucket: str | None, region: str | None) -> str:
        return f"{self.conn_id}/{bucket}/{region}"


@dataclass
class _Client:
    service: Service
    settings: _Settings

    async def call(self, call: Any, endpoint: str, *, max_attempts: float) -> Any:
        return await self.service.answer(self.settings, call, endpoint)

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.service.open -= 1


async def wait_for(
    job_ids: Sequence[str],
    *,
    interval: float = 30.0,
    group: poller.Group = GROUP,
    waited: float = 0.0,
    shortest_pause: float = 1.0,
) -> float:
    """Subscribe until all jobs have ended; return when that was noticed."""
    left = set(job_ids)
    async with poller.subscribe(group, job_ids, interval, waited, shortest_pause) as updates:
        while left:
            update = await updates.get()
            if update.error is not None:
                continue
            assert update.response is not None
            left -= {job.job_id for job in update.response.jobs_detail if job.job_state.is_terminal}
    return now()
