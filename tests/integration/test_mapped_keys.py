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
    [
        "mapped_to_one_key",
        "mapped_to_one_key_at_run_time",
        "mapped_to_one_key_by_default",
        "mapped_to_one_key_by_dicts",
        "mapped_to_one_key_in_dicts",
        "mapped_to_one_key_in_a_list",
        "mapped_to_one_key_and_codec",
        "mapped_to_one_key_of_the_run",
        "mapped_to_one_key_of_params",
        "mapped_group_to_one_key",
    ],
)
def test_one_key_for_all_is_refused_before_anything_is_paid(
    dags: dict[str, Any], emulator: Any, dag_id: str
) -> None:
    assert dags[dag_id].test().state == "failed"
    assert not emulator.ledger.accepted_jobs()


@pytest.mark.parametrize(
    ("dag_id", "jobs"),
    [
        ("mapped_to_keys_by_id", 2),
        ("mapped_to_keys_by_template", 2),
        ("mapped_to_keys_of_their_own", 2),
        ("mapped_to_keys_by_codec", 2),
        ("mapped_over_one_input", 1),
        ("mapped_to_keys_by_id_of_params", 2),
        ("mapped_to_keys_in_dicts", 2),
        ("mapped_to_keys_in_rendered_dicts", 2),
        ("mapped_to_keys_that_may_differ", 2),
        ("mapped_group_to_keys_of_their_own", 2),
    ],
)
def test_keys_that_differ_are_not(dags: dict[str, Any], emulator: Any, dag_id: str, jobs: int) -> None:
    assert dags[dag_id].test().state == "success"
    assert len(emulator.ledger.accepted_jobs()) == jobs
