"""Jobs of many types, whose first tries die when the service has accepted the job, and a sensor for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from tests.job_samples import UNKNOWN, job_of

ORIGIN = "https://demo-1250000000.cos.ap-guangzhou.myqcloud.com"
#: One of each kind: without input, without output, with lists, with ids of each letter, not known at all
TAGS = (
    "Tts",
    "SoundHound",
    "Concat",
    "StreamExtract",
    "Translation",
    "PicProcess",
    "FileUncompress",
    UNKNOWN,
)


class DiedError(Exception):
    """Stands for whatever ends a try."""


class AnyTypeDiesOnFirstTry(TencentCIJobOperator):
    """Fails its first try after the job was accepted, so that nobody knows its id."""

    def _get_or_submit(self, request: Any, endpoint: Any, context: Any) -> Any:
        if context["ti"].try_number == 1:
            submit = self.hook.submit_job

            def submit_and_die(*arguments: Any, **options: Any) -> Any:
                submit(*arguments, **options)
                raise DiedError

            self.hook.submit_job = submit_and_die  # type: ignore[method-assign]
        return super()._get_or_submit(request, endpoint, context)


with DAG(dag_id="job_types", schedule=None, catchup=False):
    run = AnyTypeDiesOnFirstTry.partial(
        task_id="run", wait_for_completion=True, poll_interval=1, retries=1, retry_delay=timedelta(0)
    ).expand_kwargs([job_of(tag, tag, ORIGIN) for tag in TAGS])
    TencentCIJobSensor(task_id="sense", job_id=run.output, poke_interval=1, timeout=60)
