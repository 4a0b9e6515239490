"""Waits for batch jobs in the triggerer, until the jobs that they made have ended too."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import JobError, RequestValidationError, TencentCIError
from airflow_provider_ci.triggers.job import ENDED, FAILURES_TOLERATED, TencentCIJobTrigger, load

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.aio import AsyncClient
    from airflow_provider_ci.protocol.api_request import ApiRequest
    from airflow_provider_ci.protocol.batches import BatchJob
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.submission.tracking import JobTracker


class TencentCIBatchTrigger(TencentCIJobTrigger):
    """Waits until a batch job and all jobs that it made have ended, or the deadline has passed; then fires
    one event.

    A batch job that ended ``Failed`` or ``Cancel`` ends the wait at once. The job list may lag behind, so the
    jobs are looked for only some seconds after the batch job has ended, and that it made none is believed
    only after two minutes. Arguments as of
    :class:`~airflow_provider_ci.triggers.job.TencentCIJobTrigger`; ``job_ids`` holds the one batch job's id.
    """

    @staticmethod
    def _read_ids(job_ids: Any) -> list[str]:
        ids = TencentCIJobTrigger._read_ids(job_ids)
        if len(ids) > 1:
            raise RequestValidationError([f"job_ids is {job_ids!r}, allowed: a list of one batch job's id"])
        return ids

    def _cancel_calls(self) -> list[ApiRequest[None]]:
        from airflow_provider_ci.protocol.batches import CancelBatch

        return [CancelBatch(job_id) for job_id in self.job_ids]

    async def _wait(self) -> dict[str, Any]:
        await load("airflow_provider_ci.triggers.settings")
        from airflow_provider_ci.hooks.aio import AsyncClient
        from airflow_provider_ci.submission.tracking import Backoff, JobTracker
        from airflow_provider_ci.triggers.settings import recent_settings

        tracker: JobTracker[BatchJob] = JobTracker(self.job_ids, self.log)
        wait = _BatchWait(self.job_ids[0], tracker)
        backoff = Backoff(self.poll_interval, refusals_tolerated=FAILURES_TOLERATED)
        waited, start, client = self._waited, time.monotonic(), None
        pause = spread(waited, self.poll_interval)
        async with AsyncExitStack() as stack:
            while True:
                await asyncio.sleep(pause)  # first of all, too: the worker has just looked
                try:
                    if client is None:
                        opened = AsyncClient(await recent_settings(self.tencent_ci_conn_id))
                        client = await stack.enter_async_context(opened)
                    elif backoff.failure is not None:  # the connection may have got new keys
                        with suppress(Exception):  # otherwise those at hand have to do
                            client.settings = await recent_settings(self.tencent_ci_conn_id)
                    endpoint = client.settings.endpoint(self.bucket, self.region)
                    if await wait.is_over(client, endpoint, time.monotonic() - start):
                        return self._event(ENDED)
                    backoff.note_response()
                except JobError:
                    raise
                except Exception as error:  # also Airflow's own, for instance when the connection is gone
                    known = (
                        error
                        if isinstance(error, TencentCIError)
                        else TencentCIError(f"{type(error).__name__}: {error}")
                    )
                    is_first = backoff.failure is None
                    backoff.note_failure(known)
                    if is_first:
                        self.log.warning("Poll failed, will keep trying: %s", known)
                pause = backoff.pause(waited + time.monotonic() - start)


def spread(waited: float, poll_interval: float) -> float:
    """Return the first pause: of a wait that began elsewhere, a part of its usual pause, at random.

    After a restart all waits begin again at once, and would look at the same moments for ever.
    """
    from airflow_provider_ci.submission.tracking import FIRST_DELAY, poll_delay

    usual = poll_delay(waited, poll_interval)
    return random.uniform(min(FIRST_DELAY, usual), usual)  # noqa: S311 - not for security


class _BatchWait:
    """What has been seen of a batch job so far."""

    def __init__(self, job_id: str, tracker: JobTracker[BatchJob]) -> None:
        self._job_id = job_id
        self._tracker = tracker
        self._ended_at: float | None = None
        self._has_jobs = False

    async def is_over(self, client: AsyncClient, endpoint: Endpoint, elapsed: float) -> bool:
        """Look, and tell whether there is nothing left to wait for."""
        from airflow_provider_ci.protocol.batches import DescribeBatch
        from airflow_provider_ci.protocol.jobs import PENDING_STATES, ListJobs
        from airflow_provider_ci.submission import durable_submission
        from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD

        if self._tracker.pending:
            answer = await client.once(DescribeBatch(self._job_id), endpoint)
            self._tracker.update(answer, elapsed)
            if self._tracker.pending:
                return False
        if self._tracker.unsuccessful:
            return True
        if self._ended_at is None:
            self._ended_at = elapsed
        if elapsed - self._ended_at < durable_submission.LIST_CONSISTENCY_DELAY:
            return False
        going_on = ListJobs(inventory_trigger_job_id=self._job_id, states=PENDING_STATES, size=1)
        if (await client.once(going_on, endpoint)).jobs_detail:
            return False
        if not self._has_jobs:
            some = await client.once(ListJobs(inventory_trigger_job_id=self._job_id, size=1), endpoint)
            self._has_jobs = bool(some.jobs_detail)
        # a list without any job is rather late than true
        return self._has_jobs or elapsed - self._ended_at >= NOT_FOUND_GRACE_PERIOD
