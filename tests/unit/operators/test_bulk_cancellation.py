"""How the jobs of a bulk task are cancelled that is killed or runs out of time."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import TaskKilledError, TencentCIError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.bucket_jobs import JobsOfBucket
from airflow_provider_ci.operators.bulk_cancellation import BulkCancellation, BulkKillGuard
from airflow_provider_ci.operators.try_state import TryState
from tests.conftest import Logs
from tests.scripted_server import ScriptedServer, error, http

# before the log is watched: Airflow 2.11 changes the logging when it is set up
pytestmark = pytest.mark.usefixtures("airflow_db")


class Task:
    """A bulk task with pending jobs."""

    def __init__(self, hook: TencentCIHook, context: Any, count: int) -> None:
        self.ids = [f"j{number}" for number in range(count)]
        self.recorded: list[float | None] = []
        log = logging.getLogger(__name__)
        self.cancellation = BulkCancellation(
            try_state=TryState(durable=True, context=context),
            is_enabled=True,
            hook=lambda: hook,
            job_api=lambda: JobsOfBucket(hook, {"bucket": None, "region": None}),
            log=log,
            pending_ids=lambda: self.ids,
            bucket_and_region=lambda: {"bucket": None, "region": None},
            record=self.recorded.append,
        )
        self.guard = BulkKillGuard(self.cancellation.try_state, self.cancellation, log)


@pytest.fixture
def make_task(
    server: ScriptedServer, connection: Callable[..., str], make_context: Callable[..., Any]
) -> Callable[[int], Task]:
    connection(server.url)
    return lambda count: Task(TencentCIHook(), make_context(), count)


def test_the_newest_jobs_are_cancelled_first_ten_with_a_request(
    make_task: Callable[[int], Task], server: ScriptedServer, logs: Logs
) -> None:
    server.play(http(), http(), http())
    task = make_task(23)
    task.cancellation.cancel(4.0)
    paths = [sent.path.removeprefix("/jobs/").split(",") for sent in server.requests]
    assert [len(ids) for ids in paths] == [10, 10, 3]
    assert [job_id for ids in paths for job_id in ids] == task.ids[::-1]
    assert len(task.recorded) == 1, "before the first request, so that a retry knows of it"
    assert "Their cancellation was requested" in task.cancellation.outcome
    assert f"23 jobs of this task: {task.cancellation.outcome}" in logs.at("info")


def test_requests_that_take_minutes_are_recorded_again(
    make_task: Callable[[int], Task], server: ScriptedServer, mocker: MockerFixture
) -> None:
    """A retry would take the last jobs for cancelled by somebody else, and would not submit them again."""
    server.play(*[http()] * 5)
    mocker.patch.object(TencentCIHook, "now", side_effect=itertools.count(1000.0, 20.0))
    task = make_task(50)
    task.cancellation.cancel(4.0)
    assert task.recorded == [1000.0, 1040.0, 1080.0]


def test_a_try_that_does_not_own_the_jobs_cancels_nothing(
    make_task: Callable[[int], Task], server: ScriptedServer
) -> None:
    task = make_task(3)
    task.cancellation.try_state.context["ti"].state = "overtaken"  # type: ignore[index, attr-defined]
    task.cancellation.cancel(4.0)
    assert not server.requests
    assert task.cancellation.outcome.startswith("They were not cancelled: Airflow has given up on this try")
    with pytest.raises(TencentCIError, match="Airflow has given up"):
        task.cancellation.cancel_jobs_if_owner(task.ids)


def test_one_request_that_fails_does_not_keep_the_others(
    make_task: Callable[[int], Task], server: ScriptedServer
) -> None:
    server.play(error(404, "JobNotExist"), http(), http())
    task = make_task(30)
    task.cancellation.cancel(4.0)
    assert len(server.requests) == 3


def test_a_service_that_refuses_all_is_not_asked_again_and_again(
    make_task: Callable[[int], Task], server: ScriptedServer, logs: Logs
) -> None:
    server.play(*[error(403, "AccessDenied")] * 3)
    task = make_task(100)
    task.cancellation.cancel(4.0)
    (line,) = logs.at("warning")
    assert line.startswith("100 jobs of this task could not be cancelled: ")


def test_a_killed_task_says_how_many_jobs_were_in_progress(
    make_task: Callable[[int], Task], server: ScriptedServer
) -> None:
    server.play(http())
    task = make_task(7)
    task.guard.on_kill()
    with pytest.raises(TaskKilledError, match="killed while 7 of its jobs were in progress"):
        task.guard.raise_if_killed()


def test_a_task_without_jobs_has_nothing_to_cancel(
    make_task: Callable[[int], Task], server: ScriptedServer, mocker: MockerFixture
) -> None:
    task = make_task(0)
    task.guard.on_kill()
    with pytest.raises(TaskKilledError, match="before this try submitted a job"):
        task.guard.raise_if_killed()
    assert not server.requests
