"""Reads the jobs of one type in a bucket, in the triggerer."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import ResponseTooLargeError
from airflow_provider_ci.hooks.aio import AsyncClient
from airflow_provider_ci.protocol.jobs import (
    IDS_PER_REQUEST,
    PENDING_STATES,
    DescribeJobs,
    Job,
    JobsResponse,
    ListJobs,
    merge_responses,
)
from airflow_provider_ci.submission.watermark import created_at
from airflow_provider_ci.triggers.settings import recent_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Sequence

    from airflow_provider_ci.protocol.api_request import ApiRequest, T
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.triggers.job_group import JobGroup

#: Jobs that one poll reads when it has to catch up: some megabytes.
JOBS_AT_ONCE = 2000


class BucketJobs:
    """Lists and describes the jobs of a group over one session. Close it when it is not needed any more.

    Each request is sent once.

    :raises Exception: a request failed, or the connection cannot be looked up.
    """

    def __init__(self, group: JobGroup) -> None:
        self._group = group
        self._client: AsyncClient | None = None
        self._reload_connection = False

    async def close(self) -> None:
        """Close the session."""
        if self._client is not None:
            await self._client.close()

    @property
    def endpoint(self) -> Endpoint:
        """The address of the bucket, with the bucket and region that the connection may name."""
        assert self._client is not None  # noqa: S101 - for the type checker
        return self._client.settings.endpoint(self._group.bucket, self._group.region)

    async def clock_offset(self) -> float:
        """Return the seconds by which the service's clock is ahead of this machine's."""
        client = await self._open()
        return client.settings.clock.now() - time.time()

    def reload_connection(self) -> None:
        """Look the connection up before the next request: it may have new keys."""
        self._reload_connection = True

    async def created_since(self, since: float, *, stop_before: float) -> tuple[list[Job], float]:
        """Return the jobs that were created at a Unix time or later, and the time up to which these are all.

        :param since: Unix time.
        :param stop_before: of thousands of jobs that were created before this Unix time, only the oldest are
            returned, so that they fit in memory.
        """
        start = datetime.fromtimestamp(since, UTC)
        request = ListJobs(tag=self._group.tag, start_creation_time=start, order_by_time="Asc")
        jobs: dict[str | None, Job] = {}
        async for page in self._pages(request):
            jobs.update((job.job_id, job) for job in page)
            newest = created_at(page[-1])
            if len(jobs) >= JOBS_AT_ONCE and since < newest < stop_before:
                return list(jobs.values()), newest
        return list(jobs.values()), math.inf

    async def pending(self) -> list[Job]:
        """Return all jobs that have not ended, whenever they were created."""
        request = ListJobs(tag=self._group.tag, states=PENDING_STATES)
        return [job async for page in self._pages(request) for job in page]

    async def follow(self, job_ids: Collection[str]) -> tuple[list[Job], set[str]]:
        """Return jobs that had not ended so far, and the ids that the service does not find.

        Of many jobs, those that still have not ended are left out.
        """
        left = set(job_ids)
        if len(left) > IDS_PER_REQUEST:  # a page of the list has the states of ten times as many
            left.difference_update(str(job.job_id) for job in await self.pending())
        described: list[Job] = []
        for ids in _chunks(sorted(left)):
            described += (await self._describe(ids)).jobs_detail
        return described, left.difference(str(job.job_id) for job in described)

    async def _pages(self, request: ListJobs) -> AsyncIterator[Sequence[Job]]:
        """Yield the jobs of each page that has any."""
        next_request: ListJobs | None = request
        while next_request is not None:
            try:
                page = await self._call(next_request)
            except ResponseTooLargeError:
                smaller = next_request.smaller()
                if smaller is None:
                    raise
                next_request = smaller
                continue
            if page.jobs_detail:
                yield page.jobs_detail
            next_request = next_request.next_page(page)

    async def _describe(self, job_ids: tuple[str, ...]) -> JobsResponse:
        try:
            return await self._call(DescribeJobs(job_ids))
        except ResponseTooLargeError:
            if len(job_ids) == 1:
                raise
        half = (len(job_ids) + 1) // 2
        first = await self._describe(job_ids[:half])
        return merge_responses(first, await self._describe(job_ids[half:]))

    async def _call(self, request: ApiRequest[T]) -> T:
        client = await self._open()
        return await client.call(request, self.endpoint, max_attempts=1)

    async def _open(self) -> AsyncClient:
        if self._client is None:
            self._client = AsyncClient(await recent_settings(self._group.tencent_ci_conn_id))
        elif self._reload_connection:
            self._reload_connection = False
            with suppress(Exception):  # then the present settings have to do
                self._client.settings = await recent_settings(self._group.tencent_ci_conn_id)
        return self._client


def _chunks(job_ids: list[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(job_ids), IDS_PER_REQUEST):
        yield tuple(job_ids[start : start + IDS_PER_REQUEST])
