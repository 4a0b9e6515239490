"""Makes jobs that have ended in a bucket events of an asset (Airflow 3.3 or newer)."""

from __future__ import annotations

import hashlib
import json
import math
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.protocol.ended_job_filter import END_STATES, EndedJobFilter
from airflow_provider_ci.protocol.job_types.voice_separation import VOICE_SEPARATE
from airflow_provider_ci.protocol.rules import Problem, raise_if_any
from airflow_provider_ci.triggers.job import load
from airflow_provider_ci.triggers.job_group import JobGroup
from airflow_provider_ci.triggers.watcher_trigger import SharedStreamProducer, WatcherTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_ci.triggers.ended_jobs_stream import Announcement, EndedJobsStream, Subscription


class TencentCIJobsEndedTrigger(WatcherTrigger):
    """Makes each job of one type that ends in a bucket an event of the assets that are watched with it.

    It does not matter who has submitted the job: this Airflow or another one, a workflow, a batch job, the
    console. The payload of the event is an
    :class:`~airflow_provider_ci.protocol.ended_jobs.EndedJobEvent`. All triggers of a triggerer with the same
    connection, bucket, region and tag share one poller.

    A new watch begins a minute before its trigger first runs, as Airflow needs up to half a minute to run it
    after its DAG was unpaused; jobs that ended before are not announced. From then on, each end is announced
    at least once, also one while the DAG is paused or no triggerer runs: the watermark lies in the asset
    state store. With another argument than ``poll_interval`` changed, a watch is a new one.

    :param tag: the type of the jobs.
    :param tencent_ci_conn_id: the Airflow connection.
    :param bucket: the bucket of the jobs' input; default: the connection's.
    :param region: its region; default: the connection's.
    :param input_prefix: only jobs whose input has a key that begins so; default: all.
    :param states: only jobs that ended so: ``Success``, ``Failed``, ``Cancel``; default: all.
    :param poll_interval: seconds between two polls. Among triggers that share a poller the shortest counts.
    :raises ConfigurationError: Airflow is older than 3.3.
    :raises RequestValidationError: naming the argument that cannot work.
    """

    def __init__(
        self,
        tag: str = VOICE_SEPARATE,
        tencent_ci_conn_id: str = "tencent_ci_default",
        bucket: str | None = None,
        region: str | None = None,
        input_prefix: str | None = None,
        states: Sequence[str] = END_STATES,
        poll_interval: float = 10.0,
    ) -> None:
        super().__init__()
        self.tag = tag
        self.tencent_ci_conn_id = tencent_ci_conn_id
        self.bucket = bucket
        self.region = region
        self.wanted = EndedJobFilter(input_prefix, states)
        self.poll_interval = poll_interval
        raise_if_any(self._problems())
        self._subscription: Subscription | None = None

    def _problems(self) -> Iterator[Problem]:
        for name in ("tag", "tencent_ci_conn_id"):
            value = getattr(self, name)
            if not (isinstance(value, str) and value):
                yield Problem(name, value, "a string that is not empty")
        for name in ("bucket", "region"):
            value = getattr(self, name)
            if not (value is None or isinstance(value, str)):
                yield Problem(name, value, "a string")
        interval: object = self.poll_interval
        is_number = isinstance(interval, int | float) and not isinstance(interval, bool)
        if not (is_number and 0 < self.poll_interval < math.inf):
            yield Problem("poll_interval", interval, "seconds above 0")
        yield from self.wanted.problems()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and exactly the constructor's arguments, JSON-native."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "tag": self.tag,
                "tencent_ci_conn_id": self.tencent_ci_conn_id,
                "bucket": self.bucket,
                "region": self.region,
                "input_prefix": self.wanted.input_prefix,
                "states": list(self.wanted.states),
                "poll_interval": self.poll_interval,
            },
        )

    def shared_stream_key(self) -> tuple[str | None, ...]:
        """Return what triggers have in common that share one poller."""
        return ("tencent_ci_jobs", *self._group)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the source of events of all triggers with the same key."""
        return _Producer(JobGroup(**{name: kwargs[name] for name in JobGroup._fields}))

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Announcement]
    ) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each job that is news for this trigger."""
        subscription = await self._subscribe()
        async for announcement in shared_stream:
            if subscription in announcement.recipients:
                yield TriggerEvent(announcement.event)  # type: ignore[no-untyped-call]
            subscription.passed_on = announcement.number

    async def cleanup(self) -> None:
        """Leave the stream."""
        if self._subscription is not None:
            from airflow_provider_ci.triggers.ended_jobs_stream import subscriptions

            subscriptions(self._group).discard(self._subscription)

    async def _subscribe(self) -> Subscription:
        await load("airflow_provider_ci.triggers.ended_jobs_stream")
        from airflow_provider_ci.submission.watermark import BEGINS_EARLIER, EndedJobsWatermark
        from airflow_provider_ci.triggers.ended_jobs_stream import Subscription, subscriptions
        from airflow_provider_ci.triggers.watermark_store import WatermarkStore

        now = time.time()
        store = WatermarkStore(self.asset_state_store, self._state_key, self.log)
        watermark = await store.load()
        if watermark is None:
            # stored before the first list succeeds, in case that the triggerer dies until then
            watermark = EndedJobsWatermark.beginning(now - BEGINS_EARLIER)
            await store.save(watermark, ())
        self._subscription = Subscription(
            wanted=self.wanted,
            poll_interval=self.poll_interval,
            store=store,
            watermark=watermark,
            began_at=watermark.began_at,
        )
        subscriptions(self._group).add(self._subscription)
        return self._subscription

    @property
    def _group(self) -> JobGroup:
        return JobGroup(self.tencent_ci_conn_id, self.bucket, self.region, self.tag)

    @property
    def _state_key(self) -> str:
        """The key in the asset state store: the same as long as the same jobs are wanted."""
        arguments = self.serialize()[1]
        del arguments["poll_interval"]
        arguments["states"].sort()
        digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
        return f"tencent_ci_jobs_ended_{digest[:16]}"


class _Producer(SharedStreamProducer):
    """What Airflow's shared stream needs, around the stream of ended jobs."""

    def __init__(self, group: JobGroup) -> None:
        self._group = group
        self._stream: EndedJobsStream | None = None

    async def open_stream(self) -> AsyncIterator[tuple[Announcement, int]]:
        """Yield announcements, with their numbers for :meth:`advance`."""
        await load("airflow_provider_ci.triggers.ended_jobs_stream")
        from airflow_provider_ci.triggers.ended_jobs_stream import EndedJobsStream

        self._stream = EndedJobsStream(self._group)
        async for announcement in self._stream.announcements():
            yield announcement, announcement.number

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Store the watermarks of triggers whose events Airflow has stored.

        :raises TencentCIError: Airflow has not stored an event. It then starts the stream again, and that
            continues with the stored watermarks.
        """
        if failed := sum(item.outcome.failed for item in batch):
            raise TencentCIError(
                f"Airflow has not stored {failed} events of ended jobs, they are sent again",
                hint="Check the load of Airflow's database",
            )
        assert self._stream is not None  # noqa: S101 - for the type checker
        await self._stream.note_stored([item.broker_payload for item in batch])

    async def aclose(self) -> None:
        """Close the session."""
        if self._stream is not None:
            await self._stream.close()
