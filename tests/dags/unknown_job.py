"""A sensor of a job that the service does not find, which writes down the error that ends it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.sensors.job import TencentCIJobSensor


class NotingSensor(TencentCIJobSensor):
    """Writes the class of its error into a file. A failure callback would not do: Airflow 3.1 does not tell
    it the exception after a sensor was rescheduled.
    """

    def poke(self, context: Any) -> Any:
        """Poke, and write down what was raised."""
        try:
            return super().poke(context)
        except Exception as error:
            Path(os.environ["NOTE"]).write_text(type(error).__name__)
            raise


with DAG("unknown_job", schedule=None, catchup=False):
    NotingSensor(
        task_id="wait", job_id="j-that-nobody-submitted", mode="reschedule", poke_interval=0.2, timeout=3600
    )
