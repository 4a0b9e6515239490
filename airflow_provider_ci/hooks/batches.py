"""The hook's calls about batch jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_ci.hooks.callback_address import hide_callback_secret, with_callback_address
from airflow_provider_ci.protocol.batches import (
    BatchesResponse,
    BatchJob,
    CancelBatch,
    CreateBatch,
    DescribeBatch,
    ListBatches,
)
from airflow_provider_ci.protocol.jobs import with_output_location
from airflow_provider_ci.protocol.overlap import overlapping_results_of_batch, refuse_overlapping_results
from airflow_provider_ci.protocol.tree import Tree

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook


class Batches:
    """Creates, describes, lists and cancels batch jobs. The hook's ``list_jobs`` finds the jobs they made."""

    def __init__(self, hook: TencentCIHook) -> None:
        self._hook = hook

    def create(
        self,
        batch: Tree,
        *,
        expires_at: float | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> tuple[BatchJob, str | None]:
        """Submit a batch job once; return it as accepted, and the request id.

        Results go to the bucket and region of the inputs, unless ``batch`` names others.

        :param expires_at: time by the hook's ``now`` after which the service refuses the submission.
        :param bucket: the inputs' bucket, ``<name>-<appid>``.
        :raises RequestValidationError: it breaks a documented rule; nothing was sent.
        :raises AmbiguousSubmissionError: it is unknown whether the batch job was accepted.
        :raises ClockSkewError: as from the hook's ``submit_job``.
        :raises ServiceError: the service refused it.
        """
        endpoint = self._hook.settings.endpoint(bucket, region)
        batch = with_output_location(batch, endpoint)
        refuse_overlapping_results(overlapping_results_of_batch(batch, endpoint.bucket), batch)
        submission = CreateBatch(with_callback_address(batch, self._hook.settings), expires_at)
        with hide_callback_secret(self._hook.settings):
            response = self._hook.call_paid(submission, bucket=bucket, region=region)
        return response.jobs_detail[0], response.request_id

    def describe(
        self, job_id: str, *, bucket: str | None = None, region: str | None = None
    ) -> BatchesResponse:
        """Return the batch job in ``jobs_detail``, or its id in ``non_exist_job_ids``."""
        return self._hook.call(DescribeBatch(job_id), bucket=bucket, region=region)

    def list(
        self,
        *,
        name: str | None = None,
        states: Sequence[str] = (),
        order_by_time: str = "Desc",
        start_creation_time: datetime | None = None,
        end_creation_time: datetime | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Iterator[BatchJob]:
        """Return an iterator over the batch jobs of a bucket, newest first, page after page.

        Parameters as in :class:`~airflow_provider_ci.protocol.batches.ListBatches`.
        """
        request = ListBatches(
            name=name,
            states=states,
            order_by_time=order_by_time,
            start_creation_time=start_creation_time,
            end_creation_time=end_creation_time,
        )
        return self._hook.pages(request, bucket=bucket, region=region)

    def cancel(self, job_id: str, *, bucket: str | None = None, region: str | None = None) -> None:
        """Ask the service to cancel a batch job. What becomes of the jobs it has made is not documented."""
        self._hook.call(CancelBatch(job_id), bucket=bucket, region=region)
