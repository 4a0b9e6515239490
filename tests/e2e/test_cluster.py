"""200 deferred tasks on two Celery workers and two triggerers, of which one each is lost on the way."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

import pytest

from airflow_provider_ci.hooks.connection import READ_TIMEOUT
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.cluster import TRIGGERERS
from tests.e2e.services import Service
from tests.patience import SLOWNESS

TASKS = 200


def instances(stack: AirflowStack, run_id: str, state: str) -> list[dict[str, Any]]:
    return [ti for ti in stack.task_instances("spread", run_id, "separate") if ti["state"] == state]


def unanswered(stack: AirflowStack, held: Service, run_id: str, worker: str) -> set[str]:
    """Return the inputs of jobs that were accepted while their tasks still run on this worker."""
    tasks = [ti["map_index"] for ti in instances(stack, run_id, "running") if ti["hostname"] == worker]
    return {job.key for job in held.jobs("spread")} & {f"spread/{index}.wav" for index in tasks}


def triggerers(stack: AirflowStack, run_id: str) -> Counter[str]:
    """Count the deferred tasks of each triggerer."""
    jobs = [ti["triggerer_job"] for ti in instances(stack, run_id, "deferred")]
    return Counter(job["hostname"] for job in jobs if job)


def test_a_worker_and_a_triggerer_are_lost_and_each_task_pays_once(
    cluster: AirflowStack, held: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    held.put("spread", TASKS)
    begin = time.monotonic()
    run_id = cluster.trigger("spread", {"prefix": "spread", "count": TASKS})
    cluster.wait(lambda: len(held.accepted("spread")) >= 60, 300, "60 jobs are submitted")
    # the response comes so long after the job was accepted that the worker is lost in between, though before
    # the provider gives up
    slow = held.emulator.faults.add("submit", delay=min(2 * SLOWNESS, READ_TIMEOUT - 10), when="after")
    responded = {job.key for job in held.jobs("spread")}
    try:
        paying = lambda: len(unanswered(cluster, held, run_id, "worker-2") - responded) >= 2  # noqa: E731
        cluster.wait(paying, 60, "the worker waits for responses")
        cluster.kill("worker-2")
    finally:
        held.emulator.faults.remove(slow)

    def busy() -> str | None:
        counts = triggerers(cluster, run_id)
        return next((name for name in TRIGGERERS if counts[name] >= 20), None)

    lost = cluster.wait(busy, 120, "a triggerer has triggers")
    cluster.kill(str(lost))

    (other,) = {*TRIGGERERS} - {lost}
    moved = Counter({other: TASKS})
    cluster.wait(lambda: triggerers(cluster, run_id) == moved, 900, "the other triggerer has all triggers")
    deferred = time.monotonic()
    held.let_jobs_end()
    assert cluster.wait_for_run("spread", run_id, 900) == "success"
    ended = time.monotonic()
    cluster.start("worker-2")
    cluster.start(str(lost))

    tasks = instances(cluster, run_id, "success")
    tries = sum(ti["try_number"] for ti in tasks)
    with capsys.disabled():
        figures = f"all wait after {deferred - begin:.0f} s, all have ended {ended - deferred:.0f} s later"
        sys.stdout.write(f"\n{TASKS} tasks, {tries} tries: {figures}\n")
    assert len(tasks) == TASKS
    assert tries > TASKS, "the worker was lost without a task"
    jobs = held.jobs("spread")
    assert Counter(job.key for job in jobs) == {f"spread/{number}.wav": 1 for number in range(TASKS)}
    for job in jobs:
        index = int(job.key.removeprefix("spread/").removesuffix(".wav"))
        assert cluster.xcom("spread", run_id, "separate", index=index) == job.job_id
