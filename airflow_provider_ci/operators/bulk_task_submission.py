"""Gets the jobs of a bulk task for its operator: those of earlier tries, or new ones, for which the service
charges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ci import current_try, metrics
from airflow_provider_ci.exceptions import TaskKilledError, TencentCIError
from airflow_provider_ci.operators import earlier_tries
from airflow_provider_ci.operators.argument_errors import TaskArgumentError, fail_without_retry
from airflow_provider_ci.operators.bucket_jobs import JobsOfBucket
from airflow_provider_ci.operators.bulk_cost import MediaLength, estimate_length, refuse_too_many_minutes
from airflow_provider_ci.operators.bulk_inputs import check_inputs
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED
from airflow_provider_ci.submission.bulk_submission import BulkSubmission
from airflow_provider_ci.submission.idempotency_key import TaskIdentity, key_of_job
from airflow_provider_ci.submission.progress import SubmissionProgress

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.operators.bulk_cancellation import BulkCancellation
    from airflow_provider_ci.operators.bulk_items import BulkItems
    from airflow_provider_ci.operators.bulk_job import TencentCIBulkJobOperator
    from airflow_provider_ci.protocol.results import BulkEstimate
    from airflow_provider_ci.submission.bulk_jobs import BulkJobs

# States in which Airflow has given up on a try, or is about to end it
_NOT_OWNED = frozenset({current_try.OVERTAKEN, current_try.REMOVED, current_try.RESTARTING})


@dataclass(kw_only=True)
class BulkTaskSubmission:
    """Gets the jobs of a bulk task.

    :param operator: the task. Its arguments say what may be submitted, and how fast.
    :param identity: of the task instance.
    :param tag: the type of all jobs.
    :param manifest_object: key of the manifest that the task writes.
    :param who_waits: who waits for the jobs: ``worker`` or ``triggerer``.
    :param cancellation: cancels the jobs of items that the task does not have any more.
    :param raise_if_killed: raises an error if Airflow has asked for the end of the task.
    :param has_submitted: this try has submitted before it was deferred, of which there may be no record.
    """

    operator: TencentCIBulkJobOperator
    context: Context
    items: BulkItems
    identity: TaskIdentity
    tag: str
    manifest_object: str
    who_waits: str
    cancellation: BulkCancellation
    raise_if_killed: Callable[[], None]
    has_submitted: bool
    submission: BulkSubmission = field(init=False)

    def __post_init__(self) -> None:
        operator, hook = self.operator, self.operator.hook
        may_cancel = self.cancellation.is_enabled and not operator.is_dry_run
        self.submission = BulkSubmission(
            job_api=JobsOfBucket(hook, operator.bucket_and_region),
            tag=self.tag,
            cancel=self.cancellation.cancel_jobs_if_owner if may_cancel else None,
            before_submission=self._before_submission,
            records=operator.records,
            refuse_if_overtaken=lambda: refuse_if_overtaken(self.context),
            raise_if_killed=self.raise_if_killed,
            identity=self.identity,
            who_waits=self.who_waits,
            may_have_submitted=self.has_submitted or earlier_tries.may_have_earlier_try(self.context["ti"]),
            clear_discards_record=earlier_tries.CLEAR_DISCARDS_STATE,
            only_failed=operator.only_failed,
            max_submissions_per_second=operator.max_submissions_per_second,
            max_active_jobs=operator.max_active_jobs,
            run_start=self._find_run_start(),
            resubmit_if_unknown=operator.on_ambiguous_submit == "resubmit",
            on_progress=_progress_logger(len(self.items), operator.log),
            log=operator.log,
            clock=hook.now,
            monotonic=time.monotonic,
            sleep=hook.sleep,
        )

    def _find_run_start(self) -> Callable[[], float]:
        # a clear of a run that has ended changes when the run started
        find_start = (
            earlier_tries.earliest_submission_before_clear
            if earlier_tries.was_cleared_after_its_end(self.context)
            else earlier_tries.earliest_submission
        )
        run_start, clock = find_start(self.context), self.operator.hook.settings.clock
        # as for a single job: the service's clock may be behind that of Airflow's database
        return lambda: run_start.timestamp() + min(clock.offset, 0)

    @property
    def jobs(self) -> BulkJobs:
        """What is known of the jobs, also when :meth:`get_or_submit` raises."""
        return self.submission.jobs

    def get_or_submit(self) -> BulkJobs:
        """Return the jobs of all items, and submit those of which there are none. May cost money."""
        try:
            return self.submission.get_or_submit(self.items)
        finally:
            self._count_jobs()

    def refuse_to_pay_again(self) -> None:
        """Refuse a cleared task for whose items there are jobs that may be its own, and cannot be recognised.

        Without a record and without ``deployment`` in the connection, the moment at which the DAG run started
        tells the jobs of this Airflow from those of another, and a clear of a run that has ended changes it.

        :raises TaskArgumentError: names one of these jobs. Nothing was submitted.
        """
        operator, submission = self.operator, self.submission
        is_recognised = operator.records.deployment or operator.hook.settings.deployment
        is_cleared = submission.may_have_submitted and earlier_tries.was_cleared_after_its_end(self.context)
        if self.has_submitted or is_recognised or not is_cleared:
            return
        if not operator.only_failed or submission.resubmit_if_unknown:
            return
        if operator.records.has_store and not submission.clear_discards_record:
            return  # no try has submitted, or there were a record
        since = datetime.fromtimestamp(submission.run_start(), UTC)
        wanted = {self.items.fingerprint(index) for index in range(len(self.items))}
        for job in submission.job_api.list({"Tag": self.tag}, since):
            key = key_of_job(job)
            if key is None or key.request not in wanted or job.job_state in (FAILED, CANCEL):
                continue
            if key.task_instance != self.identity.digest and self.identity.may_have_sent(job.user_data):
                raise TaskArgumentError(
                    f"only_failed is True, allowed: False, because job {job.job_id} and perhaps others were"
                    " submitted before the DAG run was cleared, and this Airflow has no record of them. They"
                    " would be paid for again: submit the failed items of the manifest in another run, or set"
                    " only_failed=False. With the field deployment in the connection, or from Airflow 3.3 on,"
                    " a cleared task finds its jobs"
                )

    def estimate(self) -> BulkEstimate:
        """Return what a run would submit. Submits nothing."""
        to_submit = self.submission.find_jobs_of_earlier_tries(self.items)
        length, total = self._length_of(to_submit), len(self.items)
        self.operator.log.info(
            "A run would submit %d jobs for %s minutes of media; %d of %d items have a job already. Nothing"
            " was submitted",
            len(to_submit),
            "an unknown number of" if length.minutes is None else f"{length.minutes:.1f}",
            total - len(to_submit),
            total,
        )
        return {
            "dry_run": True,
            "total": total,
            "reused": total - len(to_submit),
            "to_submit": len(to_submit),
            "media_minutes": length.minutes,
            "measured": length.measured,
        }

    def _before_submission(self, indexes: Sequence[int]) -> None:
        """Refuse inputs that cannot be processed, and more minutes of media than ``max_minutes``.

        :param indexes: the items that are to be submitted.
        :raises RequestValidationError: names these inputs. A retry looks again, as they may be there then.
        :raises TaskArgumentError: there are more minutes.
        """
        operator = self.operator
        if operator.check_input:
            location = operator.bucket_and_region
            check_inputs(self.items, indexes, operator.hook, location, self.raise_if_killed)
        if operator.max_minutes is not None:
            length = self._length_of(indexes)
            with fail_without_retry(operator):
                refuse_too_many_minutes(length, operator.max_minutes)
        if not self.submission.may_have_submitted:
            # a missing permission to write the manifest would otherwise show when all jobs have been paid for
            operator.hook.write_manifest((), self.manifest_object, **operator.bucket_and_region)

    def _length_of(self, indexes: Sequence[int]) -> MediaLength:
        return estimate_length(
            self.items,
            indexes,
            self.operator.media_info_samples,
            self.operator.hook,
            self.operator.bucket_and_region,
            self.raise_if_killed,
            cast("Any", self.operator.log),
        )

    def _count_jobs(self) -> None:
        """Count for Airflow's metrics how the items got their jobs."""
        counts = {
            "jobs_submitted": self.jobs.submitted,
            "jobs_found_again": self.jobs.reused,
            "suspected_duplicates": self.jobs.suspected_duplicates,
        }
        for name, number in counts.items():
            if number:
                metrics.count(name, number, {"job_type": self.tag, "kind": "job"})


def refuse_if_overtaken(context: Context) -> None:
    """Ask Airflow whether this try still owns the task. Only before Airflow 3.3, where no store says so.

    :raises TaskKilledError: it does not, so that another try may submit.
    :raises TencentCIError: Airflow cannot be asked.
    """
    try:
        state = current_try.state_of_try(context)
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise TencentCIError(
            f"Airflow could not be asked whether this try may still submit: {reason}",
            hint="A retry finds the jobs that are paid for",
        ) from error
    if state in _NOT_OWNED:
        raise TaskKilledError(
            f"Airflow has given up on try {context['ti'].try_number} of this task; it does not submit",
            hint="The next try finds the jobs that are paid for",
        )


def _progress_logger(total: int, log: Any) -> Callable[[BulkJobs], None]:
    """Return a function that says in the log how far the submission is."""
    progress = SubmissionProgress(total, log, time.monotonic)

    def report(jobs: BulkJobs) -> None:
        progress.update(total - jobs.counts()[None], sum(1 for _ in jobs.failed()))

    return report
