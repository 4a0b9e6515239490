"""Submitting, waiting, and being killed, as every operator of a CI job does it."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowTaskTimeout,
    Asset,
    AssetAlias,
    TaskDeferred,
)
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    InvalidRequestError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    PermissionDeniedError,
    RequestValidationError,
    TaskKilledError,
    TencentCIError,
    ThrottledError,
)
from airflow_provider_ci.operators.base_job import XCOM_JOB
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.submission.durable_submission import DurableSubmission
from airflow_provider_ci.submission.record import SubmissionRecord
from tests.airflow_version import outlet_event_accessors
from tests.conftest import BUCKET, CREDENTIALS, REGION, Logs
from tests.scripted_server import (
    REQUEST_ID,
    Answer,
    ScriptedServer,
    after,
    error,
    hang,
    hang_up,
    http,
    job,
    job_xml,
    jobs,
    reset_after_reading,
)


class Store(dict[str, Any]):
    """A task state store."""

    set = dict.__setitem__


MakeOperator = Callable[..., VoiceSeparateOperator]
Context = dict[str, Any]
SUBMITTED, RUNNING, SUCCESS = job("j1", "Submitted"), job("j1", "Running"), job("j1", "Success")


@pytest.fixture
def make_operator(server: ScriptedServer, connection: Callable[..., str]) -> Iterator[MakeOperator]:
    """Return a function that makes an operator that waits, impatiently, with reads that are tried once."""
    operators: list[VoiceSeparateOperator] = []

    def make(extra: dict[str, Any] | None = None, **arguments: Any) -> VoiceSeparateOperator:
        connection(server.url, **({"max_attempts": 1, "read_timeout": 5} | (extra or {})))
        usual = {"wait_for_completion": True, "poll_interval": 0.01}
        operators.append(
            VoiceSeparateOperator(
                task_id="submit", input_object="in/a.mp3", voice_object="out/a", **(usual | arguments)
            )
        )
        return operators[-1]

    yield make
    for operator in operators:
        operator.hook.close()


@pytest.fixture
def context(make_context: Callable[..., Context]) -> Context:
    return make_context()


@contextmanager
def signal_handled(number: signal.Signals, handler: Callable[[], object]) -> Iterator[None]:
    before = signal.signal(number, lambda *_: handler())
    try:
        yield
    finally:
        signal.signal(number, before)


def terminate() -> None:
    """Send this process what a worker gets when its task is to stop."""
    os.kill(os.getpid(), signal.SIGTERM)


def xcoms(context: Context) -> list[tuple[str, Any]]:
    """Return the pushes in order without the links, of the job only its state."""
    pushed = [(key, value) for key, value in context["ti"].xcoms if not key.startswith("_link_")]
    return [(key, value["state"] if key == XCOM_JOB else value) for key, value in pushed]


def warnings(logs: Logs) -> list[str]:
    """Return the warnings without the one of Airflow, that it does not call ``execute``."""
    return [line for line in logs.at("warning") if "cannot be called outside" not in line]


class TestOutlets:
    def test_a_task_that_does_not_wait_announces_no_results(self, make_operator: MakeOperator) -> None:
        voice = Asset(f"cos://{BUCKET}/out/a")
        with pytest.raises(RequestValidationError, match=r"'submit' cannot work: outlets has .*'stems' alth"):
            make_operator(wait_for_completion=False, outlets=[voice, AssetAlias("stems")])

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_a_task_that_waits_says_what_its_outlet_is(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, deferrable: bool
    ) -> None:
        server.play(SUBMITTED, SUCCESS)
        voice = Asset("x-voice")
        context["outlet_events"] = outlet_event_accessors()
        make_operator(outlets=[voice], deferrable=deferrable).execute(context)
        assert context["outlet_events"][voice].extra == {"job_ids": ["j1"], "state": "Success"}

    def test_a_job_that_failed_announces_nothing(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, job("j1", "Failed"))
        voice = Asset("x-voice")
        context["outlet_events"] = outlet_event_accessors()
        operator = make_operator(outlets=[voice])
        with pytest.raises(JobFailedError):
            operator.execute(context)
        assert context["outlet_events"][voice].extra == {}
        assert [str(seen.job_state) for seen in operator.known_jobs] == ["Failed"], "OpenLineage is told"


class TestSubmit:
    def test_returns_the_job_id_without_waiting(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, logs: Logs
    ) -> None:
        server.play(SUBMITTED)
        operator = make_operator(wait_for_completion=False)
        assert operator.execute(context) == operator.job_id == "j1"
        assert server.methods() == ["POST"]
        assert xcoms(context) == [("return_value", "j1"), ("job", "Submitted")]
        assert f"Submitted job j1 (Submitted, request id {REQUEST_ID})" in logs.at("info")

    @pytest.mark.parametrize(("state", "kind"), [("Failed", JobFailedError), ("Cancel", JobCancelledError)])
    def test_a_job_that_is_known_to_have_failed_is_not_green(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        state: str,
        kind: type[JobError],
    ) -> None:
        server.play(job("j1", state))
        with pytest.raises(kind, match=f"Job j1 ended {state}"):
            make_operator(wait_for_completion=False).execute(context)
        assert server.methods() == ["POST"]
        assert xcoms(context) == [("return_value", "j1"), ("job", state)]

    def test_pushes_nothing_if_told_so(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, SUCCESS)
        assert make_operator(do_xcom_push=False).execute(context) == "j1"
        assert not context["ti"].xcoms

    @pytest.mark.parametrize(
        "answer",
        [hang_up(), reset_after_reading(), error(500, "InternalError"), http(""), jobs(), http("<p>")],
    )
    def test_an_ambiguous_answer_is_never_retried(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, answer: Answer
    ) -> None:
        server.play(answer)
        with pytest.raises(AirflowFailException, match="may run and be billed") as caught:
            make_operator({"max_attempts": 6}, durable=False).execute(context)
        assert isinstance(caught.value, AmbiguousSubmissionError)
        assert server.methods() == ["POST"]
        assert not context["ti"].xcoms

    def test_an_execution_timeout_in_the_middle_is_ambiguous_too(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        def time_out() -> None:
            raise AirflowTaskTimeout("Timeout")

        server.play(after(lambda: os.kill(os.getpid(), signal.SIGALRM), hang()))
        with (
            signal_handled(signal.SIGALRM, time_out),
            pytest.raises(AirflowFailException, match="may run and be billed"),
        ):
            make_operator(execution_timeout=timedelta(seconds=1), durable=False).execute(context)
        assert server.methods() == ["POST"]

    def test_an_execution_timeout_of_a_durable_task_says_what_may_be_paid_for_and_how_to_look(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, logs: Logs
    ) -> None:
        def time_out() -> None:
            raise AirflowTaskTimeout("Timeout")

        server.play(after(lambda: os.kill(os.getpid(), signal.SIGALRM), hang()))
        with signal_handled(signal.SIGALRM, time_out), pytest.raises(AirflowTaskTimeout):
            make_operator(execution_timeout=timedelta(seconds=1)).execute(context)
        (said,) = logs.at("error")
        assert said.startswith("execution_timeout ended this try while it is unknown whether the service has")
        assert "TencentCIHook.list_jobs" in said
        assert "UserData 'airflow dag=" in said

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [(error(400, "InvalidArgument"), InvalidRequestError), (error(429, "SlowDown"), ThrottledError)],
    )
    def test_a_refusal_may_be_retried(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        answer: Answer,
        kind: type[TencentCIError],
    ) -> None:
        server.play(answer)
        with pytest.raises(kind):
            make_operator().execute(context)
        assert not context["ti"].xcoms


class TestWait:
    def test_ends_with_success(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, logs: Logs
    ) -> None:
        at_first_poll: list[Any] = []
        server.play(
            SUBMITTED,
            after(lambda: at_first_poll.extend(xcoms(context)), SUBMITTED),
            RUNNING,
            RUNNING,
            SUCCESS,
        )
        assert make_operator().execute(context) == "j1"
        assert at_first_poll == [("return_value", "j1"), ("job", "Submitted")]
        assert xcoms(context) == [*at_first_poll, ("job", "Success")]
        assert server.methods() == ["POST", "GET", "GET", "GET", "GET"]
        assert {sent.path for sent in server.requests[1:]} == {"/jobs/j1"}
        assert [line for line in logs.at("info") if line.startswith("Job ")] == [
            "Job j1: Submitted",
            "Job j1: Running",
            "Job j1: Success",
        ]

    def test_a_wait_that_fails_names_the_job(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, error(403, "AccessDenied"))
        with pytest.raises(PermissionDeniedError, match=r"AccessDenied.*\(HTTP 403, job j1, request id"):
            make_operator().execute(context)

    def test_a_job_that_has_ended_already_is_not_asked_for(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUCCESS)
        assert make_operator().execute(context) == "j1"
        assert server.methods() == ["POST"]
        assert xcoms(context)[-1] == ("job", "Success")

    @pytest.mark.parametrize("polls", [0, 2])
    @pytest.mark.parametrize(("state", "kind"), [("Failed", JobFailedError), ("Cancel", JobCancelledError)])
    def test_ends_with_an_error(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        state: str,
        kind: type[JobError],
        polls: int,
    ) -> None:
        code, message = (
            ("ResourceNotSupported", "Not a media file.") if state == "Failed" else ("Success", "")
        )
        ended = job("j1", state, code=code, message=message)
        server.play(*([SUBMITTED, *[RUNNING] * (polls - 1), ended] if polls else [ended]))
        with pytest.raises(kind) as caught:
            make_operator().execute(context)
        assert (caught.value.job_id, caught.value.state) == ("j1", state)
        assert "j1" in str(caught.value)
        assert caught.value.code == (code if state == "Failed" else None)
        assert (message in str(caught.value)) is True
        # after a failure a retry pays for another job, but not after somebody has cancelled it
        assert isinstance(caught.value, AirflowFailException) is (state == "Cancel")
        assert ("return_value", "j1") in xcoms(context)
        assert "PUT" not in server.methods()

    def test_a_job_that_an_earlier_try_had_cancelled_is_submitted_again_by_a_retry(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        """The cancellation took effect only when the retry had found the job again."""
        context["task_state_store"] = store = Store()
        server.play(SUBMITTED)
        make_operator(wait_for_completion=False).execute(context)
        store["ci_submission"]["cancel_requested_at"] = time.time()
        context["ti"].try_number = 2
        server.play(SUBMITTED, job("j1", "Cancel"))
        with pytest.raises(JobCancelledError) as caught:
            make_operator().execute(context)
        assert not isinstance(caught.value, AirflowFailException)
        context["ti"].try_number = 3
        server.play(job("j1", "Cancel"), job("j2", "Submitted"))
        assert make_operator(wait_for_completion=False).execute(context) == "j2"

    @pytest.mark.parametrize("refusal", [error(403, "AccessDenied"), error(400, "InvalidArgument")])
    def test_a_cancellation_that_the_service_refused_is_no_leave_to_submit_again(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, refusal: Answer
    ) -> None:
        context["task_state_store"] = store = Store()
        server.play(SUBMITTED)
        server.always("GET", SUBMITTED)
        server.always("PUT", refusal)
        with pytest.raises(JobTimeoutError):
            make_operator(timeout=0.02).execute(context)
        assert "cancel_requested_at" not in store["ci_submission"]
        context["ti"].try_number = 2
        server.always("GET", job("j1", "Cancel"))
        with pytest.raises(JobCancelledError, match="Clear the task") as caught:
            make_operator(wait_for_completion=False).execute(context)
        assert isinstance(caught.value, AirflowFailException)

    def test_a_subclass_that_submits_several_requests_in_one_try_is_refused(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        operator = make_operator(wait_for_completion=False)
        server.play(SUBMITTED)
        assert operator.execute(context) == "j1"
        operator.voice_object = "out/another"
        with pytest.raises(RequestValidationError, match="a second, different request in one try"):
            operator.execute(context)
        assert server.methods() == ["POST"]

    @pytest.mark.parametrize("has_store", [True, False])
    def test_a_job_that_was_found_by_its_request_alone_is_not_cancelled(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        monkeypatch: pytest.MonkeyPatch,
        has_store: bool,
    ) -> None:
        """The answer is lost, and the job that fits may be that of another task with the same data."""
        monkeypatch.setattr("airflow_provider_ci.submission.durable_submission.SUBMISSION_VALIDITY", 5.0)
        if has_store:
            context["task_state_store"] = Store()
        fits = (
            job_xml("j7")
            .replace("2025-01-02T03:04:05+0800", "-")
            .replace(
                "</JobsDetail>",
                "<Operation><UserData>order 7</UserData></Operation>"
                "<Input><Object>in/a.mp3</Object></Input></JobsDetail>",
            )
        )
        server.play(hang_up())
        server.always("GET", jobs(fits))
        with pytest.raises(JobTimeoutError, match="may be somebody else's"):
            make_operator(user_data="order 7", timeout=0.02).execute(context)
        assert "PUT" not in server.methods()

    @pytest.mark.parametrize("is_own", [True, False])
    def test_what_a_timeout_cancels_is_recorded_as_the_tasks_own_wish(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, is_own: bool
    ) -> None:
        context["task_state_store"] = Store()
        server.play(SUBMITTED)
        server.always("GET", SUBMITTED)
        server.always("PUT", http())
        with pytest.raises(JobTimeoutError):
            make_operator(timeout=0.02, cancel_on_kill=is_own).execute(context)
        context["ti"].try_number = 2
        server.always("GET", job("j1", "Cancel"))
        if is_own:
            server.play(job("j2", "Submitted"))
            assert make_operator(wait_for_completion=False).execute(context) == "j2"
        else:
            with pytest.raises(JobCancelledError, match="Clear the task") as caught:
                make_operator(wait_for_completion=False).execute(context)
            assert isinstance(caught.value, AirflowFailException)

    @pytest.mark.parametrize("state", ["Pause", "Frozen", "success", ""])
    def test_goes_on_in_states_that_are_no_end(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, state: str, logs: Logs
    ) -> None:
        server.play(SUBMITTED, job("j1", state), job("j1", state), SUCCESS)
        assert make_operator().execute(context) == "j1"
        unknown = [line for line in logs.at("warning") if "unknown state" in line]
        assert len(unknown) == (state != "Pause")

    def test_an_unknown_id_has_some_time_to_appear(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, jobs(unknown=("j1",)), jobs(), RUNNING, SUCCESS)
        assert make_operator().execute(context) == "j1"

    def test_but_not_for_ever(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", 0.05)
        server.play(SUBMITTED)
        server.always("GET", jobs(unknown=("j1",)))
        with pytest.raises(JobNotFoundError, match="j1"):
            make_operator().execute(context)
        assert len(server.requests) > 2

    def test_a_poll_that_fails_is_repeated_by_the_hook(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("random.uniform", lambda *_: 0)
        server.play(SUBMITTED, error(503, "SlowDown"), hang_up(), error(429, "SlowDown"), SUCCESS)
        assert make_operator({"max_attempts": 6}).execute(context) == "j1"

    def test_polls_at_growing_intervals(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, pauses: list[float]
    ) -> None:
        server.play(SUBMITTED, *[RUNNING] * 30, SUCCESS)
        make_operator(poll_interval=30).execute(context)
        assert pauses[:6] == [1, 1, 1, 1, 1, 1.25]
        assert pauses[-1] == 30
        assert pauses == sorted(pauses)


@pytest.fixture
def pauses(mocker: MockerFixture) -> list[float]:
    """Let the operator's pauses take no time; return their list."""
    clock, pauses = [1000.0], list[float]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    virtual = SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep, time=time.time)
    for module in ("base_job", "job_wait", "kill_guard"):
        mocker.patch(f"airflow_provider_ci.operators.{module}.time", virtual)
    mocker.patch("airflow_provider_ci.operators.kill_guard._LONGEST_SLEEP", math.inf)
    return pauses


OUTAGES = {
    "503": error(503, "ServiceUnavailable"),
    "503 with advice": error(503, "SlowDown", retry_after="300"),
    "429 with advice": error(429, "SlowDown", retry_after="300"),
    "lost": hang_up(),
    "HTML": http("<html>A gateway</html>"),
    "HTML with 404": http("<html>A gateway</html>", 404),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
class TestOutage:
    """On a worker, with a connection that tries each call six times if nothing limits it."""

    def test_is_waited_out_with_growing_pauses(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        pauses: list[float],
        outage: Answer,
        logs: Logs,
    ) -> None:
        operator = make_operator({"max_attempts": 6}, poll_interval=30)
        server.play(SUBMITTED, RUNNING, *[outage] * 100, SUCCESS)
        assert operator.execute(context) == "j1"
        assert len(pauses) == 102, "one request at each poll"
        assert sum(pauses) > 8 * 3600
        assert max(pauses) == 30 * 16
        said = [line for line in logs.at("warning") if line.startswith("Poll failed, will keep trying: ")]
        assert len(said) == 1

    @pytest.mark.parametrize("timeout", [5, 600])
    def test_does_not_move_the_deadline(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        pauses: list[float],
        outage: Answer,
        timeout: float,
    ) -> None:
        operator = make_operator({"max_attempts": 6}, poll_interval=30, timeout=timeout)
        server.play(SUBMITTED)
        server.always("GET", outage)
        server.always("PUT", http())
        with pytest.raises(
            JobTimeoutError, match=r"after its timeout of .* the last poll failed: "
        ) as caught:
            operator.execute(context)
        assert "cancellation was requested" in str(caught.value)
        assert sum(pauses) == pytest.approx(timeout)
        assert server.methods()[-1] == "PUT"


def test_a_state_that_nobody_knows_is_waited_for_a_week(
    make_operator: MakeOperator,
    server: ScriptedServer,
    context: Context,
    pauses: list[float],
) -> None:
    operator = make_operator(poll_interval=3600)
    server.play(SUBMITTED)
    server.always("GET", job("j1", "Baking"))
    server.always("PUT", http())
    with pytest.raises(JobTimeoutError, match="Job j1 is Baking after its timeout of 604800 s"):
        operator.execute(context)
    assert sum(pauses) == 7 * 86_400


class TestTimeout:
    @pytest.mark.parametrize("cancel_on_kill", [True, False])
    def test_ends_the_wait_and_cancels(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, cancel_on_kill: bool
    ) -> None:
        server.play(SUBMITTED)
        server.always("GET", RUNNING)
        server.always("PUT", http())
        with pytest.raises(JobTimeoutError, match=r"Job j1 is Running after .* 0\.05 s") as caught:
            make_operator(timeout=0.05, cancel_on_kill=cancel_on_kill).execute(context)
        assert server.methods().count("PUT") == cancel_on_kill
        assert server.methods()[-1] == ("PUT" if cancel_on_kill else "GET")
        assert ("cancellation was requested" in str(caught.value)) == cancel_on_kill
        assert (caught.value.job_id, caught.value.state) == ("j1", "Running")

    def test_is_not_slept_through(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED)
        server.always("GET", RUNNING)
        begun = time.monotonic()
        with pytest.raises(JobTimeoutError):
            make_operator(timeout=0.1, poll_interval=30, cancel_on_kill=False).execute(context)
        assert time.monotonic() - begun < 0.9

    def test_has_a_last_look(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, SUCCESS)
        assert make_operator(timeout=0.05, poll_interval=30).execute(context) == "j1"

    def test_a_cancellation_that_fails_does_not_hide_it(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, logs: Logs
    ) -> None:
        server.play(SUBMITTED)
        server.always("GET", RUNNING)
        server.always("PUT", error(400, "InvalidArgument", "The job provided can not be modified"))
        with pytest.raises(JobTimeoutError, match="was not cancelled and is still running"):
            make_operator(timeout=0.02).execute(context)
        assert any("can not be modified" in line for line in logs.at("warning"))
        assert server.methods().count("PUT") == 1

    @pytest.mark.parametrize(
        "failure",
        [error(503, "ServiceUnavailable"), error(429, "SlowDown"), hang_up()],
        ids=["503", "429", "lost"],
    )
    def test_a_cancellation_that_fails_for_a_moment_is_repeated(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        pauses: list[float],
        failure: Answer,
    ) -> None:
        operator = make_operator(timeout=5)
        server.play(SUBMITTED)
        server.always("GET", RUNNING)
        answers = iter((failure, failure, http()))
        server.always("PUT", lambda _: next(answers))
        with pytest.raises(JobTimeoutError, match="Its cancellation was requested; the"):
            operator.execute(context)
        assert server.methods().count("PUT") == 3

    def test_but_not_for_long(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        pauses: list[float],
    ) -> None:
        operator = make_operator(timeout=5)
        server.play(SUBMITTED)
        server.always("GET", RUNNING)
        server.always("PUT", error(503, "ServiceUnavailable"))
        with pytest.raises(JobTimeoutError, match="It was not cancelled and is still running"):
            operator.execute(context)
        assert sum(pauses) < 5 + 4
        assert server.methods().count("PUT") == 4


class TestKill:
    def killed(
        self, operator: VoiceSeparateOperator, context: Context, kind: type[BaseException] = TaskKilledError
    ) -> tuple[BaseException, float]:
        """Execute, with on_kill called as Airflow does, from the handler of SIGTERM."""
        begun = time.monotonic()
        with signal_handled(signal.SIGTERM, operator.on_kill), pytest.raises(kind) as caught:
            operator.execute(context)
        return caught.value, time.monotonic() - begun

    @pytest.mark.parametrize("durable", [True, False])
    def test_while_the_input_is_looked_at_nothing_is_submitted(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, durable: bool
    ) -> None:
        server.play(after(terminate, http(length=7, keep_alive=False)))
        failure, _ = self.killed(make_operator(check_input=True, durable=durable), context)
        assert "before a job was submitted" in str(failure)
        assert server.methods() == ["HEAD"]

    def test_while_the_store_answers_nothing_is_submitted(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        operator = make_operator()

        class Store(dict[str, Any]):
            def set(self, key: str, value: Any) -> None:
                self[key] = value
                operator.on_kill()

        context["task_state_store"] = Store()
        with pytest.raises(TaskKilledError):
            operator.execute(context)
        assert not server.requests

    def test_a_changed_requests_job_that_cannot_be_looked_at_any_more(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        context["task_state_store"] = Store(
            ci_submission=SubmissionRecord(0, "another", time.time(), job_id="j0").to_json()
        )
        server.play(after(terminate, error(503, "ServiceUnavailable")))
        self.killed(make_operator(extra={"max_attempts": 3}), context)
        assert server.methods() == ["GET"]

    def test_before_the_submission_nothing_is_sent(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        operator = make_operator()
        operator.on_kill()
        failure, _ = self.killed(operator, context)
        assert "before a job was submitted" in str(failure)
        assert not server.requests

    @pytest.mark.parametrize("wait_for_completion", [True, False])
    def test_during_the_submission_its_job_is_cancelled(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, wait_for_completion: bool
    ) -> None:
        server.play(after(terminate, SUBMITTED))
        server.always("PUT", http())
        failure, _ = self.killed(make_operator(wait_for_completion=wait_for_completion), context)
        assert server.methods() == ["POST", "PUT"]
        sent = server.requests[1]
        assert (sent.path, sent.params) == ("/jobs/j1", {"cancel": ""})
        assert sent.header("Host") == f"{BUCKET}.ci.{REGION}.myqcloud.com"
        assert sent.is_signed_with(CREDENTIALS.secret_key)
        assert isinstance(failure, TaskKilledError)
        assert failure.job_id == "j1"
        assert ("return_value", "j1") in xcoms(context)

    def test_during_a_submission_that_is_never_answered(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(after(terminate, hang()))
        self.killed(make_operator({"read_timeout": 0.2}, durable=False), context, AirflowFailException)
        assert server.methods() == ["POST"]

    @pytest.mark.parametrize("state", ["Running", "Success", "Cancel", "Failed"])
    def test_during_a_poll(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, state: str
    ) -> None:
        server.play(SUBMITTED, RUNNING, after(terminate, job("j1", state)))
        server.always("PUT", http())
        ends_otherwise = {"Cancel": JobCancelledError, "Failed": JobFailedError}
        self.killed(make_operator(), context, ends_otherwise.get(state, TaskKilledError))
        assert server.methods() == ["POST", "GET", "GET", "PUT"]

    def test_during_a_pause(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def sleep(seconds: float) -> None:
            signal.setitimer(signal.ITIMER_REAL, min(seconds / 2, 0.05))
            really_sleep(seconds)

        really_sleep = time.sleep
        monkeypatch.setattr("airflow_provider_ci.operators.kill_guard.time.sleep", sleep)
        monkeypatch.setattr("airflow_provider_ci.submission.waiting.FIRST_DELAY", 60)
        operator = make_operator(poll_interval=60)
        server.play(SUBMITTED)
        server.always("PUT", http())
        with signal_handled(signal.SIGALRM, terminate):
            _, seconds = self.killed(operator, context)
        assert server.methods() == ["POST", "PUT"]
        assert seconds < 3

    @pytest.mark.parametrize(
        ("answer", "asked", "fate"),
        [
            (hang(), 1, "Its cancellation was requested and not answered: it may still be running"),
            (hang_up(), 2, "Its cancellation was requested and not answered: it may still be running"),
            (error(500, "InternalError"), 2, "It was not cancelled and is still running"),
            (error(400, "InvalidArgument"), 1, "It was not cancelled and is still running"),
        ],
        ids=["hang", "lost", "500", "refused"],
    )
    def test_within_five_seconds_whatever_the_service_does(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        answer: Answer,
        asked: int,
        fate: str,
        logs: Logs,
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING))
        server.always("PUT", answer)
        failure, seconds = self.killed(make_operator({"read_timeout": 60, "max_attempts": 6}), context)
        assert seconds < 5
        assert server.methods().count("PUT") == asked
        assert fate in str(failure)
        assert any("could not be cancelled" in line for line in logs.at("warning"))

    @pytest.mark.parametrize("failure", [hang_up(), error(503, "SlowDown"), error(429, "SlowDown")])
    def test_a_cancellation_that_failed_is_tried_again_at_the_next_checkpoint(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, failure: Answer
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING), failure, http())
        ended, _ = self.killed(make_operator(), context)
        assert [method for method in server.methods() if method == "PUT"] == ["PUT", "PUT"]
        assert "cancellation was requested; the service cancels only jobs that have not begun" in str(ended)

    def test_a_cancellation_waits_for_what_the_interrupted_code_holds(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, logs: Logs
    ) -> None:
        """As Airflow's channel: ``on_kill`` comes while the task pushes an XCom, for which the question to
        Airflow has to wait.
        """
        channel = threading.Lock()

        def ask(_: Context) -> str:
            with channel:
                return "running"

        def push(key: str, value: Any) -> None:
            with channel:
                if key == "return_value":
                    terminate()

        context["ti"].xcom_push = push
        server.play(SUBMITTED)
        server.always("PUT", http())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("airflow_provider_ci.current_try.state_of_try", ask)
            ended, _ = self.killed(make_operator(), context)
        assert server.methods() == ["POST", "PUT"]
        assert "cancellation was requested" in str(ended)
        assert warnings(logs) == ["Job j1 could not be cancelled within 1.5 s"]

    def test_nothing_is_cancelled_if_told_so(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING))
        failure, _ = self.killed(make_operator(cancel_on_kill=False), context)
        assert "PUT" not in server.methods()
        assert "was not cancelled and is still running" in str(failure)

    def test_several_signals_cancel_once(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING))
        server.always("PUT", after(terminate, http()))
        self.killed(make_operator(), context)
        assert server.methods().count("PUT") == 1

    @pytest.mark.parametrize(
        ("state", "is_cancelled"),
        [("failed", True), ("skipped", True), ("restarting", True), ("running", False), ("success", False)],
    )
    def test_after_the_end_of_execute_only_if_somebody_has_ended_the_task(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        state: str,
        is_cancelled: bool,
    ) -> None:
        """A task that only submits is done then: others wait for its job, also when a worker stops."""
        server.play(SUBMITTED)
        server.always("PUT", http())
        operator = make_operator(wait_for_completion=False)
        operator.execute(context)
        context["ti"].state = state
        operator.on_kill()
        operator.on_kill()
        assert server.methods() == ["POST", "PUT"] if is_cancelled else ["POST"]

    @pytest.mark.parametrize("state", ["running", "deferred"])
    def test_after_deferring_the_job_is_the_triggers(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, state: str
    ) -> None:
        server.play(SUBMITTED, RUNNING)
        operator = make_operator(deferrable=True)
        with pytest.raises(TaskDeferred):
            operator.execute(context)
        context["ti"].state = state
        operator.on_kill()
        assert "PUT" not in server.methods()

    def test_in_its_own_bucket_and_region(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(job_in_other_bucket := jobs(job_xml()), after(terminate, job_in_other_bucket))
        server.always("PUT", http())
        self.killed(make_operator(bucket="in-1250000003", region="ap-shanghai"), context)
        assert {sent.header("Host") for sent in server.requests} == {
            "in-1250000003.ci.ap-shanghai.myqcloud.com"
        }


class TestWhoseJobItIs:
    """Airflow also ends processes that it has given up on, whose job a later try waits for."""

    @pytest.mark.parametrize(
        ("state", "why"),
        [
            ("overtaken", "Airflow has given up on this try, and the job is left to the next one"),
            ("deferred", "the task waits for it in the triggerer"),
        ],
    )
    def test_killed_a_try_cancels_nothing_that_is_not_its_own(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, state: str, why: str
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING))
        operator = make_operator()
        context["ti"].state = state
        with signal_handled(signal.SIGTERM, operator.on_kill), pytest.raises(TaskKilledError) as caught:
            operator.execute(context)
        assert "PUT" not in server.methods()
        assert f"It was not cancelled: {why}" in str(caught.value)

    def test_nor_when_it_wakes_up_after_its_timeout(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED)
        server.always("GET", RUNNING)
        context["ti"].state = "overtaken"
        with pytest.raises(JobTimeoutError, match="It was not cancelled: Airflow has given up on this try"):
            make_operator(timeout=0.02).execute(context)
        assert "PUT" not in server.methods()

    @pytest.mark.parametrize(("state", "asked"), [("overtaken", 0), ("running", 1)])
    def test_nor_does_it_cancel_a_job_for_another_request(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        monkeypatch: pytest.MonkeyPatch,
        logs: Logs,
        state: str,
        asked: int,
    ) -> None:
        """The job may be that of a later try, for which the request has changed again."""
        monkeypatch.setattr("airflow_provider_ci.submission.durable_submission.SUBMISSION_VALIDITY", 0.0)
        monkeypatch.setattr("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.0)
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

    @pytest.mark.parametrize("state", ["running", "failed", "success", "restarting", "removed"])
    def test_its_own_job_is_cancelled(
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
        monkeypatch: pytest.MonkeyPatch,
        logs: Logs,
    ) -> None:
        def ask(_: Context) -> str:
            raise ConnectionError("the API server is away")

        monkeypatch.setattr("airflow_provider_ci.current_try.state_of_try", ask)
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

    def test_a_task_that_is_not_durable_need_not_ask(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """No other try ever goes on with its job."""
        monkeypatch.setattr("airflow_provider_ci.current_try.state_of_try", None)
        server.play(SUBMITTED, after(terminate, RUNNING))
        server.always("PUT", http())
        operator = make_operator(durable=False)
        with signal_handled(signal.SIGTERM, operator.on_kill), pytest.raises(TaskKilledError):
            operator.execute(context)
        assert server.methods().count("PUT") == 1


class Terminated(BaseException):
    """What Airflow 2.11 raises from its handler of SIGTERM, after ``on_kill``."""


class TestKillThatInterrupts:
    """Airflow 2.11: the handler of SIGTERM raises into what the task does, so there is no checkpoint."""

    def interrupted(self, operator: VoiceSeparateOperator, run: Callable[[], object]) -> None:
        def handle() -> None:
            operator.on_kill()
            raise Terminated

        with signal_handled(signal.SIGTERM, handle), pytest.raises(Terminated):
            run()

    def test_a_cancellation_that_failed_is_tried_again_at_the_end(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING), error(503, "SlowDown"), http())
        operator = make_operator()
        self.interrupted(operator, lambda: operator.execute(context))
        assert server.methods().count("PUT") == 2

    def test_a_resumed_task_knows_its_job_from_the_beginning(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def parse_event(_: Any) -> None:
            terminate()
            time.sleep(60)

        monkeypatch.setattr("airflow_provider_ci.triggers.events.parse_event", parse_event)
        server.always("PUT", http())
        operator = make_operator()
        next_kwargs = {"event": {}, "job_id": "j1"}
        self.interrupted(
            operator, lambda: operator.resume_execution("execute_complete", next_kwargs, context)
        )
        assert [(sent.method, sent.path) for sent in server.requests] == [("PUT", "/jobs/j1")]

    def test_an_accepted_job_is_cancelled_before_anybody_has_noted_it(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server.play(SUBMITTED)
        server.always("PUT", http())
        operator = make_operator()
        remember = DurableSubmission._save_job

        def interrupted(submission: Any, *arguments: Any) -> None:
            terminate()
            remember(submission, *arguments)

        monkeypatch.setattr(DurableSubmission, "_save_job", interrupted)
        self.interrupted(operator, lambda: operator.execute(context))
        assert server.methods() == ["POST", "PUT"]

    def test_an_interrupted_submission_may_have_been_accepted(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, logs: Logs
    ) -> None:
        server.play(after(terminate, hang()))
        operator = make_operator()
        self.interrupted(operator, lambda: operator.execute(context))
        (line,) = warnings(logs)
        assert "unknown whether the service has accepted its submission: a job may run, and be billed" in line
        assert "TencentCIHook.list_jobs" in line


KILLED_WHILE_IMPORTING = """
import os, signal, sys
from types import SimpleNamespace
from airflow_provider_ci import current_try
from airflow_provider_ci.exceptions import TaskKilledError
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

assert "airflow_provider_ci.hooks.ci" not in sys.modules
current_try.state_of_try = lambda context: "running"
operator = VoiceSeparateOperator(
    task_id="submit", input_object="in/a.mp3", voice_object="out/a", wait_for_completion=True, deferrable=True
)

class Terminates:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:  # one that hooks.ci imports, so that is partially initialized
            assert "airflow_provider_ci.hooks.ci" in sys.modules
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Terminates())
signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
context = {"ti": SimpleNamespace(try_number=1, map_index=-1, xcom_push=lambda key, value: None)}
event = {"status": "ended", "job_ids": ["j1"], "job_count": 1}
try:
    operator.resume_execution("execute_complete", {"event": event, "job_id": "j1"}, context)
except TaskKilledError as error:
    print("ended:", error)
"""


@pytest.mark.parametrize("module", ["hooks.transport", "hooks.attempts"])
def test_killed_while_a_resumed_task_imports_the_hook(
    connection: Callable[..., str], server: ScriptedServer, module: str
) -> None:
    connection(server.url)
    server.always("GET", RUNNING)
    server.always("PUT", http())
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_IMPORTING, f"airflow_provider_ci.{module}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ended: The task was killed while job j1 was in progress. Its cancellation was" in (done.stdout), (
        done.stderr
    )
    assert "PUT" in server.methods()


class TestWhatIsKnownAtTheEnd:
    """A killed task says whether something was paid, may have been, or was not."""

    def killed(self, operator: VoiceSeparateOperator, context: Context) -> str:
        with signal_handled(signal.SIGTERM, operator.on_kill), pytest.raises(TaskKilledError) as caught:
            operator.execute(context)
        return str(caught.value)

    @pytest.mark.parametrize("lost", [hang_up(), error(500, "InternalError")], ids=["lost", "500"])
    def test_a_lost_answer_and_a_list_that_lags(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, lost: Answer, logs: Logs
    ) -> None:
        server.play(after(terminate, lost))
        server.always("GET", jobs())
        said = self.killed(make_operator(), context)
        assert "before a job was submitted" not in said
        assert said.startswith(
            "The task was killed while it is unknown whether the service has accepted its submission: a"
            " job may run, and be billed. A retry looks for it and continues with it; without a retry, look"
            " for it in the console or with TencentCIHook.list_jobs: sent at 20"
        )
        assert ", UserData 'airflow dag=separate run=manual__1 task=submit " in said
        assert warnings(logs)[0] == said, "also when the process is killed before it can end"

    def test_a_job_that_the_list_shows_is_cancelled(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        sent: list[bytes] = []

        def shown(request: Any) -> Answer:
            (data,) = re.findall(rb"<UserData>(.*?)</UserData>", server.requests[0].body)
            sent.append(data)
            described = job_xml("j1").replace("2025-01-02T03:04:05+0800", "-")
            operation = f"<Operation><UserData>{data.decode()}</UserData></Operation></JobsDetail>"
            return jobs(described.replace("</JobsDetail>", operation))

        server.play(after(terminate, hang_up()))
        server.always("GET", shown)
        server.always("PUT", http())
        said = self.killed(make_operator(), context)
        assert sent
        assert "while job j1 was in progress" in said
        assert server.methods() == ["POST", "GET", "PUT"]

    def test_a_refused_submission_is_none(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("random.uniform", lambda *_: 5.0)
        server.play(after(terminate, error(429, "SlowDown")))
        said = self.killed(make_operator({"max_attempts": 3}), context)
        assert said == "The task was killed before a job was submitted"
        assert server.methods() == ["POST"]

    def test_a_retry_does_not_know_of_earlier_tries_yet(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        context["ti"].try_number, context["ti"].max_tries = 2, 1
        server.always("GET", after(terminate, jobs()))
        said = self.killed(make_operator(retries=1), context)
        assert said == (
            "The task was killed before this try submitted a job."
            " The job of an earlier try, if there is one, is still running"
        )


def test_a_poll_that_fails_for_good_fails_the_task(
    make_operator: MakeOperator, server: ScriptedServer, context: Context
) -> None:
    server.play(SUBMITTED, error(403, "AccessDenied"))
    with pytest.raises(PermissionDeniedError):
        make_operator().execute(context)
    assert ("return_value", "j1") in xcoms(context)
