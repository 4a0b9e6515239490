"""Fails a bulk task of whose items too many have no successful job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_ci.exceptions import JobError, JobFailedError
from airflow_provider_ci.operators.cancellation import JobCancelledByOthersError

if TYPE_CHECKING:
    from airflow_provider_ci.operators.bulk_outcomes import BulkOutcomes
    from airflow_provider_ci.submission.tracking import Log


class BulkJobsFailedError(JobFailedError):
    """More items of a bulk task have no successful job than ``allow_failed`` allows. A retry submits only
    these, except those whose jobs would fail again.
    """


class BulkJobsWouldFailAgainError(BulkJobsFailedError, AirflowFailException):
    """All jobs of a bulk task that did not succeed would fail again, or were cancelled by somebody else.
    There is no retry, because it would submit none of them.
    """


class BulkJobsCancelledError(JobCancelledByOthersError):
    """Somebody else cancelled all jobs of a bulk task that did not succeed. There is no retry, because it
    would submit none of them.
    """

    @classmethod
    def from_error(cls, error: JobError) -> BulkJobsCancelledError:
        """Return an error with the same message, after which Airflow does not retry the task."""
        hint = (
            "Somebody else has cancelled them, so they are not submitted again. Clear the task for new jobs"
        )
        return cls(error.message, **error.details | {"hint": hint})


def raise_if_too_many_failed(outcomes: BulkOutcomes, allow_failed: float, manifest: str, log: Log) -> None:
    """Raise unless the argument ``allow_failed`` allows as many failed items as there are.

    :param manifest: the address of the manifest, for messages.
    :raises BulkJobsFailedError: it does not.
    """
    failed, total = outcomes.failed, len(outcomes)
    if not failed:
        return
    names = outcomes.failed_names()
    more = f"; and {failed - len(names)} more" if failed > len(names) else ""
    reasons = f"{'; '.join(names)}{more}"
    if (failed / total if isinstance(allow_failed, float) else failed) <= allow_failed:
        log.warning(
            "%d of %d items have no successful job, which allow_failed=%s allows: %s. Look into the manifest"
            " for all",
            failed,
            total,
            allow_failed,
            reasons,
        )
        return
    error = BulkJobsFailedError(
        f"{failed} of {total} items have no successful job: {reasons}",
        state="Failed",
        hint="A retry submits only those that have no job, or one that ended Failed and may yet succeed, each"
        " a new paid job; clearing the task submits all of these, and no others. The manifest"
        f" {manifest} has all",
    )
    if outcomes.has_only_cancelled_failures():
        raise BulkJobsCancelledError.from_error(error)
    if outcomes.has_only_final_failures():
        hint = (
            "The same jobs would fail again, so they are not submitted again: correct the inputs, then clear"
            f" the task, which submits only these. The manifest {manifest} has all"
        )
        raise BulkJobsWouldFailAgainError(error.message, **error.details | {"hint": hint})
    raise error
