"""What is counted, received by a real StatsD server on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci import metrics
from airflow_provider_ci.exceptions import ThrottledError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.jobs import Job
from tests.conftest import Logs
from tests.scripted_server import ScriptedServer, error, hang_up, job, job_xml, jobs
from tests.statsd_receiver import StatsdReceiver, send_stats_to, statsd_receiver

# fixtures
from tests.unit.operators.conftest import context, make_operator  # noqa: F401
from tests.unit.operators.job_operator import Context, MakeOperator

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsdReceiver]:
    with statsd_receiver() as receiver:
        send_stats_to(receiver.port, monkeypatch)
        yield receiver


def ended(
    job_id: str, state: str = "Success", seconds: float | None = 12.4, tag: str = "VoiceSeparate"
) -> Job:
    end = None if seconds is None else STARTED + timedelta(seconds=seconds)
    return Job(job_id=job_id, state=state, tag=tag, start_time=end and STARTED, end_time=end)


def test_jobs_that_have_ended_are_counted_by_type_and_state(received: StatsdReceiver) -> None:
    metrics.count_ended(
        [
            ended("j1"),
            ended("j2", seconds=30),
            ended("j3", "Failed", seconds=1),
            ended("j4", "Cancel", seconds=None),
            ended("j5", tag="Transcode"),
            Job(job_id="j6", state="Running", tag="Transcode", start_time=STARTED),
        ]
    )
    assert received.provider_counters() == {
        "jobs_ended,job_type=VoiceSeparate,state=Success": 2,
        "job_seconds,job_type=VoiceSeparate,state=Success": 42,
        "jobs_ended,job_type=VoiceSeparate,state=Failed": 1,
        "job_seconds,job_type=VoiceSeparate,state=Failed": 1,
        "jobs_ended,job_type=VoiceSeparate,state=Cancel": 1,
        "job_seconds,job_type=VoiceSeparate,state=Cancel": 0,
        "jobs_ended,job_type=Transcode,state=Success": 1,
        "job_seconds,job_type=Transcode,state=Success": 12,
    }


def test_a_task_counts_its_job_and_its_requests(
    received: StatsdReceiver,
    make_operator: MakeOperator,  # noqa: F811
    server: ScriptedServer,
    context: Context,  # noqa: F811
) -> None:
    server.play(job("j1", "Submitted"), job("j1", "Running"), job("j1", "Success"))
    make_operator().execute(context)
    counted = received.provider_counters()
    assert counted.pop("jobs_submitted,job_type=VoiceSeparate,kind=job") == 1
    assert counted.pop("requests.submit_the_job") == 1
    assert counted.pop("requests.describe_jobs") == 2
    assert {name.partition(",")[0] for name in counted} == {"jobs_ended", "job_seconds"}


def test_a_job_that_is_found_again_and_its_duplicates_are_counted(
    received: StatsdReceiver,
    make_operator: MakeOperator,  # noqa: F811
    server: ScriptedServer,
    context: Context,  # noqa: F811
    mocker: MockerFixture,
) -> None:
    mocker.patch("airflow_provider_ci.submission.durable_submission.SUBMISSION_VALIDITY", 5.0)
    details = (
        "<Operation><UserData>order 7</UserData></Operation>"
        "<Input><Object>in/a.mp3</Object></Input></JobsDetail>"
    )
    listed = [
        job_xml(job_id).replace("2025-01-02T03:04:05+0800", "-").replace("</JobsDetail>", details)
        for job_id in ("j7", "j8", "j9")
    ]
    server.play(hang_up())
    server.always("GET", jobs(*listed))
    make_operator(user_data="order 7", wait_for_completion=False).execute(context)
    counted = received.provider_counters()
    assert counted["jobs_found_again,job_type=VoiceSeparate,kind=job"] == 1
    assert counted["suspected_duplicates,job_type=VoiceSeparate,kind=job"] == 2
    assert not any(name.startswith("jobs_submitted") for name in counted)


def test_each_attempt_of_a_call_is_a_request(
    received: StatsdReceiver, server: ScriptedServer, connection: Callable[..., str], mocker: MockerFixture
) -> None:
    server.always("GET", error(429, "SlowDown"))
    hook = TencentCIHook(connection(server.url, max_attempts=3))
    mocker.patch.object(hook, "sleep")
    with pytest.raises(ThrottledError):
        hook.describe_jobs(["j1"])
    hook.close()
    assert received.provider_counters() == {"requests.describe_jobs": 3}


def test_a_backend_that_fails_ends_no_task(mocker: MockerFixture, logs: Logs) -> None:
    mocker.patch("airflow_provider_ci.metrics._stats", side_effect=RuntimeError("no such host"))
    metrics.count("jobs_submitted")
    assert logs.at("debug") == ["Metric jobs_submitted could not be sent: no such host"]


def test_nothing_is_sent_unless_airflow_has_a_backend(mocker: MockerFixture) -> None:
    opened: Any = mocker.patch("socket.socket.sendto")
    metrics.count("jobs_submitted")
    assert not opened.called
