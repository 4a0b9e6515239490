"""What every operator that submits one CI job does alike. A subclass adds its arguments and the request."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
    conf,
)

from airflow_provider_ci.assets.outlets import add_results_to_events, outlet_problems
from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    JobCancelledError,
    JobError,
    RequestValidationError,
    StateStoreError,
    TaskKilledError,
    TencentCIError,
)
from airflow_provider_ci.lineage.task import lineage_of_task
from airflow_provider_ci.links.console import ConsoleLinks, TencentCIJobsLink, TencentCIResultsLink
from airflow_provider_ci.operators.argument_errors import (
    TaskArgumentError,
    fail_without_retry,
    refuse_task,
)
from airflow_provider_ci.operators.base import TencentCIBaseOperator
from airflow_provider_ci.operators.cancellation import CancelOnKillMixin
from airflow_provider_ci.operators.rendered_arguments import connection_argument_problems
from airflow_provider_ci.operators.templates import is_literal
from airflow_provider_ci.operators.untemplated_arguments import convert_untemplated_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.services import BoundService
    from airflow_provider_ci.protocol.batches import BatchJob, BatchRequest
    from airflow_provider_ci.protocol.jobs import Job, JobRequest
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.submission.durable_submission import DurableSubmission
    from airflow_provider_ci.submission.record import SubmissionRecords, TaskStateStore
    from airflow_provider_ci.submission.tracking import JobTracker
    from airflow_provider_ci.triggers.job import TencentCIJobTrigger

#: What is submitted, and what becomes of it: a job or a batch job.
R = TypeVar("R", bound="JobRequest | BatchRequest")
J = TypeVar("J", bound="Job | BatchJob")

#: XCom key of the job's details, a :class:`~airflow_provider_ci.protocol.results.JobResult`.
XCOM_JOB = "job"

# Seconds within which a cancelled job shows as such
_CANCEL_SHOWS_WITHIN = 10.0
# What Airflow calls instead of the method named in a deferral, when the triggerer failed or did not come back
_TRIGGER_FAILED = "__fail__"


class UnknownSubmissionError(AmbiguousSubmissionError, AirflowFailException):
    """What became of a submission that is not ``durable`` is unknown. A retry could pay twice, so there is
    none.
    """


class JobCancelledByOthersError(JobCancelledError, AirflowFailException):
    """Somebody else has cancelled the job of a task. It is not submitted again, so there is no retry."""


class TencentCIBaseJobOperator(CancelOnKillMixin, TencentCIBaseOperator, Generic[R, J]):
    """Gets one job or batch job, submitting it only if an earlier try has not, and waits for it if asked to.

    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the input's bucket, ``<name>-<appid>``; default: the connection's. (templated)
    :param region: that bucket's region; default: the connection's. (templated)
    :param wait_for_completion: wait for the job's end; otherwise the task succeeds once the job is accepted,
        although it may fail later. Default: wait if ``deferrable`` is given as ``True``.
    :param deferrable: wait in the triggerer instead of on the worker. ``[operators] default_deferrable``
        decides where a task waits, but not whether it does. ``True`` has no effect together with
        ``wait_for_completion=False``.
    :param poll_interval: longest pause between two polls, seconds or a ``timedelta``.
    :param timeout: longest wait for the job, seconds or a ``timedelta``; default: ``execution_timeout``
        alone limits it, or seven days if there is none either, as for Airflow's sensors.
    :param cancel_on_kill: cancel the job when the task is killed or its wait times out. The service cancels
        only jobs that have not begun.
    :param durable: a retry goes on with the job of an earlier try instead of paying for another; see
        ``docs/durability.md``.
    :param on_ambiguous_submit: what to do when it cannot be found out whether a job was accepted because jobs
        may not be listed: ``fail``, or ``resubmit`` at the risk of a second job.
    """

    operator_extra_links: Sequence[Any] = (TencentCIJobsLink(), TencentCIResultsLink())
    boolean_arguments: Sequence[str] = ("wait_for_completion", "deferrable", "cancel_on_kill", "durable")
    seconds_arguments: Sequence[str] = ("poll_interval", "timeout")
    choice_arguments: Mapping[str, Sequence[str]] = {"on_ambiguous_submit": ("fail", "resubmit")}
    # Whether wait_for_completion and deferrable say where to wait, and no longer what was given
    _knows_how_to_wait = False
    # The try that has asked for a job, and the digest of its request
    _submitted: tuple[int, str] | None = None
    _does_not_defer = False
    _state: str | None = None  # the job's, when it was last asked for
    _failure: TencentCIError | None = None  # why it could not be asked for

    def __init__(
        self,
        *,
        wait_for_completion: bool | None = None,
        deferrable: bool | None = None,
        poll_interval: float | timedelta = 30.0,
        timeout: float | timedelta | None = None,
        cancel_on_kill: bool = True,
        durable: bool = True,
        on_ambiguous_submit: str = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        # as they are once they have been read
        self.poll_interval = cast("float", poll_interval)
        self.timeout = cast("float | None", timeout)
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        self.on_ambiguous_submit = on_ambiguous_submit
        #: The job as the service last described it, for OpenLineage and asset events.
        self.known_jobs: Sequence[J] = ()
        self.console_links = ConsoleLinks()
        refuse_task(self.task_id, self._argument_problems())

    def build_request(self, endpoint: Endpoint) -> R:
        """Return the request made of the rendered arguments; ``endpoint`` names the input's bucket and
        region.

        :raises RequestValidationError: an argument cannot be what the request needs.
        """
        raise NotImplementedError

    @cached_property
    def hook(self) -> TencentCIHook:
        """The hook of this task's connection."""
        hook = super().hook
        hook.sleep = self._sleep  # a task that was told to stop must not go on after a pause
        return hook

    def now(self) -> float:
        """Return the Unix time by the service's clock."""
        return self.hook.now()

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
        with fail_without_retry(self):
            self._refuse_nested_call(context)
            self._check_arguments()
            endpoint = self.hook.settings.endpoint(**self.bucket_and_region)
            request = self.build_request(endpoint)
            self.service.check(request)
        self._name_what_has_no_effect()
        self.raise_if_killed()
        job = self._get_job(request, endpoint, context)
        self.raise_if_killed()
        if not self.wait_for_completion:
            return str(self.job_id)
        if self.deferrable:
            return self._complete_or_defer(context, job, self._deadline(context), time.time())
        return self._complete(context, self._wait_on_worker(job, context))

    def execute_complete(
        self, context: Context, event: dict[str, Any] | None = None, job_id: str | None = None
    ) -> str:
        """Go on after the triggerer has waited: ask the service what became of the job.

        :param job_id: the job that this try has deferred for; ``dag.test()`` does not hand it on.
        :raises JobTimeoutError: the deadline has passed.
        """
        from airflow_provider_ci.submission.waiting import is_outage
        from airflow_provider_ci.triggers.events import parse_event

        self._context = context
        seen = parse_event(event)
        self.job_id = job_id or seen.job_ids[0]
        if self.job_id not in seen.job_ids:
            # SQLite gives a new trigger the number of one that was deleted: of a try before a clear, say
            self.log.warning("The event of job %s is not about job %s", seen.job_ids[0], self.job_id)
            return self._complete_or_defer(context, None, self._deadline(context), time.time())
        deadline = self._deadline(context) if seen.deadline is None else seen.deadline
        job = self._look(deadline - time.time(), is_last=seen.is_timeout)
        if job is not None:
            return self._complete(context, self._tracker(job))
        if seen.is_timeout:
            self._raise_overdue(self._state, f"after its timeout or execution_timeout{self._why_unknown}")
        if seen.error is not None and not is_outage(seen.error):
            raise seen.error
        return self._defer(deadline, time.time() if seen.started_at is None else seen.started_at)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral. If the triggerer failed, or none was there until some time after the
        deadline, the service is asked what became of the job.

        :raises JobTimeoutError: the job still goes on after the deadline.
        """
        self.console_links.was_deferred = True
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
            job = self._look(0.0, is_last=True)
            if job is not None:
                return self._complete(context, self._tracker(job))
            if "timeout" in str(error):  # class and wording vary by version
                passed = f"after its timeout or execution_timeout{self._why_unknown}; does a triggerer run?"
                self._raise_overdue(self._state, passed)
            self.log.error(
                "Job %s is %s and goes on; a retry goes on with it", job_id, self._state or "unknown"
            )
            raise

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Return what OpenLineage asks for when the task has ended, also when it has failed."""
        return lineage_of_task(self.known_jobs, self.log)

    def _emit_asset_events(self, context: Context) -> None:
        add_results_to_events(context, self.outlets, cast("Sequence[Job]", self.known_jobs), self.log)

    def _pushed_id(self, context: Context) -> str | None:
        ti: Any = context["ti"]
        pushed = ti.xcom_pull(task_ids=self.task_id, map_indexes=ti.map_index) if self.do_xcom_push else None
        return pushed if isinstance(pushed, str) else None

    def _refuse_nested_call(self, context: Context) -> None:
        """Refuse to run inside another task, whose identity would stand for several jobs: a retry could not
        tell them from each other, Airflow would call neither ``on_kill`` nor ``execute_complete``.
        """
        task: Any = context.get("task") or getattr(context.get("ti"), "task", None)
        if task is not None and task is not self:
            raise RequestValidationError(
                [
                    f"{type(self).__name__} {self.task_id!r} is executed inside task"
                    f" {context['ti'].task_id!r}; allowed: a task of its own, for several inputs with"
                    " .expand(); inside other tasks use TencentCIHook.submit_job"
                ]
            )

    def _check_arguments(self) -> None:
        broken = [*self._argument_problems(), *connection_argument_problems(self)]
        if broken:
            raise RequestValidationError(broken)

    def _argument_problems(self) -> list[str]:
        """Read the arguments that are no templates, and return what is wrong with them."""
        broken = convert_untemplated_arguments(self, self.__dict__)
        if not broken and is_literal(self.wait_for_completion) and is_literal(self.deferrable):
            self._decide_how_to_wait()
            broken += outlet_problems(self.outlets, waits=bool(self.wait_for_completion))
        return broken

    def _decide_how_to_wait(self) -> None:
        """Wait if told to, or told where. A site's default for where is no reason to wait."""
        if self._knows_how_to_wait:
            return
        self._knows_how_to_wait = True
        if self.wait_for_completion is None:
            self.wait_for_completion = self.deferrable is True
        self._does_not_defer = self.deferrable is True and not self.wait_for_completion
        if self.deferrable is None:
            self.deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)

    def _name_what_has_no_effect(self) -> None:
        """Warn that the task does not wait if arguments suggest that it does. They may come from the DAG's
        ``default_args``, where they are meant for other tasks, so they are no errors.
        """
        if self.wait_for_completion:
            return
        defaults = signature(TencentCIBaseJobOperator.__init__).parameters
        unused = [
            f"{name}={getattr(self, name)!r}"
            for name in self.seconds_arguments
            if getattr(self, name) != defaults[name].default
        ]
        if self._does_not_defer:
            unused.append("deferrable=True")
        if unused:
            self.log.warning(
                "%s: no effect, for this task does not wait: it succeeds once the job is accepted."
                " wait_for_completion=True lets it wait",
                ", ".join(unused),
            )

    def _get_job(self, request: R, endpoint: Endpoint, context: Context) -> J:
        job = self._get_or_submit(request, endpoint, context) if self.durable else self._submit_once(request)
        self.job_id = job.job_id
        self.known_jobs = [job]
        if self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=self.job_id)
        self._push(context, job)
        state = job.job_state
        # also when nobody waits: the task must not be green
        if state.is_terminal and not state.is_successful and (error := self._error(self._tracker(job))):
            raise self._without_retry_if_cancelled(error, job, context)
        return job

    def _get_or_submit(self, request: R, endpoint: Endpoint, context: Context) -> J:
        bucket_and_region = f"{endpoint.bucket} {endpoint.region}"
        self._refuse_second_request(request, bucket_and_region, context)
        submission = self._submission(context)
        try:
            job = submission.get_or_submit(request, bucket_and_region)
            self.may_be_others = submission.is_found_by_request
            return job
        except JobCancelledError as error:
            raise self._final_cancellation(error) from None
        except AirflowTaskTimeout:  # not an Exception; Airflow's own message names neither job nor service
            if self.is_unanswered:
                self.log.error("%s", self.unknown_outcome("execution_timeout ended this try"))
            else:
                self.log.error("execution_timeout ended this try before it submitted a job")
            raise

    def _refuse_second_request(self, request: R, bucket_and_region: str, context: Context) -> None:
        """Refuse a subclass that submits several requests in one try: a retry could not tell their jobs
        apart.
        """
        from airflow_provider_ci.submission.idempotency_key import fingerprint

        submitted = (context["ti"].try_number, fingerprint(request, bucket_and_region))
        before, self._submitted = self._submitted, submitted
        if before is not None and before[0] == submitted[0] and before != submitted:
            raise TaskArgumentError(
                f"Task {self.task_id!r} submits a second, different request in one try; allowed: one request"
                " for each task, for several inputs with .expand()"
            )

    def _submission(self, context: Context) -> DurableSubmission[R, J]:
        from airflow_provider_ci.operators.earlier_tries import (
            CLEAR_DISCARDS_STATE,
            deployment_of,
            earliest_submission,
            may_have_earlier_try,
        )
        from airflow_provider_ci.submission.durable_submission import DurableSubmission
        from airflow_provider_ci.submission.idempotency_key import NOBODY, TRIGGERER, WORKER, TaskIdentity

        ti: Any = context["ti"]
        settings = self.hook.settings
        dag_run = context.get("dag_run")
        deployment = settings.deployment or deployment_of(dag_run)
        # By Airflow's clock. If the service's is behind this worker's, it may be behind Airflow's too
        run_start = earliest_submission(dag_run, ti).timestamp()
        return DurableSubmission(
            service=self.service,
            store=self._store(context),
            identity=TaskIdentity(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, deployment, ti.max_tries),
            try_number=ti.try_number,
            waits=NOBODY if not self.wait_for_completion else TRIGGERER if self.deferrable else WORKER,
            may_have_submitted=may_have_earlier_try(ti),
            clear_discards_record=CLEAR_DISCARDS_STATE,
            run_start=lambda: run_start + min(settings.clock.offset, 0),
            cancel_superseded=self.cancel_on_kill,
            resubmit_if_unknown=self.on_ambiguous_submit == "resubmit",
            log=self.log,
            clock=self.hook.now,
            sleep=self._sleep,
        )

    def submission_records(self, context: Context) -> SubmissionRecords:
        """Return what is recorded of this task instance's submission."""
        from airflow_provider_ci.submission.record import SubmissionRecords

        store = self._store(context)
        return SubmissionRecords(store, context["ti"].try_number if store is not None else 1)

    def _without_retry_if_cancelled(self, error: JobError, job: J, context: Context) -> JobError:
        """Return the error that ends the task, if somebody else than a try of this task cancelled the job.

        A retry would undo what somebody has decided.
        """
        if type(error) is not JobCancelledError:
            return error
        try:
            is_own = self.submission_records(context).is_own_cancellation(job)
        except StateStoreError as store_error:
            self.log.warning("%s", store_error)
            return error
        if is_own or self._was_cancelled_before(job, context):
            return error
        return self._final_cancellation(error)

    def _was_cancelled_before(self, job: J, context: Context) -> bool:
        """Tell whether, before Airflow 3.3, the job of an earlier try was cancelled before this one began, so
        that the earlier one may have asked for it: its state can show late.
        """
        began = context["ti"].start_date  # none in 2.11's dag.test()
        if not self.is_retry or self._store(context) is not None or job.end_time is None or began is None:
            return False
        shown_by: float = began.timestamp() + min(self.hook.settings.clock.offset, 0) + _CANCEL_SHOWS_WITHIN
        return job.end_time.timestamp() <= shown_by

    def _final_cancellation(self, error: JobError) -> JobError:
        hint = "Somebody else has cancelled it, so it is not submitted again. Clear the task for a new job"
        return JobCancelledByOthersError(error.message, **error.details | {"hint": hint})

    def _store(self, context: Context) -> TaskStateStore | None:
        """Return where this task instance's submission is recorded; there is none before Airflow 3.3."""
        return context.get("task_state_store") if self.durable else None

    def _submit_once(self, request: R) -> J:
        self.service.prepare(request)
        try:
            return self.service.submit(request, None)
        except AmbiguousSubmissionError as error:
            hint = self.unknown_outcome("The submission failed").hint
            raise UnknownSubmissionError(error.message, **error.details | {"hint": hint}) from error
        except AirflowTaskTimeout as error:  # execution_timeout, while the answer was waited for
            raise UnknownSubmissionError(
                "execution_timeout ended the submission: the service may have accepted the job, which may run"
                " and be billed",
                hint="Look for it in the job list before submitting again",
            ) from error

    def _push(self, context: Context, job: J) -> None:
        if self.do_xcom_push:
            result = self.service.result(job)
            self.console_links.push(context, [result])
            context["ti"].xcom_push(key=XCOM_JOB, value=result)

    def _has_ended(self, job: J | None) -> bool:
        return job is not None and job.job_state.is_terminal

    def _complete(self, context: Context, tracker: JobTracker[J]) -> str:
        """Push the result of a job that has ended well, or raise the error of one that has not."""
        self.known_jobs = [tracker.jobs[str(self.job_id)]]
        if error := self._error(tracker):
            raise self._without_retry_if_cancelled(error, tracker.jobs[str(self.job_id)], context)
        self._push(context, tracker.jobs[str(self.job_id)])
        self.raise_if_killed()
        self._emit_asset_events(context)
        return str(self.job_id)

    def _error(self, tracker: JobTracker[J]) -> JobError | None:
        return tracker.error()

    def _tracker(self, job: J) -> JobTracker[J]:
        from airflow_provider_ci.submission.tracking import JobTracker

        tracker: JobTracker[J] = JobTracker([str(job.job_id)], self.log)
        tracker.update_job(job)
        return tracker

    def _complete_or_defer(self, context: Context, job: J | None, deadline: float, started_at: float) -> str:
        # a new job's answer says Submitted; a look at it now saves a short job the way through the triggerer
        ended = self._look(deadline - time.time(), job)
        if ended is not None:
            return self._complete(context, self._tracker(ended))
        return self._defer(deadline, started_at)

    def _defer(self, deadline: float, started_at: float) -> NoReturn:
        """Go on waiting in the triggerer.

        :param deadline: Unix time at which the wait ends.
        :param started_at: Unix time at which it began.
        """
        self.raise_if_killed()
        self.defer(
            trigger=self._trigger_class(
                job_ids=[str(self.job_id)],
                tencent_ci_conn_id=self.tencent_ci_conn_id,
                **self.bucket_and_region,
                poll_interval=self.poll_interval,
                deadline=deadline,
                cancel_on_kill=self.cancel_on_kill and not self.may_be_others,
                started_at=started_at,
            ),
            method_name="execute_complete",
            kwargs={"job_id": str(self.job_id)},
            # ends the wait if no triggerer does: late enough that one which runs comes first
            timeout=timedelta(seconds=max(deadline - time.time(), 0) + 2 * self.poll_interval + 60),
        )
        raise AssertionError("defer raises")

    @property
    def _trigger_class(self) -> type[TencentCIJobTrigger]:
        from airflow_provider_ci.triggers.job import TencentCIJobTrigger

        return TencentCIJobTrigger

    def _deadline(self, context: Context) -> float:
        """Return the Unix time at which waiting ends. ``execution_timeout`` does not act on deferred
        tasks.
        """
        from airflow_provider_ci.submission.waiting import DEFAULT_TIMEOUT

        ends = []
        if self.timeout is not None:
            ends.append(time.time() + self.timeout)
        if self.execution_timeout is not None:
            started = context["ti"].start_date or datetime.now(UTC)
            ends.append((started + self.execution_timeout).timestamp())
        return min(ends, default=time.time() + DEFAULT_TIMEOUT)

    def _describe(self) -> J | None:
        """Return the job as it is now; ``None`` if the service does not know it (yet)."""
        answer = self.service.describe(str(self.job_id))
        return next((job for job in answer.jobs_detail if job.job_id == self.job_id), None)

    def _wait_on_worker(self, job: J, context: Context) -> JobTracker[J]:
        """Wait, and record the end of the wait, unless the task is killed: what a clear of the task means
        depends on it.
        """
        try:
            tracker = self._wait(job)
        except TaskKilledError:
            raise
        except (Exception, AirflowTaskTimeout):
            self._note_end_of_wait(context)
            raise
        self._note_end_of_wait(context)
        return tracker

    def _note_end_of_wait(self, context: Context) -> None:
        try:
            self.submission_records(context).note_end_of_wait(str(self.job_id))
        except StateStoreError as error:  # the end of the task must not depend on it
            self.log.warning("%s", error)

    def _look(self, seconds: float, job: J | None = None, *, is_last: bool = False) -> J | None:
        """Ask once, and return the job if it has ended.

        Otherwise ``_state`` tells its state, or ``_failure`` why that could not be found out.

        :param seconds: how long is left for it.
        :param job: the job, if it was seen just now.
        :param is_last: the wait is over, so that a failure of any kind must not hide that.
        :raises TencentCIError: a failure that does not pass by itself.
        """
        from airflow_provider_ci.submission.waiting import is_outage

        self._state = self._failure = None
        try:
            with self.hook.limit(attempts=1, seconds=seconds):
                if job is None or not job.job_state.is_terminal:
                    job = self._describe()
                self._state = job.state if job else None
                return job if self._has_ended(job) else None
        except TencentCIError as error:
            if isinstance(error, JobError) or not (is_last or is_outage(error)):
                raise
            self._failure = error
            self.log.warning("Poll failed, will keep trying: %s", error)
            return None

    @property
    def _why_unknown(self) -> str:
        return f"; the last poll failed: {self._failure}" if self._failure else ""

    def _wait(self, job: J) -> JobTracker[J]:
        """Wait on the worker. An outage is waited out like a job that is still running."""
        from airflow_provider_ci.submission.waiting import Wait

        job_id, tracker = str(job.job_id), self._tracker(job)
        wait = Wait(self.poll_interval, self.log, time.monotonic, longest=self._longest_wait)
        is_new = True
        while True:
            with wait.poll(), self.hook.limit(attempts=1, seconds=wait.remaining):
                if not is_new:
                    tracker.update(self.service.describe(job_id), wait.elapsed)
                if self._has_ended(tracker.jobs[job_id]):
                    return tracker
            is_new, self._failure = False, wait.failure
            if wait.is_over:
                passed = f"after {wait.elapsed:.0f} s, over its timeout of {wait.longest:g} s"
                self._raise_overdue(tracker.jobs[job_id].state, f"{passed}{self._why_unknown}")
            self._sleep(wait.pause())

    @property
    def _longest_wait(self) -> float:
        """Longest wait on the worker, seconds."""
        from airflow_provider_ci.submission.waiting import DEFAULT_TIMEOUT

        if self.timeout is not None:
            return self.timeout
        # Airflow itself ends a task that runs for longer than its execution_timeout
        return DEFAULT_TIMEOUT if self.execution_timeout is None else math.inf
