"""A Kafka broker on loopback: the one that librdkafka has for tests, which speaks the real protocol."""

from __future__ import annotations

import json
from types import TracebackType

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.patience import PATIENCE

#: A consumer that was killed keeps its partitions this long
_SESSION_MILLISECONDS = 6000


class KafkaBroker:
    """Runs in this process as long as the ``with`` block lasts, and holds messages in memory.

    :ivar address: for ``bootstrap.servers``; consumers may be other processes.
    """

    def __init__(self) -> None:
        self._producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0})
        (broker,) = self._producer.list_topics(timeout=PATIENCE).brokers.values()
        self.address = f"{broker.host}:{broker.port}"

    def __enter__(self) -> KafkaBroker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._producer  # the broker ends with it

    @property
    def connection(self) -> str:
        """An Airflow connection to it, as JSON."""
        extra = {
            "bootstrap.servers": self.address,
            "group.id": "airflow",
            "session.timeout.ms": _SESSION_MILLISECONDS,
        }
        return json.dumps({"conn_type": "kafka", "extra": extra})

    def send(self, topic: str, *bodies: bytes | str | None, partition: int = 0) -> None:
        """Send messages, and wait until they are there."""
        for body in bodies:
            self._producer.produce(topic, body, partition=partition)
        assert self._producer.flush(PATIENCE) == 0

    def committed(self, topic: str, group: str, partition: int = 0) -> int:
        """Return the offset at which a consumer group would continue; negative if it has committed none."""
        reader = Consumer({"bootstrap.servers": self.address, "group.id": group})
        try:
            (found,) = reader.committed([TopicPartition(topic, partition)], timeout=PATIENCE)
            return int(found.offset)
        finally:
            reader.close()
