"""How a bulk task finds out on the worker how its jobs have ended, over real HTTP."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators import bulk_wait
from airflow_provider_ci.operators.bulk_outcomes import BulkOutcomes
from airflow_provider_ci.operators.bulk_wait import BulkWait
from airflow_provider_ci.submission.bulk_jobs import BulkJobs
from airflow_provider_ci.submission.idempotency_key import TaskIdentity
from tests.conftest import Logs
from tests.scripted_server import Answer, ScriptedServer, error, http

OURS = TaskIdentity("songs", "run", "separate", -1, "here", 0)
LOG = logging.getLogger(__name__)


class Items:
    """Items that are keys."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def item(self, index: int) -> str:
        return f"in/{index}.mp3"

    input_object = name = item


def jobs(*states: tuple[int, str], key: bool = True, unknown: Sequence[int] = ()) -> Answer:
    """Answer with jobs by their numbers, with or without the key in ``UserData``."""
    data = f"<UserData>{OURS.idempotency_key('0123456789ab', 'worker')}</UserData>" if key else ""
    details = "".join(
        f"<JobsDetail><JobId>j{number}</JobId><State>{state}</State><Tag>Transcode</Tag>"
        "<EndTime>2025-01-02T03:04:05+0800</EndTime>"
        f"<Operation>{data}</Operation></JobsDetail>"
        for number, state in states
    )
    missing = "".join(f"<NonExistJobIds>j{number}</NonExistJobIds>" for number in unknown)
    return http(f"<Response>{details}{missing}</Response>")


@pytest.fixture
def make_wait(server: ScriptedServer, connection: Callable[..., str]) -> Callable[..., BulkWait]:
    def make(count: int, *, tag: str = "Transcode", submitted_ago: float = 600.0) -> BulkWait:
        connection(server.url, max_attempts=1)
        found = BulkJobs.without_jobs(count)
        for index in range(count):
            found.set_job(index, f"j{index}", "Submitted")
        items: Any = Items(count)
        return BulkWait(
            hook=TencentCIHook(),
            bucket_and_region={"bucket": None, "region": None},
            tag=tag,
            outcomes=BulkOutcomes.of_jobs(items, found),
            task_digest=OURS.digest,
            since=time.time() - submitted_ago - 60,
            last_submission=time.time() - submitted_ago,
            sleep=lambda seconds: None,
            log=LOG,
            poll_interval=0.01,
        )

    return make


@pytest.fixture
def few(mocker: MockerFixture) -> None:
    """More than two jobs are many."""
    mocker.patch.object(bulk_wait, "FEW", 2)


def test_few_jobs_are_described(make_wait: Callable[..., BulkWait], server: ScriptedServer) -> None:
    server.play(jobs((0, "Running"), (1, "Success")), jobs((0, "Failed")))
    wait = make_wait(2)
    assert wait.wait(60.0) is None
    assert (wait.outcomes.succeeded, wait.outcomes.failed) == (1, 1)
    assert [sent.path for sent in server.requests] == ["/jobs/j0,j1", "/jobs/j0"]


@pytest.mark.usefixtures("few")
class TestManyJobs:
    def test_one_pass_over_the_list_says_how_they_ended(
        self, make_wait: Callable[..., BulkWait], server: ScriptedServer
    ) -> None:
        ended = [(number, "Success") for number in range(4)]
        server.play(
            jobs((3, "Running")),  # a count of all pending jobs
            jobs(),  # and of those that failed
            jobs(),  # none is pending
            jobs(*ended),
        )
        wait = make_wait(4)
        assert wait.wait(60.0) is None
        assert wait.outcomes.succeeded == 4
        assert wait.has_seen_key
        assert [sent.params.get("states") for sent in server.requests] == [
            "Submitted,Running,Pause",
            "Failed,Cancel",
            "Submitted,Running,Pause",
            None,
        ]

    def test_jobs_that_the_list_leaves_out_are_described(
        self, make_wait: Callable[..., BulkWait], server: ScriptedServer
    ) -> None:
        server.play(jobs(), jobs(), jobs((0, "Success"), (1, "Success")), jobs((2, "Success")))
        wait = make_wait(3)
        assert wait.wait(60.0) is None
        assert wait.outcomes.succeeded == 3
        assert server.requests[-1].path == "/jobs/j2"

    def test_a_trigger_cannot_use_a_list_without_user_data(
        self, make_wait: Callable[..., BulkWait], server: ScriptedServer
    ) -> None:
        server.play(jobs((0, "Running"), (1, "Running"), (2, "Running"), key=False), jobs())
        wait = make_wait(3)
        wait.poll()
        assert not wait.has_seen_key
        assert wait.outcomes.pending == 3

    def test_without_the_permission_to_list_jobs_are_described(
        self, make_wait: Callable[..., BulkWait], server: ScriptedServer, logs: Logs
    ) -> None:
        server.always(
            "GET",
            lambda sent: (
                error(403, "AccessDenied")
                if sent.path == "/jobs"
                else jobs((0, "Success"), (1, "Success"), (2, "Success"))
            ),
        )
        wait = make_wait(3)
        assert wait.wait(60.0) is None
        assert wait.outcomes.succeeded == 3
        assert [sent.path for sent in server.requests].count("/jobs/j0,j1,j2") == 1
        assert logs.at("warning")[0].startswith(
            "Listing jobs is not permitted; describing them, ten at a time"
        )

    def test_the_list_of_a_type_that_may_not_be_listed_is_not_read(
        self, make_wait: Callable[..., BulkWait], server: ScriptedServer
    ) -> None:
        server.play(jobs((0, "Success"), (1, "Success"), (2, "Success")))
        wait = make_wait(3, tag="UnknownType")
        assert wait.wait(60.0) is None
        assert [sent.path for sent in server.requests] == ["/jobs/j0,j1,j2"]


def test_a_job_that_is_not_found_is_lost_after_the_grace_period(
    make_wait: Callable[..., BulkWait], server: ScriptedServer
) -> None:
    server.play(jobs((0, "Success"), unknown=[1]))
    wait = make_wait(2)
    assert wait.wait(60.0) is None
    assert wait.outcomes.failed_names() == [
        "job j1 of in/1.mp3 ended in an unknown state (The service no longer finds the job)"
    ]


def test_a_job_that_was_just_submitted_may_be_found_later(
    make_wait: Callable[..., BulkWait], server: ScriptedServer
) -> None:
    server.play(jobs((0, "Success"), unknown=[1]), jobs((1, "Success")))
    wait = make_wait(2, submitted_ago=0.0)
    assert wait.wait(60.0) is None
    assert wait.outcomes.succeeded == 2


def test_an_outage_is_waited_out_until_the_wait_is_over(
    make_wait: Callable[..., BulkWait], server: ScriptedServer
) -> None:
    server.always("GET", error(503, "SlowDown"))
    wait = make_wait(2)
    failure = wait.wait(0.05)
    assert failure is not None
    assert failure.status == 503
    assert wait.outcomes.pending == 2
