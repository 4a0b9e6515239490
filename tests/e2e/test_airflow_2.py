"""Real processes of Airflow 2.11, the oldest version that is supported: killed, cleared and timed out.

They run in the environment of the matrix's cell, which ``make`` makes if pip reaches a package index.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import postgres_redis
from tests.e2e.airflow_2_stack import Airflow2Stack, airflow_2
from tests.e2e.airflow_stack import ROOT
from tests.e2e.kill_campaign import campaign
from tests.e2e.services import Service

CELL = "build/matrix/2.11.2-py311"
DAGS = Path(__file__).parent / "dags"
FILES = ("killed.py", "waiting.py", "cleared.py")
TASKS = 8
#: Airflow 2 may find a killed task several times before it has failed it, and then fails its next tries, too
TRIES = {"CI_E2E_TRIES": "20"}


@pytest.fixture(scope="module")
def python_of_the_cell() -> str:
    if reason := postgres_redis.missing():
        pytest.skip(reason)
    made = subprocess.run(
        ["make", f"{CELL}/.installed"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"{CELL} cannot be made: {(made.stdout + made.stderr)[-300:]}")
    return str(ROOT / CELL / "bin" / "python")


@pytest.fixture(scope="module")
def stack_2(
    python_of_the_cell: str, held: Service, quick: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow2Stack]:
    folder = tmp_path_factory.mktemp("airflow-2")
    dags = folder / "dags"
    dags.mkdir()
    for name in FILES:
        shutil.copy(DAGS / name, dags)
    environment = held.environment | quick.environment | TRIES
    with airflow_2(folder / "home", dags, environment, python_of_the_cell) as running:
        for dag_id in ("killed_submit", "many", "cleared_on_worker"):
            running.wait(lambda dag_id=dag_id: running.has_read(dag_id), 120, f"{dag_id} is read")
        yield running


@pytest.mark.parametrize("way", ["killed_worker", "killed_deferred", "killed_sensed"])
def test_each_task_pays_for_one_job_however_often_it_is_killed(
    stack_2: Airflow2Stack, quick: Service, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    report = campaign(stack_2, quick, way, "VoiceSeparate", TASKS, seed=2, name="two-")
    with capsys.disabled():
        sys.stdout.write(f"\n2.11  {report}\n")
    assert (report.state, report.tasks, report.never) == ("success", TASKS, 0)
    assert report.tries > TASKS, "nobody was killed"
    assert (report.accepted, report.twice) == (TASKS, 0)


def test_tasks_wait_while_the_triggerer_is_killed(stack_2: Airflow2Stack, held: Service) -> None:
    held.put("two-many", 6)
    run_id = stack_2.trigger("many", {"prefix": "two-many", "count": 6})
    polled = held.emulator.ledger

    def all_are_deferred() -> bool:
        return Counter(stack_2.states("many", run_id, "separate")) == {"deferred": 6}

    stack_2.wait(all_are_deferred, 180, "all tasks are deferred")
    stack_2.kill("triggerer")
    polls = polled.count("describe")
    stack_2.start("triggerer")
    stack_2.wait(lambda: polled.count("describe") > polls, 120, "triggers poll after the restart")
    held.let_jobs_end()
    assert stack_2.wait_for_run("many", run_id, 180) == "success"
    assert len(held.accepted("two-many")) == 6


@pytest.mark.parametrize("dag_id", ["short_timeout", "short_execution"])
def test_the_deadline_cancels_the_job(stack_2: Airflow2Stack, held: Service, dag_id: str) -> None:
    prefix = f"two-{dag_id}"
    held.put(prefix, 1)
    run_id = stack_2.trigger(dag_id, {"prefix": prefix})
    assert stack_2.wait_for_run(dag_id, run_id, 180) == "failed"
    (job_id,) = held.accepted(prefix)
    assert held.states([job_id]) == ["Cancel"]
    assert f"Job {job_id} is Submitted after its timeout or execution_timeout" in stack_2.task_logs(dag_id)


def test_a_sensor_with_soft_fail_is_skipped_at_its_execution_timeout(
    stack_2: Airflow2Stack, held: Service
) -> None:
    held.put("two-sensed", 1)
    run_id = stack_2.trigger("short_sensor", {"prefix": "two-sensed"})
    assert stack_2.wait_for_run("short_sensor", run_id, 180) == "success"
    assert stack_2.states("short_sensor", run_id, "sense") == ["skipped"]


def test_a_task_that_is_cleared_while_it_waits_on_a_worker_continues_with_its_running_job(
    stack_2: Airflow2Stack, held: Service
) -> None:
    held.put("two-cleared", 1)
    run_id = stack_2.trigger("cleared_on_worker", {"prefix": "two-cleared"})
    stack_2.wait(lambda: held.accepted("two-cleared"), 120, "the job is accepted")
    held.let_jobs_begin()
    (job_id,) = held.accepted("two-cleared")
    polls = held.emulator.ledger.count("describe")
    # Airflow 2 overwrites the state of a task that is cleared while it starts
    stack_2.wait(lambda: held.emulator.ledger.count("describe") > polls + 1, 120, "the job is polled")
    stack_2.clear("cleared_on_worker", run_id, "separate")
    # the try that is ended polls, too, so what tells the new one is its number
    (first,) = stack_2.task_instances("cleared_on_worker", run_id, "separate")

    def another_try_runs() -> bool:
        (ti,) = stack_2.task_instances("cleared_on_worker", run_id, "separate")
        return bool(ti["state"] == "running" and ti["try_number"] >= 2)

    stack_2.wait(another_try_runs, 240, f"another try runs after {first}")
    held.let_jobs_end()
    assert stack_2.wait_for_run("cleared_on_worker", run_id, 240) == "success"
    assert held.accepted("two-cleared") == [job_id], "one job is paid"
