"""The hook's calls about batch jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from airflow_provider_ci.hooks.calls import Calls
from airflow_provider_ci.protocol.batches import (
    BatchesResponse,
    BatchJob,
    BatchRequest,
    CancelBatch,
    CreateBatch,
    DescribeBatch,
    ListBatches,
)
from airflow_provider_ci.protocol.overlap import overlap_of_batch, refuse_overlap


class BatchCalls(Calls):
    """Creates, describes, lists and cancels batch jobs. Their jobs are found by ``list_jobs``."""

    def create_batch(
        self,
        batch: BatchRequest,
        *,
        expires_at: float | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> tuple[BatchJob, str | None]:
        """Submit ``batch`` once and return it as accepted, with the request id.

        Results go to the bucket and region that the call goes to, unless ``batch`` names others.

        :param expires_at: time by the hook's ``now`` after which the service shall refuse the submission.
        :param bucket: the inputs' bucket, ``<name>-<appid>``.
        :raises RequestValidationError: it breaks a documented rule; nothing was sent.
        :raises AmbiguousSubmissionError: it is unknown whether the batch job was accepted.
        :raises ClockSkewError: as of ``submit_job``.
        :raises ServiceError: the service refused it.
        """
        batch = replace(batch, operation=self._with_output_place(batch.operation, bucket, region))
        overlap = overlap_of_batch(batch, self.settings.endpoint(bucket, region).bucket)
        refuse_overlap(overlap, batch)
        answer = self._submit(CreateBatch(batch, expires_at), bucket, region)
        return answer.jobs_detail[0], answer.request_id

    def describe_batch(
        self, job_id: str, *, bucket: str | None = None, region: str | None = None
    ) -> BatchesResponse:
        """Return the batch job in ``jobs_detail``, or its id in ``non_exist_job_ids``."""
        return self._call(DescribeBatch(job_id), bucket, region)

    def list_batches(
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
        return self._pages(
            ListBatches(
                name=name,
                states=states,
                order_by_time=order_by_time,
                start_creation_time=start_creation_time,
                end_creation_time=end_creation_time,
            ),
            bucket,
            region,
        )

    def cancel_batch(self, job_id: str, *, bucket: str | None = None, region: str | None = None) -> None:
        """Ask the service to cancel a batch job; what becomes of jobs that it has made is not documented."""
        self._call(CancelBatch(job_id), bucket, region)

    def cancel_batch_within(
        self, job_id: str, seconds: float, *, bucket: str | None = None, region: str | None = None
    ) -> None:
        """Ask once, on a connection of its own, to cancel: for a process that is about to be killed.

        :param seconds: how long it may take, with everything.
        :raises TransportError: there was no answer in time; the service may have cancelled the job.
        """
        self._call_within(CancelBatch(job_id), seconds, bucket, region)
