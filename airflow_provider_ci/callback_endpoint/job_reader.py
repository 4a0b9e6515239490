"""Asks the service about jobs, on behalf of the looks of one connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.hooks.aio import AsyncClient
from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST, DescribeJobs
from airflow_provider_ci.submission.waiting import may_be_due_to_one_id
from airflow_provider_ci.triggers.poller import DescribeStates, describe_in_parts

if TYPE_CHECKING:
    from airflow_provider_ci.callback_endpoint.rate_limit import RateLimit
    from airflow_provider_ci.hooks.connection import ConnectionSettings
    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.wire import Endpoint


class JobReader:
    """Describes jobs in one session. Close it.

    :param requests: how many requests may be sent in a second.
    :param log_failure: is called if a request about a single job is refused.
    """

    def __init__(self, requests: RateLimit, log_failure: Callable[[TencentCIError, Endpoint], None]) -> None:
        self._requests = requests
        self._log_failure = log_failure
        self._client: AsyncClient | None = None

    async def close(self) -> None:
        """Close the session and its sockets."""
        if self._client is not None:
            await self._client.close()

    async def describe(
        self, settings: ConnectionSettings, place: Endpoint, job_ids: Sequence[str], *, with_results: bool
    ) -> dict[str, Job]:
        """Return the jobs that the service finds in a bucket, by id.

        :raises TencentCIError: the service cannot be asked, or refuses to say anything about the bucket.
        """
        if self._client is None:
            self._client = AsyncClient(settings)
        self._client.settings = settings
        jobs: dict[str, Job] = {}
        for ids in _chunks(job_ids, IDS_PER_REQUEST):
            request = DescribeJobs(ids) if with_results else DescribeStates(ids)
            described = await self._describe_some(self._client, request, place)
            jobs |= {str(job.job_id): job for job in described}
        return jobs

    async def _describe_some(
        self, client: AsyncClient, request: DescribeJobs, place: Endpoint
    ) -> tuple[Job, ...]:
        """Describe jobs, fewer at a time if the service refuses the request: one id may be the reason."""
        await self._requests.wait()
        try:
            return (await describe_in_parts(client, request, place)).jobs_detail
        except TencentCIError as error:
            if not may_be_due_to_one_id(error):
                raise
            if len(request.job_ids) == 1:
                self._log_failure(error, place)
                return ()
        half = (len(request.job_ids) + 1) // 2
        parts = (replace(request, job_ids=ids) for ids in (request.job_ids[:half], request.job_ids[half:]))
        first, rest = [await self._describe_some(client, part, place) for part in parts]
        return first + rest


def _chunks(values: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(values), size):
        yield tuple(values[start : start + size])
