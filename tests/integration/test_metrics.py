"""What DAGs in real Airflow (``dag.test()``) send to a StatsD server on loopback, with the emulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from tencent_ci_emulator.clock import VirtualClock
from tests.airflow_version import HAS_CALLBACK_ENDPOINT
from tests.conftest import Logs
from tests.integration.airflow_runs import dags_in
from tests.integration.virtual_time import emulator_in_virtual_time
from tests.recording import SHORT
from tests.statsd_receiver import StatsdReceiver, send_stats_to, statsd_receiver

pytestmark = pytest.mark.usefixtures("airflow_db")

VOICE = "job_type=VoiceSeparate"


@pytest.fixture(scope="session")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(Path(__file__).resolve().parents[1] / "dags")


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsdReceiver]:
    with emulator_in_virtual_time() as emulator, statsd_receiver() as receiver:
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
        hook = TencentCIHook()
        for key in ("in/speech_over_music.mp3", "in/b.mp3"):
            hook.upload_file(SHORT, key)
        hook.close()
        send_stats_to(receiver.port, monkeypatch)
        yield receiver


def test_a_job_that_a_retry_finds_again(dags: dict[str, Any], received: StatsdReceiver) -> None:
    assert dags["accepted_deferrable"].test().state == "success"
    counted = received.provider_counters()
    assert counted[f"jobs_found_again,{VOICE},kind=job"] == 1
    assert counted[f"jobs_ended,{VOICE},state=Success"] == 1
    assert f"job_seconds,{VOICE},state=Success" in counted
    assert counted["requests.submit_the_job"] == 1
    assert counted["requests.list_jobs"] >= 1


@pytest.mark.skipif(not HAS_CALLBACK_ENDPOINT, reason="the endpoint needs Airflow 3.3")
@pytest.mark.parametrize("seconds", [60, 600])
def test_a_job_whose_callback_never_came(
    make_context: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    logs: Logs,
    seconds: int,
) -> None:
    """A poll finds it some time after its end: long after it is said in the log, and counted."""
    context = make_context()
    settings = {"queue_seconds": 30, "run_seconds": 30}
    with emulator_in_virtual_time(**settings) as emulator, statsd_receiver() as receiver:
        connection = json.loads(json.dumps(emulator.connection))
        connection["extra"] |= {
            "callback_base_url": "https://airflow.example.com",
            "callback_secret": "the-callback-secret-of-the-tests-00",
            "callback_poll_interval": 1,
        }
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(connection))
        send_stats_to(receiver.port, monkeypatch)
        operator = VoiceSeparateOperator(
            task_id="separate",
            input_object="in/a.mp3",
            voice_object="out/a.mp3",
            codec="mp3",
            audio_mode="IsAudio",
            callback_url="auto",
            deferrable=True,
            poll_interval=0.1,
        )
        operator.hook.upload_file(SHORT, "in/a.mp3")
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context)
        trigger = deferred.value.trigger
        assert isinstance(emulator.clock, VirtualClock)
        emulator.clock.advance(60 + seconds)

        async def event() -> Any:
            (fired,) = [fired async for fired in trigger.run()]
            return fired.payload

        job_id = operator.execute_complete(context, asyncio.run(event()))
        operator.hook.close()
        said = [line for line in logs.at("warning") if "no callback had resumed the task" in line]
        assert [line.partition(" before")[0] for line in said] == [f"Job {job_id} ended 600 s"] * (
            seconds == 600
        )
        assert receiver.provider_counters().get("callbacks_missed", 0) == (seconds == 600)


def test_a_batch_job_and_its_jobs(dags: dict[str, Any], received: StatsdReceiver) -> None:
    assert dags["batch_plain_deferrable"].test().state == "success"
    counted = received.provider_counters()
    assert counted[f"jobs_submitted,{VOICE},kind=batch_job"] == 1
    assert counted[f"jobs_ended,{VOICE},state=Success"] == 2
    assert counted["requests.describe_the_batch_job"] >= 1


def test_a_sensor_counts_the_jobs_that_it_has_waited_for(
    dags: dict[str, Any], received: StatsdReceiver
) -> None:
    """As the operators do that wait: here, two of them and one sensor."""
    assert dags["all_deferred"].test().state == "success"
    counted = received.provider_counters()
    assert counted[f"jobs_submitted,{VOICE},kind=job"] == 2
    assert counted[f"jobs_ended,{VOICE},state=Success"] == 4
    assert counted["requests.describe_jobs"] >= 3


def test_a_bulk_task_whose_first_try_died(dags: dict[str, Any], received: StatsdReceiver) -> None:
    """Its retry finds the jobs that were accepted, and sees all of them end."""
    with TencentCIHook() as hook:
        for number in range(20):
            hook.upload_file(SHORT, f"in/{number:02}.mp3")
    assert dags["bulk_dies"].test().state == "success"
    counted = received.provider_counters()
    assert counted[f"jobs_submitted,{VOICE},kind=job"] == 20
    assert counted[f"jobs_found_again,{VOICE},kind=job"] == 20
    assert counted[f"jobs_ended,{VOICE},state=Success"] == 20
    assert f"suspected_duplicates,{VOICE},kind=job" not in counted
