"""Deferred tasks with a real scheduler and a real triggerer, which is killed on the way."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service


def deferred(stack: AirflowStack, service: Service, dag_id: str, prefix: str) -> tuple[str, list[str]]:
    """Run a DAG with one task until that waits in the triggerer; return the run and the jobs."""
    service.put(prefix, 1)
    run_id = stack.trigger(dag_id, {"prefix": prefix})
    stack.wait_until_deferred(dag_id, run_id, 1, 90)
    polls_so_far = service.emulator.ledger.count("describe")
    stack.wait(lambda: service.emulator.ledger.count("describe") > polls_so_far, 60, "the trigger polls")
    return run_id, service.accepted(prefix)


def test_twenty_wait_while_the_triggerer_is_killed(stack: AirflowStack, held: Service) -> None:
    held.put("many", 20)
    run_id = stack.trigger("many", {"prefix": "many", "count": 20})
    stack.wait_until_deferred("many", run_id, 20, 180)
    polls = held.emulator.ledger.count("describe")
    stack.wait(lambda: held.emulator.ledger.count("describe") > polls, 60, "the triggers poll")

    stack.kill("triggerer")
    polls = held.emulator.ledger.count("describe")
    stack.start("triggerer")
    stack.wait(lambda: held.emulator.ledger.count("describe") > polls, 120, "triggers poll after the restart")
    assert Counter(stack.states("many", run_id, "separate")) == {"deferred": 20}

    held.let_jobs_end()
    assert stack.wait_for_run("many", run_id, 180) == "success"
    accepted = held.accepted("many")
    assert len(accepted) == 20
    assert sorted(stack.xcom("many", run_id, "separate", index=index) for index in range(20)) == sorted(
        accepted
    )
    result = stack.xcom("many", run_id, "separate", "job", index=7)
    assert result["state"] == "Success"
    assert set(result["outputs"]) == {"voice"}
    # ten to a request: a poll of all twenty costs two, or three while they come one after another
    asked = [len(record.ids) for record in held.emulator.ledger.requests("describe")]
    assert max(asked) <= 10
    assert "q-signature" not in stack.task_logs("many") + stack.log_of("triggerer")


def test_a_pool_that_counts_deferred_tasks_bounds_the_jobs_under_way(
    stack: AirflowStack, held: Service
) -> None:
    stack.api("POST", "/pools", json={"name": "ci_jobs", "slots": 3, "include_deferred": True})
    held.put("pooled", 8)
    run_id = stack.trigger("pooled", {"prefix": "pooled", "count": 8})

    def states() -> Counter[str]:
        return Counter(stack.states("pooled", run_id, "separate"))

    stack.wait(lambda: states()["deferred"] == 3, 120, "three tasks wait")
    # a task that comes later is started, and none of these
    deferred(stack, held, "one", "beside-the-pool")
    assert states() == {"deferred": 3, "scheduled": 5}
    for accepted in (3, 6, 8):
        stack.wait(lambda n=accepted: len(held.accepted("pooled")) == n, 120, f"{accepted} are submitted")
        held.let_jobs_end()
    assert stack.wait_for_run("pooled", run_id, 120) == "success"
    assert len(held.accepted("pooled")) == 8


def test_a_sensor_waits_for_all_jobs_of_mapped_tasks(stack: AirflowStack, held: Service) -> None:
    held.put("sensed", 12)
    run_id = stack.trigger("sensed", {"prefix": "sensed", "count": 12})
    stack.wait_until_deferred("sensed", run_id, 1, 120)
    held.let_jobs_end()
    assert stack.wait_for_run("sensed", run_id, 120) == "success"
    assert {job["job_id"] for job in stack.xcom("sensed", run_id, "sense")} == set(held.accepted("sensed"))


def test_clearing_cancels_the_job_and_the_new_try_submits_another(stack: AirflowStack, held: Service) -> None:
    run_id, (first,) = deferred(stack, held, "one", "cleared")
    # SQLite would give the new try's trigger the id of the old one, whose last event then resumes the new
    # try, and Airflow takes the late news of its deferral for a failure. This run's trigger prevents that
    deferred(stack, held, "one", "another")

    stack.clear("one", run_id, "separate")
    stack.wait(lambda: held.states([first]) == ["Cancel"], 60, "the job is cancelled")
    stack.wait(lambda: len(held.accepted("cleared")) == 2, 90, "the new try submits")

    stack.wait_until_deferred("one", run_id, 2, 60)
    second = held.accepted("cleared")[1]
    assert held.states([second]) == ["Submitted"], "what the trigger cancels is the old job only"
    held.let_jobs_end()
    assert stack.wait_for_run("one", run_id, 90) == "success"
    assert stack.xcom("one", run_id, "separate") == second
    assert len(held.accepted("cleared")) == 2


@pytest.mark.parametrize("new_state", ["failed", "success"])
def test_a_user_who_ends_the_task_ends_the_job(stack: AirflowStack, held: Service, new_state: str) -> None:
    run_id, (job_id,) = deferred(stack, held, "one", f"marked-{new_state}")
    path = f"/dags/one/dagRuns/{run_id}/taskInstances/separate"
    stack.api("PATCH", path, json={"new_state": new_state})
    stack.wait(lambda: held.states([job_id]) == ["Cancel"], 60, "the job is cancelled")


@pytest.mark.parametrize("dag_id", ["short_timeout", "short_execution"])
def test_the_deadline_cancels_the_job(stack: AirflowStack, held: Service, dag_id: str) -> None:
    run_id, (job_id,) = deferred(stack, held, dag_id, dag_id)
    assert stack.wait_for_run(dag_id, run_id, 90) == "failed"
    assert held.states([job_id]) == ["Cancel"]
    log = stack.task_logs(dag_id)
    assert f"Job {job_id} is Submitted after its timeout or execution_timeout" in log
    assert "Its cancellation was requested" in log


def test_a_sensor_with_soft_fail_is_skipped_at_its_execution_timeout(
    stack: AirflowStack, held: Service
) -> None:
    held.put("soft", 1)
    run_id = stack.trigger("short_sensor", {"prefix": "soft"})
    assert stack.wait_for_run("short_sensor", run_id, 120) == "success"
    assert stack.states("short_sensor", run_id, "sense") == ["skipped"]


def test_without_a_triggerer_the_deadline_holds_all_the_same(stack: AirflowStack, held: Service) -> None:
    held.put("alone", 1)
    stack.kill("triggerer")
    try:
        run_id = stack.trigger("short_timeout", {"prefix": "alone"})
        # Airflow ends the deferral a minute after the deadline
        assert stack.wait_for_run("short_timeout", run_id, 240) == "failed"
    finally:
        stack.start("triggerer")
    (job_id,) = held.accepted("alone")
    assert held.states([job_id]) == ["Cancel"]
    log = stack.task_logs("short_timeout")
    assert f"The triggerer did not wait for job {job_id} to the end" in log
    assert f"Job {job_id} is Submitted after its timeout or execution_timeout; is a triggerer running?" in log
