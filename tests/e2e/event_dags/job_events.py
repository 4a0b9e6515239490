"""DAGs that are started by jobs of a bucket, whoever has submitted them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_ci.assets.ended_jobs import unread_ended_jobs
from airflow_provider_ci.triggers.jobs_ended import TencentCIJobsEndedTrigger


def watched(name: str, **arguments: Any) -> Asset:
    trigger = TencentCIJobsEndedTrigger(tencent_ci_conn_id="events", poll_interval=1, **arguments)
    return Asset(name, watchers=[AssetWatcher(name=f"watch_{name}", trigger=trigger)])


ALL, SONGS = watched("all_jobs"), watched("songs", input_prefix="songs/", states=["Success"])

with DAG("on_songs", schedule=[SONGS], catchup=False, max_active_runs=1, is_paused_upon_creation=False):

    @task(inlets=[SONGS])
    def read(**context: Any) -> list[dict[str, Any]]:
        with unread_ended_jobs(SONGS, context) as jobs:
            return [dict(job) for job in jobs]

    read()

# watched only: nothing ever updates the other asset
with DAG("on_all", schedule=[ALL, Asset("never")], catchup=False, is_paused_upon_creation=False):
    task(lambda: None, task_id="nothing")()
