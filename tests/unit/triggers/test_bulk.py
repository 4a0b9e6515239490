"""Waiting for the jobs of a bulk task in the triggerer, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import PermissionDeniedError, RequestValidationError, TencentCIError
from airflow_provider_ci.submission.idempotency_key import TaskIdentity
from airflow_provider_ci.triggers.bulk import TencentCIBulkTrigger, parse_bulk_event
from airflow_provider_ci.triggers.job import REFUSALS_TOLERATED
from tests.conftest import CREDENTIALS, Logs
from tests.patience import PATIENCE
from tests.scripted_server import Answer, ScriptedServer, error, hang_up, http, job_xml, jobs

OURS = TaskIdentity("songs", "run", "separate", -1, "here", 0)
OTHERS = OURS._replace(task_id="other")
NOW = time.time()
STATE = {
    "manifest": {"bucket": "b", "region": "r", "object": "m.jsonl", "md5": "0"},
    "submitted": 300,
    "reused": 0,
    "since": NOW - 600,
    "last_submission": NOW - 300,
    "may_be_others": False,
}


def listed(*states: str, of: TaskIdentity = OURS, next_token: str = "") -> Answer:
    """A page of the job list, with jobs of a task in these states."""
    return jobs(
        *(
            f"<JobsDetail><JobId>j{number}</JobId><State>{state}</State><Tag>Transcode</Tag><Operation>"
            f"<UserData>{of.idempotency_key('0123456789ab', 'triggerer')}</UserData></Operation></JobsDetail>"
            for number, state in enumerate(states)
        ),
        next_token=next_token,
    )


NONE = jobs()


@pytest.fixture
def make_trigger(
    server: ScriptedServer, connection: Callable[..., str]
) -> Callable[..., TencentCIBulkTrigger]:
    def make(**arguments: Any) -> TencentCIBulkTrigger:
        connection(server.url, max_attempts=1, read_timeout=PATIENCE)
        defaults = {
            "tag": "Transcode",
            "task_digest": OURS.digest,
            "total": 300,
            "state": STATE,
            "poll_interval": 0.01,
            "started_at": NOW,
        }
        return TencentCIBulkTrigger(**{**defaults, **arguments})

    return make


def fired(trigger: TencentCIBulkTrigger) -> dict[str, Any]:
    async def main() -> Any:
        (event,) = [event async for event in trigger.run()]
        return event.payload

    payload: dict[str, Any] = asyncio.run(main())
    return payload


class TestByTheList:
    def test_it_fires_when_the_list_shows_no_pending_job_of_the_task(
        self, make_trigger: Callable[..., TencentCIBulkTrigger], server: ScriptedServer
    ) -> None:
        # the first look counts, and asks for failed jobs as well
        server.play(listed("Running", "Submitted"), listed("Failed"), listed("Running"), NONE)
        assert fired(make_trigger()) == {
            "status": "ended",
            "state": STATE,
            "deadline": None,
            "started_at": NOW,
        }
        pending, failed, *_ = server.requests
        assert pending.params["states"] == "Submitted,Running,Pause"
        assert failed.params["states"] == "Failed,Cancel"
        assert pending.params["tag"] == "Transcode"
        assert "startCreationTime" in pending.params
        assert all(sent.is_signed_with(CREDENTIALS.secret_key) for sent in server.requests)

    def test_jobs_of_other_tasks_are_not_waited_for(
        self, make_trigger: Callable[..., TencentCIBulkTrigger], server: ScriptedServer
    ) -> None:
        server.play(listed("Running", of=OTHERS, next_token="2"), listed("Running", of=OTHERS))
        assert fired(make_trigger())["status"] == "ended"

    def test_a_look_ends_at_the_first_own_job_unless_a_count_is_due(
        self, make_trigger: Callable[..., TencentCIBulkTrigger], server: ScriptedServer, logs: Logs
    ) -> None:
        server.play(
            listed("Running", next_token="2"),  # a count reads all pages
            listed("Running", "Running"),
            listed("Failed", "Cancel"),
            listed("Running", next_token="2"),  # the next page is not read
            NONE,
        )
        fired(make_trigger(total=300))
        (line,) = [line for line in logs.at("info") if line.startswith("Of 300 items")]
        assert line.startswith("Of 300 items 3 wait or run, 297 done, 2 of these failed")

    def test_a_list_that_may_be_late_is_not_believed(
        self,
        make_trigger: Callable[..., TencentCIBulkTrigger],
        server: ScriptedServer,
        mocker: MockerFixture,
    ) -> None:
        mocker.patch("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.5)
        server.always("GET", NONE)
        last = time.time()
        fired(make_trigger(state={**STATE, "last_submission": last}))
        assert time.time() >= last + 0.5

    @pytest.mark.parametrize("outage", [error(503, "SlowDown"), hang_up()])
    def test_an_outage_is_waited_out(
        self,
        make_trigger: Callable[..., TencentCIBulkTrigger],
        server: ScriptedServer,
        logs: Logs,
        outage: Answer,
    ) -> None:
        server.play(listed("Running"), NONE, outage, outage, NONE)
        assert fired(make_trigger())["status"] == "ended"
        assert len(logs.at("warning")) == 1

    def test_a_refusal_that_lasts_ends_the_wait(
        self, make_trigger: Callable[..., TencentCIBulkTrigger], server: ScriptedServer
    ) -> None:
        server.play(*[error(403, "AccessDenied")] * (REFUSALS_TOLERATED + 1))
        parsed, state = parse_bulk_event(fired(make_trigger()))
        assert isinstance(parsed.error, PermissionDeniedError)
        assert state == STATE

    def test_the_deadline_ends_the_wait(
        self, make_trigger: Callable[..., TencentCIBulkTrigger], server: ScriptedServer
    ) -> None:
        server.always("GET", listed("Running"))
        payload = fired(make_trigger(deadline=time.time() + 0.2))
        assert parse_bulk_event(payload)[0].is_timeout


class TestByTheIds:
    def test_it_fires_when_all_have_ended_with_or_without_success(
        self, make_trigger: Callable[..., TencentCIBulkTrigger], server: ScriptedServer
    ) -> None:
        server.play(jobs(job_xml("j1", "Failed"), job_xml("j2", "Running")), jobs(job_xml("j2", "Success")))
        assert fired(make_trigger(job_ids=["j1", "j2"]))["status"] == "ended"
        assert [sent.path for sent in server.requests] == ["/jobs/j1,j2", "/jobs/j2"]

    def test_a_job_that_is_not_found_for_minutes_is_left_to_the_worker(
        self, make_trigger: Callable[..., TencentCIBulkTrigger], server: ScriptedServer
    ) -> None:
        server.play(jobs(job_xml("j1", "Running"), unknown=("j2",)))
        assert fired(make_trigger(job_ids=["j1", "j2"], started_at=NOW - 130))["status"] == "ended"

    def test_a_refusal_that_lasts_ends_the_wait(
        self, make_trigger: Callable[..., TencentCIBulkTrigger], server: ScriptedServer
    ) -> None:
        server.play(*[error(403, "AccessDenied")] * (REFUSALS_TOLERATED + 1))
        assert fired(make_trigger(job_ids=["j1"]))["status"] == "error"


class TestOnKill:
    def kill(self, trigger: TencentCIBulkTrigger, mocker: MockerFixture, state: str | None) -> None:
        mocker.patch("airflow_provider_ci.current_try.state_of_task", return_value=state)
        asyncio.run(trigger.on_kill())

    def test_jobs_of_a_task_that_was_ended_are_cancelled_by_the_list(
        self,
        make_trigger: Callable[..., TencentCIBulkTrigger],
        server: ScriptedServer,
        mocker: MockerFixture,
        logs: Logs,
    ) -> None:
        server.play(listed(*["Submitted"] * 12), http(), http())
        self.kill(make_trigger(), mocker, "failed")
        assert server.requests[0].params["states"] == "Submitted,Pause"
        first, second = server.requests[1:]
        assert first.path == "/jobs/" + ",".join(f"j{number}" for number in range(10))
        assert second.path == "/jobs/j10,j11"
        (line,) = logs.at("info")
        assert line == "Asked to cancel jobs of this bulk task; only jobs that have not started can be"

    def test_jobs_of_other_tasks_are_not_cancelled(
        self,
        make_trigger: Callable[..., TencentCIBulkTrigger],
        server: ScriptedServer,
        mocker: MockerFixture,
        logs: Logs,
    ) -> None:
        server.play(listed("Submitted", of=OTHERS))
        self.kill(make_trigger(), mocker, "failed")
        assert server.methods() == ["GET"]
        assert logs.at("info") == ["Jobs of this bulk task are not cancelled: they have begun or ended"]

    def test_ids_are_cancelled_without_a_list(
        self,
        make_trigger: Callable[..., TencentCIBulkTrigger],
        server: ScriptedServer,
        mocker: MockerFixture,
    ) -> None:
        server.play(jobs(job_xml("j1", "Success"), job_xml("j2", "Submitted")), http())
        self.kill(make_trigger(job_ids=["j1", "j2"]), mocker, "skipped")
        assert [sent.path for sent in server.requests] == ["/jobs/j1,j2", "/jobs/j2"]
        assert server.methods() == ["GET", "PUT"]

    @pytest.mark.parametrize(
        "state", ["deferred", "running", "up_for_retry", "scheduled", "queued", "restarting", None]
    )
    def test_jobs_that_the_task_still_needs_are_not_cancelled(
        self,
        make_trigger: Callable[..., TencentCIBulkTrigger],
        server: ScriptedServer,
        mocker: MockerFixture,
        logs: Logs,
        state: str | None,
    ) -> None:
        """The next try of a task that was cleared finds them, perhaps while they would be cancelled."""
        self.kill(make_trigger(), mocker, state)
        assert not server.requests
        assert logs.at("info") == [
            f"Jobs of this bulk task are not cancelled: the task is {state or 'cleared'} and still needs them"
        ]


@pytest.mark.parametrize("job_ids", [[], ["j1"]])
def test_it_is_serialised_with_exactly_its_arguments(
    make_trigger: Callable[..., TencentCIBulkTrigger], job_ids: list[str]
) -> None:
    trigger = make_trigger(job_ids=job_ids, bucket="b", region="r", deadline=NOW + 60, ended=4)
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_ci.triggers.bulk.TencentCIBulkTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    assert TencentCIBulkTrigger(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"tag": ""}, "tag is ''"),
        ({"task_digest": None}, "task_digest is None"),
        ({"state": {}}, "state is {}"),
        ({"job_ids": "j1"}, "job_ids is 'j1'"),
        ({"poll_interval": 0}, "poll_interval is 0"),
    ],
)
def test_arguments_that_cannot_work_are_refused(
    make_trigger: Callable[..., TencentCIBulkTrigger], arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(RequestValidationError) as caught:
        make_trigger(**arguments)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"status": "done", "state": STATE}, "unknown status 'done'"),
        ({"status": "ended"}, "without the state of its task"),
        (None, "unknown status None"),
    ],
)
def test_an_event_of_something_else_is_no_success(event: Any, said: str) -> None:
    with pytest.raises(TencentCIError, match=said):
        parse_bulk_event(event)


def test_its_module_loads_no_http_library() -> None:
    program = (
        "import sys, airflow.triggers.base\n"  # what Airflow loads itself, which depends on its version
        "before = {*sys.modules}\n"
        "import airflow_provider_ci.triggers.bulk\n"
        "loaded = {*sys.modules} - before\n"
        "print(*[name for name in ('aiohttp', 'requests', 'lxml') if name in loaded])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
