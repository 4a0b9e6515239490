"""Reads CI's messages about jobs from Kafka, in a consumer group that commits only what has been stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from airflow.providers.apache.kafka.hooks.consume import KafkaConsumerHook
from confluent_kafka import KafkaException, TopicPartition

from airflow_provider_ci.exceptions import InvalidCallbackError, TencentCIError
from airflow_provider_ci.protocol.callbacks import parse_callback
from airflow_provider_ci.protocol.ended_jobs import EndedJobEvent, ended_job_event

T = TypeVar("T")

_log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
#: Seconds before a failure is raised. Airflow then opens the stream again at once.
PAUSE_AFTER_FAILURE = 10.0
_DEFAULT_GROUP = "airflow-provider-ci"


class Position(NamedTuple):
    """The place of one message."""

    topic: str
    partition: int
    offset: int


class KafkaMessages:
    """The messages of some topics, for one consumer group.

    All calls of Kafka's library are made in a thread of their own, one after the other, because they block.

    :param group_suffix: follows the connection's ``group.id`` in the name of the consumer group.
    """

    def __init__(self, topics: Sequence[str], kafka_config_id: str, group_suffix: str) -> None:
        self._topics = list(topics)
        self._hook = _ConsumerHook(self._topics, kafka_config_id, group_suffix)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tencent-ci-kafka")
        self._consumer: Any = None
        self._is_given_back = False

    async def read(self) -> AsyncIterator[tuple[list[EndedJobEvent], Position]]:
        """Yield the jobs that have ended by each message, which may be none, and the message's position.

        :raises TencentCIError: reading failed, or messages were given back. Reading again continues with the
            first message whose offset has not been committed.
        """
        try:
            self._consumer = await self._call(self._hook.get_consumer)
            while not self._is_given_back:
                message = await self._call(self._poll)
                if message is not None:
                    yield message
        except Exception as error:
            await asyncio.sleep(PAUSE_AFTER_FAILURE)
            raise TencentCIError(
                f"Reading {self._names} from Kafka failed: {error}",
                hint="Check bootstrap.servers, user, topics and group of the connection. It is tried again",
            ) from None
        await asyncio.sleep(PAUSE_AFTER_FAILURE)
        raise TencentCIError(
            f"Airflow has not stored an event of a message in {self._names} of Kafka, which is read again",
            hint="Check the load of Airflow's database",
        )

    def give_back(self) -> None:
        """Commit nothing more, and end :meth:`read`: messages since the last commit are to be read again."""
        self._is_given_back = True

    async def commit(self, last: Position) -> None:
        """Note that the messages of a partition need not be read again, up to and with this one.

        :raises KafkaException: the broker refuses, for instance because another triggerer reads the
            partition now.
        """
        if not self._is_given_back:
            following = TopicPartition(last.topic, last.partition, last.offset + 1)
            await self._call(lambda: self._consumer.commit(offsets=[following], asynchronous=False))

    async def close(self) -> None:
        """Leave the consumer group."""
        if self._consumer is not None:
            await self._call(self._consumer.close)
        self._thread.shutdown(wait=False)

    @property
    def _names(self) -> str:
        return ", ".join(self._topics)

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _poll(self) -> tuple[list[EndedJobEvent], Position] | None:
        message = self._consumer.poll(_POLL_SECONDS)
        if message is None:
            return None
        error = message.error()
        if error is None:
            position = Position(message.topic(), message.partition(), message.offset())
            return _ended_jobs(message.value(), position), position
        if error.fatal():
            raise KafkaException(error)
        _log.warning(
            "Kafka reports for %s: %s. Reading continues; check topics and brokers", self._names, error
        )
        return None


class _ConsumerHook(KafkaConsumerHook):  # type: ignore[misc]
    """The consumer of a connection, with what makes reading at least once."""

    def __init__(self, topics: Sequence[str], kafka_config_id: str, group_suffix: str) -> None:
        super().__init__(topics=topics, kafka_config_id=kafka_config_id)
        self._group_suffix = group_suffix

    def _get_client(self, config: dict[str, Any]) -> Any:
        group = f"{config.get('group.id', _DEFAULT_GROUP)}-{self._group_suffix}"
        _log.info("Reading %s from Kafka in the consumer group %s", ", ".join(self.topics), group)
        # By Kafka's own default, a consumer that dies before its first commit would lose what came meanwhile
        config = {"auto.offset.reset": "earliest", **config}
        required = {"group.id": group, "enable.auto.commit": False, "enable.partition.eof": False}
        return super()._get_client(config | required)


def _ended_jobs(body: bytes | None, position: Position) -> list[EndedJobEvent]:
    """Return the jobs that have ended by a message; none of one that cannot be read, or has no body."""
    try:
        jobs = parse_callback(body or b"").jobs
    except InvalidCallbackError as error:
        _log.warning(
            "Message %d of %s[%d] in Kafka is skipped. Find out who sent it, if not CI: %s",
            position.offset,
            *position[:2],
            error,
        )
        return []
    return [ended_job_event(job) for job in jobs if job.job_id and job.job_state.is_terminal]
