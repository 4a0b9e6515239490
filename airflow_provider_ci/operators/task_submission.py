"""Gets the job of a task for its operator: an earlier try's, or a new one, for which the service charges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_ci import metrics
from airflow_provider_ci.exceptions import AmbiguousSubmissionError, JobCancelledError
from airflow_provider_ci.operators import earlier_tries
from airflow_provider_ci.operators.argument_errors import TaskArgumentError, fail_if_content_is_refused
from airflow_provider_ci.operators.cancellation import JobCancelledByOthersError
from airflow_provider_ci.submission.durable_submission import DurableSubmission
from airflow_provider_ci.submission.idempotency_key import fingerprint
from airflow_provider_ci.submission.tracking import J

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.bucket_jobs import JobApi
    from airflow_provider_ci.operators.cancellation import JobCancellation
    from airflow_provider_ci.operators.kill_guard import KillGuard
    from airflow_provider_ci.operators.try_state import TryState
    from airflow_provider_ci.protocol.tree import Tree


class AmbiguousSubmissionNoRetryError(AmbiguousSubmissionError, AirflowFailException):
    """It is unknown whether the service accepted a submission that is not ``durable``. There is no retry,
    because it could pay for a second job.
    """


class _SubmittedRequest(NamedTuple):
    try_number: int
    request_fingerprint: str


@dataclass(kw_only=True)
class TaskSubmission(Generic[J]):
    """Gets the job of a task.

    :param before_submission: called with a request before it is submitted; may refuse it.
    :param who_waits: who waits for the job: ``worker``, ``triggerer`` or ``nobody``.
    :param resubmit_if_unknown: submit again if listing jobs is not permitted, or the list may not show this
        type of job, at the risk of a second job.
    """

    hook: TencentCIHook
    job_api: JobApi[J]
    try_state: TryState
    kill_guard: KillGuard
    cancellation: JobCancellation
    before_submission: Callable[[Tree], None]
    who_waits: str
    resubmit_if_unknown: bool
    log: Any
    _submitted: _SubmittedRequest | None = field(default=None, init=False)
    _accepted_id: str | None = field(default=None, init=False)

    def get_or_submit(self, request: Tree, input_location: str, context: Context) -> J:
        """Return the job of the task instance, and submit it if there is none. May cost money.

        :param input_location: the bucket and region of the input.
        :raises TaskArgumentError: this try has submitted another request.
        """
        self._refuse_second_request(request, input_location, context)
        submission = self._durable_submission(context)
        self._accepted_id = None
        try:
            job = submission.get_or_submit(request, input_location)
        except JobCancelledError as error:
            raise JobCancelledByOthersError.from_error(error) from None
        except AirflowTaskTimeout:  # Airflow's own message names neither job nor service
            if self.try_state.has_lost_response:
                self.log.error(
                    "%s", self.try_state.error_of_unknown_submission("execution_timeout ended this try")
                )
            else:
                self.log.error(
                    "execution_timeout ended this try before it submitted a job. Raise it if that happens"
                    " again"
                )
            raise
        # in this order: a signal that comes between must not cancel a job that may be somebody else's
        self.try_state.found_by_request = submission.found_by_request
        self.try_state.job_id = job.job_id
        self._count_found(job, request, submission.suspected_duplicates)
        return job

    def _count_found(self, job: J, request: Tree, duplicates: int) -> None:
        if job.job_id != self._accepted_id:
            metrics.count("jobs_found_again", tags=_metric_tags(request))
        if duplicates:
            metrics.count("suspected_duplicates", duplicates, _metric_tags(request))

    def submit_without_record(self, request: Tree) -> J:
        """Submit a job, whatever earlier tries have submitted. Costs money.

        :raises AmbiguousSubmissionNoRetryError: it is unknown whether the service accepted it.
        """
        self.before_submission(request)
        try:
            return self._submit(request, None)
        except AmbiguousSubmissionError as error:
            hint = self.try_state.hint_to_look_for_job
            raise AmbiguousSubmissionNoRetryError(error.message, **error.details | {"hint": hint}) from error
        except AirflowTaskTimeout as error:  # execution_timeout, before the response came
            raise AmbiguousSubmissionNoRetryError(
                "execution_timeout ended the submission: the service may have accepted the job, which may run"
                " and be billed",
                hint="Look for it in the job list before submitting again",
            ) from error

    def _refuse_second_request(self, request: Tree, input_location: str, context: Context) -> None:
        """Refuse a subclass that submits several requests in one try: a retry could not tell their jobs
        apart.
        """
        ti = context["ti"]
        previous = self._submitted
        self._submitted = _SubmittedRequest(ti.try_number, fingerprint(request, input_location))
        if previous is None or previous.try_number != self._submitted.try_number:
            return
        if previous.request_fingerprint == self._submitted.request_fingerprint:
            return
        raise TaskArgumentError(
            f"Task {ti.task_id!r} submits a second, different request in one try; allowed: one request"
            " for each task, for several inputs with .expand()"
        )

    def _durable_submission(self, context: Context) -> DurableSubmission[J]:
        clock = self.hook.settings.clock
        run_start = earlier_tries.earliest_submission(context)

        def run_start_by_service_clock() -> float:
            # run_start comes from the clock of Airflow's database. If the service's clock is behind this
            # worker's (a negative offset), it may be behind that one too
            return run_start.timestamp() + min(clock.offset, 0)

        return DurableSubmission(
            job_api=self.job_api,
            submit=self._submit,
            cancel=self.cancellation.cancel_if_owner if self.cancellation.is_enabled else None,
            before_submission=self.before_submission,
            records=self.try_state.records,
            identity=earlier_tries.task_identity(context, self.hook.settings.deployment),
            who_waits=self.who_waits,
            may_have_submitted=earlier_tries.may_have_earlier_try(context["ti"]),
            clear_discards_record=earlier_tries.CLEAR_DISCARDS_STATE,
            run_start=run_start_by_service_clock,
            resubmit_if_unknown=self.resubmit_if_unknown,
            log=self.log,
            clock=self.hook.now,
            sleep=self.kill_guard.sleep,
        )

    def _submit(self, request: Tree, expires_at: float | None) -> J:
        """Send a submission once. Costs money.

        :raises RefusedRequestError: the service refused a field of the request.
        """
        self.kill_guard.raise_if_killed()
        where_to_look = f"in the console or with TencentCIHook.{self.job_api.list_method}"
        with fail_if_content_is_refused(), self.try_state.note_sending(request, where_to_look):
            job, request_id = self.job_api.submit(request, expires_at)
            self.try_state.job_id = self._accepted_id = job.job_id
        metrics.count("jobs_submitted", tags=_metric_tags(request))
        self.log.info("Submitted job %s (%s, request id %s)", job.job_id, job.state, request_id)
        return job


def _metric_tags(request: Tree) -> dict[str, str]:
    """Return the type of the job or of a batch's jobs, and which of the two the request makes."""
    from airflow_provider_ci.protocol.tree import find_text

    batch_type = find_text(request, "Operation.Tag")
    return {"job_type": str(batch_type or request.get("Tag")), "kind": "batch_job" if batch_type else "job"}
