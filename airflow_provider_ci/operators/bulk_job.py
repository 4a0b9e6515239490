"""Any type of job for each of many inputs, by one task: each input is paid for once."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_ci.assets.outlets import add_manifest_to_events
from airflow_provider_ci.exceptions import (
    JobTimeoutError,
    RequestValidationError,
    TencentCIError,
)
from airflow_provider_ci.lineage.task import lineage_of_task
from airflow_provider_ci.operators.argument_errors import TaskArgumentError, fail_without_retry
from airflow_provider_ci.operators.base_task import AFTER_TIMEOUT
from airflow_provider_ci.operators.bulk_arguments import (
    bulk_argument_problems,
    bulk_source_problems,
    manifest_key_problems,
)
from airflow_provider_ci.operators.bulk_cancellation import BulkCancellation, BulkKillGuard
from airflow_provider_ci.operators.bulk_failures import raise_if_too_many_failed
from airflow_provider_ci.operators.bulk_manifest import address_of, default_key, read_outcomes
from airflow_provider_ci.operators.failed_trigger import TRIGGER_FAILED, is_timeout
from airflow_provider_ci.operators.job_arguments import refuse_nested_call
from airflow_provider_ci.operators.job_request import JobRequestOperator
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.rendered_arguments import connection_argument_problems, read_arguments
from airflow_provider_ci.operators.templates import is_literal
from airflow_provider_ci.protocol.rules import raise_if_any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_ci.operators.bulk_items import BulkItems
    from airflow_provider_ci.operators.bulk_outcomes import BulkOutcomes
    from airflow_provider_ci.operators.bulk_task_submission import BulkTaskSubmission
    from airflow_provider_ci.operators.bulk_wait import BulkWait
    from airflow_provider_ci.protocol.results import BulkEstimate, BulkResult, ResultObject
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.submission.bulk_records import BulkRecords
    from airflow_provider_ci.submission.bulk_waiting import BulkState
    from airflow_provider_ci.submission.idempotency_key import TaskIdentity
    from airflow_provider_ci.triggers.events import Event

# What describes one item alone; of a bulk task, an item of input_objects may have it
_OF_ONE_ITEM = ("input_object", "input_url", "user_data")
# Literal items that are checked when a DAG is parsed, which happens again and again
_ITEMS_CHECKED_WHEN_PARSED = 20
_CLOCK_SKEW = 60.0  # seconds by which a recorded time may be ahead of the service's clock


class TencentCIBulkJobOperator(JobRequestOperator):
    """Submits a job of any type for each of many inputs, waits for all, and writes what became of each into a
    manifest. A retry submits only what has no successful job.

    XCom ``return_value`` is a :class:`~airflow_provider_ci.protocol.results.BulkResult`, pushed before the
    wait and at the end, also if the task fails; with ``dry_run`` it is a
    :class:`~airflow_provider_ci.protocol.results.BulkEstimate`. ``TencentCIHook.read_manifest`` iterates over
    the manifest.

    In the keys of results the provider replaces ``${InputName}``, ``${InputNameAndExt}`` and
    ``${InputPath}``; of an ``input_url`` the decoded path counts as the key.

    Further arguments for the request are those of
    :class:`~airflow_provider_ci.operators.job_request.JobRequestOperator`, except ``input_object``,
    ``input_url`` and ``user_data``; those for the connection and for waiting are those of
    :class:`~airflow_provider_ci.operators.base_task.TencentCIBaseTaskOperator`, except
    ``wait_for_completion`` and ``durable``.

    .. seealso:: ``docs/operators.md``

    :param input_objects: the inputs: a list, or another task's output, of keys or of dicts
        ``{"input_object": …}`` with any further argument of the request, which holds for this item only;
        ``operation`` and ``input_elements`` are merged with those of the task. (templated)
    :param prefix: or all objects whose keys begin with this. Each try lists them anew. Folders, which
        consoles store as objects whose keys end with ``/``, are no items. (templated)
    :param include: of the objects under ``prefix`` only those whose keys match one of these patterns, in
        which ``*`` and ``?`` stand for any text (also ``/``) and any character. (templated)
    :param exclude: and none of these. (templated)
    :param input_manifest: or the lines of an object, by its key: each is a key, or a JSON object as an item
        of ``input_objects``. A key that begins with ``{`` or ``"`` is written as a JSON string. (templated)
    :param max_submissions_per_second: how many jobs are submitted in a second, at most. Tencent documents no
        limit. The rate is halved while the service throttles.
    :param max_active_jobs: how many of the task's jobs wait or run at once, at most. A queue of the service
        holds 10,000.
    :param only_failed: a cleared task submits only what has no successful job; ``False``: all anew. A retry
        always submits only what has none.
    :param allow_failed: succeed although so many items (an integer), or such a share of them (a number
        between 0 and 1), have no successful job. ``1`` is one item, ``1.0`` all.
    :param manifest_object: key of the manifest, in the inputs' bucket; default: made of the ids of DAG, run
        and task, under ``airflow/``. (templated)
    :param dry_run: submit nothing, write no manifest, and return what would be submitted.
    :param max_jobs: refuse more items than this.
    :param max_minutes: refuse to submit jobs for more minutes of media than this; default: no limit. The
        length is measured for some inputs before the first job is submitted.
    :param media_info_samples: of how many inputs ``dry_run`` and ``max_minutes`` measure the length; ``all``
        for all of them.
    """

    template_fields: Sequence[str] = (
        *("input_objects", "prefix", "include", "exclude", "input_manifest", "manifest_object"),
        *(name for name in JobRequestOperator.template_fields if name not in _OF_ONE_ITEM),
    )
    boolean_arguments = (*JobRequestOperator.boolean_arguments, "only_failed", "is_dry_run")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **JobRequestOperator.template_fields_renderers,
        "input_objects": "json",
    }
    parse_check_examples = tuple(
        {**example, "input_objects": ["example/input"], "prefix": "example/", "input_manifest": "example"}
        for example in JobRequestOperator.parse_check_examples
    )
    not_copied = JobRequestOperator.not_copied | {"_running_submission", "_outcomes"}
    # A mapped task is checked without a constructor, and these are no template fields
    input_object: str | None = None
    input_url: str | None = None
    user_data: str | None = None
    # What is known of the jobs of this try: while they are submitted, and afterwards
    _running_submission: BulkTaskSubmission | None = None
    _outcomes: BulkOutcomes | None = None
    _result: BulkResult | None = None
    _executed: tuple[str, int, int] | None = None
    # A job may be somebody else's, so none is cancelled
    _may_be_others = False
    # Whether a trigger can find the jobs of this task in the list
    _has_seen_key = False

    def __init__(
        self,
        *,
        input_objects: Any = None,
        prefix: str | None = None,
        include: list[str] | None = None,
        exclude: list[str] | None = None,
        input_manifest: str | None = None,
        max_submissions_per_second: float = 20,
        max_active_jobs: int = 9000,
        only_failed: bool = True,
        allow_failed: float = 0,
        manifest_object: str | None = None,
        dry_run: bool = False,
        max_jobs: int = 100_000,
        max_minutes: float | None = None,
        media_info_samples: int | str = 20,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"wait_for_completion": True, **kwargs})
        self.input_objects = input_objects
        self.prefix = prefix
        self.include = include
        self.exclude = exclude
        self.input_manifest = input_manifest
        self.max_submissions_per_second = max_submissions_per_second
        self.max_active_jobs = max_active_jobs
        self.only_failed = only_failed
        self.allow_failed = allow_failed
        self.manifest_object = manifest_object
        self.is_dry_run = dry_run  # Airflow has a method of the argument's name
        self.max_jobs = max_jobs
        self.max_minutes = max_minutes
        self.media_info_samples = media_info_samples
        check_when_parsed(self, TencentCIBulkJobOperator)

    # Arguments

    def validate_arguments(self, endpoint: Any) -> None:
        """Check the arguments, and the requests of those items that are known when a DAG is parsed."""
        problems = [*connection_argument_problems(self), *self._own_problems()]
        for item in self._items_to_check_when_parsed():
            problems += _problems_of_item(self, endpoint, item)
        raise_if_any(dict.fromkeys(problems))

    def _own_problems(self) -> list[str]:
        problems = (*bulk_argument_problems(vars(self)), *manifest_key_problems(self))
        return [*map(str, problems), *bulk_source_problems(self)]

    def _items_to_check_when_parsed(self) -> Iterator[Any]:
        """Yield the items that are literals, or one that stands for the objects under a prefix. What a
        manifest or another task gives may have any argument that is missing here.
        """
        if isinstance(self.input_objects, list | tuple):
            yield from filter(is_literal, self.input_objects[:_ITEMS_CHECKED_WHEN_PARSED])
        elif self.input_objects is None and self.input_manifest is None:
            yield f"{self.prefix or ''}example"

    def _check_arguments(self) -> None:
        super()._check_arguments()
        raise_if_any(self._own_problems())

    # What Airflow calls

    def execute(self, context: Context) -> BulkResult | BulkEstimate:
        """Get a job for each item, wait for all, write the manifest, and return what became of them.

        :raises BulkJobsFailedError: too many items have no successful job.
        """
        with self._executing(context):
            return self._execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral.

        :raises JobTimeoutError: not all jobs have ended, and the deadline has passed.
        """
        self.console_links.was_deferred = True  # another process may have pushed links
        with self._executing(context):
            # wrong ones were refused by execute(), and must not end a task whose jobs are paid for
            if not self._convert_arguments():
                self._pass_arguments_on()
            try:
                return super().resume_execution(next_method, next_kwargs, context)
            except AirflowException as error:
                state = self._pushed_state(context) if next_method == TRIGGER_FAILED else None
                if state is None:
                    raise
                return self._complete_without_trigger(context, state, error)

    def execute_complete(
        self, context: Context, event: dict[str, Any] | None = None, state: BulkState | None = None
    ) -> BulkResult | BulkEstimate:
        """Ask the service how the jobs have ended, after the triggerer has waited.

        :param state: what this try deferred with; ``dag.test()`` does not pass it, but the event has it, too.
        :raises JobTimeoutError: not all jobs have ended, and the deadline has passed.
        """
        from airflow_provider_ci.submission.waiting import is_outage
        from airflow_provider_ci.triggers.bulk import parse_bulk_event

        self._try_state.context = context  # for a caller that does not go through resume_execution()
        parsed, state_of_event = parse_bulk_event(event)
        if state is not None and state["manifest"] != state_of_event["manifest"]:
            # SQLite reuses the ids of triggers, so this is the event of a trigger from before a clear
            self.log.warning(
                "The event is not about the manifest %s of this try, which still waits: nothing to do",
                address_of(state["manifest"]),
            )
            parsed = parsed._replace(is_timeout=False, error=None, deadline=None, started_at=None)
        state = state or state_of_event
        deadline = self._deadline(context) if parsed.deadline is None else parsed.deadline
        if not self._read_manifest(state):
            return self._execute_again(context, deadline, self._began_at(parsed))
        failure = self._poll_once(context, state, deadline, is_last=parsed.is_timeout)
        if not self._known_outcomes.pending:
            return self._complete(context, state)
        if parsed.is_timeout:
            self._cancel_and_raise_timeout(context, state, AFTER_TIMEOUT, failure)
        if parsed.error is not None and not is_outage(parsed.error):
            raise parsed.error
        return self._defer(context, state, deadline, self._began_at(parsed))

    @staticmethod
    def _began_at(parsed: Event) -> float:
        return time.time() if parsed.started_at is None else parsed.started_at

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Return what OpenLineage asks for when the task has ended, also when it has failed."""
        return lineage_of_task([self._result] if self._result else [], self.log, self._lineage)

    def _lineage(self, results: Sequence[BulkResult]) -> OperatorLineage[Any, Any]:
        from airflow_provider_ci.lineage.openlineage import lineage_of_bulk

        source = next((key for key in (self.prefix, self.input_manifest) if key), None)
        folder = self._outcomes.results_folder if self._outcomes is not None else None
        return lineage_of_bulk(results[0], source, folder, self.tag)

    # Getting the jobs

    def _execute(
        self, context: Context, deadline: float | None = None, started_at: float | None = None
    ) -> BulkResult | BulkEstimate:
        """Get the jobs, and wait for them.

        :param deadline: Unix time at which a wait ends that has begun before.
        :param started_at: Unix time at which it began.
        """
        with fail_without_retry(self):
            refuse_nested_call(self, context)
            self._refuse_second_execution(context)
            self._check_arguments()
            endpoint = self.hook.settings.endpoint(**self.bucket_and_region)
            manifest = self._manifest_location(context)
            items = self._read_items(endpoint, manifest["object"])
        self._kill_guard.raise_if_killed()
        has_submitted = deadline is not None
        submission = self._submission(context, items, manifest["object"], has_submitted)
        submission.refuse_to_pay_again()
        if self.is_dry_run:
            return submission.estimate()
        state = self._get_jobs(submission, manifest)
        if not self.deferrable:
            return self._wait_on_worker(context, state)
        return self._complete_or_defer(
            context,
            state,
            self._deadline(context) if deadline is None else deadline,
            time.time() if started_at is None else started_at,
        )

    def _execute_again(
        self, context: Context, deadline: float, started_at: float
    ) -> BulkResult | BulkEstimate:
        """Begin as a retry does, because the manifest with the jobs of this try is not there any more. The
        records and the job list have them, too.
        """
        self._executed = None
        return self._execute(context, deadline, started_at)

    def _read_items(self, endpoint: Endpoint, manifest_object: str) -> BulkItems:
        from airflow_provider_ci.operators.bulk_items import read_items

        return read_items(self, self.hook, endpoint, cast("Any", self.log), manifest_object=manifest_object)

    def _get_jobs(self, submission: BulkTaskSubmission, manifest: ResultObject) -> BulkState:
        """Get the jobs of all items, and submit those of which there are none. May cost money."""
        from airflow_provider_ci.operators.bulk_outcomes import BulkOutcomes

        self._running_submission = submission
        jobs = submission.get_or_submit()
        self._may_be_others = bool(jobs.found_by_request)
        self._outcomes = BulkOutcomes.of_jobs(submission.items, jobs)
        self._kill_guard.raise_if_killed()
        now = self.hook.now()
        first = now if jobs.first_submission is None else jobs.first_submission
        return {
            "manifest": manifest,
            "submitted": jobs.submitted,
            "reused": jobs.reused,
            "since": first - _CLOCK_SKEW,
            "last_submission": now if jobs.last_submission is None else jobs.last_submission,
            "may_be_others": self._may_be_others,
        }

    def _refuse_second_execution(self, context: Context) -> None:
        """Refuse a subclass that executes the operator twice in one try: a retry could not tell the jobs
        apart.
        """
        ti: Any = context["ti"]
        this = (ti.run_id, ti.map_index, ti.try_number)
        if self._executed == this:
            raise TaskArgumentError(
                f"Task {ti.task_id!r} is executed a second time in one try; allowed: once, with all inputs"
            )
        self._executed = this

    def _submission(
        self, context: Context, items: BulkItems, manifest_object: str, has_submitted: bool
    ) -> BulkTaskSubmission:
        from airflow_provider_ci.operators.bulk_task_submission import BulkTaskSubmission

        return BulkTaskSubmission(
            operator=self,
            context=context,
            items=items,
            identity=self._task_identity(context),
            tag=self._read_tag(),
            manifest_object=manifest_object,
            who_waits=self._who_waits(),
            cancellation=self._cancellation,
            raise_if_killed=self._kill_guard.raise_if_killed,
            has_submitted=has_submitted,
        )

    # Waiting

    def _wait_on_worker(self, context: Context, state: BulkState) -> BulkResult:
        failure = self._make_wait(context, state).wait(self._longest_wait)
        if self._known_outcomes.pending:
            reason = f"after its timeout of {self._longest_wait:g} s"
            self._cancel_and_raise_timeout(context, state, reason, failure)
        return self._complete(context, state)

    def _complete_or_defer(
        self, context: Context, state: BulkState, deadline: float, started_at: float
    ) -> BulkResult:
        self._poll_once(context, state, deadline)
        if not self._known_outcomes.pending:
            return self._complete(context, state)
        return self._defer(context, state, deadline, started_at)

    def _poll_once(
        self, context: Context, state: BulkState, deadline: float, *, is_last: bool = False
    ) -> TencentCIError | None:
        """Find out which jobs have ended.

        :return: why the poll failed, if it did.
        """
        wait = self._make_wait(context, state)
        try:
            return wait.poll_once(max(deadline - time.time(), 0.0), is_last=is_last)
        finally:
            self._has_seen_key = wait.has_seen_key

    def _make_wait(self, context: Context, state: BulkState) -> BulkWait:
        from airflow_provider_ci.operators.bulk_wait import BulkWait

        return BulkWait(
            hook=self.hook,
            bucket_and_region=self.bucket_and_region,
            tag=self._read_tag(),
            outcomes=self._known_outcomes,
            task_digest=self._task_digest(context),
            since=state["since"],
            last_submission=state["last_submission"],
            sleep=self._kill_guard.sleep,
            log=self.log,
            poll_interval=self.poll_interval,
        )

    def _read_tag(self) -> str:
        return str(read_arguments(self, ("tag",))["tag"])

    def _task_digest(self, context: Context) -> str:
        return self._task_identity(context).digest

    def _task_identity(self, context: Context) -> TaskIdentity:
        from airflow_provider_ci.operators import earlier_tries

        deployment = self.records.deployment or self.hook.settings.deployment
        return earlier_tries.task_identity(context, deployment)

    @property
    def _known_outcomes(self) -> BulkOutcomes:
        assert self._outcomes is not None  # noqa: S101 - for the type checker
        return self._outcomes

    def _defer(self, context: Context, state: BulkState, deadline: float, started_at: float) -> NoReturn:
        """Wait in the triggerer. The manifest has what is known until then.

        :param deadline: Unix time at which the wait ends.
        :param started_at: Unix time at which it began.
        """
        from airflow_provider_ci.submission.bulk_waiting import DESCRIBED_MAX, FEW
        from airflow_provider_ci.triggers.bulk import TencentCIBulkTrigger

        self._kill_guard.raise_if_killed()
        state = self._write_manifest(state)
        outcomes = self._known_outcomes
        self._push(context, state)
        self._kill_guard.raise_if_killed()
        is_listed = outcomes.pending > FEW and self._has_seen_key
        self.defer(
            trigger=TencentCIBulkTrigger(
                job_ids=[] if is_listed else outcomes.pending_ids[:DESCRIBED_MAX],
                tag=self._read_tag(),
                task_digest=self._task_digest(context),
                total=len(outcomes),
                ended=len(outcomes) - outcomes.pending,
                state=dict(state),
                tencent_ci_conn_id=self.tencent_ci_conn_id,
                **self.bucket_and_region,
                poll_interval=self.poll_interval,
                deadline=deadline,
                cancel_on_kill=self.cancel_on_kill and not state["may_be_others"],
                started_at=started_at,
            ),
            method_name="execute_complete",
            kwargs={"state": dict(state)},
            timeout=self._latest_resumption(deadline),
        )
        raise AssertionError("defer raises")

    def _complete_without_trigger(
        self, context: Context, state: BulkState, error: AirflowException
    ) -> BulkResult:
        """Ask the service what became of the jobs, because the triggerer failed or none was running.

        :param error: Airflow's error about the triggerer.
        :raises JobTimeoutError: not all jobs have ended, and the deadline has passed.
        """
        self.log.warning("The triggerer did not wait for the jobs to the end: %s", error)
        if not self._read_manifest(state):
            raise error
        failure = self._poll_once(context, state, time.time(), is_last=True)
        pending = self._known_outcomes.pending
        if not pending:
            return self._complete(context, state)
        if is_timeout(error):
            self._cancel_and_raise_timeout(
                context, state, f"{AFTER_TIMEOUT}; is a triggerer running?", failure
            )
        self.log.error("%d jobs have not ended; a retry continues with them", pending)
        raise error

    def _cancel_and_raise_timeout(
        self, context: Context, state: BulkState, reason: str, failure: TencentCIError | None
    ) -> NoReturn:
        """Cancel the jobs that have not begun, because the wait is over, and raise.

        :raises JobTimeoutError: always.
        """
        outcomes = self._known_outcomes
        pending = outcomes.pending
        what_became_of_jobs = self._kill_guard.cancel_after_timeout()
        self._poll_once(context, state, time.time(), is_last=True)
        state = self._write_manifest(state)
        self._push(context, state)
        clause = "" if failure is None else f"; the last poll failed: {failure}"
        raise JobTimeoutError(
            f"{pending} of {len(outcomes)} jobs had not ended {reason}{clause}",
            hint=f"{what_became_of_jobs}. {outcomes.pending} are still running; a retry continues with them."
            f" The manifest {address_of(state['manifest'])} has all",
        )

    # The jobs' end

    def _complete(self, context: Context, state: BulkState) -> BulkResult:
        """Write the manifest, and return what became of the jobs.

        :raises BulkJobsFailedError: too many items have no successful job.
        """
        state = self._write_manifest(state)
        result = self._push(context, state)
        self._kill_guard.raise_if_killed()
        shown, succeeded, total = address_of(state["manifest"]), result["succeeded"], result["total"]
        self.log.info("%d of %d items succeeded; the manifest %s has all", succeeded, total, shown)
        raise_if_too_many_failed(self._known_outcomes, self.allow_failed, shown, self.log)
        summary = {"state": "Success", **{name: result[name] for name in ("total", "succeeded", "failed")}}
        add_manifest_to_events(context, self.outlets, state["manifest"], summary, self.log)
        return result

    # The manifest

    def _manifest_location(self, context: Context) -> ResultObject:
        endpoint = self.hook.settings.endpoint(**self.bucket_and_region)
        key = read_arguments(self, ("manifest_object",))["manifest_object"]
        return {
            "bucket": str(endpoint.bucket),
            "region": str(endpoint.region),
            "object": key or default_key(context["ti"], self._task_digest(context)),
            "md5": None,
        }

    def _write_manifest(self, state: BulkState) -> BulkState:
        """Write the manifest, and return the state with its MD5."""
        manifest, lines = state["manifest"], self._known_outcomes.lines()
        stored = self.hook.write_manifest(lines, manifest["object"], **self.bucket_and_region)
        return {**state, "manifest": {**manifest, "md5": stored.md5}}

    def _read_manifest(self, state: BulkState) -> bool:
        """Read what is known of the jobs from the manifest that this try wrote before it was deferred. Return
        whether it is still there, unchanged.
        """
        self._may_be_others = state["may_be_others"]
        outcomes = read_outcomes(self.hook, state["manifest"], self.bucket_and_region, self.log)
        if outcomes is None:
            return False
        self._outcomes = outcomes
        return True

    def _push(self, context: Context, state: BulkState) -> BulkResult:
        """Push what is known of the jobs, and the links."""
        outcomes = self._known_outcomes
        self._result = {
            "total": len(outcomes),
            "succeeded": outcomes.succeeded,
            "failed": outcomes.failed,
            "submitted": state["submitted"],
            "reused": state["reused"],
            "manifest": state["manifest"],
            "failures": outcomes.failures(),
        }
        if self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=self._result)
            endpoint = self.hook.settings.endpoint(**self.bucket_and_region)
            self.console_links.push_folder(context, endpoint, outcomes.results_folder)
        return self._result

    def _pushed_state(self, context: Context) -> BulkState | None:
        """Return the state that follows from the XCom which was pushed before the deferral."""
        from airflow_provider_ci.operators import earlier_tries

        if not self.do_xcom_push:
            return None
        ti: Any = context["ti"]
        pushed = ti.xcom_pull(task_ids=self.task_id, map_indexes=ti.map_index)
        if not isinstance(pushed, dict) or "manifest" not in pushed:
            return None
        began = earlier_tries.earliest_submission(context).timestamp()
        return {
            "manifest": pushed["manifest"],
            "submitted": pushed["submitted"],
            "reused": pushed["reused"],
            "since": began + min(self.hook.settings.clock.offset, 0) - _CLOCK_SKEW,
            "last_submission": self.hook.now(),
            "may_be_others": False,
        }

    # How a task ends that is killed or has run out of time

    @cached_property
    def _cancellation(self) -> BulkCancellation:
        return BulkCancellation(
            try_state=self._try_state,
            is_enabled=self.cancel_on_kill,
            hook=lambda: self.hook,
            job_api=lambda: self.job_api,
            log=self.log,
            pending_ids=self._pending_ids,
            bucket_and_region=lambda: self.bucket_and_region,
            record=self._record_cancel_request,
        )

    @cached_property
    def _kill_guard(self) -> BulkKillGuard:
        return BulkKillGuard(self._try_state, self._cancellation, self.log)

    def _pending_ids(self) -> list[str]:
        """Return the jobs that may not have begun, without those that may be somebody else's."""
        if self._may_be_others:
            return []
        if self._outcomes is not None:
            return self._outcomes.pending_ids
        if self._running_submission is None:
            return []
        jobs = self._running_submission.jobs
        own = (index for index in [*jobs.pending()] if index not in jobs.found_by_request)
        return [job_id for index in own if (job_id := jobs.job_ids[index])]

    def _record_cancel_request(self, requested_at: float | None) -> None:
        if requested_at is not None:
            self.records.note_cancel_request(requested_at)

    @property
    def records(self) -> BulkRecords:
        """The records of this task instance; before Airflow 3.3 there are none."""
        from airflow_provider_ci.submission.bulk_records import BulkRecords

        context = self._try_state.context
        store = context.get("task_state_store") if context is not None else None
        if context is None or store is None:
            return BulkRecords(None, 1)
        return BulkRecords(store, context["ti"].try_number)


def _problems_of_item(operator: TencentCIBulkJobOperator, endpoint: Any, item: Any) -> list[str]:
    from airflow_provider_ci.operators.bulk_request import build_item_request

    try:
        build_item_request(operator, endpoint, item)
    except RequestValidationError as error:
        return [*error.problems]
    return []
