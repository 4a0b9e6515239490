"""DAGs whose first tries die at a chosen moment, to see what Airflow's retries make of it."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, TaskDeferred, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

REQUEST = {
    "input_object": "in/speech_over_music.mp3",
    "voice_object": "out/${jobid}/voice.${ext}",
    "background_object": "out/${jobid}/background.${ext}",
    "audio_mode": "AudioAndBackground",
    "codec": "mp3",
}


class DiedError(Exception):
    """Stands for whatever ends a try."""


class DiesOnFirstTry(VoiceSeparateOperator):
    """Fails its first try at ``dies``: after the job was accepted, or after it was pushed."""

    def __init__(self, *, dies: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dies = dies

    def _get_or_submit(self, request: Any, endpoint: Any, context: Any) -> Any:
        dies = self.dies == "accepted" and context["ti"].try_number == 1
        if self.dies == "accepted once":  # whatever number the next try has
            dies = next(self.hook.list_jobs(), None) is None
        if dies:
            submit = self.hook.submit_job

            def submit_and_die(*arguments: Any, **options: Any) -> Any:
                submit(*arguments, **options)
                raise DiedError

            self.hook.submit_job = submit_and_die  # type: ignore[method-assign]
        return super()._get_or_submit(request, endpoint, context)

    def _push_accepted(self, job: Any, context: Any) -> None:
        super()._push_accepted(job, context)
        if self.dies == "pushed" and context["ti"].try_number == 1:
            raise DiedError


class WithoutTriggerer(VoiceSeparateOperator):
    """Is deferred, and resumed as Airflow does when no triggerer has fired an event in time; before that, the
    job may end.
    """

    def __init__(self, *, job_ends: bool, **kwargs: Any) -> None:
        super().__init__(wait_for_completion=True, deferrable=True, **kwargs)
        self.job_ends = job_ends

    def execute(self, context: Any) -> str:
        with suppress(TaskDeferred):
            return super().execute(context)
        while self.job_ends and self._wait.poll(str(self.job_id), seconds=60).tracker_of_ended_job is None:
            time.sleep(0.1)
        return str(self.resume_execution("__fail__", {"error": "Trigger timeout"}, context))


def dag_of(dag_id: str, **arguments: Any) -> DAG:
    with DAG(dag_id=dag_id, schedule=None, catchup=False) as dag:
        retried = {"retries": 2, "retry_delay": timedelta(0)}
        DiesOnFirstTry(task_id="separate", **(retried | REQUEST | arguments))
    return dag


accepted_by_hand = dag_of("accepted_by_hand", dies="accepted once")
accepted_without_retries = dag_of("accepted_without_retries", dies="accepted once", retries=0)
accepted_sync = dag_of("accepted_sync", dies="accepted", wait_for_completion=True)
accepted_deferrable = dag_of(
    "accepted_deferrable", dies="accepted", wait_for_completion=True, deferrable=True
)
pushed_submit_only = dag_of("pushed_submit_only", dies="pushed")
pushed_deferrable = dag_of("pushed_deferrable", dies="pushed", wait_for_completion=True, deferrable=True)
plain_submit_only = dag_of("plain_submit_only", dies="never")
plain_deferrable = dag_of("plain_deferrable", dies="never", wait_for_completion=True, deferrable=True)
not_durable = dag_of("not_durable", dies="pushed", durable=False)

with DAG(dag_id="all_deferred", schedule=None, catchup=False) as all_deferred:
    separate = VoiceSeparateOperator.partial(
        task_id="separate", wait_for_completion=True, deferrable=True, **REQUEST
    ).expand(job_level=[0, 1])
    TencentCIJobSensor(task_id="sense", job_id=separate.output, deferrable=True)

with DAG(dag_id="nested", schedule=None, catchup=False) as nested:

    @task
    def loop(**context: Any) -> None:
        for name in ("one", "two", "three"):
            VoiceSeparateOperator(task_id="loop", **(REQUEST | {"voice_object": f"out/{name}"})).execute(
                context
            )

    loop()

with DAG(dag_id="deadline", schedule=None, catchup=False) as deadline:
    VoiceSeparateOperator(task_id="separate", wait_for_completion=True, deferrable=True, timeout=1, **REQUEST)

with DAG(dag_id="without_triggerer", schedule=None, catchup=False) as without_triggerer:
    WithoutTriggerer.partial(task_id="separate", job_ends=True, **REQUEST).expand(job_level=[0, 1])

with DAG(dag_id="without_triggerer_late", schedule=None, catchup=False) as without_triggerer_late:
    WithoutTriggerer(task_id="separate", job_ends=False, **REQUEST)
