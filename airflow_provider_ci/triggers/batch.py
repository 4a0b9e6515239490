"""Waits for batch jobs in the triggerer, until the jobs that they made have ended too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.job_types.voice_separation import VOICE_SEPARATE
from airflow_provider_ci.triggers.job import TencentCIJobTrigger, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_ci.hooks.aio import AsyncClient
    from airflow_provider_ci.protocol.api_request import ApiRequest
    from airflow_provider_ci.protocol.batches import BatchJob
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.submission.tracking import JobTracker


class TencentCIBatchTrigger(TencentCIJobTrigger):
    """Waits until a batch job and all jobs that it made have ended, or the deadline has passed; then fires
    one event.

    A batch job that ended ``Failed`` or ``Cancel`` ends the wait at once. The job list may lag behind. So the
    trigger waits some seconds after the batch job's end before it looks for jobs, and two minutes before it
    believes that there are none. The arguments are those of
    :class:`~airflow_provider_ci.triggers.job.TencentCIJobTrigger`; ``job_ids`` holds the one batch job's id.

    :param tag: the type of its jobs. A list has the jobs of one type only.
    """

    def __init__(self, job_ids: Sequence[str], *, tag: str = VOICE_SEPARATE, **arguments: Any) -> None:
        super().__init__(job_ids, **arguments)
        if not (isinstance(tag, str) and tag):
            raise RequestValidationError([f"tag is {tag!r:.200}, allowed: the type of the jobs"])
        self.tag = tag

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and exactly the constructor's arguments, JSON-native."""
        path, arguments = super().serialize()
        return path, {**arguments, "tag": self.tag}

    @staticmethod
    def _read_ids(job_ids: Any) -> list[str]:
        ids = TencentCIJobTrigger._read_ids(job_ids)
        if len(ids) > 1:
            raise RequestValidationError([f"job_ids is {job_ids!r}, allowed: a list of one batch job's id"])
        return ids

    async def _pending_ids(self, client: AsyncClient, endpoint: Endpoint) -> list[str]:  # noqa: ARG002
        """Return the batch job: the jobs that it made may be pending although it has ended."""
        return self.job_ids

    def _cancel_requests(self, job_ids: Sequence[str]) -> list[ApiRequest[None]]:
        from airflow_provider_ci.protocol.batches import CancelBatch

        return [CancelBatch(job_id) for job_id in job_ids]

    async def _wait(self) -> dict[str, Any]:
        await load("airflow_provider_ci.triggers.settings")
        from airflow_provider_ci.submission.tracking import JobTracker

        batch = _TrackedBatch(self.job_ids[0], self.tag, JobTracker(self.job_ids, self.log))
        await self._look_until_over(batch.update)
        return self.ended_event()


class _TrackedBatch:
    """What is known of a batch job and of the jobs that it made."""

    def __init__(self, job_id: str, tag: str, tracker: JobTracker[BatchJob]) -> None:
        self._job_id = job_id
        self._tag = tag
        self._tracker = tracker
        self._ended_at: float | None = None
        self._has_jobs = False

    async def update(self, client: AsyncClient, endpoint: Endpoint, now: float) -> bool:
        """Ask the service, and return whether the batch job and its jobs have ended."""
        from airflow_provider_ci.protocol.batches import DescribeBatch
        from airflow_provider_ci.protocol.jobs import PENDING_STATES, ListJobs
        from airflow_provider_ci.submission.durable_submission import LIST_CONSISTENCY_DELAY
        from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD

        if self._tracker.pending:
            response = await client.call(DescribeBatch(self._job_id), endpoint, max_attempts=1)
            self._tracker.update(response, now)
            if self._tracker.pending:
                return False
        if self._tracker.unsuccessful:
            return True
        if self._ended_at is None:
            self._ended_at = now
        if now - self._ended_at < LIST_CONSISTENCY_DELAY:
            return False
        pending = ListJobs(
            tag=self._tag, inventory_trigger_job_id=self._job_id, states=PENDING_STATES, size=1
        )
        if (await client.call(pending, endpoint, max_attempts=1)).jobs_detail:
            return False
        if not self._has_jobs:
            any_job = ListJobs(tag=self._tag, inventory_trigger_job_id=self._job_id, size=1)
            self._has_jobs = bool((await client.call(any_job, endpoint, max_attempts=1)).jobs_detail)
        # an empty list is more likely late than true
        return self._has_jobs or now - self._ended_at >= NOT_FOUND_GRACE_PERIOD
