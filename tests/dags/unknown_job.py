"""A sensor of a job that the service does not know, which notes how it ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.sensors.job import TencentCIJobSensor


def note(context: Any) -> None:
    """Write down what the task failed with."""
    Path(os.environ["NOTE"]).write_text(type(context["exception"]).__name__)


with DAG("unknown_job", schedule=None, catchup=False):
    TencentCIJobSensor(
        task_id="wait",
        job_id="j-that-nobody-submitted",
        mode="reschedule",
        poke_interval=0.2,
        timeout=90,
        on_failure_callback=note,
    )
