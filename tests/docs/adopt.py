"""A DAG that continues with jobs that a script has submitted, as docs/migrating.md shows it."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_ci.sensors.job import TencentCIJobSensor

with DAG(
    "adopt",
    schedule=None,
    catchup=False,
    params={"job_ids": Param([], type="array", items={"type": "string"})},
    render_template_as_native_obj=True,  # so that the sensor gets a list
):
    # [START adopt]
    TencentCIJobSensor(
        task_id="wait_for_old_jobs",
        job_id="{{ params.job_ids }}",
        mode="reschedule",
        poke_interval=30,
        timeout=6 * 3600,
    )
    # [END adopt]
