"""Waiting for a batch job in the triggerer, over real HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import JobNotFoundError
from airflow_provider_ci.hooks import aio
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.triggers import events
from airflow_provider_ci.triggers.batch import TencentCIBatchTrigger
from airflow_provider_ci.triggers.job import REFUSALS_TOLERATED
from tests.conftest import CREDENTIALS, Logs
from tests.patience import PATIENCE
from tests.scripted_server import Answer, ScriptedServer, error, hang, hang_up, http, job_xml, jobs

STARTED_AT = time.time()
NONE = jobs()
GOING_ON = jobs(job_xml("j1", "Running"))
ENDED = jobs(job_xml("j1", "Success"))


def batch(state: str) -> Answer:
    return jobs(job_xml("b1", state))


@pytest.fixture(autouse=True)
def no_lag(mocker: MockerFixture) -> None:
    """A job list that never lags."""
    mocker.patch("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.0)
    mocker.patch("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", 0.0)


@pytest.fixture
def make_trigger(
    server: ScriptedServer, connection: Callable[..., str]
) -> Callable[..., TencentCIBatchTrigger]:
    def make(**arguments: Any) -> TencentCIBatchTrigger:
        connection(server.url, max_attempts=1, read_timeout=PATIENCE)
        return TencentCIBatchTrigger(**({"job_ids": ["b1"], "poll_interval": 0.01} | arguments))

    return make


def fired(trigger: TencentCIBatchTrigger) -> dict[str, Any]:
    async def main() -> Any:
        (event,) = [event async for event in trigger.run()]
        return event.payload

    payload: dict[str, Any] = asyncio.run(main())
    return payload


def test_it_fires_when_the_batch_and_its_jobs_have_ended(
    make_trigger: Callable[..., TencentCIBatchTrigger], server: ScriptedServer, logs: Logs
) -> None:
    server.play(batch("Submitted"), batch("Running"), batch("Success"), GOING_ON, GOING_ON, NONE, ENDED)
    assert fired(make_trigger(started_at=STARTED_AT)) == {
        "status": "ended",
        "job_ids": ["b1"],
        "job_count": 1,
        "deadline": None,
        "started_at": STARTED_AT,
    }
    assert [sent.path for sent in server.requests] == ["/inventorytriggerjob/b1"] * 3 + ["/jobs"] * 4
    assert server.requests[3].params == {
        "tag": "VoiceSeparate",
        "inventoryTriggerJobId": "b1",
        "states": "Submitted,Running,Pause",
        "orderByTime": "Desc",
        "size": "1",
    }
    assert all(sent.is_signed_with(CREDENTIALS.secret_key) for sent in server.requests)
    assert [line for line in logs.at("info") if line.startswith("Job ")] == [
        "Job b1: Submitted",
        "Job b1: Running",
        "Job b1: Success",
    ]


def test_it_looks_for_jobs_of_the_batchs_type(
    make_trigger: Callable[..., TencentCIBatchTrigger], server: ScriptedServer
) -> None:
    server.play(batch("Success"), NONE, ENDED)
    assert fired(make_trigger(tag="Tts"))["status"] == "ended"
    assert [sent.params.get("tag") for sent in server.requests] == [None, "Tts", "Tts"]


@pytest.mark.parametrize("state", ["Failed", "Cancel"])
def test_a_batch_without_success_ends_the_wait_at_once(
    make_trigger: Callable[..., TencentCIBatchTrigger], server: ScriptedServer, state: str
) -> None:
    server.play(batch(state))
    assert fired(make_trigger())["status"] == "ended"


def test_the_job_list_is_read_some_seconds_after_the_end_of_the_batch(
    make_trigger: Callable[..., TencentCIBatchTrigger],
    server: ScriptedServer,
    mocker: MockerFixture,
) -> None:
    mocker.patch("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.3)
    server.play(batch("Success"), NONE, ENDED)
    fired(make_trigger(poll_interval=0.05))
    described, listed, _ = server.requests
    assert listed.at - described.at >= 0.25


def test_an_empty_job_list_is_not_believed_at_once(
    make_trigger: Callable[..., TencentCIBatchTrigger],
    server: ScriptedServer,
    mocker: MockerFixture,
) -> None:
    mocker.patch("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", 60.0)
    server.play(batch("Success"), NONE, NONE, GOING_ON, NONE, ENDED)
    assert fired(make_trigger())["status"] == "ended"
    assert len(server.requests) == 6


def test_a_batch_without_input_ends_after_the_grace_period(
    make_trigger: Callable[..., TencentCIBatchTrigger],
    server: ScriptedServer,
    mocker: MockerFixture,
) -> None:
    mocker.patch("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", 0.3)
    server.always("GET", lambda sent: NONE if sent.path == "/jobs" else batch("Success"))
    begin = time.monotonic()
    fired(make_trigger(poll_interval=0.05))
    assert time.monotonic() - begin >= 0.3


def test_outages_and_ten_refusals_are_tolerated(
    make_trigger: Callable[..., TencentCIBatchTrigger], server: ScriptedServer
) -> None:
    outage = [hang_up(), error(503, "SlowDown"), http("<html>", 404)] * 4
    server.play(*outage, batch("Success"), error(503, "SlowDown"), NONE, ENDED)
    assert fired(make_trigger())["status"] == "ended"
    server.play(*[error(403, "AccessDenied")] * (REFUSALS_TOLERATED + 1))
    event = fired(make_trigger())
    assert (event["status"], event["error"], event["details"]["code"]) == (
        "error",
        "PermissionDeniedError",
        "AccessDenied",
    )
    assert "job b1" in str(events.parse_event(event).error)


def test_failed_polls_lengthen_the_pauses(
    make_trigger: Callable[..., TencentCIBatchTrigger], server: ScriptedServer, logs: Logs
) -> None:
    bad = error(500, "InternalError")
    server.play(bad, bad, bad, batch("Running"), bad, batch("Success"), NONE, ENDED)
    fired(make_trigger(poll_interval=0.05))
    pauses = [later.at - earlier.at for earlier, later in pairwise(server.requests[:6])]
    for pause, least in zip(pauses, [0.1, 0.2, 0.4, 0.2, 0.4], strict=True):
        assert pause >= least * 0.9
    assert (
        len([line for line in logs.at("warning") if line.startswith("Poll failed")]) == 2
    )  # one for each of two outages


def test_the_service_may_ask_for_a_longer_pause(
    make_trigger: Callable[..., TencentCIBatchTrigger], server: ScriptedServer
) -> None:
    server.play(error(503, "SlowDown", retry_after="1"), batch("Success"), NONE, ENDED)
    fired(make_trigger(poll_interval=0.01))
    refused, asked_again, _, _ = (request.at for request in server.requests)
    assert asked_again - refused >= 0.9


def test_a_connection_that_cannot_be_looked_up_for_a_moment_is_an_outage(
    make_trigger: Callable[..., TencentCIBatchTrigger],
    server: ScriptedServer,
    mocker: MockerFixture,
) -> None:
    trigger, load, failing = make_trigger(), aio.load_settings, [True, False, True]

    async def load_or_fail(conn_id: str) -> ConnectionSettings:
        if failing and failing.pop(0):
            raise RuntimeError("the API server restarts")
        return await load(conn_id)

    mocker.patch.object(aio, "load_settings", load_or_fail)
    mocker.patch("airflow_provider_ci.triggers.settings.LOOKUP_PAUSE", 0.0)
    server.play(hang_up(), batch("Success"), NONE, ENDED)
    assert fired(trigger)["status"] == "ended"


def test_triggers_that_start_together_load_the_libraries_off_the_loop() -> None:
    """In a process of its own, in which nothing is loaded yet. Imports that the loop waited for would leave a
    gap as long as they take.
    """
    program = """
import asyncio, sys, threading
from airflow_provider_ci.triggers.job import load
NAME = "airflow_provider_ci.hooks.aio"
importing, loop_went_on = threading.Event(), threading.Event()

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "airflow_provider_ci.hooks.connection":
            importing.set()
            print("the loop went on:", loop_went_on.wait(60))

async def use():
    await load(NAME)
    from airflow_provider_ci.hooks.aio import AsyncClient

async def main():
    sys.meta_path.insert(0, Slow())
    uses = [asyncio.create_task(use())]
    await asyncio.to_thread(importing.wait)
    uses += [asyncio.create_task(use()), asyncio.create_task(use())]
    await asyncio.sleep(0.1)  # they have begun
    loop_went_on.set()
    await asyncio.gather(*uses)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "the loop went on: True\n"


def test_a_missing_batch_is_an_error_after_the_grace_period(
    make_trigger: Callable[..., TencentCIBatchTrigger],
    server: ScriptedServer,
    mocker: MockerFixture,
) -> None:
    mocker.patch("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", 1.0)
    server.always("GET", jobs(unknown=("b1",)))
    event = fired(make_trigger())
    assert event["error"] == "JobNotFoundError"
    assert isinstance(events.parse_event(event).error, JobNotFoundError)
    assert len(server.requests) > 1


def test_the_deadline_ends_the_wait(
    make_trigger: Callable[..., TencentCIBatchTrigger], server: ScriptedServer
) -> None:
    server.always("GET", batch("Running"))
    event = fired(make_trigger(deadline=time.time() + 0.1))
    assert event["status"] == "timeout"


def test_on_kill_cancels_the_batch(
    make_trigger: Callable[..., TencentCIBatchTrigger],
    server: ScriptedServer,
    mocker: MockerFixture,
) -> None:
    server.play(http())
    for state in ("deferred", "failed"):  # moved to another triggerer; ended by a user
        mocker.patch("airflow_provider_ci.current_try.state_of_task", lambda ti, state=state: state)
        asyncio.run(make_trigger().on_kill())
    asyncio.run(make_trigger(cancel_on_kill=False).on_kill())
    (sent,) = server.requests
    assert (sent.method, sent.path, sent.params) == ("PUT", "/inventorytriggerjob/b1", {"cancel": ""})


def test_a_trigger_that_is_stopped_leaves_no_connection(
    make_trigger: Callable[..., TencentCIBatchTrigger], server: ScriptedServer
) -> None:
    server.play(hang())

    async def main() -> None:
        task = asyncio.create_task(anext(aiter(make_trigger().run())))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_triggers_share_the_lookups_of_a_connection(
    make_trigger: Callable[..., TencentCIBatchTrigger],
    server: ScriptedServer,
    mocker: MockerFixture,
) -> None:
    """Twenty triggers of one connection look it up once in each pause, all together."""
    mocker.patch("airflow_provider_ci.triggers.settings.LOOKUP_PAUSE", PATIENCE)
    lookups, load = [], aio.load_settings

    async def count(conn_id: str) -> ConnectionSettings:
        lookups.append(conn_id)
        return await load(conn_id)

    mocker.patch.object(aio, "load_settings", count)
    triggers = [make_trigger() for _ in range(20)]
    server.play(*[hang_up()] * 200)
    server.always("GET", lambda sent: server._script.pop(0) if server._script else batch("Failed"))

    async def main() -> list[Any]:
        return await asyncio.gather(*(anext(aiter(trigger.run())) for trigger in triggers))

    events_fired = asyncio.run(main())
    assert {event.payload["status"] for event in events_fired} == {"ended"}
    assert len(lookups) == 1
