"""What clearing a task means for its job, with real processes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.airflow_version import CLEAR_DISCARDS_STATE
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service


def instance(stack: AirflowStack, dag_id: str, run_id: str) -> dict[str, Any]:
    (ti,) = stack.task_instances(dag_id, run_id, "separate")
    return ti


def polls(stack: AirflowStack, service: Service) -> None:
    before = service.emulator.ledger.count("describe")
    stack.wait(lambda: service.emulator.ledger.count("describe") > before, 120, "the job is polled")


@pytest.mark.xfail(CLEAR_DISCARDS_STATE, reason="3.4.0b2's scheduler ends on SQLite", strict=False)
def test_a_task_that_is_cleared_while_it_waits_on_a_worker_continues_with_its_running_job(
    stack: AirflowStack, held: Service
) -> None:
    held.put("cleared-running", 1)
    run_id = stack.trigger("cleared_on_worker", {"prefix": "cleared-running"})
    stack.wait(lambda: held.accepted("cleared-running"), 120, "the job is accepted")
    held.let_jobs_begin()
    (job_id,) = held.accepted("cleared-running")
    assert held.states([job_id]) == ["Running"]
    polls(stack, held)
    first = instance(stack, "cleared_on_worker", run_id)

    stack.clear("cleared_on_worker", run_id, "separate")
    stack.wait(
        lambda: (
            instance(stack, "cleared_on_worker", run_id)["try_number"] > first["try_number"]
            and instance(stack, "cleared_on_worker", run_id)["state"] == "running"
        ),
        240,
        "another try runs",
    )
    polls(stack, held)
    assert instance(stack, "cleared_on_worker", run_id)["max_tries"] > first["max_tries"]
    held.let_jobs_end()
    assert stack.wait_for_run("cleared_on_worker", run_id, 180) == "success"
    assert held.accepted("cleared-running") == [job_id], "one job is paid"
    assert stack.xcom("cleared_on_worker", run_id, "separate") == job_id
    assert f"The task was cleared while it waited for job {job_id}" in stack.task_logs("cleared_on_worker")


def test_a_task_that_is_cleared_before_its_job_has_begun_has_it_cancelled_and_replaced(
    stack: AirflowStack, held: Service
) -> None:
    held.put("cleared-waiting", 1)
    run_id = stack.trigger("cleared_on_worker", {"prefix": "cleared-waiting"})
    stack.wait(lambda: held.accepted("cleared-waiting"), 120, "the job is accepted")
    polls(stack, held)
    stack.clear("cleared_on_worker", run_id, "separate")
    stack.wait(lambda: len(held.accepted("cleared-waiting")) == 2, 240, "another job is accepted")
    first, second = held.accepted("cleared-waiting")
    assert held.states([first, second]) == ["Cancel", "Submitted"]
    held.let_jobs_end()
    assert stack.wait_for_run("cleared_on_worker", run_id, 180) == "success"
    assert stack.xcom("cleared_on_worker", run_id, "separate") == second


@pytest.mark.parametrize("keeps_state", [False, pytest.param(True, id="keep_task_state")])
def test_a_task_that_is_cleared_after_its_end_gets_a_new_job(
    stack: AirflowStack, held: Service, keeps_state: bool
) -> None:
    if keeps_state and not CLEAR_DISCARDS_STATE:
        pytest.skip("Airflow before 3.4 always keeps the state of a cleared task")
    prefix = f"cleared-after-its-end-{keeps_state}"
    held.put(prefix, 1)
    run_id = stack.trigger("cleared_submit_only", {"prefix": prefix})
    assert stack.wait_for_run("cleared_submit_only", run_id, 180) == "success"
    (first,) = held.accepted(prefix)

    stack.clear(
        "cleared_submit_only", run_id, "separate", **({"keep_task_state": True} if keeps_state else {})
    )
    stack.wait(lambda: len(held.accepted(prefix)) == 2, 240, "a new job is accepted")
    assert stack.wait_for_run("cleared_submit_only", run_id, 180) == "success"
    second = held.accepted(prefix)[1]
    assert stack.xcom("cleared_submit_only", run_id, "separate") == second
    # where the state is kept it names the old job, which has not begun and is not worth its price any more
    is_known = keeps_state or not CLEAR_DISCARDS_STATE
    assert held.states([first, second]) == ["Cancel" if is_known else "Submitted", "Submitted"]
