"""A job of every type in a running Airflow, deferred and then sensed, while processes are killed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service
from tests.job_inputs import store_inputs
from tests.job_samples import TAGS

DAG_ID = "killed_types"


def test_each_task_has_one_job_of_its_type(stack: AirflowStack, quick: Service, tmp_path: Path) -> None:
    def put(key: str, content: bytes) -> None:
        (tmp_path / "object").write_bytes(content)
        quick.hook.upload_file(tmp_path / "object", key)

    store_inputs(put, tmp_path)
    quick.show_in_list(*TAGS)
    earlier = len(quick.emulator.ledger.accepted_jobs())
    run_id = stack.trigger(DAG_ID, {"seed": 11})
    assert stack.wait_for_run(DAG_ID, run_id, 900) == "success"

    accepted = quick.emulator.ledger.accepted_jobs()[earlier:]
    assert Counter(job.tag for job in accepted) == dict.fromkeys(TAGS, 1)
    instances = stack.task_instances(DAG_ID, run_id, "run")
    assert sum(ti["try_number"] for ti in instances) > len(TAGS), "nobody was killed"
    by_tag = {job.tag: job.job_id for job in accepted}
    assert [stack.xcom(DAG_ID, run_id, "run", index=index) for index in range(len(TAGS))] == [
        by_tag[tag] for tag in TAGS
    ]
    sensed = stack.xcom(DAG_ID, run_id, "sense")
    assert [(job["tag"], job["job_id"], job["state"]) for job in sensed] == [
        (tag, by_tag[tag], "Success") for tag in TAGS
    ]
