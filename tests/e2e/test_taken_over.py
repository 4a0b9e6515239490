"""Processes that Airflow has given up on, and that continue afterwards: a job that others wait for by then is
not cancelled.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service

SECOND = "triggerer-2"


def wait_for_polls(stack: AirflowStack, service: Service) -> None:
    polls = service.emulator.ledger.count("describe")
    stack.wait(lambda: service.emulator.ledger.count("describe") > polls, 120, "jobs are polled")


@contextmanager
def second_triggerer_later(stack: AirflowStack) -> Iterator[None]:
    """Leave the first triggerer alone, and things afterwards as they were."""
    was_there = stack.is_started(SECOND)
    if was_there:
        stack.kill(SECOND)
    try:
        yield
    finally:
        stack.let_go_on("triggerer")
        if was_there != stack.is_started(SECOND):
            (stack.start if was_there else stack.kill)(SECOND)


def test_a_triggerer_that_was_held_up_cancels_nothing_that_moved(stack: AirflowStack, held: Service) -> None:
    held.put("moved", 3)
    with second_triggerer_later(stack):
        run_id = stack.trigger("many", {"prefix": "moved", "count": 3})
        stack.wait_until_deferred("many", run_id, 3, 180)
        wait_for_polls(stack, held)
        jobs = held.accepted("moved")

        def triggerers() -> set[int]:
            """Return those that have the triggers; 0 stands for none."""
            found = (ti["triggerer_job"] for ti in stack.task_instances("many", run_id, "separate"))
            return {job["id"] if job else 0 for job in found}

        stack.wait(lambda: len(triggerers() - {0}) == len(triggerers()) == 1, 60, "one has all triggers")
        (first,) = triggerers()
        stack.hold_up("triggerer")
        stack.start(SECOND)
        stack.wait(lambda: triggerers().isdisjoint({0, first}), 120, "the second one has taken over")
        wait_for_polls(stack, held)
        stack.let_go_on("triggerer")

        def said(sentence: str) -> int:
            # what a trigger says after Airflow has ended it is in the triggerer's own log
            return (stack.task_logs("many") + stack.log_of("triggerer")).count(sentence)

        # more than three if the second one is held up, too, and its triggers move back
        stack.wait(lambda: said("invoking on_kill") >= 3, 120, "Airflow takes the move for a user's action")
        kept = [f"Jobs {job_id} are not cancelled: the task is deferred" for job_id in jobs]
        stack.wait(lambda: all(map(said, kept)), 60, "each trigger says that its job is not cancelled")
        assert held.states(jobs) == ["Submitted"] * 3
        assert stack.states("many", run_id, "separate") == ["deferred"] * 3

        held.let_jobs_end()
        assert stack.wait_for_run("many", run_id, 180) == "success"
    assert held.accepted("moved") == jobs
    assert {stack.xcom("many", run_id, "separate", index=index) for index in range(3)} == set(jobs)


def test_a_worker_that_was_held_up_does_not_cancel_what_its_retry_waits_for(
    stack: AirflowStack, held: Service
) -> None:
    held.put("overtaken", 1)
    run_id = stack.trigger("on_worker", {"prefix": "overtaken"})

    def instance() -> tuple[str, int]:
        (ti,) = stack.task_instances("on_worker", run_id, "separate")
        return ti["state"], ti["try_number"]

    stack.wait(lambda: held.accepted("overtaken"), 120, "the job is accepted")
    wait_for_polls(stack, held)
    (ti,) = stack.task_instances("on_worker", run_id, "separate")
    task = psutil.Process(ti["pid"])
    held_up = [task.parent(), task]
    try:
        for process in held_up:
            os.kill(process.pid, signal.SIGSTOP)
        stack.wait(lambda: instance() == ("running", 2), 240, "the retry has begun")
        wait_for_polls(stack, held)  # of the retry
    finally:
        for process in held_up:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)

    stack.wait(lambda: not task.is_running(), 120, "Airflow has ended the first try")
    (job_id,) = held.accepted("overtaken")
    assert held.states([job_id]) == ["Submitted"]
    # a supervisor may write what its task has logged after the task's end
    sentence = f"Job {job_id}: It was not cancelled: Airflow has given up on this try"
    stack.wait(lambda: sentence in stack.task_logs("on_worker"), 60, "the first try says so")
    held.let_jobs_end()
    assert stack.wait_for_run("on_worker", run_id, 180) == "success"
    assert stack.xcom("on_worker", run_id, "separate") == job_id
    assert held.accepted("overtaken") == [job_id]
