"""What every operator that submits one CI job does alike. A subclass adds its arguments and the request."""

from __future__ import annotations

import math
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout, BaseOperator

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    JobTimeoutError,
    RequestValidationError,
    TaskKilledError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.hooks.ci import CIHook
    from airflow_provider_ci.protocol.models import Job, VoiceSeparateRequest
    from airflow_provider_ci.protocol.wire import Endpoint

#: XCom key of the job's details, a :class:`~airflow_provider_ci.protocol.results.JobResult`.
XCOM_JOB = "job"

# The supervisor kills the process 5 s after SIGTERM
_KILL_SECONDS = 4.0
# How soon a waiting task notices that it was told to stop
_NAP = 1.0


class CIJobOperator(BaseOperator):
    """Submits one job and, if asked to, waits for it on the worker.

    :param ci_conn_id: the Airflow connection. (templated)
    :param bucket: the input's bucket, ``<name>-<appid>``; default: the connection's. (templated)
    :param region: that bucket's region; default: the connection's. (templated)
    :param wait_for_completion: wait for the job's end; otherwise the task ends once the job is accepted.
    :param poll_interval: longest pause between two polls, seconds.
    :param timeout: longest wait for the job, seconds; ``None``: only ``execution_timeout`` limits it.
    :param cancel_on_kill: cancel the job when the task is killed or its wait times out. The service cancels
        only jobs that have not begun.
    """

    template_fields: Sequence[str] = ("ci_conn_id", "bucket", "region")
    ui_color = "#d6e9ff"

    def __init__(
        self,
        *,
        ci_conn_id: str = "tencent_ci_default",
        bucket: str | None = None,
        region: str | None = None,
        wait_for_completion: bool = False,
        poll_interval: float = 30.0,
        timeout: float | None = None,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ci_conn_id = ci_conn_id
        self.bucket = bucket
        self.region = region
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.cancel_on_kill = cancel_on_kill
        self.job_id: str | None = None
        self._killed = False
        self._cancel_asked = False
        self._cancel_accepted = False

    def build_request(self, endpoint: Endpoint) -> VoiceSeparateRequest:
        """Return the request made of the rendered arguments; ``endpoint`` names the input's bucket and
        region.

        :raises RequestValidationError: an argument cannot be what the request needs.
        """
        raise NotImplementedError

    @cached_property
    def hook(self) -> CIHook:
        """The hook of this task's connection."""
        from airflow_provider_ci.hooks.ci import CIHook

        return CIHook(self.ci_conn_id)

    def execute(self, context: Context) -> str:
        """Submit the job and return its id."""
        self._check_arguments()
        endpoint = self.hook.settings.endpoint(self.bucket or None, self.region or None)
        request = self.build_request(endpoint)
        self._raise_if_killed()
        job = self._submit(request, context)
        self._raise_if_killed()
        if self.wait_for_completion:
            self._push(context, self._wait(job))
            self._raise_if_killed()
        return str(self.job_id)

    def on_kill(self) -> None:
        """Cancel the job, best effort. Airflow lets ``execute`` go on afterwards: it then raises."""
        self._killed = True
        self._cancel()

    def _check_arguments(self) -> None:
        given = {"poll_interval": self.poll_interval}
        if self.timeout is not None:
            given["timeout"] = self.timeout
        broken = [
            f"{name} is {value!r}, allowed: a number of seconds above 0"
            for name, value in given.items()
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0
        ]
        if broken:
            raise RequestValidationError(broken)

    def _submit(self, request: VoiceSeparateRequest, context: Context) -> Job:
        try:
            job, request_id = self.hook.submit_job(
                request, bucket=self.bucket or None, region=self.region or None
            )
        except AmbiguousSubmissionError as error:
            # a retry would submit again, and both jobs would be paid for
            raise AirflowFailException(str(error)) from error
        except AirflowTaskTimeout as error:  # execution_timeout, while the answer was waited for
            raise AirflowFailException(
                "execution_timeout ended the submission: the service may have accepted the job, which may run"
                " and be billed. Look for it in the job list before submitting again"
            ) from error
        self.job_id = job.job_id
        self.log.info("Submitted job %s (%s, request id %s)", job.job_id, job.state, request_id)
        if self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=self.job_id)
        self._push(context, job)
        return job

    def _push(self, context: Context, job: Job) -> None:
        from airflow_provider_ci.protocol.results import job_result

        if self.do_xcom_push:
            context["ti"].xcom_push(key=XCOM_JOB, value=job_result(job))

    def _wait(self, job: Job) -> Job:
        from airflow_provider_ci.protocol.models import JobsAnswer
        from airflow_provider_ci.waiting import JobWatch, poll_delay

        job_id = str(job.job_id)
        watch = JobWatch([job_id], self.log)
        watch.observe(JobsAnswer(jobs_detail=(job,)), 0)
        start = time.monotonic()
        while watch.pending:
            elapsed = time.monotonic() - start
            # after the timeout, thus after a last look
            self._raise_if_overdue(elapsed, watch.jobs[job_id].state)
            left = math.inf if self.timeout is None else self.timeout - elapsed
            self._sleep(min(poll_delay(elapsed, self.poll_interval), left))
            answer = self.hook.describe_jobs([job_id], bucket=self.bucket or None, region=self.region or None)
            watch.observe(answer, time.monotonic() - start)
        if error := watch.error():
            raise error
        return watch.jobs[job_id]

    def _sleep(self, seconds: float) -> None:
        """Sleep in naps: a signal handler cannot end a longer sleep."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._raise_if_killed()
            time.sleep(min(left, _NAP))
        self._raise_if_killed()

    def _raise_if_killed(self) -> None:
        if not self._killed:
            return
        self._cancel()
        if self.job_id is None:
            raise TaskKilledError("The task was told to stop before a job was submitted")
        raise TaskKilledError(
            f"The task was told to stop while job {self.job_id} was under way",
            job_id=self.job_id,
            hint=self._fate,
        )

    def _raise_if_overdue(self, elapsed: float, state: str | None) -> None:
        if self.timeout is None or elapsed < self.timeout:
            return
        self._cancel()
        raise JobTimeoutError(
            f"Job {self.job_id} is {state} after {elapsed:.0f} s, over its timeout of {self.timeout:g} s",
            job_id=self.job_id,
            state=state,
            hint=self._fate,
        )

    @property
    def _fate(self) -> str:
        if self._cancel_accepted:
            return "Its cancellation was asked for, which the service grants only before the job begins"
        return "It was not cancelled and goes on"

    def _cancel(self) -> None:
        if not self.cancel_on_kill or self.job_id is None or self._cancel_asked:
            return
        self._cancel_asked = True
        try:
            self.hook.cancel_job_within(
                self.job_id, _KILL_SECONDS, bucket=self.bucket or None, region=self.region or None
            )
        except Exception as error:  # best effort: whatever goes wrong must not hide why the task ends
            self.log.warning("Job %s could not be cancelled: %s", self.job_id, error)
        else:
            self._cancel_accepted = True
            self.log.info(
                "Asked to cancel job %s; the service cancels only jobs that have not begun", self.job_id
            )
