"""Mapped tasks in real Airflow (``dag.test()``), on the emulator: none overwrites the result of another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.airflow_runs import dags_in

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture(scope="module")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(Path(__file__).resolve().parents[1] / "dags")


@pytest.fixture(autouse=True)
def on_the_emulator(emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))


@pytest.mark.parametrize(
    "dag_id",
    ["one_key", "one_key_at_run_time", "one_key_by_dicts", "one_key_in_group"],
)
def test_one_key_for_all_is_refused_before_anything_is_paid(
    dags: dict[str, Any], emulator: Any, dag_id: str
) -> None:
    assert dags[dag_id].test().state == "failed"
    assert not emulator.ledger.accepted_jobs()


@pytest.mark.parametrize(("dag_id", "jobs"), [("many_keys_in_group", 2), ("one_instance", 1)])
def test_other_keys_are_accepted(dags: dict[str, Any], emulator: Any, dag_id: str, jobs: int) -> None:
    assert dags[dag_id].test().state == "success"
    assert len(emulator.ledger.accepted_jobs()) == jobs
