"""Batch jobs: the service makes a job of any type for each of many inputs."""

from __future__ import annotations

import math
import re
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_ci import metrics
from airflow_provider_ci.assets.outlets import add_to_events, is_alias
from airflow_provider_ci.exceptions import JobError, JobFailedError
from airflow_provider_ci.lineage.task import lineage_of_task
from airflow_provider_ci.links.console import TencentCIJobsLink
from airflow_provider_ci.operators.base_job import TencentCIBaseJobOperator
from airflow_provider_ci.operators.base_request import BaseRequestOperator
from airflow_provider_ci.operators.job_arguments import source_problems
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.time_interval import read_time_interval
from airflow_provider_ci.protocol.batch_rules import check_batch, is_input_count_problem
from airflow_provider_ci.protocol.fields import DefaultName
from airflow_provider_ci.protocol.overlap import overlapping_results_of_batch, refuse_overlapping_results
from airflow_provider_ci.protocol.rules import problems_of, raise_if_any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_ci.operators.bucket_jobs import BatchesOfBucket
    from airflow_provider_ci.protocol.batches import BatchJob
    from airflow_provider_ci.protocol.results import BatchTally
    from airflow_provider_ci.protocol.tree import Tree
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.submission.tracking import JobTracker
    from airflow_provider_ci.triggers.job import TencentCIJobTrigger

#: XCom key of the batch job's outcome, a :class:`~airflow_provider_ci.protocol.results.BatchResult`.
XCOM_BATCH = "batch"

#: The arguments that say which inputs to take, and their elements in ``Input``.
_INPUTS = {"prefix": "Prefix", "manifest": "Manifest", "url_file": "UrlFile"}
_OUTSIDE_OF_JOB_PARAM = ("Output", "UserData", "JobLevel")
_NAME_MAX = 128
_MAX_JOBS_IN_MESSAGE = 20


class BatchJobsFailedError(JobFailedError, AirflowFailException):
    """A batch job ended without success after it had made jobs, or some of its jobs did. There is no retry,
    because a new batch job would pay for all inputs again.
    """


class TencentCIBatchJobOperator(BaseRequestOperator, TencentCIBaseJobOperator["BatchJob"]):
    """Submits one batch job, which makes a job for all objects under a prefix, in an inventory or in a list.

    The service makes a paid job for each input. XCom ``return_value`` is the batch job's id, pushed as soon
    as the service has accepted it. XCom ``batch`` is a
    :class:`~airflow_provider_ci.protocol.results.BatchResult`; after waiting it has the number of jobs by
    state, and the jobs that ended without success.

    A task that waits does so until the batch job and all its jobs have ended. A task instance gets one batch
    job, whichever process dies; see ``docs/one-paid-job.md``.

    ``operation`` has parameters and ``Output`` as for a single job; the batch job's own ``JobParam`` is made
    of them. Further arguments for the request are those of
    :class:`~airflow_provider_ci.operators.base_request.BaseRequestOperator`; those for the connection and for
    waiting are those of :class:`~airflow_provider_ci.operators.base_task.TencentCIBaseTaskOperator`.
    The key of each result must differ between all inputs: it needs ``${jobid}``, or ``${InputPath}`` and
    ``${InputNameAndExt}``.

    .. seealso:: ``docs/operators.md``, and Tencent's page 460/80155 for the fields of the request.

    :param prefix: the inputs are all objects whose keys begin with this (``Input.Prefix``). (templated)
    :param manifest: or those of an inventory: key of its ``manifest.json`` (``Input.Manifest``). (templated)
    :param url_file: or those in a list: key of a file with their URLs (``Input.UrlFile``). (templated)
    :param name: the batch job's name (``Name``): Chinese, letters, digits, ``_``, ``-``, at most 128
        characters; default: the ids of DAG and task, and the map index. (templated)
    :param time_interval: only objects that were uploaded at or after ``start`` and before ``end``
        (``Operation.TimeInterval``): ``{"start": …, "end": …}``, each a time with its zone, as
        ``{{ data_interval_start }}``, or left out. Uploads are timed in whole seconds. Equal times are
        refused. (templated)
    :param allow_failed_jobs: succeed although jobs of the batch have ended without success. Otherwise the
        task fails without retry: a new batch job would pay for the good jobs again.
    """

    template_fields: Sequence[str] = (
        "tag",
        *_INPUTS,
        "name",
        "time_interval",
        *BaseRequestOperator.template_fields,
    )
    arguments_of_elements: Mapping[str, str] = {"CallBack": "callback_url"}
    operator_extra_links = (TencentCIJobsLink(),)
    boolean_arguments = (*BaseRequestOperator.boolean_arguments, "allow_failed_jobs")
    # For all three inputs, since any of them may be templated or mapped over
    parse_check_examples = tuple(
        {**example, **dict.fromkeys(_INPUTS, "example/"), "time_interval": {}}
        for example in BaseRequestOperator.parse_check_examples
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **BaseRequestOperator.template_fields_renderers,
        "time_interval": "json",
    }

    def __init__(
        self,
        *,
        prefix: str | None = None,
        manifest: str | None = None,
        url_file: str | None = None,
        name: str | None = None,
        time_interval: dict[str, Any] | None = None,
        allow_failed_jobs: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prefix = prefix
        self.manifest = manifest
        self.url_file = url_file
        self.name = name
        self.time_interval = time_interval
        self.allow_failed_jobs = allow_failed_jobs
        # When the batch job had ended, by time.monotonic(). Its jobs may end later
        self._ended_at: float | None = None
        self._tally: BatchTally | None = None
        self._map_index: int | None = None
        check_when_parsed(self, TencentCIBatchJobOperator)

    @cached_property
    def job_api(self) -> BatchesOfBucket:
        """The hook's calls about batch jobs, for this task's bucket and region."""
        from airflow_provider_ci.operators.bucket_jobs import BatchesOfBucket

        return BatchesOfBucket(self.hook, self.bucket_and_region, self.tag)

    def _check_arguments(self) -> None:
        super()._check_arguments()
        raise_if_any(
            f"outlets has the AssetAlias {outlet.name!r}, allowed: assets; a batch may have any number of"
            " results, which are in the job list"
            for outlet in self.outlets
            if is_alias(outlet)
        )

    def build_request(self, endpoint: Endpoint) -> Tree:
        """Return the request made of the rendered arguments.

        :param endpoint: the inputs' bucket and region; results go there unless the arguments say otherwise.
        :raises RequestValidationError: an argument cannot be used, there is not exactly one source of inputs,
            or a result would be an input of the next batch, and be paid for again.
        """
        arguments = self._read_arguments(*_INPUTS, "name")
        interval = read_time_interval(self)
        request = {
            # a DefaultName is left out when requests are compared: the user did not ask for it
            "Name": arguments["name"] or DefaultName(self._default_name),
            "Type": "Job",
            "Input": {
                element: arguments[name] for name, element in _INPUTS.items() if arguments[name] is not None
            },
            "Operation": {
                "Tag": arguments["tag"],
                **self._with_job_param(self._build_operation(arguments, endpoint)),
                **self._build_queue_and_callback(arguments),
                **({"TimeInterval": interval} if interval else {}),
            },
        }
        problems = [*source_problems(self, _INPUTS, [name for name in _INPUTS if arguments[name]])]
        problems += problems_of(
            refuse_overlapping_results, overlapping_results_of_batch(request, endpoint.bucket), request
        )
        # source_problems already has a sentence for the inputs
        problems += [each for each in problems_of(check_batch, request) if not is_input_count_problem(each)]
        raise_if_any(problems)
        return request

    def _with_job_param(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ``Operation`` of a job as that of a batch job, with the parameters in ``JobParam``."""
        outside = {name: operation[name] for name in _OUTSIDE_OF_JOB_PARAM if name in operation}
        parameters = {name: value for name, value in operation.items() if name not in outside}
        return {**({"JobParam": parameters} if parameters else {}), **outside}

    def execute(self, context: Context) -> str:
        """Find or submit the batch job, wait for it if asked to, and return its id."""
        self._map_index = context["ti"].map_index
        if self.time_interval and not self.prefix:
            self.log.warning(
                "time_interval may have no effect without prefix: Tencent's page 1045/47029 says so, and all"
                " inputs of the list would be paid for. List only new inputs, or use prefix"
            )
        return super().execute(context)

    def execute_complete(
        self, context: Context, event: dict[str, Any] | None = None, job_id: str | None = None
    ) -> str:
        """Continue after a deferral. The triggerer has waited until the job list shows all jobs."""
        from airflow_provider_ci.triggers.job import ENDED

        payload = event if isinstance(event, dict) else {}
        if payload.get("status") == ENDED and job_id in (None, *payload.get("job_ids", ())):
            self._ended_at = -math.inf  # the list is complete: _ask_if_ended need not wait for it
        return super().execute_complete(context, event, job_id)

    @property
    def _default_name(self) -> str:
        is_mapped = self._map_index is not None and self._map_index >= 0
        suffix = f"-{self._map_index}" if is_mapped else ""
        name = re.sub("[^A-Za-z0-9_-]", "_", f"{self.dag_id}-{self.task_id}")
        return f"{name[: _NAME_MAX - len(suffix)]}{suffix}"

    def _make_trigger(self, **arguments: Any) -> TencentCIJobTrigger:
        from airflow_provider_ci.triggers.batch import TencentCIBatchTrigger

        return TencentCIBatchTrigger(**arguments, tag=self.tag)

    def _push_result(self, context: Context, job: BatchJob) -> None:
        from airflow_provider_ci.protocol.results import BatchTally, batch_result

        if self.do_xcom_push:
            self.console_links.push_bucket(context, self.hook.settings.endpoint(**self.bucket_and_region))
            result = batch_result(job, self._tally or BatchTally())
            context["ti"].xcom_push(key=XCOM_BATCH, value=result)

    def _emit_asset_events(self, context: Context) -> None:
        counts = dict(self._tally.counts) if self._tally else {}
        add_to_events(
            context, self.outlets, {"job_id": self.job_id, "state": "Success", "counts": counts}, self.log
        )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Return what OpenLineage asks for when the task has ended, also when it has failed."""
        return lineage_of_task(self.known_jobs, self.log, self._lineage)

    def _lineage(self, batches: Sequence[BatchJob]) -> OperatorLineage[Any, Any]:
        from airflow_provider_ci.lineage.openlineage import lineage_of_batch

        endpoint = self.hook.settings.endpoint(**self.bucket_and_region)
        return lineage_of_batch(batches[0], self._tally, str(endpoint.bucket), self.tag)

    def _ask_if_ended(self, job: BatchJob) -> bool:
        """Ask the service whether all jobs of the batch job have ended, and count them if so."""
        from airflow_provider_ci.submission.durable_submission import LIST_CONSISTENCY_DELAY
        from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD

        if not job.job_state.is_terminal:
            return False
        if not job.job_state.is_successful:  # the task fails without waiting for the batch's jobs
            return True
        now = time.monotonic()
        if self._ended_at is None:
            self._ended_at = now
        seconds = now - self._ended_at
        if seconds < LIST_CONSISTENCY_DELAY:  # the list may not show all jobs yet
            return False
        tally = self._tally or self._count(str(job.job_id))
        if tally is None:
            return False
        if not tally.total and seconds < NOT_FOUND_GRACE_PERIOD:  # an empty list is probably late
            return False
        self._tally = tally
        return True

    def _count(self, batch_id: str) -> BatchTally | None:
        """Count the jobs of the batch, if all have ended."""
        from airflow_provider_ci.protocol.jobs import PENDING_STATES
        from airflow_provider_ci.protocol.results import BatchTally

        if self.job_api.find_job(batch_id, PENDING_STATES) is not None:
            return None
        tally, ended = BatchTally(), metrics.EndedJobs()
        # there may be many pages: a failed one is tried again, as far as the time allows
        with self.hook.limit(attempts=math.inf):
            for job in self.job_api.jobs(batch_id):
                tally.add(job)
                ended.add(job)
        if tally.pending:  # in states that are not documented
            self.log.warning("Jobs of batch job %s by state, still waiting: %s", batch_id, dict(tally.counts))
            return None
        ended.send()
        return tally

    def _count_ended(self, job: BatchJob) -> None:
        """Do nothing: the jobs of the batch have been counted when they were listed."""

    def _complete(self, context: Context, tracker: JobTracker[BatchJob]) -> str:
        tally = self._tally
        if tally is not None:
            self.log.info("Jobs of batch job %s by state: %s", self.job_id, dict(tally.counts))
            if not tally.total:
                self._warn_or_fail_without_jobs()
            if tally.without_success and not self.allow_failed_jobs:
                self._push_result(context, tracker.jobs[str(self.job_id)])
                raise self._failed_jobs_error(tally)
        return super()._complete(context, tracker)

    def _warn_or_fail_without_jobs(self) -> None:
        """Log that the job list shows no job of the batch job.

        :raises BatchJobsFailedError: the list may not show them, and ``allow_failed_jobs`` is not set.
        """
        if self.job_api.ask_if_jobs_are_listed():
            self.log.warning(
                "Batch job %s found no input. Check prefix and time_interval, and that the upload has"
                " finished",
                self.job_id,
            )
        elif self.allow_failed_jobs:
            self.log.warning(
                "It is unknown how the jobs of batch job %s end: the job list shows no job with Tag %s at"
                " all, and may not show this type. See them in the console",
                self.job_id,
                self.tag,
            )
        else:
            raise BatchJobsFailedError(
                f"It is unknown how the jobs of batch job {self.job_id} end: the job list shows no job with"
                f" Tag {self.tag} at all, and may not show this type",
                job_id=self.job_id,
                hint="See its jobs in the console, or set allow_failed_jobs=True; clearing pays again",
            )

    def _job_error(self, tracker: JobTracker[BatchJob]) -> JobError | None:
        error = tracker.error()
        # a batch job without result has made no jobs: nothing is paid for, so a retry is right
        if error is None or self.job_api.ask_if_ended_without_result(tracker.unsuccessful[0]):
            return error
        hint = "See its jobs in the console; clearing the task pays for all inputs again"
        return BatchJobsFailedError(
            f"{error.message} after it had made jobs, each of which is paid for",
            **error.details | {"hint": hint},
        )

    def _failed_jobs_error(self, tally: BatchTally) -> BatchJobsFailedError:
        shown = tally.unsuccessful[:_MAX_JOBS_IN_MESSAGE]
        sentences = [
            f"job {job['job_id']} of {job['input_object']} ended {job['state']}"
            + (f" ({job['code']}: {job['message']})" if job["code"] else "")
            for job in shown
        ]
        more = tally.without_success - len(shown)
        return BatchJobsFailedError(
            f"{tally.without_success} of the {tally.total} jobs of batch job {self.job_id} did not succeed: "
            + "; ".join(sentences)
            + (f"; and {more} more" if more else ""),
            job_id=self.job_id,
            state=shown[0]["state"],
            hint="Submit these inputs alone, or set allow_failed_jobs=True; clearing pays for all again",
        )

    def _describe_state(self, state: str | None) -> str:
        # a batch job succeeds before its jobs have ended
        if state == "Success":
            return "Success, but jobs that it made are still running,"
        return super()._describe_state(state)
