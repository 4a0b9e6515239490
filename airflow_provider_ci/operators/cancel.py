"""Cancels jobs that have not begun."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import InvalidRequestError, JobError, JobNotFoundError
from airflow_provider_ci.operators.arguments import read_ids
from airflow_provider_ci.operators.base import TencentCIBaseOperator
from airflow_provider_ci.operators.validation import check_when_parsed, without_retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.protocol.jobs import JobState

# Pauses before looking (again) whether a cancellation that was accepted shows
_LOOK_PAUSES = (0.0, 1.0, 2.0, 4.0)


class TencentCICancelJobOperator(TencentCIBaseOperator):
    """Cancels jobs, and reports what became of each.

    The service cancels only jobs that have not begun (``Submitted``, ``Pause``); it says nothing about what
    it does with the others, so they are not asked for. XCom ``return_value`` is a dict from JobId to state. A
    job that has ended already is left as it is, which is no failure: running twice does no harm.

    .. seealso:: ``docs/operators.md``, and Tencent's page 436/120620.

    :param job_id: one JobId or several, for instance the output of a (mapped) ``VoiceSeparateOperator``. No
        ids at all is a success, as is ``None``, the output of one that got no job. (templated)
    :param fail_if_running: fail when a job goes on because it had begun; default: only say so in the log.
    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the bucket of the jobs' input; default: the connection's. (templated)
    :param region: its region; default: the connection's. (templated)
    """

    template_fields: Sequence[str] = ("job_id", "tencent_ci_conn_id", "bucket", "region")
    boolean_arguments = ("fail_if_running",)

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
        """Cancel what can be cancelled, and return each job's state.

        :raises JobNotFoundError: the service does not know a job; the others have been dealt with.
        :raises JobError: a job goes on, and ``fail_if_running``.
        """
        with without_retry():
            self.check_draft(None)
            ids = self._job_ids
            self.hook.settings.endpoint(**self.bucket_and_region)
        states = self._states(ids)
        waiting = [job_id for job_id, state in states.items() if state.is_waiting]
        self._cancel(waiting)
        for pause in _LOOK_PAUSES:
            if waiting:
                time.sleep(pause)
                states |= self._states(waiting)
                waiting = [job_id for job_id in waiting if states[job_id].is_waiting]
        self._report(ids, states)
        return {job_id: str(states[job_id]) for job_id in ids}

    def check_draft(self, endpoint: Any) -> None:
        """Check the ids."""
        super().check_draft(endpoint)
        _ = self._job_ids  # raises

    @cached_property
    def _job_ids(self) -> list[str]:
        # a task that failed before it had a job has no XCom
        return list(dict.fromkeys(read_ids("job_id", [] if self.job_id is None else self.job_id)))

    def _cancel(self, job_ids: Sequence[str]) -> None:
        from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST

        for start in range(0, len(job_ids), IDS_PER_REQUEST):
            part = job_ids[start : start + IDS_PER_REQUEST]
            try:
                self.hook.cancel_jobs(part, **self.bucket_and_region)
            except InvalidRequestError as error:
                # one that has begun meanwhile may spoil the whole request
                self.log.info("Cancelling %d jobs was refused, trying each alone: %s", len(part), error)
                self._cancel_each(part)

    def _cancel_each(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            try:
                self.hook.cancel_jobs([job_id], **self.bucket_and_region)
            except InvalidRequestError as error:
                self.log.warning("Job %s was not cancelled: %s", job_id, error)

    def _states(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        found = self.hook.describe_jobs(job_ids, **self.bucket_and_region).jobs_detail
        return {str(job.job_id): job.job_state for job in found if job.job_id in job_ids}

    def _report(self, ids: Sequence[str], states: dict[str, JobState]) -> None:
        for job_id, state in states.items():
            if state == "Cancel":
                self.log.info("Job %s: %s", job_id, state)
            else:
                self.log.warning("Job %s is not cancelled: %s", job_id, state)
        missing = [job_id for job_id in ids if job_id not in states]
        if missing:
            raise JobNotFoundError(
                f"The service does not know {', '.join(missing[:20])}",
                job_id=missing[0],
                hint="Check that bucket and region are those of the submission (records last about a month)",
            )
        going_on = [job_id for job_id in ids if not states[job_id].is_terminal]
        if going_on and self.fail_if_running:
            named = ", ".join(f"{job_id} ({states[job_id]})" for job_id in going_on[:20])
            raise JobError(
                f"{len(going_on)} of {len(ids)} jobs go on: {named}",
                state=str(states[going_on[0]]),
                job_id=going_on[0],
                hint="The service cancels only jobs that have not begun",
            )
