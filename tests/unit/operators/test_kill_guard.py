"""A task that is killed: it ends at once, submits nothing more, and has its job cancelled."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import JobFailedError, TaskKilledError
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.submission.durable_submission import DurableSubmission
from airflow_provider_ci.submission.idempotency_key import fingerprint
from airflow_provider_ci.submission.record import SubmissionRecord
from tests.conftest import BUCKET, CREDENTIALS, REGION, Logs
from tests.patience import wait_until
from tests.scripted_server import (
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
    CancellationWaits,
    Context,
    MakeOperator,
    Store,
    killed,
    signal_handled,
    terminate,
    warnings,
    xcoms,
)


class TestKill:
    @pytest.mark.parametrize("durable", [True, False])
    def test_killed_while_the_input_is_checked_nothing_is_submitted(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, durable: bool
    ) -> None:
        server.play(after(terminate, http(length=7, keep_alive=False)))
        failure = killed(make_operator(check_input=True, durable=durable), context)
        assert "before a job was submitted" in failure
        assert server.methods() == ["HEAD"]

    def test_killed_while_the_record_is_written_nothing_is_submitted(
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

    def test_killed_while_an_abandoned_job_is_described_nothing_more_is_sent(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        context["task_state_store"] = Store(
            ci_submission=SubmissionRecord(0, "another", time.time(), job_id="j0").to_json()
        )
        server.play(after(terminate, error(503, "ServiceUnavailable")))
        killed(make_operator(extra={"max_attempts": 3}), context)
        assert server.methods() == ["GET"]

    def test_killed_before_the_submission_nothing_is_sent(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        operator = make_operator()
        operator.on_kill()
        failure = killed(operator, context)
        assert "before a job was submitted" in failure
        assert not server.requests

    @pytest.mark.parametrize("wait_for_completion", [True, False])
    def test_killed_during_the_submission_its_job_is_cancelled(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, wait_for_completion: bool
    ) -> None:
        server.play(after(terminate, SUBMITTED))
        server.always("PUT", http())
        failure = killed(make_operator(wait_for_completion=wait_for_completion), context)
        assert server.methods() == ["POST", "PUT"]
        sent = server.requests[1]
        assert (sent.path, sent.params) == ("/jobs/j1", {"cancel": ""})
        assert sent.header("Host") == f"{BUCKET}.ci.{REGION}.myqcloud.com"
        assert sent.is_signed_with(CREDENTIALS.secret_key)
        assert "while job j1 was in progress" in failure
        assert ("return_value", "j1") in xcoms(context)

    def test_killed_during_a_submission_without_response(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(after(terminate, hang_up()))
        killed(make_operator(durable=False), context, AirflowFailException)
        assert server.methods() == ["POST"]

    @pytest.mark.parametrize("state", ["Running", "Success", "Failed"])
    def test_killed_during_a_poll(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, state: str
    ) -> None:
        server.play(SUBMITTED, RUNNING, after(terminate, job("j1", state)))
        server.always("PUT", http())
        killed(make_operator(), context, JobFailedError if state == "Failed" else TaskKilledError)
        assert server.methods() == ["POST", "GET", "GET", "PUT"]

    def test_killed_during_a_pause(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        def sleep(seconds: float) -> None:
            signal.setitimer(signal.ITIMER_REAL, min(seconds / 2, 0.05))
            really_sleep(seconds)

        really_sleep = time.sleep
        mocker.patch("airflow_provider_ci.operators.kill_guard.time.sleep", sleep)
        mocker.patch("airflow_provider_ci.submission.waiting.FIRST_DELAY", 60)
        operator = make_operator(poll_interval=60)
        server.play(SUBMITTED)
        server.always("PUT", http())
        with signal_handled(signal.SIGALRM, terminate):
            killed(operator, context)
        assert server.methods() == ["POST", "PUT"]

    @pytest.mark.parametrize(
        ("answer", "asked", "fate"),
        [
            (hang_up(), 2, "Its cancellation was requested and not answered: it may still be running"),
            (error(500, "InternalError"), 2, "It was not cancelled and is still running"),
            (error(400, "InvalidArgument"), 1, "It was not cancelled and is still running"),
        ],
        ids=["lost", "500", "refused"],
    )
    def test_a_cancellation_that_fails(
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
        failure = killed(make_operator({"max_attempts": 6}), context)
        assert server.methods().count("PUT") == asked
        assert fate in failure
        assert any("could not be cancelled" in line for line in logs.at("warning"))

    def test_ends_within_five_seconds_although_the_service_hangs(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        cancellation_waits: CancellationWaits,
        logs: Logs,
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING))
        server.always("PUT", hang())
        cancellation_waits.end_at_once = 2
        failure = killed(make_operator({"max_attempts": 6}), context)
        in_on_kill, at_checkpoint = cancellation_waits.seconds
        assert in_on_kill == 1.5
        assert 1 <= at_checkpoint <= 4, "Airflow kills the process after 5 s"
        wait_until(lambda: server.methods().count("PUT") == 1)
        assert "Its cancellation was requested and not answered: it may still be running" in failure
        assert any("could not be cancelled" in line for line in logs.at("warning"))

    @pytest.mark.parametrize("failure", [hang_up(), error(503, "SlowDown")])
    def test_a_cancellation_that_failed_is_tried_again_at_the_next_checkpoint(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, failure: Answer
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING), failure, http())
        ended = killed(make_operator(), context)
        assert [method for method in server.methods() if method == "PUT"] == ["PUT", "PUT"]
        assert "cancellation was requested; the service cancels only jobs that have not begun" in ended

    def test_a_cancellation_waits_for_what_the_interrupted_code_holds(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
        cancellation_waits: CancellationWaits,
        logs: Logs,
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
        cancellation_waits.end_at_once = 1
        mocker.patch("airflow_provider_ci.current_try.state_of_try", ask)
        ended = killed(make_operator(), context)
        assert server.methods() == ["POST", "PUT"]
        assert "cancellation was requested" in ended
        assert warnings(logs) == ["Job j1 could not be cancelled within 1.5 s"]

    def test_without_cancel_on_kill_nothing_is_cancelled(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING))
        failure = killed(make_operator(cancel_on_kill=False), context)
        assert "PUT" not in server.methods()
        assert "was not cancelled and is still running" in failure

    def test_several_signals_cancel_once(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, after(terminate, RUNNING))
        server.always("PUT", after(terminate, http()))
        killed(make_operator(), context)
        assert server.methods().count("PUT") == 1

    @pytest.mark.parametrize(
        ("state", "is_cancelled"),
        [("failed", True), ("restarting", True), ("running", False)],
    )
    def test_after_the_end_of_execute_the_job_is_cancelled_only_if_a_user_has_ended_the_task(
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
    def test_after_deferring_the_job_belongs_to_the_trigger(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, state: str
    ) -> None:
        server.play(SUBMITTED, RUNNING)
        operator = make_operator(deferrable=True)
        with pytest.raises(TaskDeferred):
            operator.execute(context)
        context["ti"].state = state
        operator.on_kill()
        assert "PUT" not in server.methods()

    def test_the_job_is_cancelled_in_its_own_bucket_and_region(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(job_in_other_bucket := jobs(job_xml()), after(terminate, job_in_other_bucket))
        server.always("PUT", http())
        killed(make_operator(bucket="in-1250000003", region="ap-shanghai"), context)
        assert {sent.header("Host") for sent in server.requests} == {
            "in-1250000003.ci.ap-shanghai.myqcloud.com"
        }


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

    def test_a_resumed_task_knows_its_job_at_once(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        def parse_event(_: Any) -> None:
            terminate()
            time.sleep(60)

        mocker.patch("airflow_provider_ci.triggers.events.parse_event", parse_event)
        server.always("PUT", http())
        operator = make_operator()
        next_kwargs = {"event": {}, "job_id": "j1"}
        self.interrupted(
            operator, lambda: operator.resume_execution("execute_complete", next_kwargs, context)
        )
        assert [(sent.method, sent.path) for sent in server.requests] == [("PUT", "/jobs/j1")]

    def test_an_accepted_job_is_cancelled_before_it_is_recorded(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        server.play(SUBMITTED)
        server.always("PUT", http())
        operator = make_operator()
        remember = DurableSubmission._save_job

        def interrupted(submission: Any, *arguments: Any) -> None:
            terminate()
            remember(submission, *arguments)

        mocker.patch.object(DurableSubmission, "_save_job", interrupted)
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


def test_killed_while_a_resumed_task_imports_the_hook(
    connection: Callable[..., str], server: ScriptedServer
) -> None:
    connection(server.url)
    server.always("GET", RUNNING)
    server.always("PUT", http())
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_IMPORTING, "airflow_provider_ci.hooks.attempts"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ended: The task was killed while job j1 was in progress. Its cancellation was" in (done.stdout), (
        done.stderr
    )
    assert "PUT" in server.methods()


class TestOutcomeOfKilledTask:
    """A killed task says whether something was paid, may have been, or was not."""

    @pytest.mark.parametrize("lost", [hang_up(), error(500, "InternalError")], ids=["lost", "500"])
    def test_after_a_lost_response_the_error_says_how_to_look_for_the_job(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, lost: Answer, logs: Logs
    ) -> None:
        server.play(after(terminate, lost))
        server.always("GET", jobs())
        said = killed(make_operator(), context)
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
        said = killed(make_operator(), context)
        assert sent
        assert "while job j1 was in progress" in said
        assert server.methods() == ["POST", "GET", "PUT"]

    def test_after_a_refused_submission_the_error_says_that_there_is_no_job(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        mocker.patch("random.uniform", return_value=5.0)
        server.play(after(terminate, error(429, "SlowDown")))
        said = killed(make_operator({"max_attempts": 3}), context)
        assert said.startswith("The task was killed before a job was submitted. Nothing was paid")
        assert server.methods() == ["POST"]

    def test_killed_while_it_searches_a_retry_says_that_an_earlier_job_may_be_running(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        context["ti"].try_number, context["ti"].max_tries = 2, 1
        server.always("GET", after(terminate, jobs()))
        said = killed(make_operator(retries=1), context)
        assert said == (
            "The task was killed before this try submitted a job."
            " The job of an earlier try, if there is one, may still be running"
        )

    def test_killed_while_it_searches_a_retry_names_the_recorded_submission(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        operator = make_operator(retries=1)
        request = operator.build_request(operator.hook.settings.endpoint())
        record = SubmissionRecord(1, fingerprint(request, f"{BUCKET} {REGION}"), time.time(), "the key")
        context["task_state_store"] = Store(ci_submission=record.to_json(), ci_submission_try=2)
        context["ti"].try_number, context["ti"].max_tries = 2, 1
        server.always("GET", after(terminate, jobs()))
        said = killed(operator, context)
        assert "An earlier try may have submitted a job at 20" in said
        assert said.endswith("look for the UserData 'the key' with TencentCIHook.list_jobs")
