"""Waiting in the triggerer, as the worker sees it: deferring, and going on after the trigger's event."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred
from pytest_mock import MockerFixture

from airflow_provider_ci import metrics
from airflow_provider_ci.exceptions import (
    AuthenticationError,
    JobCancelledError,
    JobFailedError,
    JobTimeoutError,
    TencentCIError,
)
from airflow_provider_ci.hooks import callback_address
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.submission.record import SubmissionRecord, SubmissionRecords
from airflow_provider_ci.triggers.job import TencentCIJobTrigger
from tests.conftest import Logs
from tests.patience import PATIENCE
from tests.scripted_server import Answer, ScriptedServer, error, hang_up, http, job, job_xml, jobs
from tests.unit.operators.job_operator import Store

MakeOperator = Callable[..., VoiceSeparateOperator]
SUBMITTED, RUNNING, SUCCESS = job("j1", "Submitted"), job("j1", "Running"), job("j1", "Success")


@pytest.fixture
def context(make_context: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return make_context()


@pytest.fixture
def make_operator(server: ScriptedServer, connection: Callable[..., str]) -> Iterator[MakeOperator]:
    made: list[VoiceSeparateOperator] = []

    def make(**arguments: Any) -> VoiceSeparateOperator:
        connection(server.url, max_attempts=1, read_timeout=PATIENCE)
        usual = {"wait_for_completion": True, "deferrable": True, "poll_interval": 7}
        made.append(
            VoiceSeparateOperator(
                task_id="submit", input_object="in/a.mp3", voice_object="out/a", **(usual | arguments)
            )
        )
        return made[-1]

    yield make
    for operator in made:
        operator.hook.close()


def event(status: str = "ended", **details: Any) -> dict[str, Any]:
    return {"status": status, "job_ids": ["j1"], "job_count": 1} | details


def test_defers_what_has_not_ended(
    make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(SUBMITTED, RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        make_operator(timeout=60, cancel_on_kill=False).execute(context)
    trigger = deferred.value.trigger
    assert isinstance(trigger, TencentCIJobTrigger)
    arguments = trigger.serialize()[1]
    assert arguments["deadline"] == pytest.approx(time.time() + 60, abs=5)
    assert {name: arguments[name] for name in ("job_ids", "poll_interval", "cancel_on_kill")} == {
        "job_ids": ["j1"],
        "poll_interval": 7,
        "cancel_on_kill": False,
    }
    assert deferred.value.method_name == "execute_complete"
    assert timedelta(seconds=60) < deferred.value.timeout < timedelta(seconds=200), "only a backstop"
    assert context["ti"].xcoms[0] == ("return_value", "j1")


SECRET = "the-callback-secret-of-the-tests-00"


@pytest.fixture
def has_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback_address, "AIRFLOW_MINOR", (3, 3))


@pytest.mark.usefixtures("has_endpoint")
def test_a_task_that_expects_a_callback_polls_as_rarely_as_the_connection_says(
    make_operator: MakeOperator,
    connection: Callable[..., str],
    server: ScriptedServer,
    context: dict[str, Any],
    logs: Logs,
) -> None:
    operator = make_operator(callback_url="auto", timeout=60)
    connection(
        server.url,
        callback_base_url="https://airflow.example.com",
        callback_secret=SECRET,
        callback_poll_interval=1200,
    )
    server.play(SUBMITTED, RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    arguments = deferred.value.trigger.serialize()[1]
    assert (arguments["poll_interval"], arguments["expects_callback"]) == (1200, True)
    assert timedelta(seconds=60) < deferred.value.timeout < timedelta(seconds=200), "the deadline is the same"
    address = f"https://airflow.example.com/tencent-ci/callbacks/tencent_ci_default/{SECRET}"
    assert f"<CallBack>{address}</CallBack>" in server.requests[0].body.decode()
    assert operator.callback_url == "auto", "what Airflow shows"
    assert SECRET not in repr(arguments) + repr(context["ti"].xcoms) + logs.everything()


@pytest.mark.usefixtures("has_endpoint")
def test_a_request_that_is_refused_does_not_show_the_secret(
    make_operator: MakeOperator,
    connection: Callable[..., str],
    server: ScriptedServer,
    context: dict[str, Any],
) -> None:
    operator = make_operator(callback_url="auto")
    connection(server.url, callback_base_url="https://airflow.example.com", callback_secret=SECRET)
    server.play(error(400, "InvalidArgument", f"https://airflow.example.com/{SECRET} is not reachable"))
    with pytest.raises(TencentCIError) as caught:
        operator.execute(context)
    causes = [caught.value, caught.value.__cause__]
    assert SECRET not in "".join(f"{each} {each!r} {each.__dict__}" for each in causes if each)
    assert "https://airflow.example.com/… is not reachable" in str(caught.value)


@pytest.mark.usefixtures("has_endpoint")
def test_without_an_endpoint_nothing_is_sent(
    make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
) -> None:
    with pytest.raises(AirflowException, match="has no callback_base_url"):
        make_operator(callback_url="auto").execute(context)
    assert not server.requests


def test_a_short_job_does_not_defer(
    make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(SUBMITTED, SUCCESS)
    assert make_operator().execute(context) == "j1"
    assert context["ti"].xcoms[-1][1]["state"] == "Success"


def test_without_limits_the_deadline_is_that_of_airflow_s_sensors(
    make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(SUBMITTED, RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        make_operator().execute(context)
    assert deferred.value.trigger.deadline == pytest.approx(time.time() + 7 * 86_400, abs=60)
    assert timedelta(days=7) < deferred.value.timeout < timedelta(days=7, minutes=5)


def test_execution_timeout_counts_from_the_start_of_the_task(
    make_operator: MakeOperator, server: ScriptedServer, make_context: Callable[..., dict[str, Any]]
) -> None:
    from datetime import UTC, datetime

    began = datetime.now(UTC) - timedelta(seconds=40)
    server.play(SUBMITTED, RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        make_operator(execution_timeout=timedelta(seconds=100), timeout=500).execute(
            make_context(start_date=began)
        )
    assert deferred.value.trigger.deadline == pytest.approx(began.timestamp() + 100, abs=1)


ENDED_AT = datetime(2025, 1, 2, 3, 14, 5, tzinfo=timezone(timedelta(hours=8)))


class TestMissedCallbacks:
    @pytest.mark.parametrize("state", ["Success", "Failed"])
    @pytest.mark.parametrize(
        ("status", "seconds", "offset", "says"),
        [
            ("ended", 840.4, 0.0, True),
            ("timeout", 840.4, 0.0, True),  # the deadline came before the first poll
            ("ended", 120.0, 0.0, False),  # the callback may still have come
            ("ended", -5.0, 0.0, False),
            ("ended", -159.6, 1000.0, True),  # this machine's clock is behind the service's
            ("ended", 840.4, -1000.0, False),
            ("ended", None, 0.0, False),  # a callback has resumed the task
        ],
    )
    def test_a_poll_that_finds_a_job_long_after_its_end_is_said_and_counted(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: dict[str, Any],
        logs: Logs,
        mocker: MockerFixture,
        monkeypatch: pytest.MonkeyPatch,
        state: str,
        status: str,
        seconds: float | None,
        offset: float,
        says: bool,
    ) -> None:
        count = mocker.spy(metrics, "count")
        server.play(jobs(job_xml("j1", state).replace("<EndTime>-", f"<EndTime>{ENDED_AT:%FT%T%z}")))
        operator = make_operator()
        monkeypatch.setattr(operator.hook.settings.clock, "offset", offset)
        fired = {} if seconds is None else {"fired_at": ENDED_AT.timestamp() + seconds}
        with pytest.raises(JobFailedError) if state == "Failed" else nullcontext():
            operator.execute_complete(context, event(status, **fired))
        said = (
            "Job j1 ended 840 s before the triggerer noticed it, and no callback had resumed the task. See"
            " that the API server's option [tencent_ci] callback_conn_ids has 'tencent_ci_default', and that"
            " the service reaches the connection's callback_base_url (docs/events.md#watching-it)"
        )
        assert [line for line in logs.at("warning") if "callback" in line] == [said] * says
        assert [call.args for call in count.call_args_list].count(("callbacks_missed",)) == says

    def test_nothing_is_said_of_a_job_without_a_time_of_its_end(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any], logs: Logs
    ) -> None:
        server.play(SUCCESS)
        make_operator().execute_complete(context, event(fired_at=time.time()))
        assert not logs.at("warning")


class TestGoingOn:
    def test_success(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
    ) -> None:
        server.play(SUCCESS)
        assert make_operator().execute_complete(context, event()) == "j1"
        assert context["ti"].xcoms[-1][0] == "job"
        assert context["ti"].xcoms[-1][1]["state"] == "Success"

    def test_an_event_about_another_job_decides_nothing(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
    ) -> None:
        """Seen on SQLite: the cleared try's trigger fired after the new try had deferred."""
        server.play(job("j2", "Submitted"))
        with pytest.raises(TaskDeferred) as deferred:
            make_operator().execute_complete(context, event("timeout"), job_id="j2")
        assert deferred.value.trigger.job_ids == ["j2"]
        assert deferred.value.kwargs == {"job_id": "j2"}
        assert all("/jobs/j2" in request.path for request in server.requests), "nothing was cancelled"

    @pytest.mark.parametrize(("state", "kind"), [("Failed", JobFailedError), ("Cancel", JobCancelledError)])
    def test_no_success(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: dict[str, Any],
        state: str,
        kind: type[TencentCIError],
    ) -> None:
        server.play(job("j1", state))
        with pytest.raises(kind, match="j1"):
            make_operator().execute_complete(context, event())

    @pytest.mark.parametrize("answer", [RUNNING, jobs(unknown=("j1",))])
    def test_not_ended_after_all_waits_on_until_the_same_deadline(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any], answer: Answer
    ) -> None:
        server.play(answer)
        began, deadline = time.time() - 900, time.time() + 99
        with pytest.raises(TaskDeferred) as deferred:
            make_operator().execute_complete(context, event(deadline=deadline, started_at=began))
        assert deferred.value.trigger.deadline == deadline
        assert deferred.value.trigger.started_at == began, "so that the pauses stay long"

    def test_the_deadline_cancels(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
    ) -> None:
        server.play(RUNNING, http())
        with pytest.raises(JobTimeoutError, match=r"j1 is Running .* Its cancellation was requested"):
            make_operator(timeout=5).execute_complete(context, event("timeout"))
        assert server.methods() == ["GET", "PUT"]

    def test_success_at_the_deadline_counts(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
    ) -> None:
        server.play(SUCCESS)
        assert make_operator(timeout=5).execute_complete(context, event("timeout")) == "j1"

    def test_what_ended_the_wait_is_raised_as_it_was(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
    ) -> None:
        server.play(RUNNING)
        said = {
            "error": "AuthenticationError",
            "message": "Cannot describe jobs",
            "details": {
                "status": 401,
                "code": "SecretidNotExist",
                "request_id": "NjQ",
                "job_id": "j1",
            },
        }
        with pytest.raises(AuthenticationError, match=r"SecretidNotExist .*HTTP 401, job j1, request id NjQ"):
            make_operator().execute_complete(context, event("error", **said))

    @pytest.mark.parametrize(
        "bad",
        [
            None,
            "ended",
            {},
            {"status": "success", "job_ids": ["j1"]},
            {"status": None, "job_ids": ["j1"]},
            {"status": "ended"},
            {"status": "ended", "job_ids": []},
            {"status": "ended", "job_ids": "j1"},
        ],
    )
    def test_an_event_that_is_none_is_never_success(
        self, make_operator: MakeOperator, context: dict[str, Any], bad: Any
    ) -> None:
        with pytest.raises(TencentCIError, match="The trigger fired an event"):
            make_operator().execute_complete(context, bad)

    @pytest.mark.parametrize("name", ["Exception", "os", None, "RequestValidationError2"])
    def test_an_unknown_error_class_is_a_plain_error(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any], name: Any
    ) -> None:
        server.play(RUNNING)
        with pytest.raises(TencentCIError) as caught:
            make_operator().execute_complete(context, event("error", error=name, message="m"))
        assert type(caught.value) is TencentCIError


OUTAGES = {
    "503": error(503, "SlowDown", retry_after="300"),
    "429": error(429, "SlowDown", retry_after="300"),
    "lost": hang_up(),
    "HTML with 404": http("<html>A gateway</html>", 404),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
class TestOutage:
    """On the worker, before and after the triggerer waits. Each look is one request, whatever the connection
    says, and nothing pauses.
    """

    @pytest.fixture
    def operator(self, make_operator: MakeOperator) -> VoiceSeparateOperator:
        operator = make_operator(timeout=500)

        def sleep(seconds: float) -> None:
            raise AssertionError(f"it sleeps for {seconds} s on the worker")

        operator._sleep = sleep  # type: ignore[method-assign]
        return operator

    def test_before_it_defers(
        self,
        operator: VoiceSeparateOperator,
        server: ScriptedServer,
        context: dict[str, Any],
        outage: Answer,
    ) -> None:
        server.play(SUBMITTED, outage)
        with pytest.raises(TaskDeferred):
            operator.execute(context)

    def test_after_the_job_has_ended(
        self,
        operator: VoiceSeparateOperator,
        server: ScriptedServer,
        context: dict[str, Any],
        outage: Answer,
    ) -> None:
        server.play(outage)
        began, deadline = time.time() - 300, time.time() + 200
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute_complete(context, event(deadline=deadline, started_at=began))
        trigger = deferred.value.trigger
        assert (trigger.deadline, trigger.started_at) == (deadline, began)

    def test_after_a_trigger_of_an_older_version_gave_up(
        self,
        operator: VoiceSeparateOperator,
        server: ScriptedServer,
        context: dict[str, Any],
        outage: Answer,
    ) -> None:
        server.play(outage)
        with pytest.raises(TaskDeferred):
            operator.execute_complete(context, event("error", error="ServerError", message="busy"))

    @pytest.mark.parametrize("passed", [True, False], ids=["deadline", "backstop"])
    def test_at_the_deadline_cancels(
        self,
        operator: VoiceSeparateOperator,
        server: ScriptedServer,
        context: dict[str, Any],
        outage: Answer,
        passed: bool,
    ) -> None:
        server.play(outage, http())
        context["ti"].xcom_push("return_value", "j1")
        resumption: tuple[str, dict[str, Any]] = (
            ("execute_complete", {"event": event("timeout", deadline=time.time()), "job_id": "j1"})
            if passed
            else ("__fail__", {"error": "Trigger timeout"})
        )
        with pytest.raises(JobTimeoutError, match=r"the last poll failed: .*cancellation was requested"):
            operator.resume_execution(*resumption, context)
        assert server.methods() == ["GET", "PUT"]


def test_refused_keys_at_the_deadline_do_not_hide_it(
    make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(error(403, "AccessDenied"), http())
    with pytest.raises(JobTimeoutError, match=r"the last poll failed: .*AccessDenied"):
        make_operator(timeout=5).execute_complete(context, event("timeout", deadline=time.time()))


class TestWithoutTheTriggerer:
    """Airflow calls ``__fail__`` when nobody fired an event until the deferral's timeout, or a trigger
    failed.
    """

    TIMED_OUT, BROKEN = {"error": "Trigger timeout"}, {"error": "Trigger failure", "traceback": ["boom"]}

    @pytest.fixture
    def context(self, make_context: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        context = make_context()
        context["ti"].xcom_push("return_value", "j1")
        return context

    @pytest.mark.parametrize("why", [TIMED_OUT, BROKEN])
    def test_a_job_that_has_succeeded_counts(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: dict[str, Any],
        why: dict[str, Any],
    ) -> None:
        server.play(SUCCESS)
        assert make_operator().resume_execution("__fail__", why, context) == "j1"
        assert context["ti"].xcoms[-1][1]["state"] == "Success"

    @pytest.mark.parametrize("why", [TIMED_OUT, BROKEN])
    def test_a_job_that_has_failed_says_so(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: dict[str, Any],
        why: dict[str, Any],
    ) -> None:
        server.play(job("j1", "Failed"))
        with pytest.raises(JobFailedError, match="j1"):
            make_operator().resume_execution("__fail__", why, context)

    @pytest.mark.parametrize("said", ["Trigger timeout", "Trigger/execution timeout"])  # 3.x, 2.11
    def test_a_job_that_goes_on_after_the_deadline_is_cancelled(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any], said: str
    ) -> None:
        server.play(RUNNING, http())
        with pytest.raises(JobTimeoutError, match=r"j1 is Running after .*is a triggerer running"):
            make_operator().resume_execution("__fail__", {"error": said}, context)
        assert server.methods() == ["GET", "PUT"]

    def test_a_job_that_goes_on_after_a_trigger_failed_is_left_to_a_retry(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any], logs: Logs
    ) -> None:
        server.play(RUNNING)
        with pytest.raises(AirflowException, match="Trigger failure"):
            make_operator().resume_execution("__fail__", self.BROKEN, context)
        assert "Job j1 is Running; a retry continues with it" in logs.at("error")
        assert server.methods() == ["GET"]

    @pytest.mark.parametrize("arguments", [{}, {"do_xcom_push": False}])
    def test_an_unknown_job_is_not_asked_for(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: dict[str, Any],
        arguments: dict[str, Any],
    ) -> None:
        if not arguments:
            context["ti"].xcoms.clear()
        with pytest.raises(AirflowException, match="Trigger timeout"):
            make_operator(**arguments).resume_execution("__fail__", self.TIMED_OUT, context)
        assert server.requests == []

    def test_other_errors_stay_what_they_are(
        self, make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
    ) -> None:
        server.play(job("j1", "Failed"))
        with pytest.raises(JobFailedError):
            make_operator().resume_execution("execute_complete", {"event": event(), "job_id": "j1"}, context)
        assert server.methods() == ["GET"]


def test_a_resumed_task_defers_without_cancelling_a_job_that_was_found_by_its_request(
    make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
) -> None:
    """The record tells what the process that found the job knew."""
    record = SubmissionRecord(
        max_tries=0,
        fingerprint="f",
        since=time.time(),
        idempotency_key="k",
        job_id="j1",
        found_by_request=True,
    )
    context["task_state_store"] = Store()
    SubmissionRecords(context["task_state_store"], 1).save(record)
    server.always("GET", RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        make_operator().resume_execution("execute_complete", {"event": event(), "job_id": "j1"}, context)
    assert deferred.value.trigger.cancel_on_kill is False


def test_a_retry_does_not_cancel_a_job_that_was_found_by_its_request(
    make_operator: MakeOperator, server: ScriptedServer, context: dict[str, Any]
) -> None:
    context["task_state_store"] = Store()
    operator = make_operator()
    server.play(SUBMITTED, RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert deferred.value.trigger.cancel_on_kill is True
    records = SubmissionRecords(context["task_state_store"], 1)
    records.save(replace(records.load(), found_by_request=True))
    context["ti"].try_number = 2
    server.play(RUNNING, RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        make_operator().execute(context)
    assert deferred.value.trigger.cancel_on_kill is False
