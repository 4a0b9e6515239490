"""Cancelling jobs, and what is said about those that cannot be cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    JobError,
    JobNotFoundError,
    PermissionDeniedError,
    RequestValidationError,
)
from airflow_provider_ci.operators.cancel import TencentCICancelJobOperator
from tests.conftest import Logs
from tests.scripted_server import ScriptedServer, error, http, job_xml, jobs

MakeOperator = Callable[..., TencentCICancelJobOperator]
REFUSED = error(400, "InvalidArgument", "The job provided can not be modified")


@pytest.fixture
def make_operator(
    server: ScriptedServer, connection: Callable[..., str], mocker: MockerFixture
) -> Iterator[MakeOperator]:
    made: list[TencentCICancelJobOperator] = []

    def make(**arguments: Any) -> TencentCICancelJobOperator:
        connection(server.url, max_attempts=1)
        made.append(TencentCICancelJobOperator(task_id="cancel", **({"job_id": ["j1", "j2"]} | arguments)))
        return made[-1]

    mocker.patch("airflow_provider_ci.operators.cancel.time.sleep")
    yield make
    for operator in made:
        operator.hook.close()


def states(**given: str) -> Any:
    return jobs(*(job_xml(job_id, state) for job_id, state in given.items()))


def cancelled(server: ScriptedServer) -> list[str]:
    return [sent.path for sent in server.requests if sent.method == "PUT"]


def test_jobs_that_have_not_begun_are_cancelled(
    make_operator: MakeOperator, server: ScriptedServer, logs: Logs
) -> None:
    server.play(
        states(j1="Submitted", j2="Running", j3="Pause", j4="Success"),
        http(),
        states(j1="Cancel", j3="Cancel"),
    )
    result = make_operator(job_id=["j1", "j2", "j3", "j4", "j1"]).execute({})
    assert result == {"j1": "Cancel", "j2": "Running", "j3": "Cancel", "j4": "Success"}
    assert cancelled(server) == ["/jobs/j1,j3"]
    assert server.requests[2].path == "/jobs/j1,j3"
    assert "Job j1: Cancel" in logs.at("info")
    assert "Job j2 is not cancelled: Running" in logs.at("warning")


def test_a_job_that_begins_meanwhile_does_not_prevent_the_others(
    make_operator: MakeOperator, server: ScriptedServer
) -> None:
    server.play(
        states(j1="Submitted", j2="Submitted"), REFUSED, REFUSED, http(), states(j1="Running", j2="Cancel")
    )
    assert make_operator().execute({}) == {"j1": "Running", "j2": "Cancel"}
    assert cancelled(server) == ["/jobs/j1,j2", "/jobs/j1", "/jobs/j2"]


def test_a_state_that_changes_late_is_waited_for(make_operator: MakeOperator, server: ScriptedServer) -> None:
    server.play(states(j1="Submitted"), http(), states(j1="Submitted"), states(j1="Cancel"))
    assert make_operator(job_id="j1").execute({}) == {"j1": "Cancel"}


def test_a_state_that_never_changes_is_returned(make_operator: MakeOperator, server: ScriptedServer) -> None:
    server.play(states(j1="Submitted"), http(), *[states(j1="Submitted")] * 4)
    assert make_operator(job_id="j1").execute({}) == {"j1": "Submitted"}
    server.play(states(j1="Submitted"), http(), *[states(j1="Submitted")] * 4)
    with pytest.raises(JobError, match=r"1 of 1 jobs are still running: j1 \(Submitted\)"):
        make_operator(job_id="j1", fail_if_running=True).execute({})


def test_running_twice_does_no_harm(make_operator: MakeOperator, server: ScriptedServer) -> None:
    server.play(states(j1="Cancel", j2="Cancel"))
    assert make_operator(fail_if_running=True).execute({}) == {"j1": "Cancel", "j2": "Cancel"}
    assert cancelled(server) == []


@pytest.mark.parametrize("state", ["Running", "Strange"])
def test_fail_if_running_fails_for_a_running_job(
    make_operator: MakeOperator, server: ScriptedServer, state: str
) -> None:
    server.play(states(j1="Success", j2=state))
    with pytest.raises(JobError, match="cancels only jobs that have not begun") as caught:
        make_operator(fail_if_running=True).execute({})
    assert (caught.value.job_id, caught.value.state) == ("j2", state)


def test_a_missing_job_fails_after_the_others_were_cancelled(
    make_operator: MakeOperator, server: ScriptedServer
) -> None:
    server.play(jobs(job_xml("j1"), unknown=("j2",)), http(), states(j1="Cancel"))
    with pytest.raises(JobNotFoundError, match="does not find j2"):
        make_operator().execute({})
    assert cancelled(server) == ["/jobs/j1"]


def test_a_request_has_ten_ids(make_operator: MakeOperator, server: ScriptedServer) -> None:
    ids = [f"j{n}" for n in range(12)]
    first, second = dict.fromkeys(ids[:10], "Submitted"), dict.fromkeys(ids[10:], "Submitted")
    server.play(states(**first), states(**second), http(), http())
    server.play(states(**dict.fromkeys(ids[:10], "Cancel")), states(**dict.fromkeys(ids[10:], "Cancel")))
    assert set(make_operator(job_id=iter(ids)).execute({}).values()) == {"Cancel"}
    assert [path.count(",") for path in cancelled(server)] == [9, 1]


@pytest.mark.parametrize("none", [[], None])  # None: the output of a task that failed before it had a job
def test_without_jobs_nothing_is_sent(make_operator: MakeOperator, server: ScriptedServer, none: Any) -> None:
    assert make_operator(job_id=none).execute({}) == {}
    assert not server.requests


def test_missing_permission_is_raised(make_operator: MakeOperator, server: ScriptedServer) -> None:
    server.play(states(j1="Submitted", j2="Running"), error(403, "AccessDenied"))
    with pytest.raises(PermissionDeniedError):
        make_operator().execute({})


@pytest.mark.parametrize("bad", [5, {"j1": 1}, ["j1", None], ["j1", ""], ["../x"]])
def test_bad_ids_are_not_sent(make_operator: MakeOperator, server: ScriptedServer, bad: Any) -> None:
    with pytest.raises(RequestValidationError, match="job_id is"):
        make_operator(job_id=bad).execute({})
    assert not server.requests
