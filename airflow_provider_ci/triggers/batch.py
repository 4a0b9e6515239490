"""Waits for batch jobs in the triggerer, until the jobs that they made have ended too."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import CIError, JobError, ServerError, ThrottledError
from airflow_provider_ci.triggers.job import ENDED, FAILURES_TOLERATED, CIJobTrigger, load

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.aio import AsyncClient
    from airflow_provider_ci.protocol.admin_models import BatchJob
    from airflow_provider_ci.protocol.operations import RemoteCall
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.waiting import JobWatch


class CIBatchTrigger(CIJobTrigger):
    """Waits until a batch job and all jobs that it made have ended, or the deadline has passed; then fires
    one event.

    A batch job that ended ``Failed`` or ``Cancel`` ends the wait at once. The job list may lag behind, so the
    jobs are looked for only some seconds after the batch job has ended, and that it made none is believed
    only after two minutes. Arguments as of
    :class:`~airflow_provider_ci.triggers.job.CIJobTrigger`; ``job_ids`` holds the one batch job's id.
    """

    def _cancel_calls(self) -> list[RemoteCall[None]]:
        from airflow_provider_ci.protocol.batch_operations import CancelBatch

        return [CancelBatch(job_id) for job_id in self.job_ids]

    async def _wait(self) -> dict[str, Any]:
        await load("airflow_provider_ci.hooks.aio")
        from airflow_provider_ci.hooks.aio import AsyncClient, load_settings
        from airflow_provider_ci.waiting import JobWatch, poll_delay

        watch: JobWatch[BatchJob] = JobWatch(self.job_ids, self.log)
        wait, pace = _BatchWait(self.job_ids[0], watch), _Pace()
        start, client = time.monotonic(), None
        async with AsyncExitStack() as stack:
            while True:
                # first a pause: the worker has just looked
                await asyncio.sleep(pace.stretch(poll_delay(time.monotonic() - start, self.poll_interval)))
                try:
                    if client is None:
                        opened = AsyncClient(await load_settings(self.ci_conn_id))
                        client = await stack.enter_async_context(opened)
                    elif pace.failures:  # the connection may have got new keys
                        client.settings = await load_settings(self.ci_conn_id)
                    endpoint = client.settings.endpoint(self.bucket, self.region)
                    if await wait.is_over(client, endpoint, time.monotonic() - start):
                        return self._event(ENDED)
                    pace.take_answer()
                except JobError:
                    raise
                except Exception as error:  # also Airflow's own, for instance when the connection is gone
                    known = (
                        error if isinstance(error, CIError) else CIError(f"{type(error).__name__}: {error}")
                    )
                    pace.take_failure(known)
                    if pace.failures > FAILURES_TOLERATED:
                        raise known from None
                    if pace.failures == 1:
                        self.log.warning("A poll failed, trying on: %s", known)


class _Pace:
    """How fast a batch job is polled: as the poller polls jobs, slower after failures."""

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self._slow = 1.0
        self._asked_for = 0.0

    def stretch(self, pause: float) -> float:
        return max(pause * self._slow, self._asked_for)

    def take_answer(self) -> None:
        self.failures = 0
        self._slow, self._asked_for = max(self._slow / 2, 1.0), 0.0

    def take_failure(self, error: CIError) -> None:
        from airflow_provider_ci.protocol.errors import is_retryable
        from airflow_provider_ci.waiting import SLOWEST

        self.failures += 1
        if is_retryable(error):
            self._slow = min(self._slow * 2, SLOWEST)
        if isinstance(error, ThrottledError | ServerError):
            self._asked_for = error.retry_after or 0.0


class _BatchWait:
    """What has been seen of a batch job so far."""

    def __init__(self, job_id: str, watch: JobWatch[BatchJob]) -> None:
        self._job_id = job_id
        self._watch = watch
        self._ended_at: float | None = None
        self._has_jobs = False

    async def is_over(self, client: AsyncClient, endpoint: Endpoint, elapsed: float) -> bool:
        """Look, and tell whether there is nothing left to wait for."""
        from airflow_provider_ci import durability
        from airflow_provider_ci.protocol.batch_operations import DescribeBatch
        from airflow_provider_ci.protocol.models import PENDING_STATES
        from airflow_provider_ci.protocol.operations import ListJobs
        from airflow_provider_ci.waiting import UNKNOWN_JOB_GRACE

        if self._watch.pending:
            answer = await client.once(DescribeBatch(self._job_id), endpoint)
            self._watch.observe(answer, elapsed)
            if self._watch.pending:
                return False
        if self._watch.unsuccessful:
            return True
        if self._ended_at is None:
            self._ended_at = elapsed
        if elapsed - self._ended_at < durability.LISTING_LAG:
            return False
        going_on = ListJobs(inventory_trigger_job_id=self._job_id, states=PENDING_STATES, size=1)
        if (await client.once(going_on, endpoint)).jobs_detail:
            return False
        if not self._has_jobs:
            some = await client.once(ListJobs(inventory_trigger_job_id=self._job_id, size=1), endpoint)
            self._has_jobs = bool(some.jobs_detail)
        # a list without any job is rather late than true
        return self._has_jobs or elapsed - self._ended_at >= UNKNOWN_JOB_GRACE
