"""Waits for jobs that another task submitted."""

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

from airflow_provider_ci import metrics
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
from airflow_provider_ci.operators.argument_errors import fail_without_retry, refuse_task_if_any
from airflow_provider_ci.operators.base import TencentCIBaseOperator
from airflow_provider_ci.operators.failed_trigger import TRIGGER_FAILED, is_timeout
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.rendered_arguments import read_ids
from airflow_provider_ci.operators.untemplated_arguments import convert_untemplated_arguments
from airflow_provider_ci.version_compat import AIRFLOW_MINOR

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_ci.protocol.jobs import Job, JobsResponse
    from airflow_provider_ci.protocol.results import JobResult
    from airflow_provider_ci.submission.record import TaskStateStore
    from airflow_provider_ci.submission.tracking import JobTracker

# A poke repeats failed requests for this many seconds only, because it occupies a worker slot
_SECONDS_FOR_RETRIES = 10.0
# The first pause before a request is repeated, in seconds; each failure doubles it
_PAUSE_IN_POKE = 0.15
# Key in the task state store: by the id of each missing job, since when it has been missing
_MISSING_KEY = "ci_missing_jobs"
# So many of them are stored. One is enough to fail the sensor when its grace period is over
_MAX_MISSING_STORED = 100
# Bytes for the ids of a trigger's jobs, as JSON. MySQL holds 65,535 bytes of a trigger's arguments. Airflow
# encrypts them, which adds a third, and the other arguments need less than 2,000
_TRIGGER_BYTES = 47_000
# Bytes of the results of all jobs in the XCom of a sensor
_RESULTS_BYTES = 256 * 1024


class SensedJobFailedError(JobFailedError, AirflowFailException):
    """A job ended ``Failed``. No retry can change that, so the sensor fails at once."""


class SensedJobCancelledError(JobCancelledError, AirflowFailException):
    """A job was cancelled; the sensor fails at once."""


class SensedJobNotFoundError(JobNotFoundError, AirflowFailException):
    """The service does not find a job; the sensor fails at once."""


class TencentCIJobSensor(TencentCIBaseOperator, BaseSensorOperator):
    """Waits until every job has ended ``Success``.

    XCom ``return_value`` is a :class:`~airflow_provider_ci.protocol.results.JobResult` when ``job_id`` is one
    id, and a list of them in the same order when it is a list. A job that ended ``Failed`` or ``Cancel``, or
    has been missing for two minutes, fails the sensor without retry (or skips it with ``soft_fail``). The
    sensor waits until its ``timeout`` while a job is in ``Pause`` or in a state that the documents do not
    name, and during an outage of the service: no response or an unreadable one, 429, 5xx, a gateway's 404.
    Any other error fails the sensor, and its retries apply; ``silent_fail`` and ``never_fail`` count as in
    poke mode. One request describes ten jobs.

    ``mode``, ``poke_interval``, ``timeout``, ``soft_fail`` and others are as of every sensor. A time is at
    most 3,650 days; with ``deferrable``, a ``poke_interval`` of 0 counts as 1 s.

    .. seealso:: ``docs/operators.md``

    :param job_id: one JobId or several, for instance the output of a (mapped) ``VoiceSeparateOperator``. An
        empty list is a success. (templated)
    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the bucket of the jobs' input; default: the connection's. (templated)
    :param region: its region; default: the connection's. (templated)
    :param deferrable: wait in the triggerer; ``poke_interval`` is then the longest pause between two polls.
        Default: ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("job_id", *TencentCIBaseOperator.template_fields)
    boolean_arguments: Sequence[str] = ("deferrable",)
    seconds_arguments: Sequence[str] = ("poke_interval", "timeout")
    seconds_may_be_zero = True  # as Airflow has it
    parse_check_examples: Sequence[Mapping[str, Any]] = ({"job_id": ["example"]},)
    operator_extra_links = (TencentCIJobsLink(), TencentCIResultsLink())

    def __init__(self, *, job_id: str | Iterable[str], deferrable: bool | None = None, **kwargs: Any) -> None:
        # Checked before Airflow does: it retries its own errors about them if they come from expand()
        problems = convert_untemplated_arguments(type(self), kwargs)
        refuse_task_if_any(kwargs.get("task_id", ""), problems)
        super().__init__(**kwargs)
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.job_id = job_id
        self.deferrable = deferrable
        #: The jobs as the service last described them, for OpenLineage and asset events.
        self.known_jobs: Sequence[Job] = ()
        self.console_links = ConsoleLinks()
        self._in_outage = False
        check_when_parsed(self)

    def validate_arguments(self, endpoint: Any) -> None:
        """Check all arguments, those of Airflow's own sensor too: Airflow checks a mapped sensor's only when
        it runs.

        :param endpoint: not used, because a sensor has no request to check.
        :raises RequestValidationError: names each argument that cannot work.
        """
        super().validate_arguments(endpoint)
        arguments = vars(self)  # the check of a mapped sensor calls this on an object that has only these
        problems = []
        if arguments.get("mode", "poke") not in self.valid_modes:
            problems.append(f"mode is {arguments['mode']!r}, allowed: {', '.join(sorted(self.valid_modes))}")
        if arguments.get("soft_fail") is True and arguments.get("never_fail") is True:
            problems.append("soft_fail and never_fail are True, allowed: one of them")
        if problems:
            raise RequestValidationError(problems)
        _ = self._job_ids  # raises

    def execute(self, context: Context) -> Any:
        """Wait in the chosen mode, and return the result. The two errors never become a skip.

        :raises TaskArgumentError: the arguments cannot work.
        :raises TaskConnectionError: the connection cannot work.
        """
        with fail_without_retry(self):
            self.validate_arguments(None)
            self._check_connection()
        if not self.deferrable:
            return super().execute(context)
        return self._end_as_in_poke_mode(context, lambda: self._complete_or_defer(context))

    def _check_connection(self) -> None:
        try:
            self.hook.settings.endpoint(**self.bucket_and_region)
        except ConfigurationError:
            raise
        except Exception as error:
            # Perhaps it does not exist. The poke meets that error again, and obeys silent_fail and never_fail
            self.log.debug("The connection cannot be looked up now: %s", error)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral, and end as in the other modes. Airflow's own sensor ends otherwise, and
        differently in each version.
        """
        self.console_links.was_deferred = True

        def resume() -> Any:
            try:
                return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
            except AirflowException as error:
                if next_method == TRIGGER_FAILED and is_timeout(error):
                    return self._complete_or_defer(context, is_last=True)
                raise

        return self._end_as_in_poke_mode(context, resume)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Ask the service what became of the jobs, after the triggerer has waited for them."""
        from airflow_provider_ci.submission.waiting import is_outage
        from airflow_provider_ci.triggers.events import parse_event

        outcome = parse_event(event)
        if isinstance(outcome.error, JobError):
            raise _without_retry(outcome.error)
        if outcome.error is not None and not is_outage(outcome.error):
            raise outcome.error
        # events of older versions have no deadline: their triggers did not wait until the sensor's
        return self._complete_or_defer(context, is_last=outcome.is_timeout and outcome.deadline is not None)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Return what OpenLineage asks for when the task has ended, also when it has failed."""
        return lineage_of_task(self.known_jobs, self.log)

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
                self.log.exception("The sensor keeps waiting because of silent_fail")
                # this defers, or raises the error for the timeout, which the first branch handles
                return self._end_as_in_poke_mode(context, lambda: self._defer_for(self._job_ids, context))
            if self.never_fail:
                raise AirflowSkipException("Skipping because of never_fail") from error
            raise

    def _complete_or_defer(self, context: Context, *, is_last: bool = False) -> Any:
        poked = self.poke(context)
        if poked.is_done:
            return poked.xcom_value
        if is_last:
            raise self._timeout_error()
        return self._defer_for(self._tracker.pending, context)

    def _defer_for(self, job_ids: Sequence[str], context: Context) -> NoReturn:
        from airflow_provider_ci.submission.waiting import FIRST_DELAY
        from airflow_provider_ci.triggers.job import TencentCIJobTrigger

        started_at = context["ti"].start_date or datetime.now(UTC)  # Airflow 2.11 has none in dag.test()
        # Airflow 3 does not apply execution_timeout to deferred tasks
        longest = min(timedelta(seconds=self.timeout), self.execution_timeout_of_dag or timedelta.max)
        remaining = started_at + longest - datetime.now(UTC)
        if remaining <= timedelta():
            raise self._timeout_error()
        self.defer(
            trigger=TencentCIJobTrigger(
                job_ids=_ids_that_fit(job_ids),
                tencent_ci_conn_id=self.tencent_ci_conn_id,
                **self.bucket_and_region,
                # Airflow allows 0, which in the triggerer would be polls without a pause
                poll_interval=self.poke_interval or FIRST_DELAY,
                deadline=(started_at + longest).timestamp(),
                cancel_on_kill=False,  # the jobs are another task's
                started_at=started_at.timestamp(),
            ),
            method_name="execute_complete",
            timeout=remaining,
        )
        raise AssertionError("defer raises")

    def _timeout_error(self) -> AirflowSensorTimeout:
        return AirflowSensorTimeout(
            f"{len(self._tracker.pending)} of {len(self._tracker.job_ids)} jobs have not ended after the"
            f" sensor's timeout of {self.timeout:g} s or its execution_timeout"
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Describe jobs that have not ended, ten to a request. An outage is no error: is_done is False."""
        try:
            return self._poke(context)
        except JobError as error:
            raise _without_retry(error) from None

    def _poke(self, context: Context) -> PokeReturnValue:
        from airflow_provider_ci.protocol.results import RESULT_BYTES_MAX, job_result

        tracker = self._tracker
        if self._pokes_in_new_processes:
            self._update_in_new_process(context)
        else:
            self._update(tracker.pending)
        self.known_jobs = list(tracker.jobs.values())
        max_bytes = min(RESULT_BYTES_MAX, _RESULTS_BYTES // max(len(tracker.jobs), 1))
        results = {job_id: job_result(job, max_bytes) for job_id, job in tracker.jobs.items()}
        if self.do_xcom_push:
            self._push_links(context, list(results.values()))
        if error := tracker.error():
            metrics.count_ended(self.known_jobs)
            raise error
        if tracker.pending:
            return PokeReturnValue(is_done=False)
        metrics.count_ended(self.known_jobs)
        add_results_to_events(context, self.outlets, self.known_jobs, self.log)
        ordered = [results[job_id] for job_id in self._job_ids]
        return PokeReturnValue(
            is_done=True, xcom_value=ordered[0] if isinstance(self.job_id, str) else ordered
        )

    @property
    def _pokes_in_new_processes(self) -> bool:
        """Whether each poke is a new process, which knows nothing of earlier ones."""
        return bool(self.reschedule) and not self.deferrable

    def _push_links(self, context: Context, results: Sequence[JobResult]) -> None:
        if self._pokes_in_new_processes and AIRFLOW_MINOR >= (3, 0):
            self.console_links.remember(results)  # this process ends soon, and Airflow then pushes them
        else:
            self.console_links.push_changes(context, results)

    def _update(self, job_ids: Sequence[str]) -> bool:
        """Describe jobs, and return whether all requests succeeded.

        When one of many requests fails, it is sent again: otherwise a poke for a thousand jobs would hardly
        ever see all of them. The poke ends when more than a fifth of the requests have failed, which is an
        outage, or when the time for retries is over.

        :raises TencentCIError: an error that does not pass by itself.
        """
        from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST
        from airflow_provider_ci.submission.waiting import Backoff

        batches = [
            job_ids[start : start + IDS_PER_REQUEST] for start in range(0, len(job_ids), IDS_PER_REQUEST)
        ]
        backoff = Backoff(_PAUSE_IN_POKE)
        end = time.monotonic() + _SECONDS_FOR_RETRIES
        succeeded = failed = 0
        while batches:
            try:
                response = self._describe(batches[0])
            except TencentCIError as error:
                backoff.note_failure(error)
                failed += 1
                pause = backoff.pause(0)
                is_service_down = failed > (failed + succeeded) / 5
                if is_service_down or time.monotonic() + pause > end:
                    if not self._in_outage:
                        self.log.warning("Poll failed, will keep trying: %s", error)
                    self._in_outage = True
                    return False
                time.sleep(pause)
            else:
                backoff.note_success()
                succeeded += 1
                self._tracker.update(response, time.time(), batches.pop(0))
        self._in_outage = False
        return True

    def _describe(self, job_ids: Sequence[str]) -> JobsResponse:
        from airflow_provider_ci.submission.tracking import name_job_in_errors

        with (
            name_job_in_errors(job_ids[0]) if len(job_ids) == 1 else nullcontext(),
            self.hook.limit(attempts=1),
        ):
            return self.hook.describe_jobs(job_ids, **self.bucket_and_region)

    def _update_in_new_process(self, context: Context) -> None:
        """Describe the pending jobs, and find out which have been missing for too long. This process has not
        seen the earlier pokes: the task state store tells what they saw; without it, the jobs are asked for
        again.
        """
        wait_began = self._start_of_wait(context)
        store: Any = context.get("task_state_store")  # there is none before Airflow 3.3
        stored = None if store is None else self._load_missing(store)
        if stored is None:
            self._update_without_store(wait_began)
        else:
            self._update_with_store(store, stored, is_first_poke=wait_began is None)

    def _update_without_store(self, wait_began: datetime | None) -> None:
        all_succeeded = self._update(self._tracker.pending)
        if all_succeeded and wait_began is not None:
            self._search_missing(wait_began)

    def _update_with_store(
        self, store: TaskStateStore, stored: Mapping[str, float], *, is_first_poke: bool
    ) -> None:
        if not is_first_poke:  # otherwise it was stored before the task was cleared
            self._tracker.restore_missing_since(stored)
        self._update(self._tracker.pending)
        missing = list(self._tracker.missing_since.items())[:_MAX_MISSING_STORED]
        missing_since = {job_id: round(since, 1) for job_id, since in missing}
        if missing_since != stored:
            try:
                store.set(_MISSING_KEY, missing_since)
            except Exception as error:  # the next poke asks again
                self.log.warning("The task state store cannot be written, will try again: %s", error)

    def _load_missing(self, store: TaskStateStore) -> dict[str, float] | None:
        """Return since when jobs are missing, as Unix times; ``None`` if the store cannot be read."""
        try:
            stored = store.get(_MISSING_KEY)
        except Exception as error:
            self.log.warning("The task state store cannot be read, will try again: %s", error)
            return None
        if not isinstance(stored, dict):
            return {}
        return {str(job_id): at for job_id, at in stored.items() if isinstance(at, int | float)}

    def _search_missing(self, wait_began: datetime) -> None:
        """Ask for missing jobs until they are found or the grace period is over.

        During the first grace period of the wait the next poke can do that.

        :raises JobNotFoundError: a job is missing when the grace period is over.
        """
        from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD
        from airflow_provider_ci.submission.waiting import poll_delay

        start = time.time()
        while missing := list(self._tracker.missing_since):
            waited = time.time() - wait_began.timestamp()
            next_poke_can_search = waited <= NOT_FOUND_GRACE_PERIOD
            is_past_timeout = waited >= self.timeout
            if next_poke_can_search or is_past_timeout:
                return
            time.sleep(poll_delay(time.time() - start, NOT_FOUND_GRACE_PERIOD / 4))
            if not self._update(missing):
                return

    @cached_property
    def _job_ids(self) -> list[str]:
        return read_ids("job_id", self.job_id)

    @cached_property
    def _tracker(self) -> JobTracker[Job]:
        from airflow_provider_ci.submission.tracking import JobTracker

        return JobTracker(self._job_ids, self.log)

    def _start_of_wait(self, context: Context) -> datetime | None:
        """Return the time of this wait's first poke, from which ``BaseSensorOperator`` measures its timeout;
        ``None`` if this is the first poke. The task's ``start_date`` changes with each poke.
        """
        ti: Any = context["ti"]
        first: datetime | None
        if hasattr(ti, "get_first_reschedule_date"):
            first = ti.get_first_reschedule_date(context)
            return first
        find_start = import_module("airflow.sensors.base")._orig_start_date  # of Airflow 2.11
        # of the first try since the task was created or cleared, as BaseSensorOperator calculates it
        try_number = (ti.max_tries or 0) - (self.retries or 0) + 1
        first = find_start(
            dag_id=ti.dag_id,
            task_id=ti.task_id,
            run_id=ti.run_id,
            map_index=ti.map_index,
            try_number=try_number,
        )
        return first


def _ids_that_fit(job_ids: Sequence[str]) -> list[str]:
    """Return as many ids as a trigger can be stored with: one at least."""
    remaining, fitting = _TRIGGER_BYTES, list[str]()
    for job_id in job_ids:
        remaining -= len(job_id) + len('"", ')
        if remaining < 0 and fitting:
            break
        fitting.append(job_id)
    return fitting


def _without_retry(error: JobError) -> JobError:
    """Return ``error`` as an ``AirflowFailException``, which Airflow does not retry, and for which
    ``soft_fail`` has the same effect in all modes.
    """
    kinds: dict[type[JobError], type[JobError]] = {
        JobFailedError: SensedJobFailedError,
        JobCancelledError: SensedJobCancelledError,
        JobNotFoundError: SensedJobNotFoundError,
    }
    return kinds[type(error)](error.message, **error.details)
