"""What Airflow says, in each of its versions, when a task asks whether it is still the current try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.airflow_version import IS_AIRFLOW_2
from tests.integration.airflow_runs import dags_in, xcom

pytestmark = pytest.mark.usefixtures("airflow_db")

#: In the order in which the task asks. ``dag.test()`` of Airflow 2.11 leaves a task in ``scheduled``.
SAID = {
    "begun": "scheduled" if IS_AIRFLOW_2 else "running",
    "failed": "failed",
    "success": "success",
    "skipped": "skipped",
    "restarting": "restarting",
    "deferred": "deferred",
    "another try up_for_retry": "overtaken",
    "another try None": "overtaken",
    "another try scheduled": "overtaken",
    "another try queued": "overtaken",
    "another try running": "overtaken",
    "another try success": "overtaken",
    "another try failed": "overtaken",
    "cleared while it runs": "overtaken" if IS_AIRFLOW_2 else "restarting",
    "gone": "removed",
}


@pytest.fixture(scope="module")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(Path(__file__).resolve().parents[1] / "dags")


@pytest.mark.parametrize(("dag_id", "indexes"), [("state_of_try", [-1]), ("state_of_mapped_try", [0, 1])])
def test_what_airflow_says(dags: dict[str, Any], dag_id: str, indexes: list[int]) -> None:
    dag_run = dags[dag_id].test()
    assert dag_run.state == "success"
    for index in indexes:
        assert xcom(dag_run, "ask", map_index=index) == SAID
