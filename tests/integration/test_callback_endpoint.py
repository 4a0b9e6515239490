"""The callback endpoint in the application of Airflow's API server, with its database and the emulator."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.airflow_version import HAS_CALLBACK_ENDPOINT

if not HAS_CALLBACK_ENDPOINT:
    pytest.skip("the endpoint needs Airflow 3.3", allow_module_level=True)

import uvicorn
from airflow import plugins_manager
from airflow.models import trigger as airflow_trigger
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import Asset
from airflow.utils.session import create_session
from fastapi import FastAPI
from pytest_mock import MockerFixture
from sqlalchemy import delete, select
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from airflow_provider_ci.callback_endpoint import (
    application,
    asset_events,
    job_reader,
    processing,
    received_jobs,
    waiting_tasks,
)
from airflow_provider_ci.callback_endpoint.plugin import CallbackEndpoint, configured_apps
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.jobs import JobsResponse
from airflow_provider_ci.protocol.wire import Endpoint
from airflow_provider_ci.triggers import settings as trigger_settings
from airflow_provider_ci.triggers.events import parse_event
from airflow_provider_ci.triggers.job import TencentCIJobTrigger
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator
from tests.conftest import Logs
from tests.deferred_tasks import defer, event_of, stored
from tests.e2e.airflow_stack import wait_until
from tests.job_samples import request_of
from tests.recording import SHORT

SECRET = "the-callback-secret-of-the-tests-00"
#: Another bucket of the service, and one of the same account that it does not have.
OTHER, ABSENT = "other-1250000000", "absent-1250000000"
#: Longer than any test lasts.
FOREVER = 3600.0
ASSET = "finished-jobs-of-the-endpoint"
PATIENCE_SECONDS = 60


@pytest.fixture
def service(airflow_db: None) -> Iterator[Emulator]:
    """A service whose jobs run until the test lets time pass."""
    settings = {"queue_seconds": 1800, "run_seconds": 1800, "queue_max_concurrent": 100}
    with Emulator(clock=VirtualClock(start=time.time()), buckets=(OTHER,), **settings) as emulator:
        yield emulator


@pytest.fixture
def connection_of(service: Emulator, monkeypatch: pytest.MonkeyPatch, logs: Logs) -> Callable[..., None]:
    def define(conn_id: str = "pushed", **extra: Any) -> None:
        given = json.loads(json.dumps(service.connection))
        given["extra"] |= {"callback_base_url": "https://airflow.example.com", "callback_secret": SECRET}
        given["extra"] |= extra
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(given))

    define()
    return define


@pytest.fixture(scope="module")
def api_server(airflow_db: None) -> tuple[FastAPI, CallbackEndpoint]:
    """Airflow's application, and that of the plugin in it."""
    from airflow.api_fastapi.app import create_app

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__TENCENT_CI__CALLBACK_CONN_IDS", "pushed,other")
        apps = configured_apps()
        patch.setattr(plugins_manager, "get_fastapi_plugins", lambda: (apps, []))
        return create_app(apps="core"), apps[0]["app"]


@pytest.fixture
def client(
    connection_of: Callable[..., None],
    api_server: tuple[FastAPI, CallbackEndpoint],
    mocker: MockerFixture,
) -> Iterator[TestClient]:
    """A client of an API server that has received nothing yet."""
    app, endpoint = api_server
    endpoint._application = None
    mocker.patch.object(trigger_settings, "LOOKUP_PAUSE", 0.0)
    mocker.patch.object(processing, "LOOK_PAUSE", 0.05)
    mocker.patch.object(processing, "REQUESTS_PER_SECOND", 1000.0)
    mocker.patch.object(received_jobs, "PAUSES", (0.1,) * 5)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def hook(connection_of: Callable[..., None], service: Emulator) -> TencentCIHook:
    hook = TencentCIHook("pushed")
    hook.upload_file(SHORT, "in/a.mp3")
    return hook


@pytest.fixture
def submit(hook: TencentCIHook, service: Emulator) -> Callable[[], str]:
    numbers = iter(range(1000))

    def submit() -> str:
        request = request_of("VoiceSeparate", str(next(numbers)), service.bucket, service.region)
        job, _ = hook.submit_job(request | {"Input": {"Object": "in/a.mp3"}})
        return str(job.job_id)

    return submit


def end_jobs(service: Emulator, hook: TencentCIHook, *job_ids: str) -> None:
    assert isinstance(service.clock, VirtualClock)
    service.clock.advance(7200)
    wait_until(
        lambda: all(job.job_state.is_terminal for job in hook.describe_jobs(job_ids).jobs_detail), 60, "ends"
    )


def post(
    client: TestClient, *job_ids: str, secret: str = SECRET, conn_id: str = "pushed", bucket: str = ""
) -> int:
    where = {"Input": {"BucketId": bucket}} if bucket else {}
    body = {
        "EventName": "TaskFinish",
        "JobsDetail": [{"JobId": each, "State": "Success", **where} for each in job_ids],
    }
    response = client.post(f"/tencent-ci/callbacks/{conn_id}/{secret}", content=json.dumps(body))
    return response.status_code


def trigger(*job_ids: str, conn_id: str = "pushed", **more: Any) -> TencentCIJobTrigger:
    return TencentCIJobTrigger(list(job_ids), tencent_ci_conn_id=conn_id, **more)


def wait_for_state(task: UUID, state: str) -> None:
    wait_until(lambda: stored(task).state == state, PATIENCE_SECONDS, f"the task is {state}")


def hanging(service: Emulator) -> list[Any]:
    """Return the requests about jobs to which the service has not responded."""
    return [each for each in service.ledger.requests("describe") if each.status is None]


def wait_until_forgotten(logs: Logs) -> None:
    wait_until(lambda: any("Forgot" in line for line in logs.at("warning")), PATIENCE_SECONDS, "is forgotten")


@pytest.mark.parametrize("form", ["XML", "JSON"])
def test_the_callback_of_a_job_that_has_ended_resumes_its_task(
    client: TestClient, service: Emulator, hook: TencentCIHook, submit: Callable[[], str], form: str
) -> None:
    job_id = submit()
    (task,) = defer([trigger(job_id, deadline=5e9, started_at=1.0, expects_callback=True)])
    end_jobs(service, hook, job_id)
    body = {
        "XML": f"<Response><JobsDetail><JobId>{job_id}</JobId></JobsDetail></Response>",
        "JSON": json.dumps({"JobsDetail": {"JobId": job_id}}),
    }[form]
    assert client.post(f"/tencent-ci/callbacks/pushed/{SECRET}", content=body).status_code == 200
    wait_for_state(task, "scheduled")
    event = parse_event(event_of(task))
    assert event == (False, [job_id], 5e9, None, 1.0, None), "as the trigger's own event, but for fired_at"
    assert stored(task).trigger_id is None


def test_a_forged_callback_is_only_a_reason_to_ask(
    client: TestClient, service: Emulator, submit: Callable[[], str], logs: Logs
) -> None:
    job_id = submit()
    (task,) = defer([trigger(job_id)])
    before = service.ledger.count()
    assert {post(client, job_id) for _ in range(20)} == {200}
    wait_until_forgotten(logs)
    assert stored(task).state == "deferred"
    assert 1 <= service.ledger.count() - before == service.ledger.count("describe") <= 26
    assert not service.ledger.requests("cancel")


def test_an_early_callback_is_enough(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    mocker: MockerFixture,
) -> None:
    mocker.patch.object(received_jobs, "PAUSES", (0.1,) * 1000)
    job_id = submit()
    (task,) = defer([trigger(job_id)])
    post(client, job_id)
    wait_until(lambda: service.ledger.count("describe") > 0, PATIENCE_SECONDS, "the endpoint asks")
    end_jobs(service, hook, job_id)
    wait_for_state(task, "scheduled")


def test_a_task_is_not_resumed_in_the_first_seconds_of_its_deferral(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    mocker: MockerFixture,
) -> None:
    mocker.patch.object(processing, "DEFERRED_SECONDS", 3600.0)
    job_id = submit()
    young, old = defer([trigger(job_id)], seconds_ago=10)[0], defer([trigger(job_id)], seconds_ago=4000)[0]
    end_jobs(service, hook, job_id)
    post(client, job_id)
    wait_for_state(old, "scheduled")
    assert stored(young).state == "deferred"


def test_a_task_of_another_connection_is_not_resumed(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    connection_of: Callable[..., None],
    logs: Logs,
) -> None:
    connection_of("other", callback_secret=SECRET[::-1])
    job_id = submit()
    (task,) = defer([trigger(job_id)])
    end_jobs(service, hook, job_id)
    assert post(client, job_id, conn_id="other", secret=SECRET[::-1]) == 200
    wait_until_forgotten(logs)
    assert stored(task).state == "deferred"


def test_a_task_with_several_jobs_waits_for_all(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
) -> None:
    jobs = [submit() for _ in range(3)]
    (task,) = defer([trigger(*jobs)])
    post(client, jobs[0])
    wait_until(lambda: service.ledger.count("describe") > 0, PATIENCE_SECONDS, "the endpoint asks")
    assert stored(task).state == "deferred"
    end_jobs(service, hook, *jobs)
    post(client, jobs[1])
    wait_for_state(task, "scheduled")


def test_a_job_without_success_resumes_a_task_at_once(
    client: TestClient, service: Emulator, hook: TencentCIHook, submit: Callable[[], str]
) -> None:
    jobs = [submit() for _ in range(2)]
    (task,) = defer([trigger(*jobs)])
    hook.cancel_jobs(jobs[:1])
    post(client, jobs[0])
    wait_for_state(task, "scheduled")


def test_a_task_with_many_jobs_is_left_to_the_triggerer(
    client: TestClient, service: Emulator, submit: Callable[[], str], logs: Logs
) -> None:
    job_id = submit()
    (task,) = defer([trigger(job_id, *(f"j{number}" for number in range(10)))])
    post(client, job_id)
    wait_until_forgotten(logs)
    assert service.ledger.count("describe") == 0
    assert stored(task).state == "deferred"


def test_a_second_callback_finds_no_task(
    client: TestClient, service: Emulator, hook: TencentCIHook, submit: Callable[[], str], logs: Logs
) -> None:
    job_id = submit()
    (task,) = defer([trigger(job_id)])
    end_jobs(service, hook, job_id)
    post(client, job_id)
    wait_for_state(task, "scheduled")
    describes = service.ledger.count("describe")
    post(client, job_id)
    wait_until_forgotten(logs)
    assert service.ledger.count("describe") == describes
    assert stored(task).state == "scheduled"


def test_ten_jobs_need_one_request(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    mocker: MockerFixture,
) -> None:
    take_due, posted = received_jobs.ReceivedJobs.take_due, threading.Event()

    def take_all_at_once(*arguments: Any) -> list[received_jobs.ReceivedJob]:
        return take_due(*arguments) if posted.is_set() else []

    mocker.patch.object(received_jobs.ReceivedJobs, "take_due", take_all_at_once)
    jobs = [submit() for _ in range(10)]
    tasks = defer([trigger(job_id) for job_id in jobs])
    end_jobs(service, hook, *jobs)
    describes = service.ledger.count("describe")
    for job_id in jobs:
        post(client, job_id)
    posted.set()
    for task in tasks:
        wait_for_state(task, "scheduled")
    assert service.ledger.count("describe") - describes == 1


def test_a_service_that_fails_is_asked_again(
    client: TestClient, service: Emulator, hook: TencentCIHook, submit: Callable[[], str], logs: Logs
) -> None:
    job_id = submit()
    (task,) = defer([trigger(job_id)])
    end_jobs(service, hook, job_id)
    for nth in (1, 2):
        service.faults.add("describe", nth=nth, status=503, code="SlowDown")
    post(client, job_id)
    wait_for_state(task, "scheduled")
    assert any("looks at jobs of callbacks failed, will try again" in line for line in logs.at("warning"))


def test_a_job_that_the_service_refuses_holds_up_no_other(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    mocker: MockerFixture,
) -> None:
    mocker.patch.object(processing, "LOOK_PAUSE", 1.0)
    jobs = [submit() for _ in range(7)]
    tasks = defer([trigger(job_id) for job_id in jobs])
    end_jobs(service, hook, *jobs)
    service.faults.add("describe", job_id=jobs[2], status=400, code="InvalidArgument")
    for job_id in jobs:
        post(client, job_id)
    for task in tasks[:2] + tasks[3:]:
        wait_for_state(task, "scheduled")
    assert stored(tasks[2]).state == "deferred"


@pytest.mark.parametrize(
    "fault", [{"status": 403, "code": "AccessDenied"}, {"status": 503}, {"delay": FOREVER}]
)
def test_a_bucket_that_fails_or_hangs_holds_up_no_other(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    connection_of: Callable[..., None],
    mocker: MockerFixture,
    fault: dict[str, Any],
) -> None:
    mocker.patch.object(processing, "LOOK_PAUSE", 1.0)
    connection_of(read_timeout=FOREVER)
    jobs = [submit() for _ in range(4)]
    tasks = defer([trigger(jobs[0], bucket=OTHER), *(trigger(job_id) for job_id in jobs[1:])])
    end_jobs(service, hook, *jobs)
    service.faults.add("describe", job_id=jobs[0], **fault)
    for some, waiting in ((jobs[:3], tasks[1:3]), (jobs[3:], tasks[3:])):
        for job_id in some:
            post(client, job_id)
        for task in waiting:
            wait_for_state(task, "scheduled")
    assert stored(tasks[0]).state == "deferred"


def test_a_connection_that_hangs_holds_up_no_other(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    connection_of: Callable[..., None],
) -> None:
    connection_of(read_timeout=FOREVER)
    connection_of("other", callback_secret=SECRET[::-1])
    jobs = [submit() for _ in range(30)]
    job_id = submit()
    defer([trigger(each) for each in jobs])
    (task,) = defer([trigger(job_id, conn_id="other")])
    end_jobs(service, hook, job_id)
    for each in jobs:
        service.faults.add("describe", job_id=each, delay=FOREVER)
        post(client, each)
    wait_until(lambda: len(hanging(service)) > 0, PATIENCE_SECONDS, "a connection hangs")
    post(client, job_id, conn_id="other", secret=SECRET[::-1])
    wait_for_state(task, "scheduled")
    assert hanging(service)


def test_a_task_with_a_bucket_that_cannot_exist_holds_up_no_other(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    mocker: MockerFixture,
    logs: Logs,
) -> None:
    mocker.patch.object(processing, "LOOK_PAUSE", 1.0)
    jobs = [submit() for _ in range(2)]
    _, task = defer([trigger(jobs[0], bucket="No bucket"), trigger(jobs[1])])
    end_jobs(service, hook, *jobs)
    post(client, *jobs)
    wait_for_state(task, "scheduled")
    assert any("bucket is 'No bucket', allowed: " in line for line in logs.at("warning"))


def test_deferred_tasks_are_listed_anew_unless_there_is_much_to_do(
    airflow_db: None, mocker: MockerFixture
) -> None:
    mocker.patch.object(waiting_tasks, "_PAUSE_FACTOR", 0.0)
    listed = mocker.spy(waiting_tasks, "_deferred")
    jobs = [f"j{uuid4()}" for _ in range(20)]
    defer([trigger(job_id) for job_id in jobs])
    tasks = waiting_tasks.WaitingTasks()
    for some in (jobs[:10], jobs[10:]):
        assert list(tasks.find("pushed", some, is_busy=True)) == some
    assert listed.call_count == 1
    defer([trigger(jobs[0])])
    assert len(tasks.find("pushed", jobs[:1], is_busy=True)[jobs[0]]) == 1
    assert len(tasks.find("pushed", jobs[:1], is_busy=False)[jobs[0]]) == 2


def test_a_task_that_may_not_be_resumed_yet_is_resumed_after_another_one_of_the_same_job(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    mocker: MockerFixture,
) -> None:
    job_id = submit()
    young, old = defer([trigger(job_id)], seconds_ago=3599)[0], defer([trigger(job_id)], seconds_ago=4000)[0]
    end_jobs(service, hook, job_id)
    mocker.patch.object(
        processing, "DEFERRED_SECONDS", time.time() - stored(young).start_date.timestamp() + 2
    )
    post(client, job_id)
    wait_for_state(old, "scheduled")
    wait_for_state(young, "scheduled")


def test_a_database_that_fails_in_the_middle_resumes_either_no_task_or_all(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    mocker: MockerFixture,
    logs: Logs,
) -> None:
    mocker.patch.object(processing, "LOOK_PAUSE", 1.0)
    jobs = [submit() for _ in range(5)]
    tasks = defer([trigger(job_id) for job_id in jobs])
    end_jobs(service, hook, *jobs)
    submit_event, calls, after_failure = airflow_trigger.handle_event_submit, 0, list[str]()

    def fail_once(*arguments: Any, session: Any, **more: Any) -> None:
        nonlocal calls
        calls += 1
        submit_event(*arguments, session=session, **more)
        session.flush()
        if calls == 3:
            raise OperationalError("UPDATE", {}, OSError("the database is away"))

    def resume(*arguments: Any) -> set[int]:
        if calls and not after_failure:
            after_failure.extend(stored(task).state for task in tasks)
        return waiting_tasks.resume(*arguments)

    mocker.patch.object(airflow_trigger, "handle_event_submit", fail_once)
    mocker.patch.object(processing, "resume", resume)
    post(client, *jobs)
    for task in tasks:
        wait_for_state(task, "scheduled")
    assert after_failure == ["deferred"] * 5

    def resumed() -> list[str]:
        return [line for line in logs.at("info") if "Resumed the task that waits for job" in line]

    # each is logged once its transaction has ended
    wait_until(lambda: len(resumed()) >= 5, PATIENCE_SECONDS, "five resumed tasks are logged")
    assert len(resumed()) == 5


@pytest.mark.parametrize("is_deferred_again", [False, True])
def test_a_task_that_was_cleared_after_the_look_is_not_resumed(
    airflow_db: None, is_deferred_again: bool
) -> None:
    job_id = f"j{uuid4()}"
    (task,) = defer([trigger(job_id)])
    found = waiting_tasks.WaitingTasks().find("pushed", [job_id], is_busy=False)[job_id]
    with create_session() as session:
        row = session.get(TaskInstance, task)
        if is_deferred_again:  # some databases use the trigger's id again
            session.get(airflow_trigger.Trigger, row.trigger_id).created_date += timedelta(seconds=30)
        else:
            row.state = row.trigger_id = None
    assert waiting_tasks.resume(found) == set()
    assert stored(task).state == ("deferred" if is_deferred_again else None)


def test_a_callback_that_comes_while_the_sessions_are_closed_is_not_left(
    client: TestClient,
    service: Emulator,
    hook: TencentCIHook,
    submit: Callable[[], str],
    mocker: MockerFixture,
) -> None:
    closing, posted = threading.Event(), threading.Event()
    close = job_reader.AsyncClient.close

    async def slow_close(self: job_reader.AsyncClient) -> None:
        closing.set()
        while not posted.is_set():
            await asyncio.sleep(0.01)
        await close(self)

    mocker.patch.object(job_reader.AsyncClient, "close", slow_close)
    first, job_id = submit(), submit()
    _, task = defer([trigger(first), trigger(job_id)])
    end_jobs(service, hook, first, job_id)
    post(client, first)
    assert closing.wait(PATIENCE_SECONDS)
    post(client, job_id)
    posted.set()
    wait_for_state(task, "scheduled")


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("path", "status"),
        [
            (f"pushed/{SECRET}x", 404),
            (f"pushed/{SECRET[:-1]}", 404),
            (f"pushed/{SECRET.upper()}", 404),
            (f"absent/{SECRET}", 404),
            (f"other/{SECRET}", 503),  # it is accepted, but does not exist
            ("pushed/", 404),
            ("pushed", 404),
            (f"pushed/{SECRET}/more", 404),
        ],
    )
    def test_an_address(self, client: TestClient, service: Emulator, path: str, status: int) -> None:
        assert client.post(f"/tencent-ci/callbacks/{path}", content=b'{"JobId": "j1"}').status_code == status
        assert service.ledger.count() == 0

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_a_method(self, client: TestClient, method: str) -> None:
        assert client.request(method, f"/tencent-ci/callbacks/pushed/{SECRET}").status_code == 405

    @pytest.mark.parametrize("body", [b"", b"garbage", b"{}", b"<Response/>", b"\xff" * 1000])
    def test_garbage(self, client: TestClient, body: bytes, logs: Logs) -> None:
        for _ in range(3):
            response = client.post(f"/tencent-ci/callbacks/pushed/{SECRET}", content=body)
            assert response.status_code == 400
        refused = [line for line in logs.at("warning") if "Refused" in line]
        assert refused == ["Refused 1 callbacks: the body has no id of a job"]

    def test_a_huge_body_is_not_kept(self, client: TestClient) -> None:
        def body() -> Iterator[bytes]:
            yield b'{"JobId": "j1"'
            for _ in range(20):
                yield b" " * 1024 * 1024

        response = client.post(f"/tencent-ci/callbacks/pushed/{SECRET}", content=body())
        assert response.status_code == 413

    def test_a_large_result_is_not_read(
        self, client: TestClient, service: Emulator, hook: TencentCIHook, submit: Callable[[], str]
    ) -> None:
        job_id = submit()
        (task,) = defer([trigger(job_id)])
        end_jobs(service, hook, job_id)
        body = json.dumps({"JobsDetail": {"JobId": job_id, "Operation": {"Text": "x" * 5_000_000}}})
        assert client.post(f"/tencent-ci/callbacks/pushed/{SECRET}", content=body).status_code == 200
        wait_for_state(task, "scheduled")

    def test_too_many_jobs(self, client: TestClient, mocker: MockerFixture) -> None:
        mocker.patch.object(processing, "LOOK_PAUSE", 1000.0)
        mocker.patch.object(received_jobs.ReceivedJobs.__init__, "__defaults__", (30,))
        statuses = [post(client, *(f"j{each}{n}" for n in range(20))) for each in "abc"]
        assert statuses == [200, 503, 503]
        response = client.post(f"/tencent-ci/callbacks/pushed/{SECRET}", content=b'{"JobId": "j1"}')
        assert (response.status_code, response.headers["retry-after"]) == (503, "60")
        assert response.headers["connection"] == "close"


class TestAFlood:
    """Over HTTP, with responses that are so rare that the tests' end comes before the second turn."""

    @pytest.fixture
    def port(
        self,
        connection_of: Callable[..., None],
        api_server: tuple[FastAPI, CallbackEndpoint],
        mocker: MockerFixture,
    ) -> Iterator[int]:
        mocker.patch.object(application, "RESPONSES_PER_SECOND", 0.0001)
        mocker.patch.object(application, "LONGEST_DELAY", 50_000.0)
        mocker.patch.object(application, "LONGEST_DELAY_OF_REFUSAL", 30_000.0)
        mocker.patch.object(processing, "LOOK_PAUSE", 0.05)
        app, endpoint = api_server
        endpoint._application = None
        listener = socket.create_server(("127.0.0.1", 0))  # the server closes it
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started, PATIENCE_SECONDS, "the server listens")
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
            endpoint._application = None

    @pytest.fixture
    def connect(self, port: int) -> Iterator[Callable[..., socket.socket]]:
        """Open a connection and post over it, perhaps with a body that never comes."""
        with ExitStack() as connections:

            def connect(secret: str = SECRET, body: bytes = b'{"JobId": "j1"}', length: int = 0) -> Any:
                opened = connections.enter_context(socket.create_connection(("127.0.0.1", port)))
                head = f"POST /tencent-ci/callbacks/pushed/{secret} HTTP/1.1\r\nHost: x\r\n"
                opened.sendall(f"{head}Content-Length: {length or len(body)}\r\n\r\n".encode() + body)
                return opened

            yield connect

    def statuses(self, opened: list[socket.socket], count: int) -> list[tuple[int, bool]]:
        """Wait for so many responses; return the status of each, and whether its connection was closed."""
        responses: list[tuple[int, bool]] = []

        def read() -> bool:
            for each in list(opened):
                each.settimeout(0.01)
                try:
                    head = each.recv(65536)
                except TimeoutError:
                    continue
                opened.remove(each)
                responses.append((int(head.split()[1]), b"connection: close" in head.lower()))
            return len(responses) >= count

        wait_until(read, PATIENCE_SECONDS, f"{count} responses have come")
        return sorted(responses)

    def test_of_refused_requests_few_wait_and_the_others_hear_it_at_once(
        self, connect: Callable[..., socket.socket]
    ) -> None:
        opened = [connect(secret=SECRET[::-1]) for _ in range(40)]
        # one response comes at its turn, three wait for theirs
        assert self.statuses(opened, 37) == [(404, True)] * 37
        assert len(opened) == 3
        assert self.statuses([connect()], 1) == [(200, False)], "they are in no accepted callback's way"

    def test_of_accepted_callbacks_some_wait_and_the_others_are_taken_at_once(
        self, connect: Callable[..., socket.socket]
    ) -> None:
        opened = [connect() for _ in range(40)]
        assert self.statuses(opened, 35) == [(200, False)] + [(200, True)] * 34
        assert len(opened) == 5
        assert self.statuses([connect(secret=SECRET[::-1])], 1) == [(404, True)]

    def test_a_callback_counts_before_its_response_comes(
        self,
        connect: Callable[..., socket.socket],
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
    ) -> None:
        job_id = submit()
        (task,) = defer([trigger(job_id)])
        end_jobs(service, hook, job_id)
        assert self.statuses([connect()], 1) == [(200, False)]
        waiting = connect(body=json.dumps({"JobId": job_id}).encode())
        wait_for_state(task, "scheduled")
        waiting.settimeout(0.01)
        with pytest.raises(TimeoutError):
            waiting.recv(1)

    def test_a_body_after_a_wrong_secret_is_not_waited_for(
        self, connect: Callable[..., socket.socket]
    ) -> None:
        opened = connect(secret=SECRET[::-1], body=b"", length=1_000_000)
        opened.settimeout(PATIENCE_SECONDS)
        with opened.makefile("rb") as response:
            assert response.read().startswith(b"HTTP/1.1 404"), "until the connection is closed"


def test_nothing_logged_has_the_secret(client: TestClient, logs: Logs) -> None:
    post(client, "j1")
    post(client, "j1", secret="another-secret-that-was-changed-0000")
    client.post(f"/tencent-ci/callbacks/pushed/{SECRET}/more")
    assert [line for line in logs.lines if "request finished" in line], "Airflow's access log"
    of_test_client = "HTTP Request: "
    lines = [line for line in logs.everything().splitlines() if of_test_client not in line]
    assert not [line for line in lines if SECRET in line or "another-secret" in line]


class TestEvents:
    @pytest.fixture(autouse=True)
    def asset(self, airflow_db: None, connection_of: Callable[..., None]) -> Iterator[int]:
        from airflow.models.asset import AssetActive, AssetModel

        connection_of(callback_asset=ASSET)
        with create_session() as session:
            model = AssetModel.from_serialized(Asset(ASSET))
            session.add(model)
            session.flush()
            session.add(AssetActive.for_asset(model))
            asset_id = model.id
        yield asset_id
        with create_session() as session:
            session.execute(delete(AssetActive).where(AssetActive.name == ASSET))
            session.execute(delete(AssetModel).where(AssetModel.id == asset_id))

    def events(self, asset_id: int) -> list[dict[str, Any]]:
        from airflow.models.asset import AssetEvent

        with create_session(scoped=False) as session:
            return [each.extra for each in session.scalars(select(AssetEvent).filter_by(asset_id=asset_id))]

    def test_a_job_that_has_ended_is_one_event(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        logs: Logs,
    ) -> None:
        job_id = submit()
        (task,) = defer([trigger(job_id)])
        end_jobs(service, hook, job_id)
        for _ in range(3):
            assert post(client, job_id, job_id) == 200
            wait_for_state(task, "scheduled")
            wait_until(lambda: bool(self.events(asset)), PATIENCE_SECONDS, "there is an event")
        wait_until_forgotten(logs)
        (extra,) = self.events(asset)
        assert extra["from_trigger"] is True
        event = extra["payload"]
        assert (event["job_id"], event["state"], event["input_object"]) == (job_id, "Success", "in/a.mp3")
        assert (event["bucket"], event["region"]) == (service.bucket, service.region)

    def test_a_database_that_fails_once_costs_no_event(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        mocker: MockerFixture,
    ) -> None:
        job_id = submit()
        end_jobs(service, hook, job_id)
        outcomes = iter([OSError("the database is away")])

        def add_events(*arguments: Any) -> list[str]:
            for failure in outcomes:
                raise failure
            return asset_events.add_events(*arguments)

        mocker.patch.object(processing, "add_events", add_events)
        post(client, job_id)
        wait_until(lambda: bool(self.events(asset)), PATIENCE_SECONDS, "there is an event")

    def test_a_job_that_runs_or_does_not_exist_is_none(
        self, client: TestClient, submit: Callable[[], str], asset: int, logs: Logs
    ) -> None:
        post(client, submit(), "j-of-nobody")
        wait_until_forgotten(logs)
        assert self.events(asset) == []

    def test_a_job_that_ended_long_ago_is_none(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        logs: Logs,
        mocker: MockerFixture,
    ) -> None:
        job_id = submit()
        end_jobs(service, hook, job_id)
        mocker.patch.object(asset_events, "MAX_AGE", -asset_events.MAX_AGE)
        post(client, job_id)
        wait_until_forgotten(logs)
        assert self.events(asset) == []

    def test_an_asset_that_does_not_exist_is_one_warning_however_many_jobs_there_are(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        connection_of: Callable[..., None],
        logs: Logs,
    ) -> None:
        connection_of(callback_asset="nothing")
        jobs = [submit() for _ in range(25)]
        tasks = defer([trigger(job_id) for job_id in jobs])
        end_jobs(service, hook, *jobs[:10], jobs[-1])
        for job_id in jobs:
            post(client, job_id)
        for task in tasks:
            wait_for_state(task, "scheduled")
        (line,) = [line for line in logs.at("warning") if "No event" in line]
        assert re.fullmatch(
            r"No event of \d+ jobs, the last of which is \w+: Airflow has no active asset 'nothing'."
            r" Unpause a DAG that uses it, or correct callback_asset",
            line,
        )

    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 503, "code": "SlowDown"},
            {"status": 403, "code": "AccessDenied"},
            {"status": 400, "code": "InvalidArgument"},
            {"body": "<html>a gateway's page</html>", "content_type": "text/html"},
            {"truncate": 100},
            {"drop": True},
            {"body": "<Response><NonExistJobIds>{job_id}</NonExistJobIds></Response>"},
        ],
        ids=["throttled", "denied", "refused", "garbage", "truncated", "dropped", "not found"],
    )
    def test_a_failure_that_passes_costs_no_event(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        fault: dict[str, Any],
    ) -> None:
        job_id = submit()
        end_jobs(service, hook, job_id)
        if "body" in fault:
            fault = fault | {"body": fault["body"].format(job_id=job_id)}
        service.faults.add("describe", first=2, job_id=job_id, **fault)
        post(client, job_id)
        wait_until(lambda: bool(self.events(asset)), PATIENCE_SECONDS, "there is an event")

    @pytest.mark.parametrize("hint", ["task", "XML", "JSON", "without region"])
    def test_a_job_is_an_event_wherever_its_bucket_is(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        connection_of: Callable[..., None],
        hint: str,
    ) -> None:
        job_id = submit()
        end_jobs(service, hook, job_id)
        connection_of(callback_asset=ASSET, bucket=OTHER)
        bucket, region = service.bucket, service.region
        body = {
            "task": f'{{"JobId": "{job_id}"}}',
            "XML": f"<BucketId>{bucket}</BucketId><Region>{region}</Region><JobId>{job_id}</JobId>",
            "JSON": json.dumps({"JobId": job_id, "Input": {"BucketId": bucket, "Region": region}}),
            "without region": f'{{"BucketId": "{bucket}", "JobId": "{job_id}"}}',
        }[hint]
        if hint == "task":
            (task,) = defer([trigger(job_id, bucket=bucket, region=region)])
        describes = service.ledger.count("describe")
        assert client.post(f"/tencent-ci/callbacks/pushed/{SECRET}", content=body).status_code == 200
        wait_until(lambda: bool(self.events(asset)), PATIENCE_SECONDS, "there is an event")
        (extra,) = self.events(asset)
        assert (extra["payload"]["job_id"], extra["payload"]["bucket"]) == (job_id, bucket)
        assert service.ledger.count("describe") == describes + 1
        if hint == "task":
            wait_for_state(task, "scheduled")

    @pytest.mark.parametrize("named", [OTHER, ABSENT])
    def test_a_callback_that_names_another_bucket_is_not_believed(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        named: str,
    ) -> None:
        job_id = submit()
        end_jobs(service, hook, job_id)
        post(client, job_id, bucket=named)
        wait_until(lambda: bool(self.events(asset)), PATIENCE_SECONDS, "there is an event")
        (extra,) = self.events(asset)
        assert extra["payload"]["bucket"] == service.bucket

    def test_no_bucket_of_another_account_is_asked(
        self, client: TestClient, service: Emulator, asset: int, logs: Logs
    ) -> None:
        post(client, "j-of-somebody", bucket="others-1259999999")
        wait_until_forgotten(logs)
        post(client, "j-of-us", bucket=ABSENT)
        wait_until(lambda: len(service.ledger.requests("describe", id="j-of-us")) > 1, 60, "both are asked")
        assert {each.bucket for each in service.ledger.requests("describe")} == {service.bucket, ABSENT}
        assert self.events(asset) == []

    def test_a_job_that_is_found_nowhere_is_logged_once(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        connection_of: Callable[..., None],
        logs: Logs,
    ) -> None:
        jobs = [submit() for _ in range(3)]
        end_jobs(service, hook, *jobs)
        connection_of(callback_asset=ASSET, bucket=OTHER)
        post(client, *jobs)
        wait_until_forgotten(logs)
        (line,) = [line for line in logs.at("warning") if "Forgot" in line]
        assert line.startswith(
            "Forgot 1 callbacks without an event: connection 'pushed' does not find their jobs"
        )
        assert line.endswith("send its callbacks to a connection with this bucket")
        assert self.events(asset) == []

    def test_the_bucket_of_a_task_that_waits_no_more_is_remembered(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        connection_of: Callable[..., None],
        mocker: MockerFixture,
    ) -> None:
        job_id = submit()
        end_jobs(service, hook, job_id)
        connection_of(callback_asset=ASSET, bucket=OTHER)
        (task,) = defer([trigger(job_id, bucket=service.bucket, region=service.region)])

        def add_events(*arguments: Any) -> list[str] | None:
            if stored(task).state == "deferred":
                raise OSError("the database is away")
            return asset_events.add_events(*arguments)

        mocker.patch.object(processing, "add_events", add_events)
        post(client, job_id)
        wait_for_state(task, "scheduled")
        wait_until(lambda: bool(self.events(asset)), PATIENCE_SECONDS, "there is an event")

    def test_a_bucket_that_cannot_be_used_holds_up_no_other(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        connection_of: Callable[..., None],
    ) -> None:
        """The connection's own bucket, of which only the events are."""
        job_id = submit()
        end_jobs(service, hook, job_id)
        connection_of(callback_asset=ASSET, bucket=ABSENT)
        (task,) = defer([trigger(job_id, bucket=service.bucket, region=service.region)])
        post(client, job_id, "j-of-nobody")
        wait_for_state(task, "scheduled")
        wait_until(lambda: bool(self.events(asset)), PATIENCE_SECONDS, "there is an event")

    def test_buckets_that_callbacks_name_hold_up_no_other(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        mocker: MockerFixture,
    ) -> None:
        """Of such buckets few are asked at once: requests and sockets are limited."""
        job_id = submit()
        end_jobs(service, hook, job_id)
        describe, hanging = job_reader.describe_in_parts, list[str]()

        async def hang_in_forged_buckets(client: Any, request: Any, endpoint: Endpoint) -> JobsResponse:
            if endpoint.bucket.startswith("forged"):
                hanging.append(endpoint.bucket)
                await asyncio.sleep(FOREVER)
            return await describe(client, request, endpoint)

        mocker.patch.object(job_reader, "describe_in_parts", hang_in_forged_buckets)
        for number in range(20):
            post(client, f"j{number}-of-nobody", bucket=f"forged{number}-1250000000")
        wait_until(lambda: bool(hanging), PATIENCE_SECONDS, "one of them is asked")
        post(client, job_id, bucket=OTHER)
        wait_until(
            lambda: len(hanging) == processing.NAMED_BUCKETS_AT_ONCE,
            PATIENCE_SECONDS,
            "some of them are asked",
        )
        post(client, job_id)
        wait_until(lambda: bool(self.events(asset)), PATIENCE_SECONDS, "there is an event")
        assert len(hanging) == processing.NAMED_BUCKETS_AT_ONCE

    def test_a_bucket_that_waits_for_its_turn_loses_no_event(
        self,
        client: TestClient,
        service: Emulator,
        hook: TencentCIHook,
        submit: Callable[[], str],
        asset: int,
        connection_of: Callable[..., None],
        mocker: MockerFixture,
    ) -> None:
        """Others have further jobs, and get further turns after it. A second look would come too late."""
        mocker.patch.object(received_jobs, "PAUSES", ())
        job_id = submit()
        end_jobs(service, hook, job_id)
        connection_of(callback_asset=ASSET, bucket=OTHER)
        describe, asked, may_respond = job_reader.describe_in_parts, list[str](), threading.Event()

        async def respond_late(client: Any, request: Any, endpoint: Endpoint) -> JobsResponse:
            if endpoint.bucket != OTHER:
                asked.append(endpoint.bucket)
                while not may_respond.is_set():
                    await asyncio.sleep(0.01)
            return await describe(client, request, endpoint)

        mocker.patch.object(job_reader, "describe_in_parts", respond_late)
        look, begun = processing._ConnectionLooks._look, list[str]()

        async def note_look(self: Any, place: Endpoint, *more: Any) -> None:
            begun.append(place.bucket)
            await look(self, place, *more)  # waits for its turn before anything else

        mocker.patch.object(processing._ConnectionLooks, "_look", note_look)
        slow = [f"slow{number}-1250000000" for number in range(processing.NAMED_BUCKETS_AT_ONCE)]
        for number, bucket in enumerate(slow):
            post(client, f"j{number}-of-slow", bucket=bucket)
        wait_until(lambda: len(asked) == len(slow), PATIENCE_SECONDS, "all slow buckets are asked")
        for number, bucket in enumerate(slow):
            post(client, f"further-j{number}-of-slow", bucket=bucket)
        post(client, job_id, bucket=service.bucket)
        wait_until(
            lambda: OTHER in {each.bucket for each in service.ledger.requests("describe", id=job_id)},
            PATIENCE_SECONDS,
            "the connection's own bucket is asked meanwhile",
        )
        wait_until(lambda: service.bucket in begun, PATIENCE_SECONDS, "the bucket waits for its turn")
        may_respond.set()
        wait_until(lambda: bool(self.events(asset)), PATIENCE_SECONDS, "there is an event")
        wait_until(lambda: len(asked) == 2 * len(slow) + 1, PATIENCE_SECONDS, "all have had their turns")
        assert asked[len(slow)] == service.bucket

    def test_a_bucket_whose_turn_does_not_come_is_logged(
        self, client: TestClient, asset: int, mocker: MockerFixture, logs: Logs
    ) -> None:
        mocker.patch.object(processing, "LONGEST_WAIT_FOR_TURN", 0.1)
        hanging = list[str]()

        async def hang_in_named_buckets(client: Any, request: Any, endpoint: Endpoint) -> JobsResponse:
            if "-of-us" in "".join(request.job_ids):
                return JobsResponse()
            hanging.append(endpoint.bucket)
            await asyncio.sleep(FOREVER)
            raise AssertionError

        mocker.patch.object(job_reader, "describe_in_parts", hang_in_named_buckets)
        for number in range(processing.NAMED_BUCKETS_AT_ONCE):
            post(client, f"j{number}-of-others", bucket=f"hangs{number}-1250000000")
        wait_until(
            lambda: len(hanging) == processing.NAMED_BUCKETS_AT_ONCE, PATIENCE_SECONDS, "all others hang"
        )
        post(client, "j-of-us", bucket=OTHER)
        wait_until_forgotten(logs)
        failed, forgotten = logs.at("warning")
        assert f"bucket '{OTHER}': Other buckets that callbacks name were asked for 0.1 s" in failed
        assert "or looks failed. If the last, j-of-us," in forgotten


def test_reading_is_limited_in_time(client: TestClient, mocker: MockerFixture) -> None:
    """A client that sends nothing more is not waited for."""
    mocker.patch.object(application, "READ_SECONDS", 0.1)

    def body() -> Iterator[bytes]:
        yield b"{"
        time.sleep(1)
        yield b"}"

    assert client.post(f"/tencent-ci/callbacks/pushed/{SECRET}", content=body()).status_code in (400, 408)
