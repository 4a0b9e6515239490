"""The tests of callbacks again, with PostgreSQL as Airflow's database and two processes of the API server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.airflow_version import HAS_CALLBACK_ENDPOINT
from tests.e2e import postgres_redis
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service
from tests.e2e.test_push import (  # noqa: F401 - pytest runs them with the fixtures of this module
    address,
    announced,
    deferred,
    forged,
    post,
    service,
    stack_with_endpoint,
    test_a_forged_callback_does_nothing,
    test_a_job_without_a_task_becomes_one_event,
    test_clearing_the_task_cancels_its_job,
    test_the_end_of_a_job_resumes_its_task,
    wait_until_resumed,
)

pytestmark = [
    pytest.mark.skipif(not HAS_CALLBACK_ENDPOINT, reason="the endpoint needs Airflow 3.3"),
    pytest.mark.skipif(postgres_redis.missing() is not None, reason=str(postgres_redis.missing())),
]


@pytest.fixture(scope="module")
def stack(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:  # noqa: F811
    with postgres_redis.postgres_and_redis() as settings:
        stack = stack_with_endpoint(service, tmp_path_factory.mktemp("airflow"))
        stack.environment |= {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"],
            "AIRFLOW__API__WORKERS": "2",
        }
        with stack:
            yield stack


def test_both_processes_get_the_callbacks_and_each_task_is_resumed_once(
    stack: AirflowStack,
    service: Service,  # noqa: F811
) -> None:
    run_id = deferred(stack, service, "pushed", "both", 8)
    job_ids = service.accepted("both")
    service.let_jobs_end()
    with ThreadPoolExecutor(16) as clients:
        statuses = list(clients.map(lambda job_id: post(address(stack), forged(job_id)), job_ids * 8))
    assert statuses == [200] * 64
    assert stack.wait_for_run("pushed", run_id, 120) == "success"
    wait_until_resumed(stack, *job_ids)
    log = stack.log_of("api-server")
    resumptions = Counter(log.count(f"Resumed the task that waits for job {job_id}") for job_id in job_ids)
    assert resumptions == {1: 8}
    assert [ti["try_number"] for ti in stack.task_instances("pushed", run_id, "separate")] == [1] * 8
    events = Counter(event["job_id"] for event in announced(stack))
    assert {events[job_id] for job_id in job_ids} == {1}
