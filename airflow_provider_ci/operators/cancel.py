"""Cancels jobs that have not begun."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import InvalidRequestError, JobError, JobNotFoundError
from airflow_provider_ci.operators.argument_errors import fail_without_retry
from airflow_provider_ci.operators.base import TencentCIBaseOperator
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.rendered_arguments import read_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.protocol.jobs import JobState

# Seconds before each look whether accepted cancellations show in the jobs' states
_PAUSES = (0.0, 1.0, 2.0, 4.0)
_MAX_IDS_IN_MESSAGE = 20


class TencentCICancelJobOperator(TencentCIBaseOperator):
    """Cancels jobs, and returns the state of each.

    The service cancels only jobs that have not begun (``Submitted``, ``Pause``). What it does with others is
    not documented, so the operator does not ask for them. A job that was cancelled is polled for up to 7 s,
    until its state shows it. XCom ``return_value`` is a dict from JobId to state. It is no failure if a job
    has ended already: running twice does no harm. A job that has begun continues, and is billed. A job that
    the service does not find raises ``JobNotFoundError`` after the others are done.

    .. seealso:: ``docs/operators.md``, and Tencent's page 436/120620.

    :param job_id: one JobId or several, for instance the output of a (mapped) ``VoiceSeparateOperator``. An
        empty list is a success, as is ``None``, the output of a task that got no job. (templated)
    :param fail_if_running: fail if a job is still running, or in a state that is not documented; default:
        only log it.
    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the bucket of the jobs' input; default: the connection's. (templated)
    :param region: its region; default: the connection's. (templated)
    """

    template_fields: Sequence[str] = ("job_id", *TencentCIBaseOperator.template_fields)
    boolean_arguments = ("fail_if_running",)
    parse_check_examples = ({"job_id": ["example"]},)

    def __init__(
        self,
        *,
        job_id: str | Iterable[str] | None,
        fail_if_running: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_id = job_id
        self.fail_if_running = fail_if_running
        check_when_parsed(self)

    def execute(self, context: Context) -> dict[str, str]:  # noqa: ARG002 - as Airflow calls it
        """Cancel the jobs that have not begun, and return each job's state.

        :raises JobNotFoundError: the service does not find a job; the others are cancelled all the same.
        :raises JobError: ``fail_if_running``, and a job is still running.
        """
        from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST

        with fail_without_retry(self):
            self.validate_arguments(None)
            job_ids = self._job_ids
            self.hook.settings.endpoint(**self.bucket_and_region)
        states = self._describe(job_ids)
        waiting = [job_id for job_id, state in states.items() if state.is_waiting]
        self._cancel(waiting, IDS_PER_REQUEST)
        for pause in _PAUSES:
            if not waiting:
                break
            time.sleep(pause)
            states |= self._describe(waiting)
            waiting = [job_id for job_id in waiting if states[job_id].is_waiting]
        self._log_states(states)
        self._raise_if_missing(job_ids, states)
        if self.fail_if_running:
            self._raise_if_running(states)
        return {job_id: str(states[job_id]) for job_id in job_ids}

    def validate_arguments(self, endpoint: Any) -> None:
        """Check the arguments."""
        super().validate_arguments(endpoint)
        _ = self._job_ids  # raises

    @cached_property
    def _job_ids(self) -> list[str]:
        # None: a task that failed before it had a job has no XCom
        return list(dict.fromkeys(read_ids("job_id", [] if self.job_id is None else self.job_id)))

    def _cancel(self, job_ids: Sequence[str], ids_per_request: int) -> None:
        for start in range(0, len(job_ids), ids_per_request):
            chunk = job_ids[start : start + ids_per_request]
            try:
                self.hook.cancel_jobs(chunk, **self.bucket_and_region)
            except InvalidRequestError as error:
                if len(chunk) == 1:
                    self.log.warning("Job %s was not cancelled: %s", chunk[0], error)
                    continue
                # the service may refuse a whole request because one of its jobs has begun meanwhile
                self.log.info("Cancelling %d jobs was refused, trying each alone: %s", len(chunk), error)
                self._cancel(chunk, ids_per_request=1)

    def _describe(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        """Return the states of the jobs that the service knows."""
        jobs = self.hook.describe_jobs(job_ids, **self.bucket_and_region).jobs_detail
        return {str(job.job_id): job.job_state for job in jobs if job.job_id in job_ids}

    def _log_states(self, states: Mapping[str, JobState]) -> None:
        for job_id, state in states.items():
            if state == "Cancel":
                self.log.info("Job %s: %s", job_id, state)
            else:
                self.log.warning("Job %s is not cancelled: %s", job_id, state)

    def _raise_if_missing(self, job_ids: Sequence[str], states: Mapping[str, JobState]) -> None:
        missing = [job_id for job_id in job_ids if job_id not in states]
        if missing:
            raise JobNotFoundError(
                f"The service does not find {', '.join(missing[:_MAX_IDS_IN_MESSAGE])}",
                job_id=missing[0],
                hint="Check that bucket and region are those of the submission (records last about a month)",
            )

    def _raise_if_running(self, states: Mapping[str, JobState]) -> None:
        running = {job_id: state for job_id, state in states.items() if not state.is_terminal}
        if running:
            shown = [f"{job_id} ({state})" for job_id, state in running.items()][:_MAX_IDS_IN_MESSAGE]
            job_id, state = next(iter(running.items()))
            raise JobError(
                f"{len(running)} of {len(states)} jobs are still running: {', '.join(shown)}",
                state=str(state),
                job_id=job_id,
                hint="The service cancels only jobs that have not begun: wait for the end of the others",
            )
