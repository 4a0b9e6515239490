"""What every operator that submits one CI job does alike. A subclass adds its arguments and the request."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
    conf,
)

from airflow_provider_ci.assets.outlets import outlet_problems
from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    JobError,
    RequestValidationError,
)
from airflow_provider_ci.lineage.task import LineageMixin
from airflow_provider_ci.links.console import CIJobsLink, CIResultsLink, push_links
from airflow_provider_ci.operators.connected import CIOperator
from airflow_provider_ci.operators.stopping import StoppingMixin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.durability import DurableSubmission
    from airflow_provider_ci.hooks.ci import CIHook
    from airflow_provider_ci.operators.services import BoundService
    from airflow_provider_ci.protocol.admin_models import BatchJob, BatchRequest
    from airflow_provider_ci.protocol.models import Job, VoiceSeparateRequest
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.triggers.job import CIJobTrigger
    from airflow_provider_ci.waiting import JobWatch

#: What is submitted, and what becomes of it: a job or a batch job.
R = TypeVar("R", bound="VoiceSeparateRequest | BatchRequest")
J = TypeVar("J", bound="Job | BatchJob")

#: XCom key of the job's details, a :class:`~airflow_provider_ci.protocol.results.JobResult`.
XCOM_JOB = "job"

# What Airflow calls instead of the method named in a deferral, when the triggerer failed or did not come back
_TRIGGER_FAILED = "__fail__"
_ON_AMBIGUOUS = ("fail", "resubmit")


class UnknownSubmissionError(AmbiguousSubmissionError, AirflowFailException):
    """What became of a submission that is not ``durable`` is unknown. A retry could pay twice, so there is
    none.
    """


class CIJobOperator(StoppingMixin, LineageMixin, CIOperator, Generic[R, J]):
    """Gets one job or batch job, submitting it only if an earlier try has not, and waits for it if asked to.

    :param ci_conn_id: the Airflow connection. (templated)
    :param bucket: the input's bucket, ``<name>-<appid>``; default: the connection's. (templated)
    :param region: that bucket's region; default: the connection's. (templated)
    :param wait_for_completion: wait for the job's end; otherwise the task ends once the job is accepted.
    :param deferrable: wait in the triggerer instead of on the worker; default: ``[operators]
        default_deferrable``.
    :param poll_interval: longest pause between two polls, seconds.
    :param timeout: longest wait for the job, seconds; ``None``: only ``execution_timeout`` limits it.
    :param cancel_on_kill: cancel the job when the task is killed or its wait times out. The service cancels
        only jobs that have not begun.
    :param durable: a retry goes on with the job of an earlier try instead of paying for another; see
        ``docs/durability.md``.
    :param on_ambiguous_submit: what to do when it cannot be found out whether a job was accepted because jobs
        may not be listed: ``fail``, or ``resubmit`` at the risk of a second job.
    """

    operator_extra_links: Sequence[Any] = (CIJobsLink(), CIResultsLink())

    def __init__(
        self,
        *,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30.0,
        timeout: float | None = None,
        cancel_on_kill: bool = True,
        durable: bool = True,
        on_ambiguous_submit: str = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        self.on_ambiguous_submit = on_ambiguous_submit

    def build_request(self, endpoint: Endpoint) -> R:
        """Return the request made of the rendered arguments; ``endpoint`` names the input's bucket and
        region.

        :raises RequestValidationError: an argument cannot be what the request needs.
        """
        raise NotImplementedError

    @cached_property
    def hook(self) -> CIHook:
        """The hook of this task's connection."""
        hook = super().hook
        hook.sleep = self._sleep  # a task that was told to stop must not go on after a pause
        return hook

    @cached_property
    def service(self) -> BoundService[R, J]:
        """The hook's calls about jobs, bound to this task's bucket and region."""
        from airflow_provider_ci.operators.services import BoundJobs

        return cast("BoundService[R, J]", BoundJobs(self))

    def execute(self, context: Context) -> str:
        """Get the job, wait for it if asked to, and return its id."""
        with self.stoppable(context):
            return self._execute(context)

    def _execute(self, context: Context) -> str:
        self._check_arguments()
        endpoint = self.hook.settings.endpoint(**self.place)
        request = self.build_request(endpoint)
        self.service.check(request)
        self.raise_if_killed()
        job = self._get_job(request, endpoint, context)
        self.raise_if_killed()
        if not self.wait_for_completion:
            return str(self.job_id)
        if self.deferrable:
            return self._complete_or_defer(context, job, self._deadline(context))
        return self._complete(context, self._wait(job))

    def execute_complete(
        self, context: Context, event: dict[str, Any] | None = None, job_id: str | None = None
    ) -> str:
        """Go on after the triggerer has waited: ask the service what became of the job.

        :param job_id: the job that this try has deferred for; ``dag.test()`` does not hand it on.
        :raises JobTimeoutError: the deadline has passed.
        """
        from airflow_provider_ci.triggers.events import read_event

        self._context = context
        seen = read_event(event)
        self.job_id = job_id or seen.job_ids[0]
        job = self._describe()
        if self.job_id not in seen.job_ids:
            # SQLite gives a new trigger the number of one that was deleted: of a try before a clear, say
            self.log.warning("The event of job %s is not about job %s", seen.job_ids[0], self.job_id)
            return self._complete_or_defer(context, job, self._deadline(context))
        if not self._has_ended(job):
            if seen.is_timeout:
                self._raise_overdue(job.state if job else None, "after its timeout or execution_timeout")
            if seen.error is not None:
                raise seen.error
        return self._complete_or_defer(context, job, seen.deadline)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral. If the triggerer failed, or none was there until some time after the
        deadline, the service is asked what became of the job.

        :raises JobTimeoutError: the job still goes on after the deadline.
        """
        with self.stoppable(context):
            self.job_id = (next_kwargs or {}).get("job_id")  # for on_kill, from now on
            return self._resume(next_method, next_kwargs, context)

    def _resume(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            job_id = self._pushed_id(context) if next_method == _TRIGGER_FAILED else None
            if job_id is None:
                raise
            self.job_id = job_id
            self.log.warning("The triggerer did not wait for job %s to the end: %s", job_id, error)
            job = self._describe()
            if job is not None and self._has_ended(job):
                return self._complete(context, self._watch(job))
            state = job.state if job else None
            if "timeout" in str(error):  # class and wording vary by version
                self._raise_overdue(state, "after its timeout or execution_timeout; does a triggerer run?")
            self.log.error("Job %s is %s and goes on; a retry goes on with it", job_id, state or "unknown")
            raise

    def _pushed_id(self, context: Context) -> str | None:
        ti: Any = context["ti"]
        pushed = ti.xcom_pull(task_ids=self.task_id, map_indexes=ti.map_index) if self.do_xcom_push else None
        return pushed if isinstance(pushed, str) else None

    def _check_arguments(self) -> None:
        given = {"poll_interval": self.poll_interval}
        if self.timeout is not None:
            given["timeout"] = self.timeout
        broken = [
            f"{name} is {value!r}, allowed: a number of seconds above 0"
            for name, value in given.items()
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf
        ]
        if self.on_ambiguous_submit not in _ON_AMBIGUOUS:
            allowed = ", ".join(_ON_AMBIGUOUS)
            broken.append(f"on_ambiguous_submit is {self.on_ambiguous_submit!r}, allowed: {allowed}")
        broken += outlet_problems(self.outlets, waits=self.wait_for_completion)
        if broken:
            raise RequestValidationError(broken)

    def _get_job(self, request: R, endpoint: Endpoint, context: Context) -> J:
        if self.durable:
            place = f"{endpoint.bucket} {endpoint.region}"
            job = self._submission(context).job(request, place)
        else:
            job = self._submit_once(request)
        self.job_id = job.job_id
        self.seen_jobs = [job]
        if self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=self.job_id)
        self._push(context, job)
        state = job.job_state
        # also when nobody waits: the task must not be green
        if state.is_terminal and not state.is_successful and (error := self._error(self._watch(job))):
            raise error
        return job

    def _submission(self, context: Context) -> DurableSubmission[R, J]:
        from airflow_provider_ci.durability import DurableSubmission
        from airflow_provider_ci.identity import TaskIdentity

        ti: Any = context["ti"]
        # Airflow raises max_tries by the tries made so far whenever the task is cleared
        tries_before_clear = max(ti.max_tries - (self.retries or 0), 0)
        # By Airflow's clock. If the service's is behind this worker's, it may be behind Airflow's too
        run_start = getattr(context.get("dag_run"), "start_date", None) or ti.start_date
        return DurableSubmission(
            service=self.service,
            store=context.get("task_state_store"),  # there is none before Airflow 3.3
            identity=TaskIdentity(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, tries_before_clear),
            try_number=ti.try_number,
            is_first_try=ti.try_number <= tries_before_clear + 1,
            run_start=lambda: run_start + timedelta(seconds=min(self.hook.settings.clock.offset, 0)),
            cancel_superseded=self.cancel_on_kill,
            resubmit_if_unknown=self.on_ambiguous_submit == "resubmit",
            log=self.log,
            clock=self.hook.now,
            sleep=self._sleep,
        )

    def _submit_once(self, request: R) -> J:
        self.service.prepare(request)
        try:
            return self.service.submit(request, None)
        except AmbiguousSubmissionError as error:
            raise UnknownSubmissionError(
                error.message,
                status=error.status,
                code=error.code,
                service_message=error.service_message,
                request_id=error.request_id,
                hint=error.hint,
            ) from error
        except AirflowTaskTimeout as error:  # execution_timeout, while the answer was waited for
            raise UnknownSubmissionError(
                "execution_timeout ended the submission: the service may have accepted the job, which may run"
                " and be billed",
                hint="Look for it in the job list before submitting again",
            ) from error

    def _push(self, context: Context, job: J) -> None:
        if self.do_xcom_push:
            result = self.service.result(job)
            push_links(context, [result])
            context["ti"].xcom_push(key=XCOM_JOB, value=result)

    def _has_ended(self, job: J | None) -> bool:
        return job is not None and job.job_state.is_terminal

    def _complete(self, context: Context, watch: JobWatch[J]) -> str:
        """Push the result of a job that has ended well, or raise the error of one that has not."""
        self.seen_jobs = [watch.jobs[str(self.job_id)]]
        if error := self._error(watch):
            raise error
        self._push(context, watch.jobs[str(self.job_id)])
        self.raise_if_killed()
        self._announce(context)
        return str(self.job_id)

    def _error(self, watch: JobWatch[J]) -> JobError | None:
        return watch.error()

    def _watch(self, job: J) -> JobWatch[J]:
        from airflow_provider_ci.waiting import JobWatch

        watch: JobWatch[J] = JobWatch([str(job.job_id)], self.log)
        watch.see(str(job.job_id), job)
        return watch

    def _complete_or_defer(self, context: Context, job: J | None, deadline: float | None) -> str:
        # a new job's answer says Submitted; a look at it now saves a short job the way through the triggerer
        if not self._has_ended(job):
            job = self._describe()
        if job is not None and self._has_ended(job):
            return self._complete(context, self._watch(job))
        self.raise_if_killed()
        backstop = None
        if deadline is not None:
            backstop = timedelta(seconds=max(deadline - time.time(), 0) + 2 * self.poll_interval + 60)
        self.defer(
            trigger=self._trigger_class(
                job_ids=[str(self.job_id)],
                ci_conn_id=self.ci_conn_id,
                **self.place,
                poll_interval=self.poll_interval,
                deadline=deadline,
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name="execute_complete",
            kwargs={"job_id": str(self.job_id)},
            timeout=backstop,
        )
        raise AssertionError("defer raises")

    @property
    def _trigger_class(self) -> type[CIJobTrigger]:
        from airflow_provider_ci.triggers.job import CIJobTrigger

        return CIJobTrigger

    def _deadline(self, context: Context) -> float | None:
        """Return the Unix time at which waiting ends. ``execution_timeout`` does not act on deferred
        tasks.
        """
        ends = []
        if self.timeout is not None:
            ends.append(time.time() + self.timeout)
        if self.execution_timeout is not None:
            started = context["ti"].start_date or datetime.now(UTC)
            ends.append((started + self.execution_timeout).timestamp())
        return min(ends, default=None)

    def _describe(self) -> J | None:
        """Return the job as it is now; ``None`` if the service does not know it (yet)."""
        answer = self.service.describe(str(self.job_id))
        return next((job for job in answer.jobs_detail if job.job_id == self.job_id), None)

    def _wait(self, job: J) -> JobWatch[J]:
        from airflow_provider_ci.waiting import poll_delay

        job_id, watch = str(job.job_id), self._watch(job)
        start = time.monotonic()
        while not self._has_ended(watch.jobs[job_id]):
            elapsed = time.monotonic() - start
            # after the timeout, thus after a last look
            if self.timeout is not None and elapsed >= self.timeout:
                passed = f"after {elapsed:.0f} s, over its timeout of {self.timeout:g} s"
                self._raise_overdue(watch.jobs[job_id].state, passed)
            left = math.inf if self.timeout is None else self.timeout - elapsed
            self._sleep(min(poll_delay(elapsed, self.poll_interval), left))
            watch.observe(self.service.describe(job_id), time.monotonic() - start)
        return watch
