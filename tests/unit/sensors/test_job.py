"""Waiting for jobs in both modes: each outcome, what is asked of the service, and what comes back."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    Asset,
    MappedOperator,
    TaskGroup,
)
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    PermissionDeniedError,
    RequestValidationError,
    TencentCIError,
)
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.sensors import job as sensors
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from tests.airflow_version import ALLOWS_NO_TIMEOUT, IS_AIRFLOW_2, outlet_event_accessors
from tests.conftest import Logs
from tests.scripted_server import Answer, Recorded, ScriptedServer, error, hang_up, http, job, job_xml, jobs

MODES = ("poke", "reschedule")
RUNNING, SUCCESS = job("j1", "Running"), job("j1", "Success")
FAILED = job("j1", "Failed", code="ResourceNotSupported", message="Not a media file.")

RunSensor = Callable[..., Any]


@pytest.fixture(autouse=True)
def earlier_starts(request: pytest.FixtureRequest) -> None:
    """Airflow 2's sensors look in the database when they first started."""
    if IS_AIRFLOW_2:
        request.getfixturevalue("airflow_db")


@pytest.fixture
def run(
    server: ScriptedServer, connection: Callable[..., str], make_context: Callable[..., dict[str, Any]]
) -> Iterator[RunSensor]:
    """Return a function that runs a sensor to its end, in reschedule mode each poke with a new object."""
    made: list[TencentCIJobSensor] = []

    def run(
        job_id: Any = "j1",
        *,
        mode: str = "poke",
        waited: float = 0,
        extra: dict[str, Any] | None = None,
        outlet_events: Any = None,
        store: dict[str, Any] | None = None,
        pause: float = 0,
        contexts: list[dict[str, Any]] | None = None,
        **arguments: Any,
    ) -> Any:
        connection(server.url, **({"max_attempts": 1} | (extra or {})))
        begun = datetime.now(UTC) - timedelta(seconds=waited)
        first = begun if waited else None
        for _ in range(100):
            made.append(
                TencentCIJobSensor(
                    task_id="wait", job_id=job_id, mode=mode, poke_interval=pause, timeout=3600, **arguments
                )
            )
            context = make_context(
                # in reschedule mode each poke is a new start
                start_date=begun if mode == "poke" else datetime.now(UTC),
                first_reschedule_date=first,
            )
            if store is not None:
                context["task_state_store"] = store
            if contexts is not None:
                contexts.append(context)
            if outlet_events is not None:
                context["outlet_events"] = outlet_events
            try:
                return made[-1].execute(context)
            except AirflowRescheduleException:
                assert mode == "reschedule"
                first = first or begun
        raise AssertionError("the sensor did not end")

    yield run
    for sensor in made:
        sensor.hook.close()


@pytest.mark.parametrize("mode", MODES)
class TestOutlets:
    def test_their_events_contain_the_job_ids(
        self, run: RunSensor, server: ScriptedServer, mode: str
    ) -> None:
        server.play(RUNNING, SUCCESS)
        voice = Asset("x-voice")
        events = outlet_event_accessors()
        run(mode=mode, outlets=[voice], outlet_events=events)
        assert events[voice].extra == {"job_ids": ["j1"], "state": "Success"}

    def test_a_failed_job_adds_nothing_to_events(
        self, run: RunSensor, server: ScriptedServer, mode: str
    ) -> None:
        server.play(RUNNING, FAILED)
        voice = Asset("x-voice")
        events = outlet_event_accessors()
        with pytest.raises(JobFailedError):
            run(mode=mode, outlets=[voice], outlet_events=events)
        assert events[voice].extra == {}


@pytest.mark.parametrize("mode", MODES)
class TestOutcomes:
    @pytest.mark.parametrize(
        "before",
        [
            pytest.param([], id="at-once"),
            pytest.param([RUNNING, RUNNING], id="later"),
            pytest.param([job("j1", "Pause"), job("j1", "Submitted")], id="pause"),
            pytest.param([job("j1", "Frozen"), job("j1", "")], id="unknown-states"),
            pytest.param([jobs(unknown=("j1",)), jobs()], id="missing"),
        ],
    )
    def test_success(self, run: RunSensor, server: ScriptedServer, mode: str, before: list[Answer]) -> None:
        server.play(*before, SUCCESS)
        result = run(mode=mode)
        assert (result["job_id"], result["state"]) == ("j1", "Success")
        assert server.methods() == ["GET"] * (len(before) + 1)

    @pytest.mark.parametrize("soft_fail", [False, True])
    @pytest.mark.parametrize(
        ("answers", "kind"),
        [
            pytest.param([FAILED], JobFailedError, id="failed"),
            pytest.param([RUNNING, FAILED], JobFailedError, id="failed-later"),
            pytest.param([job("j1", "Failed", code="ResourceNotFound")], JobFailedError, id="no-input"),
            pytest.param([RUNNING, job("j1", "Cancel")], JobCancelledError, id="cancelled-later"),
        ],
    )
    def test_a_job_that_did_not_succeed_fails_the_sensor_without_retry(
        self,
        run: RunSensor,
        server: ScriptedServer,
        mode: str,
        soft_fail: bool,
        answers: list[Answer],
        kind: type[TencentCIError],
    ) -> None:
        server.play(*answers)
        with pytest.raises(AirflowSkipException if soft_fail else kind) as caught:
            run(mode=mode, soft_fail=soft_fail)
        failure = caught.value.__cause__ if soft_fail else caught.value
        assert isinstance(failure, kind)
        assert isinstance(failure, AirflowFailException)
        assert failure.job_id == "j1"

    @pytest.mark.parametrize("waited", [100, 1000])
    def test_one_response_without_the_job_does_not_fail_the_sensor(
        self, run: RunSensor, server: ScriptedServer, mode: str, waited: float, mocker: MockerFixture
    ) -> None:
        mocker.patch.object(sensors.time, "sleep")
        server.play(jobs(unknown=("j1",)), SUCCESS)
        assert run(mode=mode, waited=waited)["state"] == "Success"

    @pytest.mark.parametrize("soft_fail", [False, True])
    def test_a_job_that_is_missing_for_too_long_fails_the_sensor_without_retry(
        self, run: RunSensor, server: ScriptedServer, mode: str, soft_fail: bool, mocker: MockerFixture
    ) -> None:
        """Also where each poke is a new process, with a new ``start_date``, and no state store."""
        mocker.patch("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", 0.1)
        server.always("GET", jobs(unknown=("j1",)))
        with pytest.raises(AirflowSkipException if soft_fail else JobNotFoundError) as caught:
            run(mode=mode, soft_fail=soft_fail, waited=121 if mode == "reschedule" else 0, pause=0.01)
        failure = caught.value.__cause__ if soft_fail else caught.value
        assert isinstance(failure, AirflowFailException)

    @pytest.mark.parametrize(
        "outage",
        [error(503, "SlowDown", retry_after="300"), hang_up(), http("<html>A gateway</html>", 404)],
        ids=["503", "lost", "html-404"],
    )
    def test_during_an_outage_each_poke_sends_one_request(
        self, run: RunSensor, server: ScriptedServer, mode: str, outage: Answer, logs: Logs
    ) -> None:
        """No poke sleeps, although the connection says to try six times and the service to wait."""
        server.play(RUNNING, *[outage] * 20, SUCCESS)
        assert run(mode=mode, extra={"max_attempts": 6})["state"] == "Success"
        assert len(server.requests) == 22
        lines = [line for line in logs.at("warning") if line.startswith("Poll failed, will keep trying: ")]
        assert len(lines) == (20 if mode == "reschedule" else 1), "one line for each outage in a process"

    def test_refused_keys_may_be_retried(self, run: RunSensor, server: ScriptedServer, mode: str) -> None:
        server.play(RUNNING, error(403, "AccessDenied"))
        with pytest.raises(PermissionDeniedError) as caught:
            run(mode=mode)
        assert not isinstance(caught.value, AirflowFailException)
        assert "job j1" in str(caught.value)

    @pytest.mark.parametrize("soft_fail", [False, True])
    def test_the_timeout_ends_the_wait(
        self,
        connection: Callable[..., str],
        server: ScriptedServer,
        make_context: Callable[..., dict[str, Any]],
        mode: str,
        soft_fail: bool,
    ) -> None:
        connection(server.url)
        server.play(RUNNING)
        context = make_context(first_reschedule_date=datetime.now(UTC) - timedelta(seconds=1))
        sensor = TencentCIJobSensor(task_id="wait", job_id="j1", mode=mode, soft_fail=soft_fail, timeout=0)
        with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout):
            sensor.execute(context)
        sensor.hook.close()


def test_never_fail_skips_the_sensor(run: RunSensor, server: ScriptedServer) -> None:
    server.play(FAILED)
    with pytest.raises(AirflowSkipException):
        run(never_fail=True)


def test_silent_fail_ignores_refusals_but_no_failed_job(run: RunSensor, server: ScriptedServer) -> None:
    server.play(error(403, "AccessDenied"), FAILED)
    with pytest.raises(JobFailedError):
        run(silent_fail=True)


class Lazy(Sequence[str]):
    """Like a mapped task's output: a sequence, but no list, which loads each element separately."""

    def __init__(self, *values: str) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]


class TestJobIds:
    @pytest.fixture(autouse=True)
    def _everything_succeeds(self, server: ScriptedServer) -> None:
        def answer(request: Recorded) -> Answer:
            ids = request.path.removeprefix("/jobs/").split(",")
            return jobs(*(job_xml(i, "Success") for i in reversed(ids)))

        server.always("GET", answer)

    def test_one_id_has_one_result(self, run: RunSensor) -> None:
        result = run("j1")
        assert result["job_id"] == "j1"
        assert result["outputs"] == {}
        assert result["creation_time"] == "2025-01-02T03:04:05+08:00"

    @pytest.mark.parametrize(
        "job_id",
        [
            ["j2", "j1", "j3"],
            ("j2", "j1", "j3"),
            Lazy("j2", "j1", "j3"),
            dict.fromkeys(["j2", "j1", "j3"]).keys(),
        ],
        ids=["list", "tuple", "lazy", "keys"],
    )
    def test_several_ids_have_a_list_of_results_in_their_order(
        self, run: RunSensor, server: ScriptedServer, job_id: object
    ) -> None:
        assert [result["job_id"] for result in run(job_id)] == ["j2", "j1", "j3"]
        assert len(server.requests) == 1

    def test_a_list_of_one_id_has_a_list_of_one_result(self, run: RunSensor) -> None:
        assert [result["job_id"] for result in run(["j1"])] == ["j1"]

    def test_a_repeated_id_is_polled_once_and_has_a_result_each_time(
        self, run: RunSensor, server: ScriptedServer
    ) -> None:
        assert [result["job_id"] for result in run(["j1", "j2", "j1"])] == ["j1", "j2", "j1"]
        assert [sent.path for sent in server.requests] == ["/jobs/j1,j2"]

    @pytest.mark.parametrize("job_id", [[], (), Lazy()])
    def test_no_ids_are_a_success(self, run: RunSensor, server: ScriptedServer, job_id: object) -> None:
        assert run(job_id) == []
        assert not server.requests

    def test_a_request_has_at_most_ten_ids(self, run: RunSensor, server: ScriptedServer) -> None:
        ids = [f"j{n}" for n in range(25)]
        assert [result["job_id"] for result in run(ids)] == ids
        assert [sent.path.count(",") + 1 for sent in server.requests] == [10, 10, 5]

    @pytest.mark.parametrize(
        "job_id",
        [
            "",
            None,
            5,
            {"job_id": "j1"},
            ["j1", None],
            ["j1", ""],
            [["j1"]],
            b"j1",
            "a/b",
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("soft_fail", [False, True])
    def test_anything_else_is_refused_before_a_request(
        self, run: RunSensor, server: ScriptedServer, job_id: object, soft_fail: bool
    ) -> None:
        with pytest.raises(RequestValidationError, match=r"job_id is .*, allowed: "):
            run(job_id, soft_fail=soft_fail)
        assert not server.requests


def test_jobs_that_have_ended_are_not_polled_again(run: RunSensor, server: ScriptedServer) -> None:
    server.play(
        jobs(job_xml("j1", "Running"), job_xml("j2", "Success"), job_xml("j3", "Submitted")),
        jobs(job_xml("j1", "Running"), job_xml("j3", "Success")),
        jobs(job_xml("j1", "Success")),
    )
    assert [result["state"] for result in run(["j1", "j2", "j3"])] == ["Success"] * 3
    assert [sent.path for sent in server.requests] == ["/jobs/j1,j2,j3", "/jobs/j1,j3", "/jobs/j1"]


@pytest.mark.parametrize("mode", MODES)
def test_one_failed_job_ends_the_wait_and_the_error_names_all_failed_jobs(
    run: RunSensor, server: ScriptedServer, mode: str, logs: Logs
) -> None:
    server.play(
        jobs(
            job_xml("j1", "Success"),
            job_xml("j2", "Failed", code="CodeOfJ2", message="Message of j2."),
            job_xml("j3", "Running"),
            job_xml("j4", "Failed", code="CodeOfJ4", message="Message of j4."),
            job_xml("j5", "Cancel"),
        )
    )
    with pytest.raises(JobFailedError, match="3 of 5 jobs did not succeed") as caught:
        run(["j1", "j2", "j3", "j4", "j5"], mode=mode)
    message = str(caught.value)
    for part in ("j2", "CodeOfJ2", "Message of j2.", "j4", "CodeOfJ4", "Message of j4.", "j5 ended Cancel"):
        assert part in message
    assert "None" not in message
    assert "j3" not in message
    assert len(logs.at("error")) == 3


def test_the_error_of_a_failed_job_has_its_details(run: RunSensor, server: ScriptedServer) -> None:
    server.play(FAILED)
    with pytest.raises(JobFailedError) as caught:
        run()
    failure = caught.value
    assert (failure.state, failure.code, failure.service_message) == (
        "Failed",
        "ResourceNotSupported",
        "Not a media file.",
    )
    assert failure.request_id
    assert failure.hint
    assert "Job j1 ended Failed: ResourceNotSupported: Not a media file." in str(failure)


@pytest.mark.parametrize(
    "kind", [sensors.SensedJobFailedError, sensors.SensedJobCancelledError, sensors.SensedJobNotFoundError]
)
def test_the_errors_can_be_pickled(kind: type[TencentCIError]) -> None:
    failure = kind("It ended", job_id="j1", code="C", hint="h", state="Failed")  # type: ignore[call-arg]
    again = pickle.loads(pickle.dumps(failure))
    assert type(again) is kind
    assert str(again) == str(failure)
    assert vars(again) == vars(failure)


@pytest.mark.parametrize("empty", ["", None])
def test_bucket_and_region_default_to_the_connections(
    run: RunSensor, server: ScriptedServer, empty: str | None
) -> None:
    server.play(SUCCESS, SUCCESS)
    run(bucket=empty, region=empty)
    run(bucket="in-1250000003", region="ap-shanghai")
    assert [sent.header("Host") for sent in server.requests] == [
        "media-1250000001.ci.ap-guangzhou.myqcloud.com",
        "in-1250000003.ci.ap-shanghai.myqcloud.com",
    ]


def test_a_wrong_bucket_is_refused(run: RunSensor) -> None:
    with pytest.raises(RequestValidationError, match="bucket is 'bad'"):
        run(bucket="bad")


class TestTheClass:
    def test_templated_arguments_are_assigned_unchanged(self) -> None:
        arguments: dict[str, Any] = {name: ["{{ a }}"] for name in TencentCIJobSensor.template_fields}
        sensor = TencentCIJobSensor(task_id="wait", **arguments)
        for name, value in arguments.items():
            assert getattr(sensor, name) is value
        assert set(TencentCIJobSensor.template_fields) == {"job_id", "tencent_ci_conn_id", "bucket", "region"}

    def test_it_can_follow_operators_and_mapped_operators(self) -> None:
        with DAG("d", schedule=None) as dag:
            one = VoiceSeparateOperator(task_id="one", input_object="a", voice_object="b")
            many = VoiceSeparateOperator.partial(task_id="many", voice_object="b").expand(input_object=["a"])
            TencentCIJobSensor(task_id="wait_one", job_id=one.output)
            TencentCIJobSensor(task_id="wait_many", job_id=many.output)
            TencentCIJobSensor.partial(task_id="wait_each").expand(job_id=many.output)
        assert dag.get_task("wait_one").upstream_task_ids == {"one"}
        assert dag.get_task("wait_many").upstream_task_ids == {"many"}
        assert isinstance(dag.get_task("wait_each"), MappedOperator)

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ({"poke_interval": "5"}, "poke_interval is '5', allowed: a number of seconds from 0 on"),
            ({"poke_interval": -1}, "poke_interval is -1, allowed"),
            ({"poke_interval": None}, "poke_interval is None, allowed"),
            ({"poke_interval": math.inf}, "poke_interval is inf, allowed"),
            ({"timeout": "{{ x }}"}, "timeout is '{{ x }}', allowed"),
            ({"timeout": math.nan}, "timeout is nan, allowed"),
            ({"timeout": 10**18}, "timeout is 1000000000000000000, allowed"),
            ({"mode": "rest"}, "mode is 'rest', allowed: poke, reschedule"),
            ({"soft_fail": True, "never_fail": True}, "soft_fail and never_fail are True, allowed: one"),
        ],
    )
    def test_a_mapped_sensor_is_checked_when_the_dag_is_parsed(
        self, arguments: dict[str, Any], problem: str
    ) -> None:
        with (
            DAG("d", schedule=None),
            TaskGroup("group"),
            pytest.raises(RequestValidationError) as caught,
        ):
            TencentCIJobSensor.partial(task_id="wait", **arguments)
        assert f"Task 'group.wait' cannot work: {problem}" in str(caught.value)

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"poke_interval": 0, "timeout": 0},
            {"poke_interval": timedelta(minutes=1), "timeout": timedelta(days=1), "max_wait": 60},
            {"max_wait": None, "mode": "reschedule", "soft_fail": True}
            | ({"timeout": None} if ALLOWS_NO_TIMEOUT else {}),
        ],
    )
    def test_a_mapped_sensor_may_have_all_that_airflow_allows(self, arguments: dict[str, Any]) -> None:
        with DAG("d", schedule=None):
            task = TencentCIJobSensor.partial(task_id="wait", **arguments).expand(job_id=["j1"])
            assert task.unmap({"job_id": "j1"}).job_id == "j1"

    @pytest.mark.parametrize("name", ["poke_interval", "timeout"])
    def test_a_wait_of_more_than_ten_years_is_refused(self, name: str) -> None:
        with pytest.raises(RequestValidationError, match=rf"{name} is .*, allowed: .* at most 3650 days"):
            TencentCIJobSensor(task_id="wait", job_id="j1", **{name: 11 * 365 * 86_400})

    def test_job_ids_are_rendered(self) -> None:
        sensor = TencentCIJobSensor(task_id="wait", job_id=["{{ params.a }}", "j2"])
        sensor.render_template_fields({"params": {"a": "j1"}})  # type: ignore[arg-type]
        assert sensor.job_id == ["j1", "j2"]


def test_a_response_about_other_jobs_is_ignored(run: RunSensor, server: ScriptedServer) -> None:
    server.play(job("j9", "Success"), http("<Response/>"), SUCCESS)
    assert run()["job_id"] == "j1"


class Store(dict[str, Any]):
    """A task state store, which outlives the processes of a task."""

    writes = 0

    def set(self, key: str, value: Any) -> None:
        self.writes += 1
        self[key] = value


class Clock:
    """Stands in for the module ``time``; sleeping takes no time."""

    def __init__(self) -> None:
        self.begun = datetime.now(UTC)
        self.seconds = 0.0  # since then
        self.naps: list[float] = []

    def time(self) -> float:
        return self.begun.timestamp() + self.seconds

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.seconds += seconds


class TestMissingBetweenPokes:
    """In reschedule mode each poke is a new process; Airflow 3.3 has a store for what earlier ones knew."""

    MISSING = jobs(unknown=("j1",))

    @pytest.fixture
    def clock(self, mocker: MockerFixture) -> Clock:
        """Minutes pass between two pokes."""
        clock = Clock()
        mocker.patch.object(sensors, "time", clock)
        return clock

    def poke(
        self,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        store: Store | None,
        *,
        is_first: bool = False,
        begun: datetime,
    ) -> bool:
        """Poke in a new process, and tell whether the jobs have ended."""
        context = make_context(first_reschedule_date=None if is_first else begun)
        if store is not None:
            context["task_state_store"] = store
        sensor = TencentCIJobSensor(task_id="wait", job_id="j1", mode="reschedule", timeout=10**6)
        try:
            return bool(sensor.poke(context).is_done)
        finally:
            sensor.hook.close()

    def test_the_grace_period_begins_when_the_job_is_first_missing(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        clock: Clock,
    ) -> None:
        connection(server.url)
        store, begun = Store(), clock.begun

        def poke(at: float, answer: Answer) -> bool:
            clock.seconds = at
            server.play(answer)
            return self.poke(connection, make_context, store, is_first=at == 0, begun=begun)

        for at in (0, 60, 128):
            assert not poke(at, RUNNING)
        for at in (139, 200, 250):
            assert not poke(at, self.MISSING)
        with pytest.raises(JobNotFoundError, match="has not found j1 for 121 s"):
            poke(260, self.MISSING)
        assert len(server.requests) == 7, "one look at each poke"
        assert store.writes == 1, "written when it is first missed, and not at each poke"

    def test_a_job_that_was_found_meanwhile_has_a_new_grace_period(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        clock: Clock,
    ) -> None:
        connection(server.url)
        store, begun = Store(), clock.begun
        for at, answer in (
            (0, self.MISSING),
            (60, RUNNING),
            (139, self.MISSING),
            (200, RUNNING),
            (290, self.MISSING),
        ):
            clock.seconds = at
            server.play(answer)
            assert not self.poke(connection, make_context, store, is_first=at == 0, begun=begun)

    def test_an_id_that_never_existed_fails_the_sensor_after_two_minutes(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        clock: Clock,
    ) -> None:
        connection(server.url)
        store, begun = Store(), clock.begun
        # stored before the task was cleared
        store["ci_missing_jobs"] = {"j1": begun.timestamp() - 10**6}
        server.play(self.MISSING, self.MISSING, self.MISSING)
        assert not self.poke(connection, make_context, store, is_first=True, begun=begun)
        clock.seconds = 119
        assert not self.poke(connection, make_context, store, begun=begun)
        clock.seconds = 121
        with pytest.raises(JobNotFoundError):
            self.poke(connection, make_context, store, begun=begun)

    def test_a_store_that_cannot_be_read_fails_nothing(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        logs: Logs,
    ) -> None:
        class Broken(Store):
            def get(self, key: str, default: Any = None) -> Any:  # type: ignore[override]
                raise RuntimeError("the API server is away")

        connection(server.url)
        server.play(RUNNING)
        assert not self.poke(connection, make_context, Broken(), begun=datetime.now(UTC))
        assert logs.at("warning") == [
            "The task state store cannot be read, will try again: the API server is away"
        ]

    def test_without_a_store_the_poke_asks_again_until_it_is_certain(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        clock: Clock,
    ) -> None:
        """Before Airflow 3.3: one response without the job is not the end, and an unknown id is noticed."""
        connection(server.url)
        begun = clock.begun
        clock.seconds = 119
        server.play(self.MISSING)
        assert not self.poke(connection, make_context, None, begun=begun), "the next poke looks again"
        assert not clock.naps
        clock.seconds = 139
        server.play(self.MISSING, self.MISSING, RUNNING)
        assert not self.poke(connection, make_context, None, begun=begun)
        assert clock.naps == [1, 1]
        server.always("GET", self.MISSING)
        with pytest.raises(JobNotFoundError):
            self.poke(connection, make_context, None, begun=begun)
        assert 120 < sum(clock.naps[2:]) < 150
        assert len(server.requests) < 30


class TestSomeOfManyRequestsFail:
    IDS = tuple(f"j{n}" for n in range(1000))

    def answering(self, server: ScriptedServer, fails: Callable[[int], bool]) -> None:
        def answer(request: Recorded) -> Answer:
            if fails(len(server.requests)):
                return error(429, "SlowDown")
            ids = request.path.removeprefix("/jobs/").split(",")
            return jobs(*(job_xml(i, "Success") for i in ids))

        server.always("GET", answer)

    def test_a_poke_repeats_failed_requests_if_most_succeed(
        self, run: RunSensor, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise a thousand jobs in reschedule mode would never be seen together."""
        monkeypatch.setattr(sensors, "_PAUSE_IN_POKE", 0.0)
        self.answering(server, lambda count: count % 10 == 0)
        assert len(run(self.IDS, mode="reschedule")) == 1000
        assert len(server.requests) == 111

    def test_during_an_outage_a_poke_sends_one_request(
        self, run: RunSensor, server: ScriptedServer, connection: Callable[..., str]
    ) -> None:
        self.answering(server, lambda count: count <= 5)
        run(self.IDS, mode="reschedule")
        assert len(server.requests) == 105, "one at each of the five pokes that failed"


class TestLinksInRescheduleMode:
    def test_airflow_3_pushes_them_itself_after_each_poke(
        self, run: RunSensor, server: ScriptedServer
    ) -> None:
        server.play(RUNNING, RUNNING, RUNNING, SUCCESS)
        contexts: list[dict[str, Any]] = []
        run(mode="reschedule", contexts=contexts)
        pushes = [len(context["ti"].xcoms) for context in contexts]
        # Airflow 2.11 deletes a task's XComs before each poke, and pushes no links
        assert pushes == ([2, 2, 2, 2] if IS_AIRFLOW_2 else [0, 0, 0, 0])

    def test_airflow_3_finds_them_after_each_poke(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
    ) -> None:
        """It asks each link for its URL when a task's process ends, and stores what it gets."""
        connection(server.url)
        details = "<Input><BucketId>b-1250000001</BucketId><Region>ap-guangzhou</Region></Input></JobsDetail>"
        server.play(jobs(job_xml("j1", "Running").replace("</JobsDetail>", details)))
        sensor = TencentCIJobSensor(task_id="wait", job_id="j1", mode="reschedule")
        sensor.poke(make_context(first_reschedule_date=datetime.now(UTC)))
        sensor.hook.close()
        urls = [link.get_link(sensor, ti_key=None) for link in sensor.operator_extra_links]
        assert urls == [
            "https://console.cloud.tencent.com/ci/bucket?bucket=b-1250000001&region=ap-guangzhou",
            "",
        ]
