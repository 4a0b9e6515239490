"""Waits for jobs that some other task submitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_ci.exceptions import (
    ConfigurationError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    RequestValidationError,
)
from airflow_provider_ci.lineage.task import LineageMixin
from airflow_provider_ci.links.console import CIJobsLink, CIResultsLink, LinksMixin
from airflow_provider_ci.operators.arguments import read_ids
from airflow_provider_ci.operators.validation import (
    check_mapped,
    check_when_parsed,
    place_problems,
    without_retry,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.hooks.ci import CIHook
    from airflow_provider_ci.protocol.models import Job, JobsAnswer
    from airflow_provider_ci.waiting import JobWatch


class SensedJobFailedError(JobFailedError, AirflowFailException):
    """A watched job ended ``Failed``: no retry can change that, so the sensor fails at once."""


class SensedJobCancelledError(JobCancelledError, AirflowFailException):
    """A watched job was cancelled; the sensor fails at once."""


class SensedJobNotFoundError(JobNotFoundError, AirflowFailException):
    """The service does not know a watched job; the sensor fails at once."""


class CIJobSensor(LinksMixin, LineageMixin, BaseSensorOperator):
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
    :param deferrable: wait in the triggerer, which ``poke_interval`` then tells the longest pause between two
        polls; default: ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("job_id", "ci_conn_id", "bucket", "region")
    boolean_arguments: Sequence[str] = ("deferrable",)
    seconds_arguments: Sequence[str] = ()
    choice_arguments: Mapping[str, Sequence[str]] = {}
    templated_arguments: Mapping[str, Any] = {}
    operator_extra_links = (CIJobsLink(), CIResultsLink())
    ui_color = "#d6e9ff"

    def __init__(
        self,
        *,
        job_id: str | Iterable[str],
        ci_conn_id: str = "tencent_ci_default",
        bucket: str | None = None,
        region: str | None = None,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.job_id = job_id
        self.ci_conn_id = ci_conn_id
        self.bucket = bucket
        self.region = region
        self.deferrable = deferrable
        self._is_linked = False
        check_when_parsed(self)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Begin a mapped sensor, as every sensor does, and refuse what cannot work whatever it is mapped
        over.
        """
        made = super().partial(**kwargs)
        check_mapped(cls, made)
        return made

    def check_draft(self, endpoint: Any) -> None:  # noqa: ARG002 - as operators have it
        """Check what would be asked for.

        :raises RequestValidationError: naming each argument that cannot work.
        """
        if broken := place_problems(self):
            raise RequestValidationError(broken)
        _ = self._job_ids  # raises

    @cached_property
    def hook(self) -> CIHook:
        """The hook of this task's connection."""
        from airflow_provider_ci.hooks.ci import CIHook

        return CIHook(self.ci_conn_id)

    def execute(self, context: Context) -> Any:
        """Wait in the mode asked for, and return the result.

        :raises TaskArgumentError: the arguments cannot work, which is no reason to skip.
        :raises TaskConnectionError: nor can the connection.
        """
        with without_retry():
            self.check_draft(None)
            self._check_connection()
        if not self.deferrable:
            return super().execute(context)
        try:
            return self._done_or_defer(context)
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:  # as in the other modes
                raise AirflowSkipException("Skipping because of soft_fail or never_fail") from error
            raise

    def _check_connection(self) -> None:
        try:
            self.hook.settings.endpoint(self.bucket or None, self.region or None)
        except ConfigurationError:
            raise
        except Exception as error:
            # not found, say: poke meets it again, where silent_fail and never_fail have a say
            self.log.debug("The connection cannot be looked up now: %s", error)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, and skip instead of failing if ``never_fail`` says so, which Airflow 2.11
        forgets; goes away with its support.
        """
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            if self.never_fail:
                raise AirflowSkipException("Skipping because of never_fail") from error
            raise

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after the triggerer has waited: ask the service what became of the jobs."""
        from airflow_provider_ci.triggers.events import read_event

        seen = read_event(event)
        if isinstance(seen.error, JobError):
            raise _without_retry(seen.error)
        if seen.error is not None:
            raise seen.error
        return self._done_or_defer(context)

    def _done_or_defer(self, context: Context) -> Any:
        from airflow_provider_ci.triggers.job import CIJobTrigger

        poked = self.poke(context)
        if poked.is_done:
            return poked.xcom_value
        # Airflow 3 does not apply execution_timeout to deferred tasks
        longest = min(timedelta(seconds=self.timeout), self.execution_timeout or timedelta.max)
        self.defer(
            trigger=CIJobTrigger(
                job_ids=self._watch.pending,
                ci_conn_id=self.ci_conn_id,
                bucket=self.bucket or None,
                region=self.region or None,
                poll_interval=self.poke_interval,
                cancel_on_kill=False,  # the jobs are another task's
            ),
            method_name="execute_complete",
            timeout=max(self._begun(context) + longest - datetime.now(UTC), timedelta()),
        )
        raise AssertionError("defer raises")

    def poke(self, context: Context) -> PokeReturnValue:
        """Describe the jobs that have not ended yet, ten to a request."""
        from airflow_provider_ci.protocol.results import job_result

        watch, elapsed = self._watch, (datetime.now(UTC) - self._begun(context)).total_seconds()
        try:
            try:
                watch.observe(self._describe(watch.pending), elapsed)
            except JobNotFoundError:
                # in reschedule mode nothing is known of earlier pokes, so one odd answer must not be the end
                watch.observe(self._describe(watch.pending), elapsed)
            self.seen_jobs = list(watch.jobs.values())
            self._push_links(context)
            if error := watch.error():
                raise error
        except JobError as error:
            raise _without_retry(error) from None
        if watch.pending:
            return PokeReturnValue(is_done=False)
        self._announce(context)
        results = [job_result(watch.jobs[job_id]) for job_id in self._job_ids]
        return PokeReturnValue(
            is_done=True, xcom_value=results[0] if isinstance(self.job_id, str) else results
        )

    def _push_links(self, context: Context) -> None:
        """Link the jobs when they are first seen, and their results at the end."""
        from airflow_provider_ci.protocol.results import job_result

        if self.do_xcom_push and not (self._is_linked and self._watch.pending):
            self.push_links(context, [job_result(job) for job in self._watch.jobs.values()])
            self._is_linked = bool(self._watch.jobs)

    def _describe(self, job_ids: Sequence[str]) -> JobsAnswer:
        from airflow_provider_ci.waiting import about

        with about(job_ids[0]) if len(job_ids) == 1 else nullcontext():
            return self.hook.describe_jobs(job_ids, bucket=self.bucket or None, region=self.region or None)

    @cached_property
    def _job_ids(self) -> list[str]:
        return read_ids("job_id", self.job_id)

    @cached_property
    def _watch(self) -> JobWatch[Job]:
        from airflow_provider_ci.waiting import JobWatch

        return JobWatch(self._job_ids, self.log)

    def _begun(self, context: Context) -> datetime:
        """Return when this sensor first poked: in reschedule mode each poke is a new process."""
        task_instance: Any = context["ti"]
        if self.reschedule and not self.deferrable and hasattr(task_instance, "get_first_reschedule_date"):
            first: datetime | None = task_instance.get_first_reschedule_date(context)
            return first or datetime.now(UTC)
        # Airflow 2.11 keeps the first start in start_date across reschedules, and has none in dag.test()
        start: datetime | None = task_instance.start_date
        return start or datetime.now(UTC)


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
