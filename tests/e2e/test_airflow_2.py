"""A real scheduler and triggerer of Airflow 2.11, the oldest version that is supported.

They run in the environment of the matrix's cell, which ``make`` makes if pip reaches a package index.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.airflow_stack import ROOT, AirflowStack
from tests.e2e.services import Service
from tests.patience import PATIENCE

CELL = "build/matrix/2.11.2-py311"
DAGS = Path(__file__).parent / "airflow_2"
COMPONENTS = {
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",  # the only one of 2.11 that takes SQLite
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
}
WAITING_TASKS = {("operator_waits", "separate"), ("sensor_waits", "wait")}


@pytest.fixture(scope="module")
def python_of_the_cell() -> str:
    made = subprocess.run(
        ["make", f"{CELL}/.installed"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"{CELL} cannot be made: {(made.stdout + made.stderr)[-300:]}")
    return str(ROOT / CELL / "bin" / "python")


def rows(stack: AirflowStack, query: str) -> set[tuple[str, ...]]:
    """Return what the metadata database has; there is no API server."""
    with closing(sqlite3.connect(stack.home / "airflow.db", timeout=PATIENCE)) as connection:
        return set(connection.execute(query))


def task_states(stack: AirflowStack) -> dict[tuple[str, str], str]:
    found = rows(stack, "SELECT dag_id, task_id, state FROM task_instance")
    return {(dag_id, task_id): state for dag_id, task_id, state in found}


def test_deferred_tasks_end_green_and_each_job_is_paid_once(
    python_of_the_cell: str, held: Service, tmp_path: Path
) -> None:
    for dag_id, _ in WAITING_TASKS:
        held.put(dag_id, 1)
    # the executor starts tasks by the command ``airflow``
    path = f"{Path(python_of_the_cell).parent}{os.pathsep}{os.environ['PATH']}"
    environment = held.environment | SETTINGS | {"PATH": path}
    with AirflowStack(tmp_path / "airflow", DAGS, environment, COMPONENTS, python_of_the_cell) as stack:

        def both_are_deferred() -> bool:
            states = task_states(stack)
            return all(states.get(task) == "deferred" for task in WAITING_TASKS)

        def triggerer_asks_for_both() -> bool:
            asked = {job_id for record in held.emulator.ledger.requests("describe") for job_id in record.ids}
            return asked >= {job_id for dag_id, _ in WAITING_TASKS for job_id in held.accepted(dag_id)}

        stack.wait(both_are_deferred, 120, "both tasks are deferred")
        stack.wait(triggerer_asks_for_both, 60, "the triggerer polls")
        held.let_jobs_end()

        def no_run_is_left() -> bool:
            return not rows(stack, "SELECT dag_id, state FROM dag_run WHERE state IN ('queued', 'running')")

        stack.wait(no_run_is_left, 120, "both runs end")
        assert task_states(stack) == {
            ("operator_waits", "separate"): "success",
            ("sensor_waits", "submit"): "success",
            ("sensor_waits", "wait"): "success",
        }
    assert [len(held.accepted(dag_id)) for dag_id, _ in WAITING_TASKS] == [1, 1]
