"""Waits for jobs that some other task submitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_ci.assets.outlets import add_results_to_events
from airflow_provider_ci.exceptions import (
    ConfigurationError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    RequestValidationError,
    TencentCIError,
)
from airflow_provider_ci.lineage.task import lineage_of_task
from airflow_provider_ci.links.console import ConsoleLinks, TencentCIJobsLink, TencentCIResultsLink
from airflow_provider_ci.operators.argument_errors import fail_without_retry, refuse_task
from airflow_provider_ci.operators.parse_checks import check_mapped, check_when_parsed
from airflow_provider_ci.operators.rendered_arguments import connection_argument_problems, read_ids
from airflow_provider_ci.operators.untemplated_arguments import convert_untemplated_arguments
from airflow_provider_ci.version_compat import AIRFLOW_VERSION

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.protocol.jobs import Job, JobsResponse
    from airflow_provider_ci.submission.record import TaskStateStore
    from airflow_provider_ci.submission.tracking import JobTracker

# What Airflow calls instead of the method named in a deferral, when the triggerer failed or did not come back
_TRIGGER_FAILED = "__fail__"
# One poke tries requests again within so many seconds, with such pauses: it may hold a slot of a worker
_SLEEP_IN_POKE, _PAUSE_IN_POKE = 10.0, 0.3
_LONGEST_PAUSE_FOR_MISSING = 15.0
# Where the task state store holds since when jobs are missing, and of how many
_MISSING_KEY, _MISSING_AT_MOST = "ci_missing_jobs", 100
# Bytes for the ids of a trigger's jobs, as JSON. MySQL holds 65,535 bytes of a trigger's arguments; Airflow
# encrypts them, which adds a third, and those besides the ids need less than 2,000
_TRIGGER_BYTES = 47_000


class SensedJobFailedError(JobFailedError, AirflowFailException):
    """A watched job ended ``Failed``: no retry can change that, so the sensor fails at once."""


class SensedJobCancelledError(JobCancelledError, AirflowFailException):
    """A watched job was cancelled; the sensor fails at once."""


class SensedJobNotFoundError(JobNotFoundError, AirflowFailException):
    """The service does not know a watched job; the sensor fails at once."""


class TencentCIJobSensor(BaseSensorOperator):
    """Waits until every job has ended ``Success``.

    XCom ``return_value`` is a :class:`~airflow_provider_ci.protocol.results.JobResult` when ``job_id`` is one
    id, and a list of them in the order given when it is a list. A job that ended ``Failed`` or ``Cancel``, or
    has been unknown for two minutes, fails the sensor without retry (or skips it with ``soft_fail``).
    ``Pause`` and states that the documents do not name are waited for, and so is an outage of the service,
    until the sensor's ``timeout``.

    .. seealso:: ``docs/operators.md``

    :param job_id: one JobId or several, for instance the output of a (mapped) ``VoiceSeparateOperator``. No
        ids at all is a success. (templated)
    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the bucket of the jobs' input; default: the connection's. (templated)
    :param region: its region; default: the connection's. (templated)
    :param deferrable: wait in the triggerer, which ``poke_interval`` then tells the longest pause between two
        polls; default: ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("job_id", "tencent_ci_conn_id", "bucket", "region")
    boolean_arguments: Sequence[str] = ("deferrable",)
    seconds_arguments: Sequence[str] = ("poke_interval", "timeout")
    seconds_may_be_zero = True  # as Airflow has it
    choice_arguments: Mapping[str, Sequence[str]] = {}
    templated_arguments: Mapping[str, Any] = {}
    arguments_of_elements: Mapping[str, str] = {}
    argument_examples: Sequence[Mapping[str, Any]] = ({"job_id": ["example"]},)
    operator_extra_links = (TencentCIJobsLink(), TencentCIResultsLink())
    ui_color = "#d6e9ff"

    def __init__(
        self,
        *,
        job_id: str | Iterable[str],
        tencent_ci_conn_id: str = "tencent_ci_default",
        bucket: str | None = None,
        region: str | None = None,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        # Airflow's own errors about these would be retried when they come by mapping
        refuse_task(kwargs.get("task_id", ""), convert_untemplated_arguments(type(self), kwargs))
        super().__init__(**kwargs)
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.job_id = job_id
        self.tencent_ci_conn_id = tencent_ci_conn_id
        self.bucket = bucket
        self.region = region
        self.deferrable = deferrable
        #: The jobs as the service last described them, for OpenLineage and asset events.
        self.known_jobs: Sequence[Job] = ()
        self.console_links = ConsoleLinks()
        self._is_linked = False
        self._is_failing = False
        check_when_parsed(self)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Begin a mapped sensor, as every sensor does, and refuse what cannot work whatever it is mapped
        over.
        """
        made = super().partial(**kwargs)
        check_mapped(cls, made)
        return made

    def validate_arguments(self, endpoint: Any) -> None:  # noqa: ARG002 - as operators have it
        """Check what would be asked for.

        :raises RequestValidationError: naming each argument that cannot work.
        """
        if broken := connection_argument_problems(self) + self._base_problems():
            raise RequestValidationError(broken)
        _ = self._job_ids  # raises

    def _base_problems(self) -> list[str]:
        """Return what is wrong with the arguments of Airflow's own sensor, which itself looks at those of a
        mapped sensor only when it runs.
        """
        given = vars(self)  # a mapped sensor that is being parsed has no others
        broken = []
        if given.get("mode", "poke") not in self.valid_modes:
            broken.append(f"mode is {given['mode']!r}, allowed: {', '.join(sorted(self.valid_modes))}")
        if given.get("soft_fail") is True and given.get("never_fail") is True:
            broken.append("soft_fail and never_fail are True, allowed: one of them")
        return broken

    @cached_property
    def hook(self) -> TencentCIHook:
        """The hook of this task's connection."""
        from airflow_provider_ci.hooks.ci import TencentCIHook

        return TencentCIHook(self.tencent_ci_conn_id)

    def execute(self, context: Context) -> Any:
        """Wait in the mode asked for, and return the result.

        :raises TaskArgumentError: the arguments cannot work, which is no reason to skip.
        :raises TaskConnectionError: nor can the connection.
        """
        with fail_without_retry(self):
            self.validate_arguments(None)
            self._check_connection()
        if not self.deferrable:
            return super().execute(context)
        return self._end_as_in_poke_mode(context, lambda: self._done_or_defer(context))

    def _check_connection(self) -> None:
        try:
            self.hook.settings.endpoint(self.bucket or None, self.region or None)
        except ConfigurationError:
            raise
        except Exception as error:
            # not found, say: poke meets it again, where silent_fail and never_fail have a say
            self.log.debug("The connection cannot be looked up now: %s", error)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, and end as in the other modes. Airflow's own sensor ends otherwise, and
        differently in each version.
        """
        self.console_links.was_deferred = True

        def resume() -> Any:
            try:
                return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
            except AirflowException as error:
                # class and wording vary by version
                if next_method == _TRIGGER_FAILED and "timeout" in str(error):
                    return self._done_or_defer(context, is_last=True)
                raise

        return self._end_as_in_poke_mode(context, resume)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Return what OpenLineage asks for when the task has ended, also when it has failed."""
        return lineage_of_task(self.known_jobs, self.log)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after the triggerer has waited: ask the service what became of the jobs."""
        from airflow_provider_ci.submission.waiting import is_outage
        from airflow_provider_ci.triggers.events import parse_event

        seen = parse_event(event)
        if isinstance(seen.error, JobError):
            raise _without_retry(seen.error)
        if seen.error is not None and not is_outage(seen.error):
            raise seen.error
        # an older version's trigger had no deadline of this sensor's
        return self._done_or_defer(context, is_last=seen.is_timeout and seen.deadline is not None)

    def _end_as_in_poke_mode(self, context: Context, proceed: Callable[[], Any]) -> Any:
        """Return what ``proceed`` returns, or end as ``BaseSensorOperator.execute`` does after such an
        error.
        """
        try:
            return proceed()
        except AirflowSensorTimeout as error:
            if self.soft_fail:
                raise AirflowSkipException("Skipping because of soft_fail") from error
            raise
        except AirflowSkipException:
            raise
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException("Skipping because of soft_fail or never_fail") from error
            raise
        except Exception as error:
            if self.silent_fail and not isinstance(error, RequestValidationError):
                self.log.exception("The sensor goes on because of silent_fail")
                return self._end_as_in_poke_mode(context, lambda: self._defer_for(self._job_ids, context))
            if self.never_fail:
                raise AirflowSkipException("Skipping because of never_fail") from error
            raise

    def _done_or_defer(self, context: Context, *, is_last: bool = False) -> Any:
        poked = self.poke(context)
        if poked.is_done:
            return poked.xcom_value
        if is_last:
            raise self._timed_out()
        return self._defer_for(self._tracker.pending, context)

    def _defer_for(self, job_ids: Sequence[str], context: Context) -> NoReturn:
        from airflow_provider_ci.submission.waiting import FIRST_DELAY
        from airflow_provider_ci.triggers.job import TencentCIJobTrigger

        begun, _ = self._begun(context)
        # Airflow 3 does not apply execution_timeout to deferred tasks
        longest = min(timedelta(seconds=self.timeout), self.execution_timeout or timedelta.max)
        left = begun + longest - datetime.now(UTC)
        if left <= timedelta():
            raise self._timed_out()
        self.defer(
            trigger=TencentCIJobTrigger(
                job_ids=_that_fit(job_ids),
                tencent_ci_conn_id=self.tencent_ci_conn_id,
                bucket=self.bucket or None,
                region=self.region or None,
                # Airflow allows 0, but in the triggerer that would be polls without a pause
                poll_interval=self.poke_interval or FIRST_DELAY,
                deadline=(begun + longest).timestamp(),
                cancel_on_kill=False,  # the jobs are another task's
                started_at=begun.timestamp(),
            ),
            method_name="execute_complete",
            timeout=left,
        )
        raise AssertionError("defer raises")

    def _timed_out(self) -> AirflowSensorTimeout:
        pending = self._tracker.pending
        return AirflowSensorTimeout(
            f"{len(pending)} of {len(self._tracker.job_ids)} jobs have not ended after the sensor's timeout"
            f" of {self.timeout:g} s or its execution_timeout"
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Describe the jobs that have not ended yet, ten to a request. An outage is waited out."""
        from airflow_provider_ci.protocol.results import job_result

        tracker, (begun, is_rescheduled) = self._tracker, self._begun(context)
        memory = self._memory(context, is_rescheduled=is_rescheduled) if self._starts_anew else None
        try:
            if memory is not None:
                tracker.restore_missing_since(
                    {job_id: at - begun.timestamp() for job_id, at in memory.missing.items()}
                )
            was_answered = self._look(tracker.pending, begun)
            if was_answered and memory is None and self._starts_anew:
                self._look_again_for_missing(begun)
            if memory is not None:
                missing = {job_id: begun.timestamp() + at for job_id, at in tracker.missing_since.items()}
                try:
                    memory.keep(missing)
                except Exception as problem:  # the next poke can do without it
                    self.log.warning("The task state store cannot be written: %s", problem)
            self.known_jobs = list(tracker.jobs.values())
            self._link(context, is_rescheduled=is_rescheduled)
            if failure := tracker.error():
                raise failure
        except JobError as error:
            raise _without_retry(error) from None
        if tracker.pending:
            return PokeReturnValue(is_done=False)
        add_results_to_events(context, self.outlets, self.known_jobs, self.log)
        results = [job_result(tracker.jobs[job_id]) for job_id in self._job_ids]
        return PokeReturnValue(
            is_done=True, xcom_value=results[0] if isinstance(self.job_id, str) else results
        )

    @property
    def _starts_anew(self) -> bool:
        """Whether each poke is a new process, which knows nothing of those before."""
        return bool(self.reschedule) and not self.deferrable

    def _link(self, context: Context, *, is_rescheduled: bool) -> None:
        """Link the jobs when they are first seen, and their results at the end."""
        from airflow_provider_ci.protocol.results import job_result

        if not self.do_xcom_push:
            return
        results = [job_result(job) for job in self._tracker.jobs.values()]
        # Airflow deletes a task's XComs before each poke of reschedule mode. Airflow 3 stores the links after
        # each, too
        is_kept = self._is_linked or (is_rescheduled and not AIRFLOW_VERSION.startswith("2."))
        if is_kept and self._tracker.pending:
            self.console_links.remember(results)
        else:
            self.console_links.push(context, results)
            self._is_linked = bool(self._tracker.jobs)

    def _look(self, job_ids: Sequence[str], begun: datetime) -> bool:
        """Describe jobs, and tell whether the service has answered. Each request is tried once; of many
        requests some that failed are tried again, as long as most are answered.
        """
        from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST
        from airflow_provider_ci.submission.waiting import is_outage, retry_after

        starts = range(0, len(job_ids), IDS_PER_REQUEST)
        waiting = [job_ids[start : start + IDS_PER_REQUEST] for start in reversed(starts)]
        answered, failed, end = 0, 0, time.monotonic() + _SLEEP_IN_POKE
        while waiting:
            asked = waiting[-1]
            try:
                answer = self._describe(asked)
            except TencentCIError as error:
                if not is_outage(error):
                    raise
                failed += 1
                pause = max(retry_after(error), _PAUSE_IN_POKE)
                if failed * 4 > answered or time.monotonic() + pause > end:
                    if not self._is_failing:
                        self.log.warning("Poll failed, will keep trying: %s", error)
                    self._is_failing = True
                    return False
                time.sleep(pause)
            else:
                answered += 1
                self._tracker.update(answer, _seconds_since(begun), asked)
                waiting.pop()
        self._is_failing = False
        return True

    def _look_again_for_missing(self, begun: datetime) -> None:
        """Look for jobs that the service does not know until it knows them, or the grace period is over.

        Only where nothing is remembered from one poke to the next, and only once the wait has lasted for
        longer than the grace period: before, the next poke looks again.
        """
        from airflow_provider_ci.submission import tracking, waiting

        pause = waiting.FIRST_DELAY
        while missing := list(self._tracker.missing_since):
            waited = _seconds_since(begun)
            if waited <= tracking.NOT_FOUND_GRACE_PERIOD or waited >= self.timeout:
                return
            time.sleep(min(pause, tracking.NOT_FOUND_GRACE_PERIOD / 4))
            pause = min(2 * pause, _LONGEST_PAUSE_FOR_MISSING)
            if not self._look(missing, begun):
                return

    def _memory(self, context: Context, *, is_rescheduled: bool) -> _Memory | None:
        store: TaskStateStore | None = context.get("task_state_store")  # there is none before Airflow 3.3
        if store is None:
            return None
        try:
            return _Memory(store, is_rescheduled=is_rescheduled)
        except Exception as error:  # this poke can do without it
            self.log.warning("The task state store cannot be read: %s", error)
            return None

    def _describe(self, job_ids: Sequence[str]) -> JobsResponse:
        from airflow_provider_ci.submission.tracking import name_job_in_errors

        with (
            name_job_in_errors(job_ids[0]) if len(job_ids) == 1 else nullcontext(),
            self.hook.limit(attempts=1),
        ):
            return self.hook.describe_jobs(job_ids, bucket=self.bucket or None, region=self.region or None)

    @cached_property
    def _job_ids(self) -> list[str]:
        return read_ids("job_id", self.job_id)

    @cached_property
    def _tracker(self) -> JobTracker[Job]:
        from airflow_provider_ci.submission.tracking import JobTracker

        return JobTracker(self._job_ids, self.log)

    def _begun(self, context: Context) -> tuple[datetime, bool]:
        """Return when this sensor first poked, and whether that was in an earlier process from which it was
        rescheduled.
        """
        ti: Any = context["ti"]
        if not self._starts_anew:
            return ti.start_date or datetime.now(UTC), False  # Airflow 2.11 has none in dag.test()
        first = self._first_reschedule(ti, context)
        return first or datetime.now(UTC), first is not None

    def _first_reschedule(self, ti: Any, context: Context) -> datetime | None:
        """Return when the task was first rescheduled, from which ``BaseSensorOperator`` measures its timeout.
        The ``start_date`` is another one at each poke.
        """
        if hasattr(ti, "get_first_reschedule_date"):
            first: datetime | None = ti.get_first_reschedule_date(context)
            return first
        original_start = import_module("airflow.sensors.base")._orig_start_date  # of Airflow 2.11
        # since the task was first run or last cleared, as BaseSensorOperator reckons it
        since_try = (ti.max_tries or 0) - (self.retries or 0) + 1
        begun: datetime | None = original_start(
            dag_id=ti.dag_id,
            task_id=ti.task_id,
            run_id=ti.run_id,
            map_index=ti.map_index,
            try_number=since_try,
        )
        return begun


class _Memory:
    """What one poke hands on to the next in reschedule mode: since when jobs are missing, as Unix times.

    :param is_rescheduled: there was an earlier poke of this wait. Otherwise what the store holds is of a wait
        before the task was cleared.
    """

    def __init__(self, store: TaskStateStore, *, is_rescheduled: bool) -> None:
        self._store = store
        stored = store.get(_MISSING_KEY)
        self._stored = stored if isinstance(stored, dict) else {}
        self.missing = (
            {str(job_id): at for job_id, at in self._stored.items() if isinstance(at, int | float)}
            if is_rescheduled
            else {}
        )

    def keep(self, missing: dict[str, float]) -> None:
        """Write, if it has changed. Of thousands some are enough to tell when the grace period is over."""
        kept = {job_id: round(at, 1) for job_id, at in list(missing.items())[:_MISSING_AT_MOST]}
        if kept != self._stored:
            self._store.set(_MISSING_KEY, kept)


def _seconds_since(begun: datetime) -> float:
    return (datetime.now(UTC) - begun).total_seconds()


def _that_fit(job_ids: Sequence[str]) -> list[str]:
    """Return as many ids as a trigger can be stored with: one at least."""
    left, fitting = _TRIGGER_BYTES, list[str]()
    for job_id in job_ids:
        left -= len(job_id) + len('"", ')
        if left < 0 and fitting:
            break
        fitting.append(job_id)
    return fitting


def _without_retry(error: JobError) -> JobError:
    """Return ``error`` as the kind on which Airflow neither retries nor differs between modes
    (``soft_fail``).
    """
    kinds: dict[type[JobError], type[JobError]] = {
        JobFailedError: SensedJobFailedError,
        JobCancelledError: SensedJobCancelledError,
        JobNotFoundError: SensedJobNotFoundError,
    }
    return kinds[type(error)](error.message, **error.details)
