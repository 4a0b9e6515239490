"""Callbacks from the service to a real API server, which resume deferred tasks and become asset events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import requests
from aiohttp import ClientTimeout

from tencent_ci_emulator.clock import VirtualClock
from tests.airflow_version import HAS_CALLBACK_ENDPOINT
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service, serve
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(not HAS_CALLBACK_ENDPOINT, reason="the endpoint needs Airflow 3.3")

SECRET = "the-callback-secret-of-the-e2e-tests"
ASSET = "finished_jobs"
#: Seconds. The first poll comes at random within it, and must not be quicker than the callback.
POLL_INTERVAL = 7 * 24 * 3600


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose jobs wait until the test lets time pass."""
    clock = VirtualClock(start=time.time())
    settings = {"queue_seconds": 1800, "run_seconds": 1800, "queue_max_concurrent": 100}
    folder = tmp_path_factory.mktemp("pushed")
    with (
        # the first response of each process of the API server takes long
        patch("tencent_ci_emulator.jobs.callbacks._TIMEOUT", ClientTimeout(total=PATIENCE)),
        serve("tencent_ci_default", folder, clock=clock, **settings) as service,
    ):
        yield service


@pytest.fixture(scope="module")
def stack(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    with stack_with_endpoint(service, tmp_path_factory.mktemp("airflow")) as stack:
        yield stack


def stack_with_endpoint(service: Service, home: Path) -> AirflowStack:
    stack = AirflowStack(home, Path(__file__).parent / "push_dags")
    stack.environment |= {
        "AIRFLOW_CONN_TENCENT_CI_DEFAULT": connection(
            service, callback_base_url=stack.url, callback_asset=ASSET, callback_poll_interval=POLL_INTERVAL
        ),
        "AIRFLOW_CONN_LOST": connection(
            service, callback_base_url="http://127.0.0.1:9", callback_poll_interval=3
        ),
        "AIRFLOW__TENCENT_CI__CALLBACK_CONN_IDS": "tencent_ci_default, absent",
    }
    return stack


def connection(service: Service, **callbacks: object) -> str:
    given = json.loads(service.environment["AIRFLOW_CONN_TENCENT_CI_DEFAULT"])
    given["extra"] |= {"callback_secret": SECRET, **callbacks}
    return json.dumps(given)


def address(stack: AirflowStack, secret: str = SECRET, conn_id: str = "tencent_ci_default") -> str:
    return f"{stack.url}/tencent-ci/callbacks/{conn_id}/{secret}"


def post(url: str, body: bytes) -> int:
    return requests.post(url, data=body, timeout=PATIENCE).status_code


def forged(job_id: str) -> bytes:
    return json.dumps(
        {"EventName": "TaskFinish", "JobsDetail": [{"JobId": job_id, "State": "Success"}]}
    ).encode()


def deferred(stack: AirflowStack, service: Service, dag_id: str, prefix: str, count: int) -> str:
    """Run a DAG until its tasks are deferred, and return the run."""
    service.put(prefix, count)
    run_id = stack.trigger(dag_id, {"prefix": prefix, "count": count})
    stack.wait_until_deferred(dag_id, run_id, count, 120)
    return run_id


def is_resumed(stack: AirflowStack, job_id: str) -> bool:
    return f"Resumed the task that waits for job {job_id}" in stack.log_of("api-server")


def wait_until_resumed(stack: AirflowStack, *job_ids: str) -> None:
    """Wait until the endpoint has logged that it has resumed the tasks: it does so after its transaction."""
    stack.wait(lambda: all(is_resumed(stack, job_id) for job_id in job_ids), 60, f"{job_ids} are resumed")


def describes(service: Service, *job_ids: str) -> int:
    """Count the requests for the states of any of these jobs."""
    records = service.emulator.ledger.requests("describe")
    return sum(not {*job_ids}.isdisjoint(record.ids) for record in records)


def described(service: Service) -> set[str]:
    """Return the ids of all jobs whose states have been requested."""
    return {job_id for record in service.emulator.ledger.requests("describe") for job_id in record.ids}


def requests_but_describes(service: Service) -> int:
    ledger = service.emulator.ledger
    return ledger.count() - ledger.count("describe")


def announced(stack: AirflowStack) -> list[dict[str, object]]:
    """Return the events of the asset, oldest first."""
    (asset,) = stack.api("GET", f"/assets?name_pattern={ASSET}")["assets"]
    events = stack.api("GET", f"/assets/events?asset_id={asset['id']}&order_by=timestamp&limit=100")
    return [event["extra"]["payload"] for event in events["asset_events"]]


def test_the_end_of_a_job_resumes_its_task(stack: AirflowStack, service: Service) -> None:
    run_id = deferred(stack, service, "pushed", "pushed", 3)
    job_ids = service.accepted("pushed")
    before = describes(service, *job_ids)
    service.let_jobs_end()
    assert stack.wait_for_run("pushed", run_id, 120) == "success"
    wait_until_resumed(stack, *job_ids)
    assert [record.status for job_id in job_ids for record in service.emulator.ledger.callbacks(job_id)] == [
        200
    ] * 3
    assert not any(service.emulator.ledger.requests("cancel", id=job_id) for job_id in job_ids), (
        "the triggerer gives up triggers that it need not run"
    )
    # for each job at most two of the endpoint, for its event and to resume its task, and one of the task
    assert describes(service, *job_ids) - before <= 9


def test_a_forged_callback_does_nothing(stack: AirflowStack, service: Service) -> None:
    run_id = deferred(stack, service, "pushed", "forged", 1)
    (job_id,) = service.accepted("forged")
    before = describes(service, job_id)
    for _ in range(50):
        assert post(address(stack), forged(job_id)) == 200
    stack.wait(lambda: describes(service, job_id) > before, 60, "the endpoint asks the service")
    assert stack.states("pushed", run_id, "separate") == ["deferred"]
    assert service.states([job_id]) == ["Submitted"]
    assert job_id not in [event["job_id"] for event in announced(stack)]
    service.let_jobs_end()
    assert stack.wait_for_run("pushed", run_id, 120) == "success"
    wait_until_resumed(stack, job_id)
    assert stack.xcom("pushed", run_id, "separate", index=0) == job_id
    assert service.accepted("forged") == [job_id]
    (ti,) = stack.task_instances("pushed", run_id, "separate")
    assert ti["try_number"] == 1


@pytest.mark.parametrize(
    ("url", "body", "status"),
    [
        ({"secret": SECRET[:-1] + "x"}, forged("j1"), 404),
        ({"conn_id": "lost"}, forged("j1"), 404),
        ({"conn_id": "absent"}, forged("j1"), 503),
        ({}, b"no callback", 400),
        ({}, b"", 400),
        ({}, b"{" + b" " * (16 * 1024 * 1024), 413),
    ],
    ids=["secret", "connection", "no-connection", "garbage", "empty", "huge"],
)
def test_what_is_refused(
    stack: AirflowStack, service: Service, url: dict[str, str], body: bytes, status: int
) -> None:
    before, others = described(service), requests_but_describes(service)
    assert post(address(stack, **url), body) == status
    assert "Refused 1 callbacks: " in stack.log_of("api-server")
    # once the endpoint asks about a later callback, it has not asked about this one
    later = f"j{service.emulator.ledger.count():032d}"
    assert post(address(stack), forged(later)) == 200
    stack.wait(lambda: describes(service, later), 60, f"{later} is looked for")
    assert described(service) - before == {later}
    assert requests_but_describes(service) == others


def test_a_lost_callback_only_delays_the_task(stack: AirflowStack, service: Service) -> None:
    run_id = deferred(stack, service, "lost", "lost", 1)
    service.let_jobs_end()
    assert stack.wait_for_run("lost", run_id, 120) == "success"
    (job_id,) = service.accepted("lost")
    assert not is_resumed(stack, job_id)
    (callback,) = service.emulator.ledger.callbacks(job_id)
    assert callback.outcome == "failed"


def test_clearing_the_task_cancels_its_job(stack: AirflowStack, service: Service) -> None:
    run_id = deferred(stack, service, "pushed", "cleared", 1)
    (first,) = service.accepted("cleared")
    stack.clear("pushed", run_id, "separate")
    stack.wait(lambda: service.states([first]) == ["Cancel"], 120, "the job is cancelled")
    stack.wait(lambda: len(service.accepted("cleared")) == 2, 120, "the new try submits")
    service.let_jobs_end()
    assert stack.wait_for_run("pushed", run_id, 120) == "success"


def test_a_job_without_a_task_becomes_one_event(stack: AirflowStack, service: Service) -> None:
    service.put("alone", 1)
    request = {
        "Tag": "VoiceSeparate",
        "Input": {"Object": "alone/0.wav"},
        "Operation": {
            "VoiceSeparate": {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "wav"}},
            "Output": {"AuObject": "out/alone.wav"},
            "UserData": "of nobody",
        },
        "CallBack": address(stack),
        "CallBackFormat": "JSON",
    }
    stack.unpause("announced")
    job, _ = service.hook.submit_job(request)
    service.let_jobs_end()

    def events() -> list[dict[str, object]]:
        return [event for event in announced(stack) if event["job_id"] == job.job_id]

    stack.wait(lambda: bool(events()), 60, "the asset has an event")
    for _ in range(20):  # the service, or somebody else, repeats it
        assert post(address(stack), forged(str(job.job_id))) == 200
    (run,) = stack.wait(
        lambda: stack.api("GET", "/dags/announced/dagRuns?state=success")["dag_runs"], 120, "the DAG has run"
    )
    recorded = stack.xcom("announced", run["dag_run_id"], "record")
    assert [event["state"] for event in recorded if event["job_id"] == job.job_id] == ["Success"]
    assert len(events()) == 1
    assert events()[0]["user_data"] == "of nobody"


def test_the_example(stack: AirflowStack, service: Service) -> None:
    service.hook.upload_file(service.recording, "in/speech_over_music.mp3")
    run_id = stack.trigger("example_callback")
    stack.wait_until_deferred("example_callback", run_id, 1, 120)
    service.let_jobs_end()
    assert stack.wait_for_run("example_callback", run_id, 120) == "success"
    (job_id,) = service.accepted("in")
    wait_until_resumed(stack, job_id)
    assert stack.xcom("example_callback", run_id, "use") == f"out/{job_id}/voice.mp3"


def test_no_log_and_no_page_has_the_secret(stack: AirflowStack, service: Service) -> None:
    run_id = deferred(stack, service, "pushed", "secret", 1)
    path = f"/dags/pushed/dagRuns/{run_id}/taskInstances/separate/0"
    assert stack.api("GET", path)["rendered_fields"]["callback_url"] == "auto"
    assert post(address(stack, "x" + SECRET[1:]), b"") == 404
    service.let_jobs_end()
    assert stack.wait_for_run("pushed", run_id, 120) == "success"
    shown = [json.dumps(stack.api("GET", each)) for each in (path, "/plugins", "/connections")]
    logs = [file.read_text(errors="replace") for file in stack.logs.rglob("*") if file.is_file()]
    shown += [json.dumps(stack.xcom("pushed", run_id, "separate", key, 0)) for key in ("return_value", "job")]
    for text in (*shown, *logs):
        assert SECRET not in text
        assert SECRET[1:] not in text
