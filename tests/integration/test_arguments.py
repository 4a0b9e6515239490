"""Arguments in real Airflow (``dag.test()``), on the emulator: mapped, templated, from ``default_args``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.server import Emulator
from tests.integration.airflow_runs import dags_in, tries, xcom
from tests.recording import SHORT

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture(scope="module")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(ROOT / "tests" / "dags")


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator whose jobs wait long enough for a task to be deferred."""
    with Emulator(queue_seconds=1) as running:
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(running.connection))
        extra = {name: value for name, value in running.connection["extra"].items() if name != "region"}
        monkeypatch.setenv("AIRFLOW_CONN_WITHOUT_REGION", json.dumps(running.connection | {"extra": extra}))
        monkeypatch.setattr("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.5)
        hook = TencentCIHook()
        hook.upload_file(SHORT, "in/speech_over_music.mp3")
        hook.close()
        yield running


def state_at_the_end(dag_run: Any, task_id: str, map_index: int = -1) -> str:
    """Return the state of the job as the task has seen it last."""
    return str(xcom(dag_run, task_id, "job", map_index)["state"])


def test_a_task_with_deferrable_waits(dags: dict[str, Any], emulator: Emulator) -> None:
    dag_run = dags["deferrable_argument"].test()
    assert dag_run.state == "success"
    assert state_at_the_end(dag_run, "one") == "Success"
    assert state_at_the_end(dag_run, "mapped", 0) == "Success"
    assert state_at_the_end(dag_run, "texts", 0) == "Success"
    assert state_at_the_end(dag_run, "texts", 1) == "Submitted", "wait_for_completion='false' is no yes"
    assert xcom(dag_run, "batch", "batch")["counts"] == {"Success": 1}


def test_deferrable_may_be_in_default_args(dags: dict[str, Any], emulator: Emulator) -> None:
    dag_run = dags["deferrable_by_default_args"].test()
    assert state_at_the_end(dag_run, "one") == "Success"
    assert state_at_the_end(dag_run, "mapped", 0) == "Success"


@pytest.mark.parametrize("dag_id", ["never_retried", "never_retried_native"])
def test_what_cannot_work_fails_at_once(dags: dict[str, Any], emulator: Emulator, dag_id: str) -> None:
    """Their messages are in ``tests/unit/operators/test_rendered_arguments.py``."""
    tried = tries(dags[dag_id].test())
    assert set(tried.values()) == {("failed", 1)}, tried
    hook = TencentCIHook()
    assert not list(hook.list_jobs()), "nothing was paid"
    hook.close()


def test_another_tasks_output_that_cannot_work_fails_at_once(
    dags: dict[str, Any], emulator: Emulator
) -> None:
    tried = tries(dags["never_retried_outputs"].test())
    refused = {task_id: how for task_id, how in tried.items() if not task_id.startswith("give_")}
    assert len(refused) == 4, tried
    assert set(refused.values()) == {("failed", 1)}, tried
    hook = TencentCIHook()
    assert not list(hook.list_jobs()), "nothing was paid"
    hook.close()
