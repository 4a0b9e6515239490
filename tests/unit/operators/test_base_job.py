"""Submitting a job and waiting for it, as every operator of a CI job does."""

from __future__ import annotations

import copy
import os
import signal
import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout, Asset, AssetAlias
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    InvalidRequestError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    NotFoundError,
    PermissionDeniedError,
    RequestValidationError,
    TaskKilledError,
    TencentCIError,
    ThrottledError,
)
from airflow_provider_ci.operators.kill_guard import KillGuard
from tests.airflow_version import outlet_event_accessors
from tests.conftest import BUCKET, Logs
from tests.patience import PATIENCE
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
)
from tests.unit.operators.job_operator import (
    RUNNING,
    SUBMITTED,
    SUCCESS,
    Context,
    MakeOperator,
    Store,
    signal_handled,
    xcoms,
)


class TestOutlets:
    def test_a_task_that_does_not_wait_cannot_have_outlets(self, make_operator: MakeOperator) -> None:
        voice = Asset(f"cos://{BUCKET}/out/a")
        with pytest.raises(RequestValidationError, match=r"'submit' cannot work: outlets has .*'stems' alth"):
            make_operator(wait_for_completion=False, outlets=[voice, AssetAlias("stems")])

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_a_task_that_waits_describes_its_outlet(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, deferrable: bool
    ) -> None:
        server.play(SUBMITTED, SUCCESS)
        voice = Asset("x-voice")
        context["outlet_events"] = outlet_event_accessors()
        make_operator(outlets=[voice], deferrable=deferrable).execute(context)
        assert context["outlet_events"][voice].extra == {"job_ids": ["j1"], "state": "Success"}

    def test_a_failed_job_causes_no_asset_event(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, job("j1", "Failed"))
        voice = Asset("x-voice")
        context["outlet_events"] = outlet_event_accessors()
        operator = make_operator(outlets=[voice])
        with pytest.raises(JobFailedError):
            operator.execute(context)
        assert context["outlet_events"][voice].extra == {}
        assert [str(seen.job_state) for seen in operator.known_jobs] == ["Failed"], "OpenLineage is notified"


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
    def test_a_job_that_has_failed_when_it_is_accepted_fails_the_task(
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

    def test_without_do_xcom_push_nothing_is_pushed(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, SUCCESS)
        assert make_operator(do_xcom_push=False).execute(context) == "j1"
        assert not context["ti"].xcoms

    @pytest.mark.parametrize(
        "answer",
        [hang_up(), error(500, "InternalError"), http("<p>")],
    )
    def test_an_ambiguous_response_is_never_retried(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, answer: Answer
    ) -> None:
        server.play(answer)
        with pytest.raises(AirflowFailException, match="may run and be billed") as caught:
            make_operator({"max_attempts": 6}, durable=False).execute(context)
        assert isinstance(caught.value, AmbiguousSubmissionError)
        assert server.methods() == ["POST"]
        assert not context["ti"].xcoms

    def test_an_execution_timeout_during_the_submission_is_ambiguous_too(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        def time_out() -> None:
            raise AirflowTaskTimeout("Timeout")

        server.play(after(lambda: os.kill(os.getpid(), signal.SIGALRM), hang()))
        with (
            signal_handled(signal.SIGALRM, time_out),
            pytest.raises(AirflowFailException, match="may run and be billed"),
        ):
            make_operator(execution_timeout=timedelta(seconds=PATIENCE), durable=False).execute(context)
        assert server.methods() == ["POST"]

    def test_an_execution_timeout_of_a_durable_task_says_what_may_be_paid_for_and_how_to_look(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, logs: Logs
    ) -> None:
        def time_out() -> None:
            raise AirflowTaskTimeout("Timeout")

        server.play(after(lambda: os.kill(os.getpid(), signal.SIGALRM), hang()))
        with signal_handled(signal.SIGALRM, time_out), pytest.raises(AirflowTaskTimeout):
            make_operator(execution_timeout=timedelta(seconds=PATIENCE)).execute(context)
        (said,) = logs.at("error")
        assert said.startswith("execution_timeout ended this try while it is unknown whether the service has")
        assert "TencentCIHook.list_jobs" in said
        assert "UserData 'airflow dag=" in said

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (error(429, "SlowDown"), ThrottledError),
            (error(403, "AccessDenied"), PermissionDeniedError),
            (error(404, "TemplateNotFound"), NotFoundError),
            (error(400, "BadDigest"), InvalidRequestError),
            (error(400, "CreatedTemplateNumLimit"), InvalidRequestError),
            (error(400, "InvalidArgument", "the asr service is not opened"), PermissionDeniedError),
        ],
    )
    def test_a_refusal_that_may_be_corrected_is_retried(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        answer: Answer,
        kind: type[TencentCIError],
    ) -> None:
        server.play(answer)
        with pytest.raises(kind) as caught:
            make_operator().execute(context)
        assert not isinstance(caught.value, AirflowFailException)
        assert not context["ti"].xcoms

    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize("code", ["InvalidArgument", "InvalidRequest", "1015"])
    def test_a_refused_field_is_not_retried(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, code: str, durable: bool
    ) -> None:
        server.play(error(400, code, "AudioMode is not supported"))
        with pytest.raises(InvalidRequestError, match=r"AudioMode is not supported .*request id") as caught:
            make_operator(durable=durable).execute(context)
        assert isinstance(caught.value, AirflowFailException)
        assert server.methods() == ["POST"]


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

    def test_a_job_that_has_ended_already_is_not_described(
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
        # a retry would pay for a job that would fail again, or that somebody does not want
        assert isinstance(caught.value, AirflowFailException)
        assert ("return_value", "j1") in xcoms(context)
        assert "PUT" not in server.methods()

    @pytest.mark.parametrize(
        ("code", "is_final"),
        [
            ("ResourceNotSupported", True),
            ("ResourceNotFound", True),
            ("ResourceAccessDenied", True),
            ("InvalidArgument", True),
            ("1103", True),
            ("ResourceDownloadFailed", False),
            ("InternalError", False),
            ("SomethingNew", False),
        ],
    )
    def test_only_a_job_that_may_succeed_is_paid_for_again(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, code: str, is_final: bool
    ) -> None:
        server.play(SUBMITTED, job("j1", "Failed", code=code, message="No."))
        with pytest.raises(JobFailedError, match=f"{code}: No") as caught:
            make_operator().execute(context)
        assert isinstance(caught.value, AirflowFailException) is is_final
        assert ("then clear the task for a new job" in str(caught.value)) is is_final
        assert caught.value.code == code

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
    def test_after_a_refused_cancellation_a_cancelled_job_is_not_submitted_again(
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
        mocker: MockerFixture,
        has_store: bool,
    ) -> None:
        """The answer is lost, and the job that fits may be that of another task with the same data."""
        mocker.patch("airflow_provider_ci.submission.durable_submission.SUBMISSION_VALIDITY", 5.0)
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
    def test_a_timeout_records_that_the_task_asked_for_the_cancellation(
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

    @pytest.mark.parametrize("state", ["Pause", "Frozen"])
    def test_waits_in_states_that_are_not_an_end(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, state: str, logs: Logs
    ) -> None:
        server.play(SUBMITTED, job("j1", state), job("j1", state), SUCCESS)
        assert make_operator().execute(context) == "j1"
        unknown = [line for line in logs.at("warning") if "unknown state" in line]
        assert len(unknown) == (state != "Pause")

    def test_a_job_that_is_not_found_has_time_to_appear(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, jobs(unknown=("j1",)), jobs(), RUNNING, SUCCESS)
        assert make_operator().execute(context) == "j1"

    def test_a_job_that_is_never_found_fails_the_task(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        mocker.patch("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", 0.05)
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
        mocker: MockerFixture,
    ) -> None:
        mocker.patch("random.uniform", return_value=0)
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


OUTAGES = {
    "503": error(503, "ServiceUnavailable"),
    "429 with advice": error(429, "SlowDown", retry_after="300"),
    "lost": hang_up(),
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

    def test_does_not_move_the_deadline(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        pauses: list[float],
        outage: Answer,
    ) -> None:
        timeout = 600
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


def test_an_unknown_state_is_waited_for_a_week(
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
    @pytest.mark.usefixtures("pauses")
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

    def test_ends_a_pause(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, pauses: list[float]
    ) -> None:
        server.play(SUBMITTED)
        server.always("GET", RUNNING)
        with pytest.raises(JobTimeoutError):
            make_operator(timeout=0.1, poll_interval=30, cancel_on_kill=False).execute(context)
        assert sum(pauses) == pytest.approx(0.1)

    def test_polls_once_more_after_the_last_pause(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, pauses: list[float]
    ) -> None:
        server.play(SUBMITTED, SUCCESS)
        assert make_operator(timeout=0.05, poll_interval=30).execute(context) == "j1"

    def test_a_failed_cancellation_does_not_hide_the_timeout(
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
        [error(503, "ServiceUnavailable"), hang_up()],
        ids=["503", "lost"],
    )
    def test_a_cancellation_that_fails_in_an_outage_is_repeated(
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

    def test_a_cancellation_is_repeated_for_some_seconds_only(
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


class TestArgumentsThatAreRendered:
    """A user's subclass may let Airflow render what our operators read when a DAG is parsed."""

    @pytest.fixture
    def operator(self, make_operator: MakeOperator) -> Any:
        operator = make_operator(timeout=0.05)
        # as rendering leaves it
        operator.cancel_on_kill = "false"  # type: ignore[assignment]
        return operator

    def test_false_cancels_no_job_at_the_timeout(
        self, operator: Any, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED)
        server.always("GET", RUNNING)
        with pytest.raises(JobTimeoutError):
            operator.execute(context)
        assert "PUT" not in server.methods()

    def test_false_cancels_no_job_of_a_changed_request(
        self, operator: Any, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        context["task_state_store"] = Store()
        server.play(SUBMITTED)
        make_operator(wait_for_completion=False, codec="mp3").execute(context)
        context["ti"].try_number = 2
        server.play(job("j2", "Submitted"))
        server.always("GET", jobs(job_xml("j1", "Submitted") + job_xml("j2", "Success")))
        server.always("PUT", http())
        assert operator.execute(context) == "j2"
        assert "PUT" not in server.methods()

    def test_false_cancels_no_job_at_the_timeout_after_a_deferral(
        self, operator: Any, server: ScriptedServer, context: Context
    ) -> None:
        server.always("GET", RUNNING)
        event = {"status": "timeout", "job_ids": ["j1"], "deadline": time.time() - 1}
        with pytest.raises(JobTimeoutError):
            operator.resume_execution("execute_complete", {"event": event, "job_id": "j1"}, context)
        assert "PUT" not in server.methods()


def test_a_copy_acts_on_itself(make_operator: MakeOperator, server: ScriptedServer, context: Context) -> None:
    """Airflow 2.11 copies an operator that ``dag.test()`` has executed, and executes the copy."""
    operator = make_operator()
    server.play(SUBMITTED, SUCCESS, job("j2", "Submitted"), job("j2", "Success"))
    operator.execute(context)
    clone = copy.copy(operator)
    assert clone.job_id is None
    assert clone.execute(context) == "j2"
    assert (operator.job_id, clone.job_id) == ("j1", "j2")
    clone.hook.close()


def test_a_signal_while_the_parts_of_the_operator_are_made_ends_the_task(
    make_operator: MakeOperator, server: ScriptedServer, context: Context, mocker: MockerFixture
) -> None:
    operator = make_operator()

    def make_while_killed(*arguments: Any) -> KillGuard:
        mocker.stop(patched)
        guard = KillGuard(*arguments)
        operator.on_kill()
        return guard

    patched = mocker.patch("airflow_provider_ci.operators.base_task.KillGuard", make_while_killed)
    with pytest.raises(TaskKilledError):
        operator.execute(context)
    assert server.methods() == []
