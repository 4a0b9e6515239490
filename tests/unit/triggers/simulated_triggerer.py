"""Shared streams of Airflow in virtual time, with a triggerer that can be killed, and a list that lags."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.shared_stream import SharedStreamManager

from airflow_provider_ci.exceptions import ResponseTooLargeError, TencentCIError
from airflow_provider_ci.protocol.jobs import DescribeJobs, Job, JobsResponse, ListJobs
from airflow_provider_ci.protocol.wire import Endpoint
from airflow_provider_ci.triggers import ended_jobs_stream
from airflow_provider_ci.triggers.jobs_ended import TencentCIJobsEndedTrigger

from .virtual import EPOCH, now

BUCKET, REGION = "media-1250000001", "ap-guangzhou"
INF = float("inf")
#: Seconds that the supervisor needs to store an event, and a value in the state store, with SQLite.
EVENT_SECONDS, STATE_SECONDS = 0.022, 0.022


@dataclass
class SimulatedJob:
    """Times are those of the loop. A list shows the job, and its end, ``lag`` seconds late."""

    job_id: str
    created: float
    ends: float = INF
    lag: float = 0.0
    state: str = "Success"
    tag: str = "VoiceSeparate"
    input_object: str = "in/song.mp3"
    #: No response has room for its description once it has ended.
    is_too_large: bool = False
    #: Bytes of its result.
    result_size: int = 0

    def state_at(self, at: float) -> str:
        return self.state if self.ends <= at else "Running"

    def as_seen(self, at: float) -> Job:
        return Job(
            job_id=self.job_id,
            tag=self.tag,
            state=self.state_at(at),
            creation_time=unix(self.created),
            end_time=unix(self.ends) if self.ends <= at else None,
            input={"BucketId": BUCKET, "Region": REGION, "Object": self.input_object},
            operation={"SpeechRecognitionResult": {"Text": self.job_id.ljust(self.result_size, ".")}},
        )


def unix(at: float) -> datetime:
    """Return a time of the loop as the service writes it: without fractions of a second."""
    return datetime.fromtimestamp(int(EPOCH + at), UTC)


@dataclass
class JobList:
    """Stands in for :class:`AsyncClient`, and for the service behind it."""

    jobs: list[SimulatedJob] = field(default_factory=list)
    calls: list[tuple[float, Any]] = field(default_factory=list)
    #: The service refuses requests while this is set.
    failure: TencentCIError | None = None
    forgotten: set[str] = field(default_factory=set)
    #: Errors of requests that describe a job by its id.
    refused: dict[str, TencentCIError] = field(default_factory=dict)
    open: int = 0

    @property
    def settings(self) -> Any:
        return self

    @settings.setter
    def settings(self, value: Any) -> None:
        pass

    clock = type("Clock", (), {"now": staticmethod(lambda: EPOCH + now())})

    def endpoint(self, bucket: str | None, region: str | None) -> Endpoint:
        return Endpoint(bucket=bucket or BUCKET, region=region or REGION)

    def client(self, settings: Any) -> JobList:
        self.open += 1
        return self

    async def close(self) -> None:
        self.open -= 1

    async def recent_settings(self, conn_id: str) -> JobList:
        return self

    async def call(self, request: Any, endpoint: Endpoint, *, max_attempts: float) -> JobsResponse:
        request.http_request()  # refuses what the service would
        self.calls.append((now(), request))
        await asyncio.sleep(0.02)
        if self.failure is not None:
            raise self.failure
        if isinstance(request, DescribeJobs):
            return self._describe(request)
        assert isinstance(request, ListJobs)
        return self._list(request)

    def _describe(self, request: DescribeJobs) -> JobsResponse:
        for job_id in request.job_ids:
            if job_id in self.refused:
                raise self.refused[job_id]
        found = {job.job_id: job for job in self.jobs if job.job_id not in self.forgotten}
        known = [found[job_id] for job_id in request.job_ids if job_id in found]
        missing = tuple(job_id for job_id in request.job_ids if job_id not in found)
        self._check_size(known, now())
        return JobsResponse(jobs_detail=tuple(job.as_seen(now()) for job in known), non_exist_job_ids=missing)

    def _check_size(self, jobs: Sequence[SimulatedJob], at: float) -> None:
        if any(job.is_too_large and job.ends <= at for job in jobs):
            raise ResponseTooLargeError("The response is larger than 16777216 bytes")

    def _list(self, request: ListJobs) -> JobsResponse:
        start = request.start_creation_time.timestamp() - EPOCH if request.start_creation_time else -INF
        end = request.end_creation_time.timestamp() - EPOCH if request.end_creation_time else INF
        at = now()
        listed = [
            job
            for job in self.jobs
            if start <= math.floor(job.created) <= end
            and job.created + job.lag <= at
            and job.tag == request.tag
            and (not request.states or job.state_at(at - job.lag) in request.states)
            and job.job_id not in self.forgotten
        ]
        listed.sort(
            key=lambda job: (math.floor(job.created), job.job_id), reverse=request.order_by_time == "Desc"
        )
        first = int(request.next_token or 0)
        last = first + request.size
        self._check_size(listed[first:last], at)
        page = tuple(job.as_seen(at - job.lag) for job in listed[first:last])
        return JobsResponse(jobs_detail=page, next_token=str(last) if last < len(listed) else None)

    def lists(self) -> list[float]:
        return [at for at, request in self.calls if isinstance(request, ListJobs)]

    def describes(self) -> list[float]:
        return [at for at, request in self.calls if isinstance(request, DescribeJobs)]


class AssetState:
    """Airflow's accessor of the state of one asset; what it has stored survives the triggerer."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.failure: Exception | None = None
        self.writes = 0
        self.supervisor = asyncio.Lock()

    async def aget(self, key: str) -> Any:
        await asyncio.sleep(0.01)
        if self.failure is not None:
            raise self.failure
        return json.loads(self.values[key]) if key in self.values else None

    async def aset(self, key: str, value: Any) -> None:
        content = json.dumps(value, allow_nan=False)
        async with self.supervisor:
            await asyncio.sleep(STATE_SECONDS)
        if self.failure is not None:
            raise self.failure
        self.values[key] = content
        self.writes += 1


class Stores:
    """What Airflow gives to a trigger as ``asset_state_store``."""

    def __init__(self, *assets: AssetState) -> None:
        self._by_name = {f"asset-{number}": asset for number, asset in enumerate(assets)}


@dataclass
class Watcher:
    """A trigger's row in Airflow's database, with the asset that it watches and the events of that."""

    arguments: dict[str, Any] = field(default_factory=dict)
    asset: AssetState = field(default_factory=AssetState)
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    @property
    def job_ids(self) -> list[str]:
        return [event["job_id"] for _, event in self.events]

    def trigger(self) -> TencentCIJobsEndedTrigger:
        trigger = TencentCIJobsEndedTrigger(**self.arguments)
        trigger.asset_state_store = Stores(self.asset)  # type: ignore[assignment]
        return trigger


class Triggerer:
    """A runner and its supervisor, as ``triggerer_job_runner.py`` of Airflow 3.3 has them.

    Each second the runner hands its events over, and hears of those that were stored since the last time. The
    supervisor does one thing after the other: as long as it stores events, it neither receives others nor
    writes into the state store. What was not stored is lost when the triggerer is killed.
    """

    def __init__(self, watchers: Sequence[Watcher], *, ack_timeout: float = 300.0) -> None:
        self.watchers = watchers
        self._streams = SharedStreamManager(
            ack_timeout=ack_timeout, _now=lambda: asyncio.get_running_loop().time()
        )
        self._outbox: list[tuple[Watcher, dict[str, Any], int | None]] = []
        self._inbox: list[tuple[Watcher, dict[str, Any], int | None]] = []
        self._stored: list[int] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.failures: list[BaseException] = []
        #: Events are stored while this is set.
        self.stores_events = asyncio.Event()
        self.stores_events.set()
        self._has_events = asyncio.Event()
        self._supervisor = asyncio.Lock()

    def start(self) -> Triggerer:
        for watcher in self.watchers:
            watcher.asset.supervisor = self._supervisor
        self._tasks = [asyncio.create_task(self._supervise()), asyncio.create_task(self._synchronise())]
        self._tasks += [
            asyncio.create_task(self._keep_running(number, watcher))
            for number, watcher in enumerate(self.watchers)
        ]
        return self

    async def kill(self) -> None:
        """End at once: nothing is stored, confirmed or written any more."""
        for watcher in self.watchers:  # the dead process does not write
            watcher.asset = _copy(watcher.asset)
        self._outbox.clear()
        self._inbox.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._streams.stop_all()
        ended_jobs_stream._subscriptions.pop(asyncio.get_running_loop(), None)

    async def _keep_running(self, number: int, watcher: Watcher) -> None:
        while True:
            try:
                await self._run(number, watcher.trigger(), watcher)
            except Exception as error:
                self.failures.append(error)
            await asyncio.sleep(1)

    async def _run(self, number: int, trigger: TencentCIJobsEndedTrigger, watcher: Watcher) -> None:
        key = trigger.shared_stream_key()
        try:
            raw = self._streams.subscribe(trigger_id=number, trigger=trigger, key=key)
            async for event in trigger.filter_shared_stream(raw):
                await asyncio.sleep(0)
                seq = self._streams.bind_pending_event(trigger_id=number, key=key)
                self._outbox.append((watcher, json.loads(json.dumps(event.payload)), seq))
        finally:
            await self._streams.unsubscribe(number, key)
            await trigger.cleanup()

    async def _synchronise(self) -> None:
        while True:
            async with self._supervisor:
                stored, self._stored = self._stored, []
                self._inbox += self._outbox
                self._outbox.clear()
            if self._inbox:
                self._has_events.set()
            self._streams.confirm_persisted(stored)
            await asyncio.sleep(1)

    async def _supervise(self) -> None:
        while True:
            await self._has_events.wait()
            async with self._supervisor:
                await self.stores_events.wait()
                while self._inbox:
                    watcher, event, seq = self._inbox.pop(0)
                    await asyncio.sleep(EVENT_SECONDS)
                    watcher.events.append((now(), event))
                    if seq is not None:
                        self._stored.append(seq)
                self._has_events.clear()


def _copy(asset: AssetState) -> AssetState:
    copied = AssetState()
    copied.values = dict(asset.values)
    return copied


def counted(prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}{number:05}" for number in range(count))
