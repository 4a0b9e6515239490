"""The trigger: what it stores, what it fires, what it logs and what it cancels."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import threading
import time
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci import current_try
from airflow_provider_ci.exceptions import (
    CredentialsError,
    InvalidRequestError,
    InvalidResponseError,
    JobNotFoundError,
    PermissionDeniedError,
    RequestValidationError,
    ServerError,
    TencentCIError,
    ThrottledError,
    TransportError,
    WrongEndpointError,
)
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.triggers import events, job
from airflow_provider_ci.triggers.batch import TencentCIBatchTrigger
from airflow_provider_ci.triggers.job import REFUSALS_TOLERATED, TencentCIJobTrigger
from tencent_ci_emulator.server import Emulator
from tests.conftest import BUCKET, CREDENTIALS, REGION, Logs
from tests.patience import PATIENCE
from tests.recording import SHORT
from tests.scripted_server import Answer, Recorded, ScriptedServer, after, error, hang, http, job_xml, jobs
from tests.unit.triggers import virtual
from tests.unit.triggers.virtual import Request, Service, now, run

EPOCH = virtual.EPOCH
really_asked = current_try.state_of_task
ALL_ARGUMENTS = {
    "job_ids": ["j1", "j2"],
    "tencent_ci_conn_id": "other",
    "bucket": BUCKET,
    "region": REGION,
    "poll_interval": 12.5,
    "deadline": 1_700_000_000.5,
    "cancel_on_kill": False,
    "started_at": 1_699_999_999.5,
    "expects_callback": True,
}


async def fired(trigger: TencentCIJobTrigger) -> dict[str, Any]:
    """Run the trigger to its end, and return its one event."""
    (event,) = [event async for event in trigger.run()]
    return event.payload


class TestSerialization:
    def stored(self, trigger: TencentCIJobTrigger) -> TencentCIJobTrigger:
        """Return the trigger as a triggerer gets it: through the database's column."""
        from airflow.models.trigger import Trigger

        row = Trigger(*trigger.serialize())
        module, _, name = row.classpath.rpartition(".")
        return getattr(import_module(module), name)(**row.kwargs)

    @pytest.mark.parametrize("given", [ALL_ARGUMENTS, {"job_ids": ["j1"]}, {"job_ids": ("j1",)}])
    def test_round_trip(self, given: dict[str, Any]) -> None:
        trigger = TencentCIJobTrigger(**given)
        assert self.stored(trigger).serialize() == trigger.serialize()

    def test_round_trip_as_airflow_2_encodes_it(self) -> None:
        from airflow.serialization.serialized_objects import BaseSerialization

        _, kwargs = TencentCIJobTrigger(**ALL_ARGUMENTS).serialize()
        assert (
            BaseSerialization.deserialize(json.loads(json.dumps(BaseSerialization.serialize(kwargs))))
            == kwargs
        )

    def test_the_serialized_arguments_are_the_constructor_s_and_json(self) -> None:
        classpath, kwargs = TencentCIJobTrigger(**ALL_ARGUMENTS).serialize()
        assert classpath == "airflow_provider_ci.triggers.job.TencentCIJobTrigger"
        assert kwargs == ALL_ARGUMENTS == json.loads(json.dumps(kwargs))
        assert list(kwargs) == list(inspect.signature(TencentCIJobTrigger).parameters)

    def test_a_trigger_of_an_older_release_can_be_loaded(self) -> None:
        """Only ``job_ids`` may be required."""
        before = time.time()
        kwargs = TencentCIJobTrigger(job_ids=["j1"]).serialize()[1]
        assert before <= kwargs.pop("started_at") <= time.time()
        assert kwargs == {
            "job_ids": ["j1"],
            "tencent_ci_conn_id": "tencent_ci_default",
            "bucket": None,
            "region": None,
            "poll_interval": 30.0,
            "deadline": None,
            "cancel_on_kill": True,
            "expects_callback": False,
        }

    def test_the_caller_s_list_is_copied(self) -> None:
        ids = ["j1"]
        trigger = TencentCIJobTrigger(ids)
        assert trigger.job_ids == ids
        assert trigger.job_ids is not ids


class TestOutcomes:
    @pytest.mark.parametrize("count", [1, 12])
    def test_the_event_says_that_all_jobs_have_ended(self, service: Service, count: int) -> None:
        ids = [f"j{n}" for n in range(count)]
        service.ends = {job_id: 10.0 + n for n, job_id in enumerate(ids)}
        event = run(fired(TencentCIJobTrigger(ids, deadline=EPOCH + 500)))
        assert event == {
            "status": "ended",
            "job_ids": ids,
            "job_count": count,
            "deadline": EPOCH + 500,
            "started_at": EPOCH,
        }
        assert events.parse_event(event) == (False, ids, EPOCH + 500, None, EPOCH, None)

    def test_a_job_whose_callback_is_expected_is_polled_once_in_each_interval(self, service: Service) -> None:
        service.ends = {"j1": 4000.0}
        trigger = TencentCIJobTrigger(["j1"], poll_interval=900.0, expects_callback=True)
        event = run(fired(trigger))
        assert event["status"] == "ended"
        assert EPOCH + 4000 <= event["fired_at"] <= EPOCH + 4000 + 990, "a callback's event has no such time"
        assert len(service.requests) in (5, 6)  # the first poll comes at any time within an interval
        assert min(later - earlier for earlier, later in pairwise(service.polls_of("j1"))) >= 900

    def test_the_deadline_holds_between_two_rare_polls(self, service: Service) -> None:
        trigger = TencentCIJobTrigger(
            ["j1"], poll_interval=900.0, expects_callback=True, deadline=EPOCH + 1000
        )

        async def main() -> tuple[dict[str, Any], float]:
            return await fired(trigger), now()

        event, ended_at = run(main())
        assert (event["status"], ended_at, event["fired_at"]) == ("timeout", 1000, EPOCH + 1000)

    @pytest.mark.parametrize("final", ["Failed", "Cancel"])
    def test_one_job_without_success_ends_the_wait(self, service: Service, final: str) -> None:
        service.ends, service.final = {"j2": 10.0}, {"j2": final}
        assert run(fired(TencentCIJobTrigger(["j1", "j2", "j3"])))["status"] == "ended"

    @pytest.mark.parametrize("state", ["Pause", "Submitted", "Running", "Baking", ""])
    def test_any_other_state_does_not_end_the_wait(self, service: Service, state: str) -> None:
        service.states, service.ends = {"j1": state}, {"j1": 4000.0}

        async def main() -> float:
            await fired(TencentCIJobTrigger(["j1"]))
            return now()

        assert run(main()) >= 4000

    def test_a_job_that_is_missing_for_too_long_is_an_error(self, service: Service) -> None:
        service.unknown = {"j2"}

        async def main() -> tuple[dict[str, Any], float]:
            return await fired(TencentCIJobTrigger(["j1", "j2"])), now()

        event, when = run(main())
        assert (event["status"], event["error"]) == ("error", "JobNotFoundError")
        assert 120 <= when <= 155
        seen = events.parse_event(event)
        assert isinstance(seen.error, JobNotFoundError)
        assert "j2" in seen.error.message

    def test_a_job_that_appears_late_is_waited_for(self, service: Service) -> None:
        service.unknown, service.ends = {"j1"}, {"j1": 50.0}
        service.before = lambda request: service.unknown.clear() if request.at > 90 else None
        assert run(fired(TencentCIJobTrigger(["j1"])))["status"] == "ended"

    def test_the_deadline_ends_the_wait(self, service: Service) -> None:
        async def main() -> tuple[dict[str, Any], float]:
            return await fired(TencentCIJobTrigger(["j1"], deadline=EPOCH + 100.25)), now()

        event, when = run(main())
        assert event["status"] == "timeout"
        assert when == pytest.approx(100.25)
        assert events.parse_event(event).is_timeout

    @pytest.mark.parametrize("passed", [0, 10**6])
    def test_a_deadline_that_has_passed_ends_the_wait_before_a_request(
        self, service: Service, passed: float
    ) -> None:
        async def main() -> tuple[dict[str, Any], float]:
            return await fired(TencentCIJobTrigger(["j1"], deadline=EPOCH - passed)), now()

        assert run(main())[0]["status"] == "timeout"
        assert not service.requests

    @pytest.mark.parametrize("hanging", [False, True])
    def test_the_deadline_ends_the_wait_while_polls_fail(self, service: Service, hanging: bool) -> None:
        service.latency = 10**5 if hanging else 0.05
        service.before = lambda request: TransportError("no answer")

        async def main() -> tuple[dict[str, Any], float]:
            return await fired(TencentCIJobTrigger(["j1"], deadline=EPOCH + 100)), now()

        event, when = run(main())
        assert event["status"] == "timeout"
        assert when == pytest.approx(100)

    @pytest.mark.parametrize("kind", [PermissionDeniedError, WrongEndpointError])
    def test_ten_refusals_are_tolerated(self, service: Service, kind: type[TencentCIError]) -> None:
        """After them, the event holds what the worker needs to raise the same error."""
        service.before = lambda request: kind(
            "Cannot describe jobs",
            status=403,
            code="SomeCode",
            service_message="Said by the service.",
            request_id="r1",
            hint="Do something",
        )
        event = run(fired(TencentCIJobTrigger(["j1"])))
        assert (event["status"], event["error"]) == ("error", kind.__name__)
        assert len(service.requests) == REFUSALS_TOLERATED + 1
        raised = events.parse_event(event).error
        assert type(raised) is kind
        assert (raised.status, raised.code, raised.service_message) == (
            403,
            "SomeCode",
            "Said by the service.",
        )
        assert (raised.request_id, raised.hint) == ("r1", "Do something")

    def test_a_successful_poll_resets_the_count_of_refusals(self, service: Service) -> None:
        service.ends = {"j1": 9000.0}
        turns = iter([([True] * REFUSALS_TOLERATED + [False]) * 3])
        bad = next(turns)
        service.before = lambda request: PermissionDeniedError("No.") if bad and bad.pop(0) else None
        assert run(fired(TencentCIJobTrigger(["j1"])))["status"] == "ended"
        assert not bad

    @pytest.mark.parametrize(
        "error",
        [
            TransportError("reset"),
            ServerError("busy", status=503, code="SlowDown"),
            ThrottledError("too fast", status=429),
            InvalidResponseError("a page of HTML", status=200),
            CredentialsError("STS is away", transient=True),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_an_outage_does_not_end_the_wait(self, service: Service, error: TencentCIError) -> None:
        """However long it lasts, if that is shorter than the deadline."""
        service.ends = {"j1": 100.0}
        service.before = lambda request: error if request.at < 300_000 else None
        assert run(fired(TencentCIJobTrigger(["j1"], deadline=EPOCH + 301_000)))["status"] == "ended"

    def test_a_restart_of_the_triggerer_does_not_begin_the_wait_anew(self, service: Service) -> None:
        """Otherwise each would be asked for ten times in the first ten seconds, as a new job is."""
        classpath, kwargs = TencentCIJobTrigger(["j1"], started_at=EPOCH - 3600).serialize()
        service.ends = {"j1": 300.0}
        event = run(fired(TencentCIJobTrigger(**kwargs)))
        assert (event["started_at"], kwargs["started_at"]) == (EPOCH - 3600, EPOCH - 3600)
        assert classpath.endswith(".TencentCIJobTrigger")
        # the first poll comes within a pause, at random; a new job would be asked for twice as often
        assert 9 <= len(service.within(0, 300)) <= 11

    def test_without_a_deadline_it_ends_after_seven_days(self, service: Service) -> None:
        service.states = {"j1": "Baking"}

        async def main() -> tuple[dict[str, Any], float]:
            return await fired(TencentCIJobTrigger(["j1"], started_at=EPOCH - 86_400)), now()

        event, when = run(main())
        assert event["status"] == "timeout"
        assert when == pytest.approx(6 * 86_400)

    def test_failures_are_counted_for_each_job(self, service: Service) -> None:
        """30 requests that fail in the same moment are one failure of each job, not 30."""
        ids = [f"j{n}" for n in range(300)]
        service.ends = dict.fromkeys(ids, 300.0)
        service.before = lambda request: TransportError("reset") if 50 <= request.at < 81 else None
        assert run(fired(TencentCIJobTrigger(ids)))["status"] == "ended"

    def test_one_id_that_the_service_refuses_is_an_error(self, service: Service) -> None:
        service.before = lambda request: InvalidRequestError("poison") if "j5" in request.job_ids else None
        event = run(fired(TencentCIJobTrigger([f"j{n}" for n in range(40)])))
        assert event["error"] == "InvalidRequestError"

    def test_an_error_of_airflow_becomes_an_event(self, service: Service, mocker: MockerFixture) -> None:
        async def gone(conn_id: str) -> Any:
            raise LookupError(f"The conn_id `{conn_id}` isn't defined")

        mocker.patch("airflow_provider_ci.hooks.aio.load_settings", gone)
        event = run(fired(TencentCIJobTrigger(["j1"])))
        assert event["error"] == "TencentCIError"
        assert "isn't defined" in event["message"]

    @pytest.mark.parametrize("trigger", [TencentCIJobTrigger, TencentCIBatchTrigger])
    @pytest.mark.parametrize("bad", ["a/b", 7, "", "None", None, "x" * 129, ["j1"]], ids=repr)
    def test_a_wrong_job_id_is_refused(self, trigger: type[TencentCIJobTrigger], bad: Any) -> None:
        with pytest.raises(RequestValidationError, match=r"an element of job_ids is .*, allowed: an id of 1"):
            trigger([bad])
        with pytest.raises(RequestValidationError, match=r"an element of job_ids is "):
            TencentCIJobTrigger(["j1", bad])

    @pytest.mark.parametrize("trigger", [TencentCIJobTrigger, TencentCIBatchTrigger])
    @pytest.mark.parametrize(
        ("name", "bad", "allowed"),
        [
            *(
                ("poll_interval", bad, "seconds above 0")
                for bad in (0, -5, "30", None, True, math.inf, math.nan)
            ),
            ("deadline", "2025-01-01", "a Unix time"),
            ("deadline", math.inf, "a Unix time"),
            ("started_at", "1", "a Unix time"),
            ("cancel_on_kill", "false", "True or False"),
            ("cancel_on_kill", 0, "True or False"),
            ("expects_callback", "true", "True or False"),
            ("tencent_ci_conn_id", None, "the id of a connection"),
            ("bucket", 5, "a string"),
            ("region", ["ap-guangzhou"], "a string"),
        ],
    )
    def test_a_wrong_argument_is_refused(
        self, trigger: type[TencentCIJobTrigger], name: str, bad: Any, allowed: str
    ) -> None:
        with pytest.raises(RequestValidationError) as caught:
            trigger(["j1"], **{name: bad})
        assert str(caught.value) == f"Nothing was sent: {name} is {bad!r}, allowed: {allowed}"

    @pytest.mark.parametrize("trigger", [TencentCIJobTrigger, TencentCIBatchTrigger])
    @pytest.mark.parametrize("bad", ["j123", b"j123", bytearray(b"j1"), {"j1": 1}, [], (), None, 7], ids=repr)
    def test_anything_but_a_list_of_ids_is_refused(
        self, trigger: type[TencentCIJobTrigger], bad: Any
    ) -> None:
        """A string would be waited for character by character."""
        with pytest.raises(RequestValidationError, match=r"job_ids is .*, allowed: a list of one or more"):
            trigger(bad)

    def test_a_batch_trigger_accepts_one_id(self) -> None:
        with pytest.raises(RequestValidationError, match="allowed: a list of one batch job's id"):
            TencentCIBatchTrigger(["b1", "b2"])

    def test_the_event_of_thousands_is_small(self, service: Service) -> None:
        ids = [f"a-rather-long-job-id-{n:040d}" for n in range(3000)]
        service.ends = dict.fromkeys(ids, 0.0)
        event = run(fired(TencentCIJobTrigger(ids)))
        assert len(json.dumps(event)) < 2000
        assert (event["job_ids"], event["job_count"]) == (ids[:20], 3000)


class TestLog:
    def test_each_change_of_state_is_one_line(self, service: Service, logs: Logs) -> None:
        service.ends = {"j1": 3600.0}

        def before(request: Request) -> None:
            service.states["j1"] = (
                "Submitted" if request.at < 100 else "Pause" if request.at < 200 else "Running"
            )

        service.before = before
        run(fired(TencentCIJobTrigger(["j1"])))
        assert len(service.requests) > 100
        assert logs.at("info") == [
            f"Job j1: {state}" for state in ("Submitted", "Pause", "Running", "Success")
        ]
        assert not logs.at("warning") + logs.at("error")

    def test_failures_in_a_row_are_one_line(self, service: Service, logs: Logs) -> None:
        service.ends = {"j1": 3000.0}
        service.before = lambda request: ServerError("busy", status=500) if request.at % 1000 > 900 else None
        run(fired(TencentCIJobTrigger(["j1"])))
        assert 1 <= len(logs.at("warning")) <= 4
        assert all(line.startswith("Poll failed, will keep trying: busy") for line in logs.at("warning"))

    def test_hundreds_of_jobs_are_logged_as_counts(self, service: Service, logs: Logs) -> None:
        ids = [f"j{n}" for n in range(300)]
        service.ends = {job_id: 10.0 + n for n, job_id in enumerate(ids)}
        run(fired(TencentCIJobTrigger(ids)))
        lines = logs.at("info")
        assert len(lines) == 10
        assert lines[0].endswith("of 300 jobs have ended, 0 without success")
        assert lines[-1] == "300 of 300 jobs have ended, 0 without success"


def web(connection: Callable[..., str], server: ScriptedServer, **more: Any) -> dict[str, Any]:
    return {"tencent_ci_conn_id": connection(server.url), "bucket": BUCKET, "region": REGION} | more


class TestOnKill:
    """With the real client: what is asked of the service once a user has cleared or ended the task."""

    @pytest.fixture(autouse=True)
    def usual(self, mocker: MockerFixture, server: ScriptedServer) -> None:
        self.becomes(mocker, "failed")
        server.always("GET", jobs(job_xml("j1", "Submitted")))
        server.always("PUT", http())

    def becomes(
        self,
        mocker: MockerFixture,
        state: str | None,
        pushed: Any = None,
        pushed_state: str | None = "Submitted",
    ) -> None:
        """Let Airflow say that the task is in a state now, and has pushed XComs."""
        mocker.patch("airflow_provider_ci.current_try.state_of_task", return_value=state)
        mocker.patch("airflow_provider_ci.current_try.pushed_id", return_value=pushed)
        mocker.patch("airflow_provider_ci.current_try.pushed_state", return_value=pushed_state)

    @pytest.mark.parametrize(
        ("state", "pushed"),
        [
            ("deferred", None),  # moved to another triggerer, or a new try that waits already
            ("up_for_retry", None),
            ("up_for_reschedule", None),
            ("running", "j1"),  # resumed after another triggerer's event, or a new try that has found the job
        ],
    )
    def test_jobs_that_the_task_still_needs_are_not_cancelled(
        self,
        connection: Callable[..., str],
        server: ScriptedServer,
        mocker: MockerFixture,
        logs: Logs,
        state: str,
        pushed: str | None,
    ) -> None:
        self.becomes(mocker, state, pushed)
        self.kill(TencentCIJobTrigger(["j1"], **web(connection, server)))
        assert not server.requests
        assert logs.at("info") == [f"Jobs j1 are not cancelled: the task is {state} and still needs them"]

    @pytest.mark.parametrize("expects_callback", [False, True])
    @pytest.mark.parametrize(
        ("state", "pushed"),
        [
            (None, "j1"),  # cleared
            ("scheduled", "j1"),
            ("queued", "j1"),
            ("running", "j2"),
            ("failed", "j1"),
            ("success", "j1"),
            ("skipped", "j1"),
            ("removed", "j1"),
        ],
    )
    @pytest.mark.parametrize("of_job", ["Submitted", "Pause", "Running", "Success", "Failed", "Cancel"])
    def test_jobs_of_a_task_that_was_cleared_ended_or_resumed_are_cancelled_if_they_have_not_ended(
        self,
        connection: Callable[..., str],
        server: ScriptedServer,
        mocker: MockerFixture,
        logs: Logs,
        state: str | None,
        pushed: str | None,
        of_job: str,
        expects_callback: bool,
    ) -> None:
        """The task is in the same states when a callback has resumed it, and the triggerer was slower."""
        self.becomes(mocker, state, pushed)
        server.always("GET", jobs(job_xml("j1", of_job)))
        self.kill(TencentCIJobTrigger(["j1"], **web(connection, server, expects_callback=expects_callback)))
        if expects_callback and state in ("scheduled", "queued"):  # that is always so then
            expected, line = [], f"the task is {state} after a callback, or was cleared and its next try"
        elif of_job in ("Success", "Failed", "Cancel"):
            expected, line = ["GET"], "Jobs j1 are not cancelled: they have begun or ended"
        else:
            expected, line = ["GET", "PUT"], "Asked to cancel jobs j1; only jobs that have not started can be"
        assert server.methods() == expected
        assert len(logs.at("info")) == 1
        assert line in logs.at("info")[0]

    def test_a_task_that_was_quicker_than_the_triggerer_costs_no_request(
        self, connection: Callable[..., str], server: ScriptedServer, mocker: MockerFixture, logs: Logs
    ) -> None:
        self.becomes(mocker, "success", "j1", "Success")
        self.kill(TencentCIJobTrigger(["j1"], **web(connection, server)))
        assert not server.requests
        assert logs.at("info") == ["Jobs j1 are not cancelled: the task has succeeded with them"]

    def test_of_several_jobs_those_that_have_not_ended_are_cancelled(
        self, connection: Callable[..., str], server: ScriptedServer
    ) -> None:
        states = {f"j{n}": "Success" if n % 2 else "Submitted" for n in range(10)}
        del states["j8"]  # it is not found: the record may be late

        def describe(sent: Recorded) -> Answer:
            ids = sent.path.removeprefix("/jobs/").split(",")
            return jobs(*(job_xml(each, states[each]) for each in ids if each in states))

        server.always("GET", describe)
        self.kill(TencentCIJobTrigger([f"j{n}" for n in range(10)], **web(connection, server)))
        assert server.methods() == ["GET", "PUT"]
        assert server.requests[-1].path == "/jobs/j0,j2,j4,j6,j8"

    def test_a_service_that_does_not_respond_which_jobs_have_ended_is_asked_to_cancel_all(
        self, connection: Callable[..., str], server: ScriptedServer, mocker: MockerFixture
    ) -> None:
        passes, is_killed = dict[float, Callable[[], object]](), threading.Event()

        def timeout(seconds: float) -> asyncio.Timeout:
            """Return a limit of time that passes when the test says so."""
            loop, limit = asyncio.get_running_loop(), asyncio.timeout(PATIENCE)
            passes[seconds] = lambda: loop.call_soon_threadsafe(lambda: limit.reschedule(loop.time()))
            return limit

        def hang_until_killed() -> None:
            passes[job._DESCRIBE_SECONDS]()
            is_killed.wait(PATIENCE)

        mocker.patch.object(job, "asyncio", SimpleNamespace(**{**vars(asyncio), "timeout": timeout}))
        server.always("GET", after(hang_until_killed, jobs(job_xml())))
        try:
            self.kill(TencentCIJobTrigger(["j1"], **web(connection, server)))
        finally:
            is_killed.set()
        assert job._DESCRIBE_SECONDS in passes
        assert server.methods() == ["GET", "PUT"]

    def test_if_the_service_cannot_say_which_jobs_have_ended_all_are_cancelled(
        self, connection: Callable[..., str], server: ScriptedServer
    ) -> None:
        server.always("GET", error(503, "SlowDown"))
        self.kill(TencentCIJobTrigger(["j1"], **web(connection, server)))
        assert server.methods() == ["GET", "PUT"]

    def test_if_airflow_cannot_be_asked_nothing_is_cancelled(
        self, connection: Callable[..., str], server: ScriptedServer, logs: Logs
    ) -> None:
        given = web(connection, server)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("airflow_provider_ci.current_try.state_of_task", really_asked)
            self.kill(TencentCIJobTrigger(["j1"], **given))  # it knows no task, and no supervisor is there
        assert not server.requests
        (line,) = logs.at("warning")
        assert line.startswith(
            "Jobs j1 could not be cancelled: Airflow could not be asked for the task's state: "
        )

    @pytest.mark.parametrize("late", ["Airflow", "the service"])
    def test_it_continues_when_airflow_cancels_the_trigger_again(
        self,
        connection: Callable[..., str],
        server: ScriptedServer,
        mocker: MockerFixture,
        late: str,
    ) -> None:
        """Airflow 3.3 does so each second until the trigger has ended."""
        asked, cancelled_again = threading.Event(), threading.Event()

        def answer_late() -> None:
            asked.set()
            cancelled_again.wait(PATIENCE)

        def ask(ti: Any) -> str:
            if late == "Airflow":
                answer_late()
            return "failed"

        mocker.patch("airflow_provider_ci.current_try.state_of_task", ask)
        if late == "the service":
            server.always("GET", after(answer_late, jobs(job_xml())))

        async def main() -> None:
            trigger = TencentCIJobTrigger(["j1"], **web(connection, server))
            on_kill = asyncio.create_task(trigger.on_kill())
            await asyncio.to_thread(asked.wait, PATIENCE)
            on_kill.cancel("__airflow_user_action__")
            with pytest.raises(asyncio.CancelledError):
                await on_kill
            cancelled_again.set()
            (work,) = job._cancelling
            await work

        asyncio.run(main())
        assert server.methods() == ["GET", "PUT"]
        assert not job._cancelling

    def kill(self, trigger: TencentCIJobTrigger) -> None:
        async def main() -> None:
            with virtual.nothing_left():
                await trigger.on_kill()

        asyncio.run(main())

    def test_one_request_cancels_ten_jobs(
        self, connection: Callable[..., str], server: ScriptedServer, logs: Logs
    ) -> None:
        ids = [f"j{n}" for n in range(23)]
        self.kill(TencentCIJobTrigger(ids, **web(connection, server)))
        paths = ["/jobs/" + ",".join(ids[start : start + 10]) for start in (0, 10, 20)]
        assert [(sent.method, sent.path, sent.params) for sent in server.requests] == [
            ("PUT", path, {"cancel": ""}) for path in paths
        ]
        assert all(sent.is_signed_with(CREDENTIALS.secret_key) for sent in server.requests)
        assert len(logs.at("info")) == 1

    def test_without_cancel_on_kill_nothing_is_cancelled(
        self, connection: Callable[..., str], server: ScriptedServer
    ) -> None:
        self.kill(TencentCIJobTrigger(["j1"], **web(connection, server, cancel_on_kill=False)))
        assert not server.requests

    def test_a_request_that_fails_is_repeated(
        self, connection: Callable[..., str], server: ScriptedServer, mocker: MockerFixture
    ) -> None:
        mocker.patch("random.uniform", return_value=0.0)
        responses = iter([error(503, "SlowDown"), http()])
        server.always("PUT", lambda sent: next(responses))
        self.kill(TencentCIJobTrigger(["j1"], **web(connection, server)))
        assert server.methods() == ["GET", "PUT", "PUT"]

    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_a_service_that_hangs_does_not_hold_the_triggerer_up(
        self,
        connection: Callable[..., str],
        server: ScriptedServer,
        mocker: MockerFixture,
        logs: Logs,
        method: str,
    ) -> None:
        assert job._CANCEL_SECONDS < 30  # [triggerer] on_kill_timeout
        mocker.patch.object(job, "_CANCEL_SECONDS", 0.2)
        server.always(method, hang())
        self.kill(TencentCIJobTrigger(["j1"], **web(connection, server)))
        assert logs.at("warning") == ["Jobs j1 could not be cancelled: TimeoutError"]

    @pytest.mark.parametrize("how", ["refused", "no connection", "cannot connect"])
    def test_errors_are_only_logged(
        self, connection: Callable[..., str], server: ScriptedServer, logs: Logs, closed_port: int, how: str
    ) -> None:
        given = web(connection, server)
        if how == "refused":
            server.always("PUT", error(403, "AccessDenied"))
        elif how == "no connection":
            given["tencent_ci_conn_id"] = "nowhere"
        elif how == "cannot connect":
            given["tencent_ci_conn_id"] = connection(f"http://127.0.0.1:{closed_port}", max_attempts=1)
        self.kill(TencentCIJobTrigger(["j1"], **given))
        assert len(logs.at("warning")) >= 1

    @pytest.mark.parametrize("message", [None, "trigger cancelled by user action"])
    @pytest.mark.parametrize("moment", [0.0, 0.5, 1.02, 30.0])
    def test_a_cancelled_coroutine_cancels_no_job(
        self, service: Service, message: str | None, moment: float
    ) -> None:
        async def main() -> None:
            trigger = TencentCIJobTrigger(["j1"])
            task = asyncio.create_task(fired(trigger))
            await asyncio.sleep(moment)
            task.cancel(message)
            with pytest.raises(asyncio.CancelledError):
                await task
            await trigger.cleanup()

        run(main())
        assert not service.cancelled

    def test_cleanup_cancels_no_job(self, service: Service) -> None:
        service.ends = {"j1": 0.0}

        async def main() -> None:
            trigger = TencentCIJobTrigger(["j1"])
            await fired(trigger)
            await trigger.cleanup()

        run(main())
        assert not service.cancelled


class TestNoSecretLeaves:
    def test_event_log_and_repr_contain_no_secret(
        self,
        connection: Callable[..., str],
        server: ScriptedServer,
        mocker: MockerFixture,
        logs: Logs,
    ) -> None:
        """The service repeats the signature in its error, as COS does; ``logs`` checks the log."""
        mocker.patch.object(job, "REFUSALS_TOLERATED", 0)
        said = f"<StringToSign>q-signature {CREDENTIALS.secret_key}</StringToSign>"
        server.play(http(f"<Error><Code>AccessDenied</Code>{said}<Message>No.</Message></Error>", 403))
        trigger = TencentCIJobTrigger(["j1"], poll_interval=0.01, **web(connection, server))
        event = asyncio.run(fired(trigger))
        assert event["details"]["code"] == "AccessDenied"
        for text in (json.dumps(event), repr(trigger)):
            assert CREDENTIALS.secret_key not in text
            assert "q-sign" not in text
            assert "http" not in text


class TestWithTheEmulator:
    def test_jobs_on_the_emulator(
        self, emulator: Emulator, connection: Callable[..., str], logs: Logs
    ) -> None:
        """Two triggers wait for three jobs that the emulator really runs, one of which fails."""
        conn_id = connection(
            emulator.url,
            login=emulator.secret_id,
            password=emulator.secret_key,
            bucket=emulator.bucket,
            region=emulator.region,
        )
        hook = TencentCIHook(conn_id)
        hook.upload_file(SHORT, "in/song.mp3")
        good = [self.submit(hook, "in/song.mp3", f"out/{n}.mp3", emulator) for n in range(2)]
        bad = self.submit(hook, "in/none.mp3", "out/none.mp3", emulator)

        async def main() -> list[dict[str, Any]]:
            with virtual.nothing_left():
                triggers = [TencentCIJobTrigger(ids, conn_id, poll_interval=0.1) for ids in (good, [bad])]
                return await asyncio.gather(*(fired(trigger) for trigger in triggers))

        fired_events = asyncio.run(main())
        described = {
            each.job_id: str(each.job_state) for each in hook.describe_jobs([*good, bad]).jobs_detail
        }
        hook.close()
        assert [(event["status"], event["job_ids"]) for event in fired_events] == [
            ("ended", good),
            ("ended", [bad]),
        ]
        assert described == {good[0]: "Success", good[1]: "Success", bad: "Failed"}
        assert {f"Job {job_id}: Success" for job_id in good} <= {*logs.at("info")}
        assert [line.split(" (")[0] for line in logs.at("error")] == [f"Job {bad} ended Failed"]

    def submit(self, hook: TencentCIHook, key: str, target: str, emulator: Emulator) -> str:
        request = {
            "Tag": "VoiceSeparate",
            "Input": {"Object": key},
            "Operation": {
                "VoiceSeparate": {"AudioMode": "IsAudio"},
                "Output": {"Region": emulator.region, "Bucket": emulator.bucket, "AuObject": target},
            },
        }
        return str(hook.submit_job(request)[0].job_id)
