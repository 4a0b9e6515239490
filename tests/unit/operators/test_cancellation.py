"""Whose job a try may cancel."""

from __future__ import annotations

import re
import signal
from datetime import UTC, datetime, timedelta

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import JobCancelledError, JobTimeoutError, TaskKilledError
from airflow_provider_ci.protocol.jobs import Job
from tests.conftest import Logs
from tests.scripted_server import ScriptedServer, after, http, job, job_xml, jobs
from tests.unit.operators.job_operator import (
    RUNNING,
    SUBMITTED,
    Context,
    MakeOperator,
    signal_handled,
    terminate,
    warnings,
)


class TestOwnership:
    """Airflow also ends processes that it has given up on, whose job a later try waits for."""

    @pytest.mark.parametrize(
        ("state", "why"),
        [
            ("overtaken", "Airflow has given up on this try, and the job is left to the next one"),
            ("deferred", "the task waits for it in the triggerer"),
        ],
    )
    def test_a_killed_try_does_not_cancel_a_job_that_it_no_longer_owns(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, state: str, why: str
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING))
        operator = make_operator()
        context["ti"].state = state
        with signal_handled(signal.SIGTERM, operator.on_kill), pytest.raises(TaskKilledError) as caught:
            operator.execute(context)
        assert "PUT" not in server.methods()
        assert f"It was not cancelled: {why}" in str(caught.value)

    def test_nor_does_a_try_that_wakes_up_after_its_timeout(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED)
        server.always("GET", RUNNING)
        context["ti"].state = "overtaken"
        with pytest.raises(JobTimeoutError, match="It was not cancelled: Airflow has given up on this try"):
            make_operator(timeout=0.02).execute(context)
        assert "PUT" not in server.methods()

    @pytest.mark.parametrize(("state", "asked"), [("overtaken", 0), ("running", 1)])
    def test_nor_does_it_cancel_the_job_of_another_request(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
        logs: Logs,
        state: str,
        asked: int,
    ) -> None:
        """The job may be that of a later try, for which the request has changed again."""
        mocker.patch("airflow_provider_ci.submission.durable_submission.SUBMISSION_VALIDITY", 0.0)
        mocker.patch("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.0)
        server.play(SUBMITTED)
        context["ti"].max_tries = 1
        make_operator(wait_for_completion=False, retries=1).execute(context)
        (data,) = re.findall(rb"<UserData>(.*?)</UserData>", server.requests[0].body)
        shown = job_xml("j1").replace("2025-01-02T03:04:05+0800", "-")
        operation = f"<Operation><UserData>{data.decode()}</UserData></Operation></JobsDetail>"
        server.always("GET", jobs(shown.replace("</JobsDetail>", operation)))
        server.always("PUT", http())
        server.play(job("j2"))
        context["ti"].state, context["ti"].try_number = state, 2
        make_operator(wait_for_completion=False, retries=1, queue_id="p2").execute(context)
        assert server.methods().count("PUT") == asked
        said = "Job j1 could not be cancelled: Airflow has given up on this try"
        assert any(line.startswith(said) for line in logs.at("warning")) != bool(asked)

    @pytest.mark.parametrize("state", ["running", "failed", "removed"])
    def test_a_job_that_it_owns_is_cancelled(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, state: str
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING))
        server.always("PUT", http())
        context["ti"].state = state
        operator = make_operator()
        with signal_handled(signal.SIGTERM, operator.on_kill), pytest.raises(TaskKilledError):
            operator.execute(context)
        assert server.methods().count("PUT") == 1

    def test_if_airflow_cannot_be_asked_nothing_is_cancelled(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
        logs: Logs,
    ) -> None:
        def ask(_: Context) -> str:
            raise ConnectionError("the API server is away")

        mocker.patch("airflow_provider_ci.current_try.state_of_try", ask)
        server.play(SUBMITTED, after(terminate, RUNNING))
        operator = make_operator()
        with signal_handled(signal.SIGTERM, operator.on_kill), pytest.raises(TaskKilledError) as caught:
            operator.execute(context)
        assert "PUT" not in server.methods()
        assert "It was not cancelled and is still running" in str(caught.value)
        said = (
            "Job j1 could not be cancelled: Airflow could not be asked whether this try still owns the job:"
            " the API server is away"
        )
        assert warnings(logs) == [said, said]

    def test_a_task_that_is_not_durable_does_not_ask(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        """No other try ever continues with its job."""
        mocker.patch("airflow_provider_ci.current_try.state_of_try", None)
        server.play(SUBMITTED, after(terminate, RUNNING))
        server.always("PUT", http())
        operator = make_operator(durable=False)
        with signal_handled(signal.SIGTERM, operator.on_kill), pytest.raises(TaskKilledError):
            operator.execute(context)
        assert server.methods().count("PUT") == 1


class TestWhoCancelledWithoutStateStore:
    """Before Airflow 3.3 no record says who asked for a cancellation: the job's end decides."""

    @pytest.mark.parametrize(
        ("try_number", "seconds", "by_others"),
        [(2, -60, False), (2, 5, False), (2, 600, True), (1, -60, True)],
    )
    def test_an_earlier_try_can_have_cancelled_only_what_ended_before_this_try_or_soon_after(
        self, make_operator: MakeOperator, context: Context, try_number: int, seconds: float, by_others: bool
    ) -> None:
        operator = make_operator()
        context["ti"].try_number = try_number
        operator._try_state.context = context
        ended = Job(job_id="j1", state="Cancel", end_time=datetime.now(UTC) + timedelta(seconds=seconds))
        error = JobCancelledError("Job j1 was cancelled")
        assert operator._cancellation.ask_if_cancelled_by_others(error, ended) is by_others
