"""Jobs of every type on the emulator: submitted once, waited for, cancelled, and what is said of them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_ci.exceptions import JobFailedError, JobTimeoutError, PermissionDeniedError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.protocol.job_types.known_types import JOB_TYPES
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from airflow_provider_ci.triggers.job import TencentCIJobTrigger
from tencent_ci_emulator.server import Emulator
from tests.dags.job_types import ORIGIN
from tests.dags.job_types import TAGS as KINDS
from tests.integration.airflow_runs import dags_in, tries, xcom
from tests.integration.virtual_time import emulator_in_virtual_time
from tests.job_inputs import store_inputs
from tests.job_samples import TAGS, UNKNOWN, has_all, job_of

pytestmark = pytest.mark.usefixtures("airflow_db")

#: A type of each service, and the call that opens it
SERVICES = {
    "Transcode": "mediabucket",
    "SpeechRecognition": "asrbucket",
    "Translation": "ai_bucket",
    "PicProcess": "picbucket",
    "FileHashCode": "file_bucket",
}


@pytest.fixture(scope="module")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(Path(__file__).resolve().parents[1] / "dags")


def store(emulator: Emulator, patch: pytest.MonkeyPatch, folder: Path) -> TencentCIHook:
    """Return a hook on the emulator, whose bucket holds the inputs of all jobs."""
    patch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()

    def put(key: str, content: bytes) -> None:
        path = folder / "object"
        path.write_bytes(content)
        hook.upload_file(path, key)

    store_inputs(put, folder)
    return hook


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Emulator, TencentCIHook]]:
    """An emulator in virtual time, in which jobs begin after a minute."""
    with pytest.MonkeyPatch.context() as patch, emulator_in_virtual_time(queue_seconds=60) as emulator:
        hook = store(emulator, patch, tmp_path_factory.mktemp("inputs"))
        yield emulator, hook
        hook.close()


@pytest.fixture
def hook(world: tuple[Emulator, TencentCIHook]) -> TencentCIHook:
    return world[1]


@pytest.fixture
def emulator(world: tuple[Emulator, TencentCIHook]) -> Emulator:
    """That emulator, without faults."""
    emulator = world[0]
    emulator.faults.clear()
    return emulator


def operator_of(tag: str, name: str, **arguments: Any) -> TencentCIJobOperator:
    job = job_of(tag, f"{name}/{tag}", ORIGIN)
    return TencentCIJobOperator(task_id="run", **{**job, "poll_interval": 20.0, **arguments})


def test_there_is_a_job_of_every_type() -> None:
    assert set(TAGS) == {*JOB_TYPES, UNKNOWN}


@pytest.mark.parametrize("tag", TAGS)
def test_a_lost_response_is_no_second_job(
    hook: TencentCIHook, emulator: Emulator, make_context: Callable[..., Any], tag: str
) -> None:
    before = len(emulator.ledger.accepted_jobs())
    emulator.faults.add("submit", nth=1, drop=True, when="after")
    context = make_context()
    operator = operator_of(tag, "lost", wait_for_completion=True)
    job_id = operator.execute(context)
    operator.hook.close()

    (accepted,) = emulator.ledger.accepted_jobs()[before:]
    assert accepted.job_id == job_id
    pushed = dict(context["ti"].xcoms)
    assert pushed["return_value"] == job_id
    result = pushed["job"]
    assert (result["job_id"], result["state"], result["tag"]) == (job_id, "Success", tag)
    assert result["input"]["object"] == operator.input_object
    assert result["result_is_complete"]
    (job,) = hook.describe_jobs([job_id]).jobs_detail
    assert job.operation is not None
    sent = operator.operation or {}
    assert has_all(job.operation, sent)
    if not str(job.message).startswith("not processed"):
        assert bool(result["outputs"]) == bool(sent.get("Output")), "the files are named"
        assert not result["other_objects"]
        for written in result["outputs"].values():
            assert hook.head_object(written["object"]).size, "and exist"


def test_deferred_tasks_of_every_type_are_polled_together(
    hook: TencentCIHook, emulator: Emulator, make_context: Callable[..., Any]
) -> None:
    waiting = []
    for tag in TAGS:
        context = make_context()
        operator = operator_of(tag, "deferred", deferrable=True, poll_interval=1)
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context)
        operator.hook.close()
        waiting.append((tag, context, deferred.value))
    hook.sleep(300)
    polled = emulator.ledger.count("describe")
    triggers = [deferral.trigger for *_, deferral in waiting]
    events = asyncio.run(first_events(triggers))
    assert emulator.ledger.count("describe") - polled <= len(TAGS) // 10 + 2, "ten in a request"
    for (tag, context, deferral), event in zip(waiting, events, strict=True):
        resumed = operator_of(tag, "deferred", deferrable=True, poll_interval=1)
        given = {**(deferral.kwargs or {}), "event": event}
        job_id = resumed.resume_execution(deferral.method_name, given, context)
        resumed.hook.close()
        pushed = dict(context["ti"].xcoms)
        assert (pushed["job"]["job_id"], pushed["job"]["tag"]) == (job_id, tag)
        assert pushed["job"]["state"] == "Success"


@pytest.mark.parametrize("tag", TAGS)
def test_a_job_that_waits_too_long_is_cancelled(
    hook: TencentCIHook, emulator: Emulator, make_context: Callable[..., Any], tag: str
) -> None:
    operator = operator_of(tag, "late", wait_for_completion=True, timeout=30)
    with pytest.raises(JobTimeoutError):
        operator.execute(make_context())
    operator.hook.close()
    assert hook.describe_jobs([str(operator.job_id)]).jobs_detail[0].state == "Cancel"


@pytest.mark.parametrize("tag", SERVICES)
def test_a_service_that_is_not_open_is_named(
    monkeypatch: pytest.MonkeyPatch, make_context: Callable[..., Any], tag: str
) -> None:
    with Emulator(unbound="MediaBucketUnBinded") as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
        operator = operator_of(tag, "closed")
        with pytest.raises(PermissionDeniedError) as refused:
            operator.execute(make_context())
        operator.hook.close()
        assert emulator.ledger.accepted_jobs() == []
    assert f"POST /{SERVICES[tag]} opens it" in str(refused.value)
    assert f'open_service("{SERVICES[tag].removesuffix("bucket")}")' in str(refused.value)


@pytest.mark.parametrize(
    ("tag", "result", "said"),
    [
        ("DigitalWatermark", {"DigitalWatermark": {"Message": "a", "State": "Failed"}}, "State is Failed"),
        (
            "VideoTag",
            {"VideoTagResult": {"StreamData": {"SubErrCode": "4001", "SubErrMsg": "no picture"}}},
            "SubErrCode is 4001 (no picture)",
        ),
    ],
)
def test_a_success_whose_result_is_a_failure_fails_the_task(
    hook: TencentCIHook,
    emulator: Emulator,
    make_context: Callable[..., Any],
    tag: str,
    result: dict[str, Any],
    said: str,
) -> None:
    emulator.faults.add("job", result=result)
    operator = operator_of(tag, "failed", wait_for_completion=True)
    with pytest.raises(JobFailedError, match=re.escape(said)):
        operator.execute(make_context())
    operator.hook.close()
    assert hook.describe_jobs([str(operator.job_id)]).jobs_detail[0].state == "Success"


def test_ten_long_transcripts_are_short_in_xcom_and_complete_in_the_hook(
    hook: TencentCIHook, emulator: Emulator, make_context: Callable[..., Any]
) -> None:
    text = "[0:0.020,0:2.600]  天气很好 & warm\n" * 30_000  # about a megabyte
    emulator.faults.add("job", result={"SpeechRecognitionResult": {"AudioTime": "9000", "Result": text}})
    operators = [operator_of("SpeechRecognition", f"long-{number}") for number in range(10)]
    for operator in operators:
        operator.execute(make_context())
        operator.hook.close()
    job_ids = [str(operator.job_id) for operator in operators]
    hook.sleep(300)

    trigger = TencentCIJobTrigger(job_ids=job_ids, poll_interval=1)
    (event,) = asyncio.run(first_events([trigger]))
    assert set(event["job_ids"]) == set(job_ids)
    sensor = TencentCIJobSensor(task_id="sense", job_id=job_ids)
    results = sensor.execute(make_context())
    sensor.hook.close()
    assert [result["job_id"] for result in results] == job_ids
    for result in results:
        assert not result["result_is_complete"]
        assert len(json.dumps(result)) < 64 * 1024
        assert result["result"]["SpeechRecognitionResult"]["AudioTime"] == "9000"
    complete = hook.job_result(job_ids[9])
    assert complete["result_is_complete"]
    assert complete["result"]["SpeechRecognitionResult"]["Result"] == text


async def first_events(triggers: Sequence[TencentCIJobTrigger]) -> list[Any]:
    """Return what triggers of one triggerer say when their jobs have ended."""

    async def first(trigger: TencentCIJobTrigger) -> Any:
        async for event in trigger.run():
            return event.payload
        raise AssertionError("a trigger ends with an event")

    return await asyncio.gather(*map(first, triggers))


def test_a_retry_continues_with_the_job_of_each_type(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    before = len(emulator.ledger.accepted_jobs())
    dag_run = dags["job_types"].test()
    assert dag_run.state == "success", tries(dag_run)
    job_ids = [job.job_id for job in emulator.ledger.accepted_jobs()[before:]]
    pushed = [xcom(dag_run, "run", map_index=index) for index in range(len(KINDS))]
    assert sorted(pushed) == sorted(job_ids), "one accepted job for each"
    assert {job_id[0] for job_id in job_ids} == set("jsacf")
    sensed = [(result["job_id"], result["tag"], result["state"]) for result in xcom(dag_run, "sense")]
    assert sensed == [(job_id, tag, "Success") for job_id, tag in zip(pushed, KINDS, strict=True)]
    assert {ti.try_number for ti in dag_run.get_task_instances() if ti.task_id == "run"} == {2}
