"""What the emulator really posts is what ``parse_callback`` reads; the code of docs/events.md works."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.exceptions import InvalidCallbackError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.protocol.callbacks import parse_callback
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.results import job_result
from tencent_ci_emulator.server import Emulator
from tests.emulator.receiver import Receiver
from tests.patience import wait_until
from tests.recording import SHORT

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")
(READING,) = re.findall(
    r"<!-- run by: tests/integration/test_callbacks\.py -->\n```python\n(.*?)```", PAGE, re.DOTALL
)


@pytest.fixture
def hook(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[TencentCIHook]:
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    hook.upload_file(SHORT, "in/mix.mp3")
    yield hook
    hook.close()


Submit = Callable[..., str]


@pytest.fixture
def submit(hook: TencentCIHook, make_context: Callable[..., Any]) -> Iterator[Submit]:
    """Return a function that submits a job by the operator, with its callback arguments, and gives its id."""
    made: list[VoiceSeparateOperator] = []

    def submit(key: str = "in/mix.mp3", **arguments: Any) -> str:
        usual = {"audio_mode": "IsAudio", "voice_object": "out/${jobid}/voice.${ext}"}
        made.append(VoiceSeparateOperator(task_id="submit", input_object=key, **usual, **arguments))
        return made[-1].execute(make_context())

    yield submit
    for operator in made:
        operator.hook.close()


def described(hook: TencentCIHook, job_id: str) -> Job:
    (job,) = hook.describe_jobs([job_id]).jobs_detail
    return job


def without_empty_elements(job: Job) -> Job:
    """JSON has an empty list where XML has no element."""

    def without_empty(tree: Any) -> Any:
        if isinstance(tree, Mapping):
            return {name: without_empty(value) for name, value in tree.items() if value not in ("", [])}
        return [*map(without_empty, tree)] if isinstance(tree, list) else tree

    return replace(job, operation=without_empty(job.operation))


@pytest.mark.parametrize(("key", "state"), [("in/mix.mp3", "Success"), ("in/absent.mp3", "Failed")])
@pytest.mark.parametrize(("form", "first"), [("XML", b"<"), ("JSON", b"{"), (None, b"<")])
def test_a_callback_says_what_a_description_says(
    hook: TencentCIHook,
    submit: Submit,
    emulator: Emulator,
    key: str,
    state: str,
    form: str | None,
    first: bytes,
) -> None:
    with Receiver() as receiver:
        job_id = submit(key, callback_url=f"{receiver.url}/ci", callback_type="Url", callback_format=form)
        wait_until(lambda: emulator.ledger.callbacks(job_id))
        (received,) = receiver.received
    assert received.body.startswith(first)
    callback = parse_callback(received.body)
    assert callback.event_name == "TaskFinish"
    assert callback.job_ids == (job_id,)
    (job,) = callback.jobs
    assert job.state == state
    wait_until(lambda: described(hook, job_id).job_state.is_terminal)
    assert without_empty_elements(job) == without_empty_elements(described(hook, job_id))
    assert bool(job_result(job)["outputs"]) is (state == "Success")


@pytest.mark.parametrize("form", ["XML", "JSON"])
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("TDMQ", {"callback_mq_config": {"mq_region": "gz", "mq_mode": "Topic", "mq_name": "mine"}}),
        (
            "Kafka",
            {
                "callback_kafka_config": {
                    "region": "ap-guangzhou",
                    "instance_id": "ckafka-1",
                    "topic": "mine",
                }
            },
        ),
    ],
)
def test_a_message_for_a_queue(
    submit: Submit, emulator: Emulator, kind: str, config: dict[str, Any], form: str
) -> None:
    job_id = submit("in/absent.mp3", callback_type=kind, callback_format=form, **config)
    wait_until(lambda: emulator.ledger.callbacks(job_id))
    (record,) = emulator.ledger.callbacks(job_id)
    assert (record.kind, record.format) == (kind, form)
    assert record.target in ("gz/Topic/mine", "ap-guangzhou/ckafka-1/mine")
    assert parse_callback(record.body.encode()).job_ids == (job_id,)


def test_the_snippet_that_reads_them_believes_only_the_service(
    hook: TencentCIHook, submit: Submit, emulator: Emulator
) -> None:
    names: dict[str, Any] = {}
    exec(READING, names)
    ended = names["ended"]
    with Receiver() as receiver:
        job_id = submit(callback_url=receiver.url, callback_format="JSON")
        wait_until(lambda: emulator.ledger.callbacks(job_id))
        body = receiver.received[0].body
    wait_until(lambda: described(hook, job_id).job_state.is_terminal)
    assert ended(body, {job_id}) == [described(hook, job_id)]
    assert ended(body, set()) == [], "a job of somebody else"
    with pytest.raises(InvalidCallbackError):
        ended(b"job done", {job_id})


def test_the_snippet_does_not_fall_for_a_forged_callback(
    monkeypatch: pytest.MonkeyPatch, submit: Submit
) -> None:
    names: dict[str, Any] = {}
    exec(READING, names)
    with Emulator(queue_seconds=600) as slow:
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(slow.connection))
        job_id = submit()
        forged = json.dumps(
            {"JobsDetail": [{"JobId": i, "State": "Success"} for i in (job_id, "jother", "../x")]}
        )
        assert names["ended"](forged.encode(), {job_id}) == []
        assert slow.ledger.count("describe") == 1
