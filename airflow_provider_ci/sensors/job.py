"""Waits for jobs that some other task submitted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_ci.exceptions import (
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    RequestValidationError,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.hooks.ci import CIHook
    from airflow_provider_ci.waiting import JobWatch


class SensedJobFailedError(JobFailedError, AirflowFailException):
    """A watched job ended ``Failed``: no retry can change that, so the sensor fails at once."""


class SensedJobCancelledError(JobCancelledError, AirflowFailException):
    """A watched job was cancelled; the sensor fails at once."""


class SensedJobNotFoundError(JobNotFoundError, AirflowFailException):
    """The service does not know a watched job; the sensor fails at once."""


class CIJobSensor(BaseSensorOperator):
    """Waits until every job has ended ``Success``.

    XCom ``return_value`` is a :class:`~airflow_provider_ci.protocol.results.JobResult` when ``job_id`` is one
    id, and a list of them in the order given when it is a list. A job that ended ``Failed`` or ``Cancel``, or
    is still unknown after two minutes, fails the sensor without retry (or skips it with ``soft_fail``).
    ``Pause`` and states that the documents do not name are waited for.

    .. seealso:: ``docs/operators.md``

    :param job_id: one JobId or several, for instance the output of a (mapped) ``VoiceSeparateOperator``. No
        ids at all is a success. (templated)
    :param ci_conn_id: the Airflow connection. (templated)
    :param bucket: the bucket of the jobs' input; default: the connection's. (templated)
    :param region: its region; default: the connection's. (templated)
    """

    template_fields: Sequence[str] = ("job_id", "ci_conn_id", "bucket", "region")
    ui_color = "#d6e9ff"

    def __init__(
        self,
        *,
        job_id: str | Iterable[str],
        ci_conn_id: str = "tencent_ci_default",
        bucket: str | None = None,
        region: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_id = job_id
        self.ci_conn_id = ci_conn_id
        self.bucket = bucket
        self.region = region

    @cached_property
    def hook(self) -> CIHook:
        """The hook of this task's connection."""
        from airflow_provider_ci.hooks.ci import CIHook

        return CIHook(self.ci_conn_id)

    def poke(self, context: Context) -> PokeReturnValue:
        """Describe the jobs that have not ended yet, ten to a request."""
        from airflow_provider_ci.protocol.results import job_result

        watch = self._watch
        answer = self.hook.describe_jobs(
            watch.pending, bucket=self.bucket or None, region=self.region or None
        )
        try:
            watch.observe(answer, (datetime.now(UTC) - self._begun(context)).total_seconds())
            if error := watch.error():
                raise error
        except JobError as error:
            raise _without_retry(error) from None
        if watch.pending:
            return PokeReturnValue(is_done=False)
        results = [job_result(watch.jobs[job_id]) for job_id in self._job_ids]
        return PokeReturnValue(
            is_done=True, xcom_value=results[0] if isinstance(self.job_id, str) else results
        )

    @cached_property
    def _job_ids(self) -> list[str]:
        given: Any = self.job_id
        ids = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else None
        if ids is None or isinstance(given, dict) or not all(isinstance(i, str) and i for i in ids):
            raise RequestValidationError([f"job_id is {given!r}, allowed: a JobId or a list of JobIds"])
        return ids

    @cached_property
    def _watch(self) -> JobWatch:
        from airflow_provider_ci.waiting import JobWatch

        return JobWatch(self._job_ids, self.log)

    def _begun(self, context: Context) -> datetime:
        """Return when this sensor first poked: in reschedule mode each poke is a new process."""
        task_instance: Any = context["ti"]
        if self.reschedule and hasattr(task_instance, "get_first_reschedule_date"):
            first: datetime | None = task_instance.get_first_reschedule_date(context)
            return first or datetime.now(UTC)
        # Airflow 2.11 keeps the first start in start_date across reschedules
        start: datetime = task_instance.start_date
        return start


def _without_retry(error: JobError) -> JobError:
    """Return ``error`` as the kind on which Airflow neither retries nor differs between modes
    (``soft_fail``).
    """
    kinds: dict[type[JobError], type[JobError]] = {
        JobFailedError: SensedJobFailedError,
        JobCancelledError: SensedJobCancelledError,
        JobNotFoundError: SensedJobNotFoundError,
    }
    return kinds[type(error)](
        error.message,
        state=error.state,
        status=error.status,
        code=error.code,
        service_message=error.service_message,
        request_id=error.request_id,
        job_id=error.job_id,
        hint=error.hint,
    )
