"""A DAG scheduled on a voice file, with a real scheduler: it runs when the file is new, and knows which."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service


@pytest.mark.parametrize(
    ("upstream", "task_id", "downstream", "stems"),
    [
        pytest.param("makes_voice", "separate", "on_voice", {"voice"}, id="file-deferred"),
        pytest.param("makes_stems", "submit", "on_stems", {"voice", "background"}, id="alias-sensor"),
    ],
)
def test_a_new_file_starts_the_dag_that_waits_for_it(
    stack: AirflowStack, quick: Service, upstream: str, task_id: str, downstream: str, stems: set[str]
) -> None:
    quick.put("assets", 1)
    stack.unpause(downstream)
    run_id = stack.trigger(upstream)
    assert stack.wait_for_run(upstream, run_id, 120) == "success"

    def runs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = stack.api("GET", f"/dags/{downstream}/dagRuns")["dag_runs"]
        return found

    (started,) = stack.wait(runs, 90, f"a run of {downstream} begins")
    assert stack.wait_for_run(downstream, started["dag_run_id"], 90) == "success"
    job_id = stack.xcom(upstream, run_id, task_id)
    reported = stack.xcom(downstream, started["dag_run_id"], "read")
    assert {one["stem"] for one in reported} == stems
    for one in reported:
        assert (one["job_id"], one["state"], one["bucket"]) == (job_id, "Success", quick.hook.settings.bucket)
        assert quick.hook.head_object(one["object"]).size > 1000
        assert len(one["md5"]) == 32
