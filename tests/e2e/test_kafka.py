"""Messages of the emulator in Kafka become events, read by Airflow's shared streams from a broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.airflow_version import HAS_SHARED_STREAMS

pytest.importorskip("confluent_kafka", reason="airflow-provider-ci[kafka] is not installed")
if not HAS_SHARED_STREAMS:
    pytest.skip("watchers share streams from Airflow 3.3 on", allow_module_level=True)

from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome, SharedStreamManager

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.ended_jobs import ended_job_event
from airflow_provider_ci.triggers import kafka_messages
from airflow_provider_ci.triggers.kafka import TencentCIKafkaJobsEndedTrigger
from airflow_provider_ci.triggers.kafka_messages import Position
from tests.job_samples import request_of
from tests.kafka_broker import TANSU, KafkaBroker, librdkafka_broker, tansu_broker
from tests.patience import PATIENCE, SOON, wait_until

needs_tansu = pytest.mark.skipif(TANSU is None, reason="the program tansu is not installed")


@pytest.fixture(params=["librdkafka", pytest.param("tansu", marks=needs_tansu)])
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[KafkaBroker]:
    monkeypatch.setattr(kafka_messages, "PAUSE_AFTER_FAILURE", 0.0)
    with librdkafka_broker() if request.param == "librdkafka" else tansu_broker("jobs") as running:
        monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", running.connection)
        yield running


def message(number: int, **detail: Any) -> str:
    """Return a message about the job of this number."""
    job = {
        "JobId": f"j{number:032x}",
        "State": "Success",
        "Tag": "VoiceSeparate",
        "Input": {"BucketId": "media-1250000001", "Region": "ap-guangzhou", "Object": f"in/{number}.mp3"},
    }
    return json.dumps({"EventName": "TaskFinish", "JobsDetail": [{**job, **detail}]})


@dataclass
class Triggerer:
    """Runs a trigger as Airflow's triggerer does, and stores its events: those in ``stored``.

    :param stores: whether an event is stored; one that is not, the triggerer has taken to its grave.
    """

    stored: list[dict[str, Any]]
    stores: Callable[[dict[str, Any]], bool] = lambda _event: True
    manager: SharedStreamManager = field(default_factory=SharedStreamManager)

    async def run(self, trigger: TencentCIKafkaJobsEndedTrigger, trigger_id: int = 1) -> None:
        key = trigger.shared_stream_key()
        stream = self.manager.subscribe(trigger_id=trigger_id, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                number = self.manager.bind_pending_event(trigger_id=trigger_id, key=key)
                assert number is not None
                if self.stores(event.payload):
                    self.stored.append(json.loads(json.dumps(event.payload)))
                    self.manager.confirm_persisted([number])
        finally:
            await self.manager.unsubscribe(trigger_id, key)

    @asynccontextmanager
    async def running(self, trigger: TencentCIKafkaJobsEndedTrigger) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.run(trigger))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.manager.stop_all()


async def until(condition: Callable[[], object], *tasks: asyncio.Task[None]) -> None:
    """Wait until a condition holds, as long as the tasks run."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)


def read(trigger: TencentCIKafkaJobsEndedTrigger, count: int) -> list[dict[str, Any]]:
    """Return the first events of a trigger, and let the triggerer end well."""

    async def main() -> None:
        async with triggerer.running(trigger) as task:
            await until(lambda: len(triggerer.stored) >= count, task)

    triggerer = Triggerer([])
    asyncio.run(main())
    return triggerer.stored


def ids(events: list[dict[str, Any]]) -> list[int]:
    return [int(event["job_id"][1:], 16) for event in events]


def group(trigger: TencentCIKafkaJobsEndedTrigger) -> str:
    return f"airflow-{trigger._group_suffix}"


def test_messages_of_the_service_become_events(broker, emulator, monkeypatch):
    """Those of a type with an input, of one without, and of one whose job is an object in JSON."""
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    job_ids = []
    for tag in ("VoiceSeparate", "Tts", "NoiseReduction"):
        for callback_format in ("XML", "JSON"):
            request = request_of(tag, "in/none.mp3", emulator.bucket, emulator.region) | {
                "CallBackType": "Kafka",
                "CallBackFormat": callback_format,
                "CallBackKafkaConfig": {"Region": "ap-guangzhou", "InstanceId": "ckafka-1", "Topic": "jobs"},
            }
            job, _ = hook.submit_job(request)
            job_ids.append(str(job.job_id))
    wait_until(lambda: len(emulator.ledger.callbacks()) == len(job_ids))
    for sent in emulator.ledger.callbacks():
        assert (sent.kind, sent.target) == ("Kafka", "ap-guangzhou/ckafka-1/jobs")
        broker.send("jobs", sent.body)
    events = read(TencentCIKafkaJobsEndedTrigger(["jobs"]), len(job_ids))
    expected = [ended_job_event(job) for job in hook.describe_jobs(job_ids).jobs_detail]
    assert sorted(events, key=str) == sorted(expected, key=str)
    assert {event["job_id"] for event in events} == {*job_ids}


def test_only_wanted_jobs_become_events(broker):
    """Each trigger has a consumer of its own, and all run beside each other."""
    other = {"BucketId": "other-1250000001", "Object": "in/3.mp3"}
    broker.send(
        "jobs",
        message(1, State="Failed", Code="InternalError", Message="x"),
        message(2, Tag="Transcode"),
        message(3, Input=other),
        message(4, Input={"BucketId": "media-1250000001", "Object": "talks/4.mp3"}),
        message(5, Input={**other, "Object": "talks/5.mp3"}, Tag="Transcode", State="Failed"),
    )
    wanted: dict[int, tuple[dict[str, Any], list[int]]] = {
        1: ({}, [1, 2, 3, 4, 5]),
        2: ({"tag": "Transcode"}, [2, 5]),
        3: ({"bucket": "other-1250000001"}, [3, 5]),
        4: ({"input_prefix": "talks/"}, [4, 5]),
        5: ({"states": ["Failed"]}, [1, 5]),
    }
    triggerers = {number: Triggerer([]) for number in wanted}

    async def main() -> None:
        async with AsyncExitStack() as stack:
            for number, (arguments, _) in wanted.items():
                trigger = TencentCIKafkaJobsEndedTrigger(["jobs"], **arguments)
                await stack.enter_async_context(triggerers[number].running(trigger))
            await until(lambda: all(5 in ids(triggerer.stored) for triggerer in triggerers.values()))

    asyncio.run(main())
    assert {number: ids(triggerer.stored) for number, triggerer in triggerers.items()} == {
        number: numbers for number, (_, numbers) in wanted.items()
    }


def test_messages_that_say_nothing_of_an_ended_job_are_passed_over_and_read_once(broker, caplog):
    broker.send(
        "jobs",
        b"\x00garbage",
        "<Response>",
        None,
        message(1, State="Running"),
        message(1, State="Unheard"),
        '{"EventName": "TaskFinish", "JobsDetail": [{"State": "Success"}]}',
        '{"EventName": "WorkflowFinish", "WorkflowExecution": {"RunId": "i1", "State": "Success"}}',
        message(2),
    )
    trigger = TencentCIKafkaJobsEndedTrigger(["jobs"])
    assert ids(read(trigger, 1)) == [2]
    skipped = [record.getMessage() for record in caplog.records if "is skipped" in record.getMessage()]
    assert [text.partition(" is skipped. ")[0] for text in skipped] == [
        f"Message {offset} of jobs[0] in Kafka" for offset in range(3)
    ]
    assert broker.committed("jobs", group(trigger)) == 8


def test_what_airflow_has_not_stored_comes_again_and_what_it_has_stored_does_not(broker):
    broker.send("jobs", *map(message, range(10)))
    trigger = TencentCIKafkaJobsEndedTrigger(["jobs"])
    seen: list[int] = []

    def stores_four(event: dict[str, Any]) -> bool:
        seen.extend(ids([event]))
        return len(seen) <= 4

    async def die_in_the_middle() -> None:
        async with Triggerer(stored, stores_four).running(trigger) as task:
            await until(lambda: len(seen) == 10, task)
            await until(lambda: broker.committed("jobs", group(trigger)) == 4, task)

    stored: list[dict[str, Any]] = []
    asyncio.run(die_in_the_middle())
    assert ids(stored) == [0, 1, 2, 3]
    assert ids(read(trigger, 6)) == [4, 5, 6, 7, 8, 9]


def test_an_event_that_is_not_stored_in_time_is_read_again_by_the_next_stream(broker):
    """Not only by the next triggerer: Airflow starts a trigger that has failed again."""
    broker.send("jobs", *map(message, range(3)))
    trigger = TencentCIKafkaJobsEndedTrigger(["jobs"])
    seen: list[int] = []

    def stores_one(event: dict[str, Any]) -> bool:
        seen.extend(ids([event]))
        return seen == [0]

    async def fail() -> None:
        manager = SharedStreamManager(ack_timeout=0.5)
        async with Triggerer(stored, stores_one, manager).running(trigger) as task:
            await asyncio.wait([task], timeout=PATIENCE)
            assert "AckTimeout" in repr(task.exception())

    stored: list[dict[str, Any]] = []
    asyncio.run(fail())
    assert ids(stored) == [0]
    assert ids(read(trigger, 2)) == [1, 2]


def test_nothing_is_committed_after_a_message_that_was_not_stored(broker):
    """Otherwise the offset of a later one would say that this one need not be read again."""
    broker.send("jobs", *map(message, range(4)))
    trigger = TencentCIKafkaJobsEndedTrigger(["jobs"])
    acked, failed = AdvanceOutcome(acked=1, failed=0), AdvanceOutcome(acked=0, failed=1)

    async def main() -> None:
        producer = trigger.create_shared_stream_producer(trigger.serialize()[1])
        stream = producer.open_stream()
        try:
            positions = [(await anext(stream))[1] for _ in range(4)]
            assert positions == [Position("jobs", 0, offset) for offset in range(4)]
            first, second, third, fourth = positions
            await producer.advance(
                [AdvanceItem(first, acked), AdvanceItem(second, failed), AdvanceItem(third, acked)]
            )
            await producer.advance([AdvanceItem(fourth, acked)])
            with pytest.raises(TencentCIError, match="has not stored an event of a message in jobs"):
                await anext(stream)
        finally:
            await producer.aclose()

    asyncio.run(main())
    assert broker.committed("jobs", group(trigger)) == 1


def test_so_many_messages_are_read_before_airflow_has_stored_the_first(broker):
    """As many may come twice when a triggerer dies, or partitions are assigned again."""
    broker.send("jobs", *map(message, range(101)))
    trigger = TencentCIKafkaJobsEndedTrigger(["jobs"])

    async def main() -> None:
        producer = trigger.create_shared_stream_producer(trigger.serialize()[1])
        stream = producer.open_stream()
        try:
            first, *_ = [(await anext(stream))[1] for _ in range(100)]
            last = asyncio.ensure_future(anext(stream))
            assert await asyncio.wait([last], timeout=SOON) == (set(), {last})
            await producer.advance([AdvanceItem(first, AdvanceOutcome(acked=1, failed=0))])
            assert (await last)[1] == Position("jobs", 0, 100)
        finally:
            await producer.aclose()

    asyncio.run(main())


def test_each_of_two_triggerers_reads_all_messages_for_its_trigger(broker):
    broker.send("jobs", *map(message, range(20)))
    broker.send("jobs", *map(message, range(20, 40)), partition=1)
    triggers = [
        TencentCIKafkaJobsEndedTrigger(["jobs"]),
        TencentCIKafkaJobsEndedTrigger(["jobs"], tag="VoiceSeparate"),
    ]
    stored: list[list[dict[str, Any]]] = [[], []]

    async def main() -> None:
        async with (
            Triggerer(stored[0]).running(triggers[0]) as first,
            Triggerer(stored[1]).running(triggers[1]) as second,
        ):
            await until(lambda: min(map(len, stored)) >= 40, first, second)

    asyncio.run(main())
    assert [sorted(ids(each)) for each in stored] == [[*range(40)]] * 2


def test_a_backlog_does_not_outrun_airflow(broker):
    """Airflow ends a trigger that falls more messages behind than its queue has room for."""
    broker.send("jobs", *map(message, range(3000)))
    trigger = TencentCIKafkaJobsEndedTrigger(["jobs"])
    assert ids(read(trigger, 3000)) == [*range(3000)]


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({}, "Reading jobs from Kafka failed: config['bootstrap.servers'] must be provided."),
        ({"bootstrap.servers": "127.0.0.1:9", "no.such": "x"}, "Reading jobs from Kafka failed: KafkaError"),
    ],
)
def test_a_connection_that_cannot_work_is_an_error(broker, monkeypatch, extra, reason):
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps({"conn_type": "kafka", "extra": extra}))

    async def main() -> None:
        async with Triggerer([]).running(TencentCIKafkaJobsEndedTrigger(["jobs"])) as task:
            await asyncio.wait([task], timeout=PATIENCE)
            with pytest.raises(TencentCIError) as failed:
                task.result()
            assert str(failed.value).startswith(reason)

    asyncio.run(main())
