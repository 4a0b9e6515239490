"""Kafka brokers on loopback, which hold messages in memory: the one that librdkafka has for tests, which
speaks the real protocol and needs nothing else; and Tansu, where the program ``tansu`` is installed.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.patience import PATIENCE, wait_until

TANSU = shutil.which("tansu")
#: A consumer that was killed keeps its partitions this long
_SESSION_MILLISECONDS = 6000


@dataclass(frozen=True)
class KafkaBroker:
    """A running broker. Its topics have four partitions.

    :param address: for ``bootstrap.servers``; clients may be other processes.
    """

    address: str
    producer: Producer

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
            self.producer.produce(topic, body, partition=partition)
        assert self.producer.flush(PATIENCE) == 0

    def committed(self, topic: str, group: str, partition: int = 0) -> int:
        """Return the offset at which a consumer group would continue; negative if it has committed none."""
        with closing(Consumer({"bootstrap.servers": self.address, "group.id": group})) as reader:
            (found,) = reader.committed([TopicPartition(topic, partition)], timeout=PATIENCE)
            return int(found.offset)


@contextmanager
def librdkafka_broker() -> Iterator[KafkaBroker]:
    """Run a broker in this process."""
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0})
    (broker,) = producer.list_topics(timeout=PATIENCE).brokers.values()
    yield KafkaBroker(f"{broker.host}:{broker.port}", producer)  # it ends with the producer


@contextmanager
def tansu_broker(*topics: str) -> Iterator[KafkaBroker]:
    """Run Tansu, with these topics."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    url = f"tcp://{address}"
    arguments = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://x/"]
    process = subprocess.Popen(
        [str(TANSU), "broker", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _listens(address))
        admin = AdminClient({"bootstrap.servers": address})
        new = [NewTopic(topic, num_partitions=4, replication_factor=1) for topic in topics]
        for created in admin.create_topics(new).values():
            created.result(PATIENCE)
        yield KafkaBroker(address, Producer({"bootstrap.servers": address, "log_level": 0}))
    finally:
        process.kill()
        process.wait()


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), PATIENCE):
        return True
    return False
