"""Start a DAG whenever a separation in the bucket has ended, whoever has submitted it (Airflow 3.3)."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_ci.triggers.jobs_ended import TencentCIJobsEndedTrigger

# [START howto_watch_bucket]
SEPARATIONS = Asset(
    "tencent_ci_separations",
    watchers=[
        AssetWatcher(
            name="ended_separations",
            # the bucket is the connection's
            trigger=TencentCIJobsEndedTrigger(tag="VoiceSeparate", input_prefix="in/", states=["Success"]),
        )
    ],
)

with DAG(
    dag_id="example_job_events",
    description=__doc__,
    schedule=[SEPARATIONS],
    catchup=False,
    tags=["example", "tencent-ci"],
):

    @task
    def use(triggering_asset_events: Any = None) -> list[str]:
        """Return the new voice files. A run may have several events, and one may come twice."""
        payloads = [event.extra["payload"] for event in triggering_asset_events[SEPARATIONS]]
        jobs = {payload["job_id"]: payload for payload in payloads}
        return [job["outputs"]["voice"]["object"] for job in jobs.values() if "voice" in job["outputs"]]

    use()
# [END howto_watch_bucket]
