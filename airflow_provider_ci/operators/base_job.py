"""The common part of all operators that submit one CI job. A subclass adds its arguments and the request."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout

from airflow_provider_ci import metrics
from airflow_provider_ci.assets.outlets import add_results_to_events
from airflow_provider_ci.exceptions import (
    JobError,
    JobFailedError,
    JobTimeoutError,
    StateStoreError,
    TaskKilledError,
)
from airflow_provider_ci.lineage.task import lineage_of_task
from airflow_provider_ci.operators.argument_errors import fail_without_retry
from airflow_provider_ci.operators.base_task import AFTER_TIMEOUT, TencentCIBaseTaskOperator
from airflow_provider_ci.operators.cancellation import JobCancelledByOthersError
from airflow_provider_ci.operators.failed_trigger import TRIGGER_FAILED, is_timeout
from airflow_provider_ci.operators.job_arguments import refuse_nested_call, warn_of_ignored_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

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

#: Seconds after a job's end within which its callback resumes the task, if callbacks come at all. The
#: endpoint looks at a job for a minute, and a callback may wait until others have been looked at.
CALLBACK_PATIENCE = 120.0
#: XCom key of the job's details, a :class:`~airflow_provider_ci.protocol.results.JobResult`.
XCOM_JOB = "job"


class JobWouldFailAgainError(JobFailedError, AirflowFailException):
    """The job of a task ended ``Failed`` with a code with which the same job would fail again. There is no
    retry, because it would pay for that job.
    """

    @classmethod
    def from_error(cls, error: JobError) -> JobWouldFailAgainError:
        """Return an error with the same message, after which Airflow does not retry the task."""
        hint = (
            f"{error.hint}. The same job would fail again, so it is not submitted again: correct the cause,"
            " then clear the task for a new job"
        )
        return cls(error.message, **error.details | {"hint": hint})


class TencentCIBaseJobOperator(TencentCIBaseTaskOperator, Generic[J]):
    """Gets one job or batch job, submitting it only if an earlier try has not, and waits for it if asked to.

    The arguments are those of :class:`~airflow_provider_ci.operators.base_task.TencentCIBaseTaskOperator`.
    """

    not_copied = TencentCIBaseTaskOperator.not_copied | {"_submission", "_wait"}
    #: The job as the service last described it, for OpenLineage and asset events.
    known_jobs: Sequence[J] = ()

    # What a subclass says of its jobs

    @property
    def expects_callback(self) -> bool:
        """Whether the service announces the job's end to this Airflow, so that the triggerer polls rarely."""
        return False

    def _before_submission(self, request: Tree) -> None:
        """Refuse a request that the service would accept, but whose job would fail."""

    # What Airflow calls

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
                job_id = self._pushed_job_id(context) if next_method == TRIGGER_FAILED else None
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
            self.log.warning(
                "The event of job %s is not about job %s, for which this try still waits: nothing to do",
                parsed.job_ids[0],
                self.job_id,
            )
            return self._complete_or_defer(context, None, self._deadline(context), time.time())
        deadline = self._deadline(context) if parsed.deadline is None else parsed.deadline
        outcome = self._wait.poll(self.job_id, seconds=deadline - time.time(), is_last=parsed.is_timeout)
        if outcome.tracker_of_ended_job is not None:
            self._warn_of_missing_callback(outcome.tracker_of_ended_job.jobs[self.job_id], parsed.fired_at)
            return self._complete(context, outcome.tracker_of_ended_job)
        if parsed.is_timeout:
            self._cancel_and_raise_timeout(outcome.state, f"{AFTER_TIMEOUT}{outcome.failure_clause}")
        if parsed.error is not None and not is_outage(parsed.error):
            raise parsed.error
        return self._defer(deadline, time.time() if parsed.started_at is None else parsed.started_at)

    def _warn_of_missing_callback(self, job: J, fired_at: float | None) -> None:
        """Warn if a callback was expected, and the triggerer has noticed the job's end long after it.

        :param fired_at: when the triggerer noticed it, Unix time.
        """
        if fired_at is None or job.end_time is None:
            return
        seconds = fired_at + self.hook.settings.clock.offset - job.end_time.timestamp()
        if seconds <= CALLBACK_PATIENCE:
            return
        metrics.count("callbacks_missed")
        self.log.warning(
            "Job %s ended %d s before the triggerer noticed it, and no callback had resumed the task. See"
            " that the API server's option [tencent_ci] callback_conn_ids has %r, and that the service"
            " reaches the connection's callback_base_url (docs/events.md#watching-it)",
            self.job_id,
            seconds,
            self.tencent_ci_conn_id,
        )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Return what OpenLineage asks for when the task has ended, also when it has failed."""
        return lineage_of_task(self.known_jobs, self.log)

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

    # Getting the job

    def _execute(self, context: Context) -> str:
        with fail_without_retry(self):
            refuse_nested_call(self, context)
            self._check_arguments()
            endpoint = self.hook.settings.endpoint(**self.bucket_and_region)
            request = self.build_request(endpoint)
            self.job_api.check(request)
        warn_of_ignored_arguments(
            self, TencentCIBaseTaskOperator, ignores_deferrable=self._ignores_deferrable
        )
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
            self.log.warning(
                "The job is not cancelled if the task is killed while it is deferred: %s. Cancel it in the"
                " console if that happens",
                error,
            )
            is_own_job = False
        self.defer(
            trigger=self._make_trigger(
                job_ids=[str(self.job_id)],
                tencent_ci_conn_id=self.tencent_ci_conn_id,
                **self.bucket_and_region,
                deadline=deadline,
                cancel_on_kill=self.cancel_on_kill and is_own_job,
                started_at=started_at,
                **self._polling,
            ),
            method_name="execute_complete",
            kwargs={"job_id": str(self.job_id)},
            timeout=self._latest_resumption(deadline),
        )
        raise AssertionError("defer raises")

    @property
    def _polling(self) -> dict[str, Any]:
        """The trigger's arguments that say how often it polls."""
        callbacks = self.hook.settings.callbacks if self.expects_callback else None
        if callbacks is None:
            return {"poll_interval": self.poll_interval}
        interval = max(self.poll_interval, callbacks.poll_interval)
        return {"poll_interval": interval, "expects_callback": True}

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
        if is_timeout(error):
            self._cancel_and_raise_timeout(
                outcome.state, f"{AFTER_TIMEOUT}{outcome.failure_clause}; is a triggerer running?"
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
        self._count_ended(job)
        self._raise_if_unsuccessful(tracker)
        self._push_result(context, job)
        self._kill_guard.raise_if_killed()
        self._emit_asset_events(context)
        return str(self.job_id)

    def _raise_if_unsuccessful(self, tracker: JobTracker[J]) -> None:
        """Raise the error of a job that ended without success; without retry if somebody else cancelled it,
        or if another one would fail too.
        """
        from airflow_provider_ci.submission.tracking import would_fail_again

        error = self._job_error(tracker)
        if error is None:
            return
        job = tracker.unsuccessful[0]
        if self._cancellation.ask_if_cancelled_by_others(error, job):
            raise JobCancelledByOthersError.from_error(error)
        if would_fail_again(job):
            raise JobWouldFailAgainError.from_error(error)
        raise error

    def _count_ended(self, job: J) -> None:
        metrics.count_ended([cast("Job", job)])

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
