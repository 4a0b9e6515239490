"""Makes CI's messages in Kafka about jobs that have ended events of an asset (Airflow 3.3 or newer)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from importlib.util import find_spec
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.protocol.ended_job_filter import END_STATES, EndedJobFilter
from airflow_provider_ci.protocol.rules import Problem, raise_if_any
from airflow_provider_ci.triggers.job import load
from airflow_provider_ci.triggers.watcher_trigger import SharedStreamProducer, WatcherTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_ci.protocol.ended_jobs import EndedJobEvent
    from airflow_provider_ci.triggers.kafka_messages import KafkaMessages, Position

# Messages that are read ahead of Airflow's storing their events, which takes it about a second. So many may
# come twice when a triggerer dies, and when Kafka assigns the partitions again. Airflow ends a trigger that
# falls more than [triggerer] shared_stream_subscriber_queue_size messages behind, by default 1,024
_MAX_UNSTORED = 100


class TencentCIKafkaJobsEndedTrigger(WatcherTrigger):
    """Makes each message in Kafka about a job that has ended an event of the assets watched with it.

    CI sends these messages to a topic of CKafka if the job or its queue says so; only Tencent's SDKs document
    that. The payload is an :class:`~airflow_provider_ci.protocol.ended_jobs.EndedJobEvent` with what the
    message says. The service is not asked, so whoever may write to the topic can invent jobs.

    Each message becomes an event at least once: its offset is committed when Airflow has stored the event.
    Triggers with equal arguments are one trigger for Airflow, with one consumer. Triggers with different
    filters have different consumer groups, ``<group.id of the connection>-<digest of the filter>``: in one
    group, each of two triggerers would read only a part of the messages for its triggers.

    ``KafkaSharedStreamTrigger`` of the provider for Kafka (2.1.0) would be shorter. But all its triggers of a
    connection have one consumer group, and its consumer reads ahead of Airflow without a limit, ends all
    triggers at any error that Kafka reports, also a passing one, and refuses a connection without
    ``enable.auto.commit=false``. So only that provider's hook is used here.

    :param topics: the topics.
    :param kafka_config_id: the Airflow connection to Kafka, of the type ``kafka``.
    :param tag: only jobs of this type; default: all.
    :param bucket: only jobs with their input in this bucket; default: all.
    :param input_prefix: only jobs whose input has a key that begins so; default: all.
    :param states: only jobs that ended so: ``Success``, ``Failed``, ``Cancel``; default: all.
    :raises ConfigurationError: Airflow is older than 3.3, or lacks the provider for Kafka.
    :raises RequestValidationError: naming the argument that cannot work.
    """

    def __init__(
        self,
        topics: Sequence[str],
        kafka_config_id: str = "kafka_default",
        tag: str | None = None,
        bucket: str | None = None,
        input_prefix: str | None = None,
        states: Sequence[str] = END_STATES,
    ) -> None:
        super().__init__()
        if not _has_kafka_provider():
            raise ConfigurationError(
                f"{type(self).__name__} needs apache-airflow-providers-apache-kafka, which is not installed",
                hint="Install airflow-provider-ci[kafka]",
            )
        self.topics = topics
        self.kafka_config_id = kafka_config_id
        self.tag = tag
        self.bucket = bucket
        self.wanted = EndedJobFilter(input_prefix, states)
        raise_if_any(self._problems())

    def _problems(self) -> Iterator[Problem]:
        topics: object = self.topics
        # each character of a string would count as a topic
        is_list = isinstance(topics, list | tuple) and bool(topics)
        if not (is_list and all(isinstance(topic, str) and topic for topic in self.topics)):
            yield Problem("topics", topics, "a list of names of topics")
        if not (isinstance(self.kafka_config_id, str) and self.kafka_config_id):
            yield Problem("kafka_config_id", self.kafka_config_id, "a string that is not empty")
        for name in ("tag", "bucket"):
            value = getattr(self, name)
            if not (value is None or isinstance(value, str)):
                yield Problem(name, value, "a string")
        yield from self.wanted.problems()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and exactly the constructor's arguments, JSON-native."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "topics": sorted(self.topics),
                "kafka_config_id": self.kafka_config_id,
                **self._filter,
            },
        )

    def shared_stream_key(self) -> tuple[str, ...]:
        """Return what triggers have in common that share a consumer: all arguments."""
        return ("tencent_ci_kafka", json.dumps(self.serialize()[1], sort_keys=True))

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the source of events of a trigger with these arguments."""
        trigger = cls(**kwargs)
        return _Producer(trigger.topics, trigger.kafka_config_id, trigger._group_suffix)

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[list[EndedJobEvent]]
    ) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each job that is wanted."""
        async for events in shared_stream:
            for event in events:
                if self._wants(event):
                    yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    def _wants(self, event: EndedJobEvent) -> bool:
        is_named = self.tag in (None, event["tag"]) and self.bucket in (None, event["bucket"])
        return is_named and self.wanted.matches(event)

    @property
    def _filter(self) -> dict[str, Any]:
        return {
            "tag": self.tag,
            "bucket": self.bucket,
            "input_prefix": self.wanted.input_prefix,
            "states": sorted(self.wanted.states),
        }

    @property
    def _group_suffix(self) -> str:
        """The end of the consumer group's name: the same as long as the same jobs are wanted."""
        return hashlib.sha256(json.dumps(self._filter, sort_keys=True).encode()).hexdigest()[:8]


def _has_kafka_provider() -> bool:
    """Return whether it is installed, without loading Kafka's library into each DAG file."""
    try:
        return find_spec("airflow.providers.apache.kafka") is not None
    except ModuleNotFoundError:  # there is no airflow.providers.apache either
        return False


class _Producer(SharedStreamProducer):
    """What Airflow's shared stream needs, around the messages of one consumer group."""

    def __init__(self, topics: Sequence[str], kafka_config_id: str, group_suffix: str) -> None:
        self._topics = topics
        self._kafka_config_id = kafka_config_id
        self._group_suffix = group_suffix
        self._room = asyncio.Semaphore(_MAX_UNSTORED)
        self._messages: KafkaMessages | None = None

    async def open_stream(self) -> AsyncIterator[tuple[list[EndedJobEvent], Position]]:
        """Yield the jobs of each message, with its position for :meth:`advance`."""
        await load("airflow_provider_ci.triggers.kafka_messages")
        from airflow_provider_ci.triggers.kafka_messages import KafkaMessages

        self._messages = KafkaMessages(self._topics, self._kafka_config_id, self._group_suffix)
        async for events, position in self._messages.read():
            await self._room.acquire()
            yield events, position

    def get_advance_lane(self, broker_payload: Position) -> tuple[str, int]:
        """Return the partition: offsets are committed in the order of each."""
        return broker_payload.topic, broker_payload.partition

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Commit the offsets of messages whose events Airflow has stored."""
        assert self._messages is not None  # noqa: S101 - for the type checker
        stored = [*takewhile(lambda item: item.outcome.is_clean, batch)]
        if stored:
            await self._messages.commit(stored[-1].broker_payload)
        if len(stored) < len(batch):
            self._messages.give_back()
        for _ in batch:
            self._room.release()

    async def aclose(self) -> None:
        """Leave the consumer group."""
        if self._messages is not None:
            await self._messages.close()
