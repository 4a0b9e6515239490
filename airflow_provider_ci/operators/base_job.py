"""The common part of all operators that submit one CI job. A subclass adds its arguments and the request."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowTaskTimeout,
)

from airflow_provider_ci.assets.outlets import add_results_to_events, outlet_problems
from airflow_provider_ci.exceptions import (
    JobError,
    JobTimeoutError,
    RequestValidationError,
    StateStoreError,
    TaskKilledError,
)
from airflow_provider_ci.lineage.task import lineage_of_task
from airflow_provider_ci.links.console import ConsoleLinks, TencentCIJobsLink, TencentCIResultsLink
from airflow_provider_ci.operators.argument_errors import (
    fail_without_retry,
    refuse_task_if_any,
)
from airflow_provider_ci.operators.base import TencentCIBaseOperator
from airflow_provider_ci.operators.cancellation import JobCancellation, JobCancelledByOthersError
from airflow_provider_ci.operators.job_arguments import (
    refuse_nested_call,
    resolve_wait,
    warn_of_ignored_arguments,
)
from airflow_provider_ci.operators.kill_guard import KillGuard
from airflow_provider_ci.operators.rendered_arguments import connection_argument_problems
from airflow_provider_ci.operators.templates import is_literal
from airflow_provider_ci.operators.try_state import TryState
from airflow_provider_ci.operators.untemplated_arguments import convert_untemplated_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.bucket_jobs import JobApi
    from airflow_provider_ci.operators.job_wait import JobWait
    from airflow_provider_ci.operators.task_submission import TaskSubmission
    from airflow_provider_ci.protocol.batches import BatchJob
    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.tree import Tree
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.submission.tracking import JobTracker
    from airflow_provider_ci.triggers.job import TencentCIJobTrigger

#: What a request makes: a job or a batch job.
J = TypeVar("J", bound="Job | BatchJob")

#: XCom key of the job's details, a :class:`~airflow_provider_ci.protocol.results.JobResult`.
XCOM_JOB = "job"

# If the triggerer failed or none was running, Airflow resumes a task with this method instead of the one that
# the task deferred with
_TRIGGER_FAILED = "__fail__"
# Seconds after the deadline at which Airflow itself ends a deferral, unless a running triggerer has done so
_SECONDS_FOR_TRIGGERER = 60
# Attributes that a copy must not share: objects that act on their operator, or hold the state of one process
_NOT_COPIED = frozenset(
    {
        *("hook", "job_api", "console_links"),
        *("_try_state", "_cancellation", "_kill_guard", "_was_killed", "_submission", "_wait"),
    }
)
_AFTER_TIMEOUT = "after its timeout or execution_timeout"


class TencentCIBaseJobOperator(TencentCIBaseOperator, Generic[J]):
    """Gets one job or batch job, submitting it only if an earlier try has not, and waits for it if asked to.

    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the input's bucket, ``<name>-<appid>``; default: the connection's. (templated)
    :param region: that bucket's region; default: the connection's. (templated)
    :param wait_for_completion: wait for the job's end; otherwise the task succeeds once the job is accepted,
        although it may fail later. Default: ``True`` if ``deferrable=True``, else ``False``.
    :param deferrable: wait in the triggerer instead of on the worker. ``[operators] default_deferrable``
        decides where a task waits, but not whether it does. ``True`` has no effect together with
        ``wait_for_completion=False``.
    :param poll_interval: longest pause between two polls, seconds or a ``timedelta``.
    :param timeout: longest wait for the job, seconds or a ``timedelta``; default: ``execution_timeout``
        alone limits it, or seven days if there is none either, as for Airflow's sensors.
    :param cancel_on_kill: cancel the job when the task is killed or its wait times out. The service cancels
        only jobs that have not begun.
    :param durable: a retry continues with the job of an earlier try instead of paying for another; see
        ``docs/durability.md``.
    :param on_ambiguous_submit: what to do when it is unknown whether a job was accepted, and listing jobs is
        not permitted, or the list may not show jobs of this type: ``fail``, or ``resubmit`` at the risk of a
        second paid job.
    """

    operator_extra_links: Sequence[Any] = (TencentCIJobsLink(), TencentCIResultsLink())
    boolean_arguments: Sequence[str] = ("wait_for_completion", "deferrable", "cancel_on_kill", "durable")
    seconds_arguments: Sequence[str] = ("poll_interval", "timeout")
    choice_arguments: Mapping[str, Sequence[str]] = {"on_ambiguous_submit": ("fail", "resubmit")}
    # True once wait_for_completion and deferrable have been resolved from the arguments
    _has_resolved_wait = False
    _ignores_deferrable = False
    _was_killed = False

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
        # _convert_arguments() makes these seconds
        self.poll_interval = cast("float", poll_interval)
        self.timeout = cast("float | None", timeout)
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        self.on_ambiguous_submit = on_ambiguous_submit
        #: The job as the service last described it, for OpenLineage and asset events.
        self.known_jobs: Sequence[J] = ()
        refuse_task_if_any(self.task_id, self._convert_arguments())

    # What a subclass says of its jobs

    def build_request(self, endpoint: Endpoint) -> Tree:
        """Return the request for the rendered arguments.

        :param endpoint: names the input's bucket and region.
        :raises RequestValidationError: an argument cannot be what the request needs.
        """
        raise NotImplementedError

    @cached_property
    def job_api(self) -> JobApi[J]:
        """The hook's calls about jobs, for this task's bucket and region."""
        from airflow_provider_ci.operators.bucket_jobs import JobsOfBucket

        return cast("JobApi[J]", JobsOfBucket(self.hook, self.bucket_and_region))

    def _before_submission(self, request: Tree) -> None:
        """Refuse a request that the service would accept, but whose job would fail."""

    # What Airflow calls

    @cached_property
    def hook(self) -> TencentCIHook:
        """The hook of this task's connection."""
        hook = super().hook
        hook.sleep = self._kill_guard.sleep  # a task that was killed must not send anything after a pause
        return hook

    @property
    def job_id(self) -> str | None:
        """The job of this try, once it is known."""
        return self._try_state.job_id

    def execute(self, context: Context) -> str:
        """Get the job, wait for it if asked to, and return its id."""
        with self._executing(context):
            return self._execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral.

        :raises JobTimeoutError: the job has not ended, and the deadline has passed.
        """
        self.console_links.was_deferred = True  # another process may have pushed links
        with self._executing(context):
            self._try_state.job_id = (next_kwargs or {}).get("job_id")  # on_kill needs it from now on
            # wrong ones were refused by execute(), and must not end a task whose job is paid for
            if not self._convert_arguments():
                self._pass_arguments_on()
            try:
                return super().resume_execution(next_method, next_kwargs, context)
            except AirflowException as error:
                job_id = self._pushed_job_id(context) if next_method == _TRIGGER_FAILED else None
                if job_id is None:
                    raise
                self._try_state.job_id = job_id
                return self._complete_without_trigger(context, error)

    def execute_complete(
        self, context: Context, event: dict[str, Any] | None = None, job_id: str | None = None
    ) -> str:
        """Ask the service what became of the job, after the triggerer has waited.

        :param job_id: the job that this try deferred for; ``dag.test()`` does not pass it.
        :raises JobTimeoutError: the job has not ended, and the deadline has passed.
        """
        from airflow_provider_ci.submission.waiting import is_outage
        from airflow_provider_ci.triggers.events import parse_event

        self._try_state.context = context  # for a caller that does not go through resume_execution()
        parsed = parse_event(event)
        self._try_state.job_id = job_id or parsed.job_ids[0]
        if self.job_id not in parsed.job_ids:
            # SQLite reuses the ids of triggers, so this may be the event of a trigger from before a clear
            self.log.warning("The event of job %s is not about job %s", parsed.job_ids[0], self.job_id)
            return self._complete_or_defer(context, None, self._deadline(context), time.time())
        deadline = self._deadline(context) if parsed.deadline is None else parsed.deadline
        outcome = self._wait.poll(self.job_id, seconds=deadline - time.time(), is_last=parsed.is_timeout)
        if outcome.tracker_of_ended_job is not None:
            return self._complete(context, outcome.tracker_of_ended_job)
        if parsed.is_timeout:
            self._cancel_and_raise_timeout(outcome.state, f"{_AFTER_TIMEOUT}{outcome.failure_clause}")
        if parsed.error is not None and not is_outage(parsed.error):
            raise parsed.error
        return self._defer(deadline, time.time() if parsed.started_at is None else parsed.started_at)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Return what OpenLineage asks for when the task has ended, also when it has failed."""
        return lineage_of_task(self.known_jobs, self.log)

    def on_kill(self) -> None:
        """Cancel the job, best effort. In Airflow 3 ``execute`` continues afterwards, and raises."""
        self._was_killed = True
        self._kill_guard.on_kill()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has: all but the objects of ``_NOT_COPIED``, which would act on this operator.
        Airflow copies operators before it executes them, and ``dag.test()`` in Airflow 2.11 also those that
        it has executed.
        """
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {name: value for name, value in state.items() if name not in _NOT_COPIED}

    @cached_property
    def console_links(self) -> ConsoleLinks:
        """The links to Tencent's console that this process has pushed."""
        return ConsoleLinks()

    # How a task ends that is killed or has run out of time

    @cached_property
    def _try_state(self) -> TryState:
        return TryState(self.durable)

    @cached_property
    def _cancellation(self) -> JobCancellation:
        return JobCancellation(
            try_state=self._try_state,
            is_enabled=self.cancel_on_kill,
            hook=lambda: self.hook,
            job_api=lambda: self.job_api,
            log=self.log,
        )

    @cached_property
    def _kill_guard(self) -> KillGuard:
        return KillGuard(self._try_state, self._cancellation, self.log)

    @contextmanager
    def _executing(self, context: Context) -> Iterator[None]:
        kill_guard = self._kill_guard
        # the signal may have come while the guard was created, so that on_kill created another one
        if self._was_killed:
            kill_guard.on_kill()
        with kill_guard.executing(context):
            yield

    def _cancel_and_raise_timeout(self, state: str | None, reason: str) -> NoReturn:
        """Cancel the job because the wait for it is over, and raise.

        :param reason: the end of the message, after the job's state.
        :raises JobTimeoutError: always.
        """
        what_became_of_job = self._kill_guard.cancel_after_timeout()
        raise JobTimeoutError(
            f"Job {self.job_id} is {self._describe_state(state)} {reason}",
            job_id=self.job_id,
            state=state,
            hint=what_became_of_job,
        )

    def _describe_state(self, state: str | None) -> str:
        """Return a state for a message, after "Job … is"."""
        return state or "unknown"

    # Arguments

    def _convert_arguments(self) -> list[str]:
        """Convert the arguments that are not templates, in place, and return what is wrong with them."""
        problems = convert_untemplated_arguments(self, self.__dict__)
        if not problems and is_literal(self.wait_for_completion) and is_literal(self.deferrable):
            self._resolve_wait()
            problems += outlet_problems(self.outlets, waits=bool(self.wait_for_completion))
        return problems

    def _resolve_wait(self) -> None:
        if self._has_resolved_wait:
            return
        self._has_resolved_wait = True
        asks_to_defer = self.deferrable is True
        self.wait_for_completion, self.deferrable = resolve_wait(self.wait_for_completion, self.deferrable)
        self._ignores_deferrable = asks_to_defer and not self.wait_for_completion

    def _check_arguments(self) -> None:
        problems = [*self._convert_arguments(), *connection_argument_problems(self)]
        if problems:
            raise RequestValidationError(problems)
        self._pass_arguments_on()

    def _pass_arguments_on(self) -> None:
        """Give the converted arguments to the objects that were created with the raw ones. They differ if a
        subclass lets Airflow render them.
        """
        self._try_state.durable = self.durable
        self._cancellation.is_enabled = self.cancel_on_kill

    # Getting the job

    def _execute(self, context: Context) -> str:
        with fail_without_retry(self):
            refuse_nested_call(self, context)
            self._check_arguments()
            endpoint = self.hook.settings.endpoint(**self.bucket_and_region)
            request = self.build_request(endpoint)
            self.job_api.check(request)
        warn_of_ignored_arguments(self, TencentCIBaseJobOperator, ignores_deferrable=self._ignores_deferrable)
        self._kill_guard.raise_if_killed()
        job = self._get_or_submit(request, endpoint, context)
        self._push_accepted(job, context)
        self._kill_guard.raise_if_killed()
        if not self.wait_for_completion:
            return str(self.job_id)
        if self.deferrable:
            return self._complete_or_defer(context, job, self._deadline(context), time.time())
        return self._complete(context, self._wait_on_worker(job))

    def _get_or_submit(self, request: Tree, endpoint: Endpoint, context: Context) -> J:
        """Return the job of this task instance, and submit it if there is none. May cost money."""
        if not self.durable:
            return self._submission.submit_without_record(request)
        return self._submission.get_or_submit(request, f"{endpoint.bucket} {endpoint.region}", context)

    @cached_property
    def _submission(self) -> TaskSubmission[J]:
        from airflow_provider_ci.operators.task_submission import TaskSubmission

        return TaskSubmission(
            hook=self.hook,
            job_api=self.job_api,
            try_state=self._try_state,
            kill_guard=self._kill_guard,
            cancellation=self._cancellation,
            before_submission=self._before_submission,
            who_waits=self._who_waits(),
            resubmit_if_unknown=self.on_ambiguous_submit == "resubmit",
            log=self.log,
        )

    def _who_waits(self) -> str:
        from airflow_provider_ci.submission.idempotency_key import NOBODY, TRIGGERER, WORKER

        if not self.wait_for_completion:
            return NOBODY
        return TRIGGERER if self.deferrable else WORKER

    def _push_accepted(self, job: J, context: Context) -> None:
        """Push the job that was accepted.

        :raises JobError: it has failed already; the task must fail even if it does not wait.
        """
        self.known_jobs = [job]
        if self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=self.job_id)
        self._push_result(context, job)
        if job.job_state.is_terminal:
            self._raise_if_unsuccessful(self._wait.track(job))

    # Waiting

    def _deadline(self, context: Context) -> float:
        """Return the Unix time at which waiting ends. Airflow does not apply ``execution_timeout`` to
        deferred tasks.
        """
        from airflow_provider_ci.submission.waiting import DEFAULT_TIMEOUT

        ends = []
        if self.timeout is not None:
            ends.append(time.time() + self.timeout)
        if self.execution_timeout is not None:
            started = context["ti"].start_date or datetime.now(UTC)
            ends.append((started + self.execution_timeout).timestamp())
        return min(ends, default=time.time() + DEFAULT_TIMEOUT)

    def _wait_on_worker(self, job: J) -> JobTracker[J]:
        """Wait on the worker. A task that is cleared gets a new job, unless a worker is waiting for the old
        one. So this records the end of the wait, but not if the task is killed.

        :raises JobTimeoutError: the job has not ended in time.
        """
        try:
            outcome = self._wait.wait(job, self._longest_wait)
            if outcome.tracker_of_ended_job is None:
                timeout = f"its timeout of {self._longest_wait:g} s"
                self._cancel_and_raise_timeout(outcome.state, f"after {timeout}{outcome.failure_clause}")
        except TaskKilledError:
            raise
        except (Exception, AirflowTaskTimeout):
            self._record_end_of_wait()
            raise
        self._record_end_of_wait()
        return outcome.tracker_of_ended_job

    def _record_end_of_wait(self) -> None:
        try:
            self._try_state.records.note_end_of_wait(str(self.job_id))
        except StateStoreError as error:  # the outcome of the task must not depend on it
            self.log.warning("%s", error)

    @property
    def _longest_wait(self) -> float:
        """Longest wait on the worker, seconds."""
        from airflow_provider_ci.submission.waiting import DEFAULT_TIMEOUT

        if self.timeout is not None:
            return self.timeout
        # Airflow itself ends a task that runs for longer than its execution_timeout
        return DEFAULT_TIMEOUT if self.execution_timeout is None else math.inf

    def _complete_or_defer(self, context: Context, job: J | None, deadline: float, started_at: float) -> str:
        # the response to a submission says Submitted; a short job may have ended, and needs no triggerer
        outcome = self._wait.poll(str(self.job_id), seconds=deadline - time.time(), just_returned=job)
        if outcome.tracker_of_ended_job is not None:
            return self._complete(context, outcome.tracker_of_ended_job)
        return self._defer(deadline, started_at)

    def _defer(self, deadline: float, started_at: float) -> NoReturn:
        """Wait in the triggerer.

        :param deadline: Unix time at which the wait ends.
        :param started_at: Unix time at which it began.
        """
        self._kill_guard.raise_if_killed()
        try:
            is_own_job = not self._try_state.may_be_others_job
        except StateStoreError as error:
            self.log.warning("The job is not cancelled if the task is killed while it is deferred: %s", error)
            is_own_job = False
        self.defer(
            trigger=self._make_trigger(
                job_ids=[str(self.job_id)],
                tencent_ci_conn_id=self.tencent_ci_conn_id,
                **self.bucket_and_region,
                poll_interval=self.poll_interval,
                deadline=deadline,
                cancel_on_kill=self.cancel_on_kill and is_own_job,
                started_at=started_at,
            ),
            method_name="execute_complete",
            kwargs={"job_id": str(self.job_id)},
            # two more intervals allow for a late poll
            timeout=timedelta(
                seconds=max(deadline - time.time(), 0) + 2 * self.poll_interval + _SECONDS_FOR_TRIGGERER
            ),
        )
        raise AssertionError("defer raises")

    def _make_trigger(self, **arguments: Any) -> TencentCIJobTrigger:
        from airflow_provider_ci.triggers.job import TencentCIJobTrigger

        return TencentCIJobTrigger(**arguments)

    def _complete_without_trigger(self, context: Context, error: AirflowException) -> str:
        """Ask the service what became of the job, because the triggerer failed or none was running.

        :param error: Airflow's error about the triggerer.
        :raises JobTimeoutError: the job has not ended, and the deadline has passed.
        """
        self.log.warning("The triggerer did not wait for job %s to the end: %s", self.job_id, error)
        outcome = self._wait.poll(str(self.job_id), seconds=0.0, is_last=True)
        if outcome.tracker_of_ended_job is not None:
            return self._complete(context, outcome.tracker_of_ended_job)
        if "timeout" in str(error):  # class and wording vary by Airflow's version
            self._cancel_and_raise_timeout(
                outcome.state, f"{_AFTER_TIMEOUT}{outcome.failure_clause}; is a triggerer running?"
            )
        self.log.error("Job %s is %s; a retry continues with it", self.job_id, outcome.state or "unknown")
        raise error

    def _pushed_job_id(self, context: Context) -> str | None:
        if not self.do_xcom_push:
            return None
        ti: Any = context["ti"]
        pushed = ti.xcom_pull(task_ids=self.task_id, map_indexes=ti.map_index)
        return pushed if isinstance(pushed, str) else None

    @cached_property
    def _wait(self) -> JobWait[J]:
        from airflow_provider_ci.operators.job_wait import JobWait

        return JobWait(
            self.hook, self.job_api, self._ask_if_ended, self._kill_guard.sleep, self.log, self.poll_interval
        )

    def _ask_if_ended(self, job: J) -> bool:
        """Find out whether there is nothing more to wait for. For a batch job this makes calls."""
        return job.job_state.is_terminal

    # The job's end

    def _complete(self, context: Context, tracker: JobTracker[J]) -> str:
        """Push the result of a job that has ended, and return its id.

        :raises JobError: it ended without success.
        """
        job = tracker.jobs[str(self.job_id)]
        self.known_jobs = [job]
        self._raise_if_unsuccessful(tracker)
        self._push_result(context, job)
        self._kill_guard.raise_if_killed()
        self._emit_asset_events(context)
        return str(self.job_id)

    def _raise_if_unsuccessful(self, tracker: JobTracker[J]) -> None:
        """Raise the error of a job that ended without success; if somebody else cancelled it, without
        retry.
        """
        error = self._job_error(tracker)
        if error is None:
            return
        if self._cancellation.ask_if_cancelled_by_others(error, tracker.unsuccessful[0]):
            raise JobCancelledByOthersError.from_error(error)
        raise error

    def _emit_asset_events(self, context: Context) -> None:
        add_results_to_events(context, self.outlets, cast("Sequence[Job]", self.known_jobs), self.log)

    def _job_error(self, tracker: JobTracker[J]) -> JobError | None:
        return tracker.error()

    def _push_result(self, context: Context, job: J) -> None:
        from airflow_provider_ci.protocol.results import job_result

        if self.do_xcom_push:
            result = job_result(cast("Job", job))
            self.console_links.push(context, [result])
            context["ti"].xcom_push(key=XCOM_JOB, value=result)
