"""The sensor's third mode, which must end as the other two do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_ci.exceptions import CIError, JobFailedError, JobNotFoundError, ThrottledError
from airflow_provider_ci.sensors.job import CIJobSensor
from tests.scripted_server import ScriptedServer, job, jobs

MakeSensor = Callable[..., CIJobSensor]
RUNNING, SUCCESS, FAILED = job("j1", "Running"), job("j1", "Success"), job("j1", "Failed")
ENDED = {"status": "ended", "job_ids": ["j1"]}


@pytest.fixture
def context(make_context: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return make_context()


@pytest.fixture
def make_sensor(server: ScriptedServer, connection: Callable[..., str]) -> Iterator[MakeSensor]:
    made: list[CIJobSensor] = []

    def make(job_id: Any = "j1", **arguments: Any) -> CIJobSensor:
        connection(server.url, max_attempts=1)
        made.append(CIJobSensor(task_id="wait", job_id=job_id, deferrable=True, **arguments))
        return made[-1]

    yield make
    for sensor in made:
        sensor.hook.close()


def test_defers_and_goes_on(make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]) -> None:
    server.play(RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        make_sensor(poke_interval=9, timeout=100).execute(context)
    arguments = deferred.value.trigger.serialize()[1]
    assert (arguments["job_ids"], arguments["poll_interval"]) == (["j1"], 9)
    assert arguments["cancel_on_kill"] is False, "the jobs are another task's"
    assert timedelta(seconds=90) < deferred.value.timeout <= timedelta(seconds=100)
    server.play(SUCCESS)
    assert make_sensor().execute_complete(context, ENDED)["state"] == "Success"


@pytest.mark.parametrize(("execution_timeout", "left"), [(None, 60), (50, 10), (30, 0), (500, 60)])
@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_the_first_timeout_that_passes_counts_from_the_start(
    make_sensor: MakeSensor,
    server: ScriptedServer,
    make_context: Callable[..., dict[str, Any]],
    execution_timeout: int | None,
    left: int,
    mode: str,
) -> None:
    """Airflow 3 itself does not apply ``execution_timeout`` while a task is deferred."""
    server.play(RUNNING)
    limit = timedelta(seconds=execution_timeout) if execution_timeout else None
    sensor = make_sensor(timeout=100, execution_timeout=limit, mode=mode)
    context = make_context(start_date=datetime.now(UTC) - timedelta(seconds=40))
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute_complete(context, ENDED)
    assert timedelta(seconds=max(left - 9, 0)) <= deferred.value.timeout <= timedelta(seconds=left)


def test_defers_only_for_what_has_not_ended(
    make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]
) -> None:
    from tests.scripted_server import job_xml

    server.play(jobs(job_xml("j1", "Success"), job_xml("j2", "Running")))
    with pytest.raises(TaskDeferred) as deferred:
        make_sensor(["j1", "j2"]).execute(context)
    assert deferred.value.trigger.job_ids == ["j2"]
    server.play(jobs(job_xml("j1", "Success"), job_xml("j2", "Success")))
    results = make_sensor(["j1", "j2"]).execute_complete(context, ENDED)
    assert [result["job_id"] for result in results] == ["j1", "j2"]


def test_what_has_ended_does_not_defer(
    make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(SUCCESS)
    assert make_sensor().execute(context)["state"] == "Success"
    assert make_sensor([]).execute(context) == []


def test_not_ended_after_all_defers_again(
    make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(RUNNING)
    with pytest.raises(TaskDeferred):
        make_sensor().execute_complete(context, ENDED)


@pytest.mark.parametrize("option", ["soft_fail", "never_fail", None])
def test_a_failure_at_once_and_later(
    make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any], option: str | None
) -> None:
    options = {option: True} if option else {}
    server.play(FAILED, FAILED)
    with pytest.raises(AirflowSkipException if option else JobFailedError):
        make_sensor(**options).execute(context)
    with pytest.raises(AirflowSkipException if option else JobFailedError) as caught:
        make_sensor(**options).resume_execution("execute_complete", {"event": ENDED}, context)
    failure = caught.value.__cause__ if option else caught.value
    assert isinstance(failure, AirflowFailException)


@pytest.mark.parametrize(
    ("name", "kind", "final"),
    [("JobNotFoundError", JobNotFoundError, True), ("ThrottledError", ThrottledError, False)],
)
def test_why_waiting_failed(
    make_sensor: MakeSensor, context: dict[str, Any], name: str, kind: type[CIError], final: bool
) -> None:
    said = {"status": "error", "job_ids": ["j1"], "error": name, "message": "Said by the trigger"}
    with pytest.raises(kind, match="Said by the trigger") as caught:
        make_sensor().execute_complete(context, said)
    assert isinstance(caught.value, AirflowFailException) is final
