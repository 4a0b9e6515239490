"""Bulk tasks whose tries die at a chosen moment, whose jobs fail, or that wait in each of the ways."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias, TaskDeferred, task

from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator

BUCKET = "demo-1250000000"
KEYS = [f"in/{number:02}.mp3" for number in range(20)]
REQUEST: dict[str, Any] = {
    "input_objects": KEYS,
    "voice_object": "out/${InputName}-${jobid}.${ext}",
    "audio_mode": "IsAudio",
    "codec": "mp3",
    "max_submissions_per_second": 1000,
}


class DiedError(Exception):
    """Stands for whatever ends a try."""


class DiesOnFirstTry(VoiceSeparateBulkOperator):
    """Fails its first try after its submissions were accepted, before they are recorded."""

    def _submission(self, context: Any, *args: Any, **kwargs: Any) -> Any:
        submission = super()._submission(context, *args, **kwargs)
        if context["ti"].try_number == 1:

            def die(chunk: Any) -> None:
                raise DiedError

            submission.submission.records.save = die
        return submission


class KilledWhileSubmitting(VoiceSeparateBulkOperator):
    """Gets SIGTERM when it has submitted some of its jobs."""

    def _submission(self, context: Any, *args: Any, **kwargs: Any) -> Any:
        submission = super()._submission(context, *args, **kwargs)
        records = submission.submission.records
        save, is_first_try = records.save, context["ti"].try_number == 1

        def save_and_be_killed(chunk: Any) -> None:
            save(chunk)
            if is_first_try:
                self.on_kill()

        records.save = save_and_be_killed
        return submission


class DryRunOfFewerItems(VoiceSeparateBulkOperator):
    """Fails its first try while its jobs wait; the next one is a dry run of one item."""

    def execute(self, context: Any) -> Any:
        if context["ti"].try_number > 1:
            self.is_dry_run, self.input_objects = True, KEYS[:1]
        return super().execute(context)

    def _wait_on_worker(self, context: Any, state: Any) -> Any:
        raise DiedError


class WithoutTriggerer(VoiceSeparateBulkOperator):
    """Is deferred, and resumed as Airflow does when no triggerer has fired an event in time."""

    def execute(self, context: Any) -> Any:
        with suppress(TaskDeferred):
            return super().execute(context)
        self._kill_guard.sleep(self.seconds)
        return self.resume_execution("__fail__", {"error": "Trigger timeout"}, context)

    seconds = 60


class WithoutTriggererLate(WithoutTriggerer):
    """Its jobs have not ended by then."""

    seconds = 0


def dag_of(
    dag_id: str, kind: type[VoiceSeparateBulkOperator] = VoiceSeparateBulkOperator, **arguments: Any
) -> DAG:
    with DAG(dag_id=dag_id, schedule=None, catchup=False) as dag:
        kind(
            task_id="separate",
            **{"retry_delay": timedelta(0), "poll_interval": 1, **REQUEST, **arguments},
        )
    return dag


bulk = dag_of("bulk", outlets=[Asset(f"cos://{BUCKET}/out"), AssetAlias("separated")])
bulk_deferrable = dag_of("bulk_deferrable", deferrable=True)
bulk_retried = dag_of("bulk_retried", retries=2)
bulk_retried_deferrable = dag_of("bulk_retried_deferrable", retries=2, deferrable=True)
bulk_allowed_number = dag_of("bulk_allowed_number", allow_failed=3)
bulk_allowed_share = dag_of("bulk_allowed_share", allow_failed=0.15)
bulk_allowed_less = dag_of("bulk_allowed_less", allow_failed=2)
bulk_dies = dag_of("bulk_dies", DiesOnFirstTry, retries=1)
bulk_killed = dag_of("bulk_killed", KilledWhileSubmitting, retries=1)
bulk_deadline = dag_of("bulk_deadline", timeout=5, retries=1)
bulk_deadline_deferrable = dag_of("bulk_deadline_deferrable", timeout=5, deferrable=True)
bulk_dry_run = dag_of("bulk_dry_run", dry_run=True, media_info_samples="all")
bulk_dry_run_of_fewer = dag_of("bulk_dry_run_of_fewer", DryRunOfFewerItems, retries=1)
bulk_few_minutes = dag_of("bulk_few_minutes", max_minutes=0.01, retries=1)
bulk_many = dag_of("bulk_many", max_jobs=19, retries=1)
bulk_absent = dag_of("bulk_absent", input_objects=[*KEYS, "in/absent.mp3"], check_input=True)
bulk_manifest_without_key = dag_of(
    "bulk_manifest_without_key", manifest_object="{{ '/done.jsonl' }}", retries=1
)
bulk_without_triggerer = dag_of("bulk_without_triggerer", WithoutTriggerer, deferrable=True)
bulk_without_triggerer_late = dag_of("bulk_without_triggerer_late", WithoutTriggererLate, deferrable=True)
bulk_prefix = dag_of("bulk_prefix", input_objects=None, prefix="in/", include=["*.mp3"], exclude=["*/0?.mp3"])

with DAG(dag_id="bulk_nested", schedule=None, catchup=False) as bulk_nested:

    @task
    def nested(**context: Any) -> None:
        VoiceSeparateBulkOperator(task_id="nested", **REQUEST).execute(context)

    nested()
