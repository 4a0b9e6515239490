"""A bulk task whose processes somebody else kills: for ``tests/e2e/bulk_campaign.py``.

The run's configuration: ``count`` files under ``prefix``, and a file ``processes`` to which each process of
the task appends its id and that of the process that supervises it.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator
from airflow_provider_ci.submission import bulk_sender, bulk_submission, durable_submission

for module in (durable_submission, bulk_submission, bulk_sender):
    for name, seconds in json.loads(os.environ.get("CI_E2E_TIMES", "{}")).items():
        if hasattr(module, name):
            setattr(module, name, seconds)


class KilledBulkOperator(VoiceSeparateBulkOperator):
    """The real operator; whoever kills it learns its process ids."""

    def execute(self, context: Any) -> Any:
        write_process_ids(context)
        return super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        write_process_ids(context)
        return super().resume_execution(next_method, next_kwargs, context)


def write_process_ids(context: Any) -> None:
    with Path(context["dag_run"].conf["processes"]).open("a") as file:
        file.write(json.dumps({"task": os.getpid(), "supervisor": os.getppid()}) + "\n")


@task
def inputs(dag_run: Any = None) -> list[str]:
    return [f"{dag_run.conf['prefix']}{number}.wav" for number in range(dag_run.conf["count"])]


def killed(dag_id: str, *, deferrable: bool) -> None:
    with DAG(dag_id=dag_id, schedule=None, catchup=False):
        KilledBulkOperator(
            task_id="separate",
            tencent_ci_conn_id="bulk",
            input_objects=inputs(),
            voice_object="out/${InputPath}/${InputName}-${jobid}.${ext}",
            audio_mode="IsAudio",
            codec="wav",
            deferrable=deferrable,
            poll_interval=2.0,
            max_submissions_per_second=float(os.environ.get("CI_E2E_RATE", "30")),
            retries=120,
            retry_delay=timedelta(0),
        )


killed("bulk_deferred", deferrable=True)
killed("bulk_worker", deferrable=False)
