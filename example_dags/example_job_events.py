"""Start a DAG whenever a separation in the bucket has ended, whoever has submitted it (Airflow 3.3)."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_ci.assets.ended_jobs import unread_ended_jobs
from airflow_provider_ci.triggers.jobs_ended import TencentCIJobsEndedTrigger

# [START howto_watch_bucket]
# the bucket is the connection's
TRIGGER = TencentCIJobsEndedTrigger(tag="VoiceSeparate", input_prefix="in/", states=["Success"])
SEPARATIONS = Asset("tencent_ci_separations", watchers=[AssetWatcher(name="ended", trigger=TRIGGER)])

with DAG(
    dag_id="example_job_events",
    description=__doc__,
    schedule=[SEPARATIONS],
    catchup=False,
    max_active_runs=1,
    tags=["example", "tencent-ci"],
):

    @task(inlets=[SEPARATIONS])
    def use(**context: Any) -> list[str]:
        """Return the new voice files."""
        with unread_ended_jobs(SEPARATIONS, context) as jobs:
            return [job["outputs"]["voice"]["object"] for job in jobs if "voice" in job["outputs"]]

    use()
# [END howto_watch_bucket]
