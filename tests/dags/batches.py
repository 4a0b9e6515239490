"""DAGs with batch jobs whose first tries die at a chosen moment, or whose inputs are bad."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator

REQUEST = {
    "prefix": "in/",
    "voice_object": "out/${InventoryTriggerJobId}/${InputName}-${jobid}.${ext}",
    "audio_mode": "IsAudio",
    "codec": "mp3",
}


class DiedError(Exception):
    """Stands for whatever ends a try."""


class BatchDiesOnFirstTry(VoiceSeparateBatchOperator):
    """Fails its first try at ``dies``: after the batch job was accepted, or after it was pushed."""

    def __init__(self, *, dies: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dies = dies

    def _get_or_submit(self, request: Any, endpoint: Any, context: Any) -> Any:
        if self.dies != "accepted" or context["ti"].try_number > 1:
            return super()._get_or_submit(request, endpoint, context)
        from airflow_provider_ci.hooks.batches import Batches

        create = Batches.create

        def create_and_die(*arguments: Any, **options: Any) -> Any:
            create(*arguments, **options)
            raise DiedError

        Batches.create = create_and_die  # type: ignore[method-assign]
        try:
            return super()._get_or_submit(request, endpoint, context)
        finally:
            Batches.create = create  # type: ignore[method-assign]

    def _push_accepted(self, job: Any, context: Any) -> None:
        super()._push_accepted(job, context)
        if self.dies == "pushed" and context["ti"].try_number == 1:
            raise DiedError


def dag_of(dag_id: str, **arguments: Any) -> DAG:
    with DAG(dag_id=dag_id, schedule=None, catchup=False) as dag:
        BatchDiesOnFirstTry(
            task_id="separate", retries=2, retry_delay=timedelta(0), poll_interval=1, **(REQUEST | arguments)
        )
    return dag


batch_accepted_deferrable = dag_of(
    "batch_accepted_deferrable", dies="accepted", wait_for_completion=True, deferrable=True
)
batch_pushed_submit_only = dag_of("batch_pushed_submit_only", dies="pushed")
batch_plain = dag_of("batch_plain", dies="never", wait_for_completion=True)
batch_plain_deferrable = dag_of(
    "batch_plain_deferrable", dies="never", wait_for_completion=True, deferrable=True
)
batch_allowed = dag_of("batch_allowed", dies="never", wait_for_completion=True, allow_failed_jobs=True)
