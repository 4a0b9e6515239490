"""The deferrable sensor, which must end as the sensor in poke mode does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    JobFailedError,
    JobNotFoundError,
    TencentCIError,
)
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from tests.scripted_server import Answer, ScriptedServer, error, hang_up, job, job_xml, jobs

MakeSensor = Callable[..., TencentCIJobSensor]
RUNNING, SUCCESS, FAILED = job("j1", "Running"), job("j1", "Success"), job("j1", "Failed")
ENDED = {"status": "ended", "job_ids": ["j1"]}


@pytest.fixture
def context(make_context: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return make_context()


@pytest.fixture
def make_sensor(server: ScriptedServer, connection: Callable[..., str]) -> Iterator[MakeSensor]:
    made: list[TencentCIJobSensor] = []

    def make(job_id: Any = "j1", **arguments: Any) -> TencentCIJobSensor:
        connection(server.url, max_attempts=1)
        made.append(TencentCIJobSensor(task_id="wait", job_id=job_id, deferrable=True, **arguments))
        return made[-1]

    yield make
    for sensor in made:
        sensor.hook.close()


def test_it_defers_and_completes(
    make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        make_sensor(poke_interval=9, timeout=100).execute(context)
    arguments = deferred.value.trigger.serialize()[1]
    assert (arguments["job_ids"], arguments["poll_interval"]) == (["j1"], 9)
    assert arguments["cancel_on_kill"] is False, "the jobs are another task's"
    assert timedelta(seconds=90) < deferred.value.timeout <= timedelta(seconds=100)
    server.play(SUCCESS)
    assert make_sensor().execute_complete(context, ENDED)["state"] == "Success"


def test_a_poke_interval_of_zero_becomes_a_second(
    make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        make_sensor(poke_interval=0).execute(context)
    assert deferred.value.trigger.serialize()[1]["poll_interval"] == 1


@pytest.mark.parametrize(("execution_timeout", "left"), [(None, 60), (50, 10), (500, 60)])
@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_the_earlier_of_both_timeouts_limits_the_deferral(
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
    trigger = deferred.value.trigger
    assert trigger.started_at == context["ti"].start_date.timestamp(), "so that the pauses stay long"
    assert trigger.deadline == pytest.approx(trigger.started_at + 40 + left)


@pytest.mark.parametrize("limits", [{"timeout": 30}, {"execution_timeout": timedelta(seconds=30)}], ids=str)
def test_after_the_timeout_it_does_not_defer_again(
    make_sensor: MakeSensor,
    server: ScriptedServer,
    make_context: Callable[..., dict[str, Any]],
    limits: dict[str, Any],
) -> None:
    server.play(RUNNING)
    context = make_context(start_date=datetime.now(UTC) - timedelta(seconds=40))
    with pytest.raises(AirflowSensorTimeout, match="1 of 1 jobs have not ended"):
        make_sensor(**limits).execute_complete(context, ENDED)


def test_it_defers_only_for_jobs_that_have_not_ended(
    make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(jobs(job_xml("j1", "Success"), job_xml("j2", "Running")))
    with pytest.raises(TaskDeferred) as deferred:
        make_sensor(["j1", "j2"]).execute(context)
    assert deferred.value.trigger.job_ids == ["j2"]
    server.play(jobs(job_xml("j1", "Success"), job_xml("j2", "Success")))
    results = make_sensor(["j1", "j2"]).execute_complete(context, ENDED)
    assert [result["job_id"] for result in results] == ["j1", "j2"]


def test_it_does_not_defer_for_jobs_that_have_ended(
    make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(SUCCESS)
    assert make_sensor().execute(context)["state"] == "Success"
    assert make_sensor([]).execute(context) == []


def test_it_defers_again_for_a_job_that_has_not_ended_after_all(
    make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]
) -> None:
    server.play(RUNNING)
    with pytest.raises(TaskDeferred):
        make_sensor().execute_complete(context, ENDED)


@pytest.mark.parametrize("option", ["soft_fail", "never_fail", None])
def test_a_failed_job_fails_the_sensor_without_retry_before_and_after_a_deferral(
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
    [("JobNotFoundError", JobNotFoundError, True), ("AuthenticationError", AuthenticationError, False)],
)
def test_an_error_in_the_triggerer_is_raised(
    make_sensor: MakeSensor, context: dict[str, Any], name: str, kind: type[TencentCIError], final: bool
) -> None:
    event = {"status": "error", "job_ids": ["j1"], "error": name, "message": "Raised in the triggerer"}
    with pytest.raises(kind, match="Raised in the triggerer") as caught:
        make_sensor().execute_complete(context, event)
    assert isinstance(caught.value, AirflowFailException) is final


class TestEndsAsPokeModeDoes:
    """Each outcome, with each option, compared with what Airflow does with the same sensor in poke mode."""

    OPTIONS: tuple[dict[str, Any], ...] = (
        {},
        {"soft_fail": True},
        {"never_fail": True},
        {"silent_fail": True},
        {"silent_fail": True, "never_fail": True},
        {"silent_fail": True, "soft_fail": True},
    )
    ENDS: ClassVar[dict[str, Answer]] = {"success": SUCCESS, "failed": FAILED}
    REFUSED = error(403, "AccessDenied")

    def ending(self, act: Callable[[], Any]) -> tuple[str, Any]:
        """Return how it ended, and the job's state or whether Airflow would retry the error."""
        try:
            return "success", act()["state"]
        except (AirflowSkipException, AirflowSensorTimeout, TaskDeferred) as end:
            return type(end).__name__, None
        except TencentCIError as end:
            return type(end).__name__, isinstance(end, AirflowFailException)

    @pytest.fixture
    def in_poke_mode(
        self, server: ScriptedServer, connection: Callable[..., str], context: dict[str, Any]
    ) -> Callable[..., Any]:
        def end(*answers: Answer, **options: Any) -> tuple[str, Any]:
            connection(server.url, max_attempts=1)
            server.play(*answers)
            sensor = TencentCIJobSensor(task_id="wait", job_id="j1", poke_interval=0, **options)
            try:
                return self.ending(lambda: sensor.execute(context))
            finally:
                sensor.hook.close()

        return end

    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    @pytest.mark.parametrize("name", ENDS)
    @pytest.mark.parametrize("is_resumed", [False, True])
    def test_a_job_that_has_ended(
        self,
        in_poke_mode: Callable[..., Any],
        make_sensor: MakeSensor,
        server: ScriptedServer,
        context: dict[str, Any],
        options: dict[str, Any],
        name: str,
        is_resumed: bool,
    ) -> None:
        expected = in_poke_mode(self.ENDS[name], **options)
        server.play(self.ENDS[name])
        sensor = make_sensor(**options)
        assert expected == self.ending(
            lambda: (
                sensor.resume_execution("execute_complete", {"event": ENDED}, context)
                if is_resumed
                else sensor.execute(context)
            )
        )

    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    @pytest.mark.parametrize("when", ["at once", "resumed", "in the triggerer"])
    def test_an_error(
        self,
        in_poke_mode: Callable[..., Any],
        make_sensor: MakeSensor,
        server: ScriptedServer,
        context: dict[str, Any],
        options: dict[str, Any],
        when: str,
    ) -> None:
        """The keys are refused, for instance. With silent_fail a sensor pokes again, or defers."""
        if options.get("silent_fail"):
            assert in_poke_mode(self.REFUSED, SUCCESS, **options) == ("success", "Success")
            expected = ("TaskDeferred", None)
        else:
            expected = in_poke_mode(self.REFUSED, **options)
        event = ENDED
        if when == "in the triggerer":
            event = {
                "status": "error",
                "job_ids": ["j1"],
                "error": "PermissionDeniedError",
                "message": "No.",
            }
        else:
            server.play(self.REFUSED)
        sensor = make_sensor(**options)
        assert expected == self.ending(
            lambda: (
                sensor.execute(context)
                if when == "at once"
                else sensor.resume_execution("execute_complete", {"event": event}, context)
            )
        )

    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    def test_a_missing_job(
        self,
        in_poke_mode: Callable[..., Any],
        make_sensor: MakeSensor,
        context: dict[str, Any],
        options: dict[str, Any],
        mocker: MockerFixture,
    ) -> None:
        mocker.patch("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", -1.0)
        expected = in_poke_mode(jobs(unknown=("j1",)), **options)
        event = {"status": "error", "job_ids": ["j1"], "error": "JobNotFoundError", "message": "Gone."}
        sensor = make_sensor(**options)
        ended = self.ending(lambda: sensor.resume_execution("execute_complete", {"event": event}, context))
        assert ended == expected

    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    @pytest.mark.parametrize("how", ["trigger", "airflow"])
    def test_a_timeout(
        self,
        in_poke_mode: Callable[..., Any],
        make_sensor: MakeSensor,
        server: ScriptedServer,
        make_context: Callable[..., dict[str, Any]],
        options: dict[str, Any],
        how: str,
    ) -> None:
        """Airflow's own sensor skips for never_fail, but only when it is deferred."""
        expected = in_poke_mode(RUNNING, timeout=0, **options)
        server.play(RUNNING)
        context = make_context(start_date=datetime.now(UTC) - timedelta(seconds=40))
        event = {"status": "timeout", "job_ids": ["j1"], "deadline": 1e9}
        resumption: tuple[str, dict[str, Any]] = (
            ("execute_complete", {"event": event})
            if how == "trigger"
            else ("__fail__", {"error": "Trigger timeout"})
        )
        sensor = make_sensor(timeout=30, **options)
        assert self.ending(lambda: sensor.resume_execution(*resumption, context)) == expected
        skips = options.get("soft_fail")
        assert expected[0] == ("AirflowSkipException" if skips else "AirflowSensorTimeout")

    @pytest.mark.parametrize("said", ["Trigger timeout", "Trigger/execution timeout"])
    def test_a_job_that_ended_just_before_the_timeout_counts(
        self, make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any], said: str
    ) -> None:
        server.play(SUCCESS)
        result = make_sensor().resume_execution("__fail__", {"error": said}, context)
        assert result["state"] == "Success"

    @pytest.mark.parametrize(
        "answer", [error(503, "SlowDown", retry_after="300"), hang_up()], ids=["503", "lost"]
    )
    def test_during_an_outage_it_defers_again(
        self, make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any], answer: Answer
    ) -> None:
        server.play(answer, answer)
        with pytest.raises(TaskDeferred):
            make_sensor().execute(context)
        with pytest.raises(TaskDeferred):
            make_sensor().resume_execution("execute_complete", {"event": ENDED}, context)

    def test_an_outage_at_the_deadline_is_a_timeout(
        self, make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]
    ) -> None:
        server.play(error(503, "SlowDown", retry_after="300"))
        with pytest.raises(AirflowSensorTimeout):
            make_sensor().resume_execution("__fail__", {"error": "Trigger timeout"}, context)


def test_a_job_that_is_missing_after_a_resumption_has_a_grace_period(
    make_sensor: MakeSensor, server: ScriptedServer, make_context: Callable[..., dict[str, Any]]
) -> None:
    """The trigger has seen it, perhaps seconds ago."""
    server.play(jobs(unknown=("j1",)))
    context = make_context(start_date=datetime.now(UTC) - timedelta(seconds=139))
    with pytest.raises(TaskDeferred):
        make_sensor().resume_execution("execute_complete", {"event": ENDED}, context)


def test_a_trigger_gets_as_many_ids_as_a_database_can_store(
    make_sensor: MakeSensor, server: ScriptedServer, context: dict[str, Any]
) -> None:
    """MySQL's column for a trigger's encrypted arguments holds 65,535 bytes. The sensor defers for the other
    jobs later.
    """
    from airflow.models.trigger import Trigger
    from cryptography.fernet import Fernet

    server.always("GET", jobs())
    ids = [f"j{n:0127d}" for n in range(1000)] + [f"j{n:032d}" for n in range(2000)]
    sensor = make_sensor(ids, bucket="b" * 50 + "-1250000001", region="ap-guangzhou")
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    trigger = deferred.value.trigger
    assert trigger.job_ids == ids[: len(trigger.job_ids)]
    stored = Trigger(*trigger.serialize()).encrypted_kwargs  # as JSON: the tests' Airflow has no key
    assert 60_000 < len(Fernet(Fernet.generate_key()).encrypt(stored.encode())) <= 65_535
