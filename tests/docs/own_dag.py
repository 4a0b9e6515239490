"""A test of a DAG of one's own, as docs/testing-dags.md shows it."""

from __future__ import annotations

# [START own_dag]
from airflow.models import DagBag

from airflow_provider_ci.hooks.ci import TencentCIHook


def test_one_paid_job_although_a_response_gets_lost(ci_emulator, ci_emulator_connection):
    TencentCIHook(ci_emulator_connection).upload_file("example_dags/media/speech_only.mp3", "in/song.mp3")
    ci_emulator.faults.add("submit", nth=1, drop=True, when="after")

    dag = DagBag("example_dags").get_dag("example_voice_separate")
    run = dag.test(run_conf={"input_object": "in/song.mp3"})

    assert run.state == "success"
    (job,) = ci_emulator.ledger.accepted_jobs()
    assert (job.key, job.state) == ("in/song.mp3", "Success")
    # [END own_dag]
