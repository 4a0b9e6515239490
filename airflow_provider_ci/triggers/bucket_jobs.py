"""Reads the jobs of one type in a bucket, in the triggerer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import ResponseTooLargeError, TencentCIError
from airflow_provider_ci.hooks.aio import AsyncClient
from airflow_provider_ci.protocol.ended_jobs import ended_job_event
from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST, PENDING_STATES, DescribeJobs, ListJobs
from airflow_provider_ci.submission.waiting import may_be_due_to_one_id
from airflow_provider_ci.submission.watermark import SeenJob
from airflow_provider_ci.triggers.settings import provider_errors_only, recent_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator

    from airflow_provider_ci.protocol.api_request import ApiRequest, T
    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.triggers.job_group import JobGroup

log = logging.getLogger(__name__)

#: Jobs that one poll reads when it has to catch up: some megabytes, as of each only the event is kept.
JOBS_AT_ONCE = 2000


@dataclass(slots=True)
class Followed:
    """What the service says about jobs that were described by their ids.

    :param missing: ids that the service does not find.
    :param refused: errors of requests for one single id.
    :param failure: why not all jobs were described, if that is due to none of them.
    """

    jobs: list[SeenJob] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    refused: dict[str, TencentCIError] = field(default_factory=dict)
    failure: TencentCIError | None = None


class BucketJobs:
    """Lists and describes the jobs of a group over one session. Close it when it is not needed any more.

    Each request is sent once. Of a job that is read only what a watch needs is kept, so that the memory holds
    one page of descriptions, with results of megabytes, at a time.

    :param is_news: whether an event has to be made of a job that has ended.
    :ivar unlisted: ids of jobs that no list has any more, and whose ends may not have been announced.
    :raises Exception: a request failed, or the connection cannot be looked up.
    """

    def __init__(self, group: JobGroup, is_news: Callable[[SeenJob], bool]) -> None:
        self._group = group
        self._is_news = is_news
        self._client: AsyncClient | None = None
        self._reload_connection = False
        # Unix times of creation, in seconds, that lists leave out: a job of then is too large for any list
        self._left_out: set[int] = set()
        self._listed_pending: dict[str, float] = {}
        self.unlisted: set[str] = set()

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

    async def created_since(self, since: float, *, stop_before: float) -> tuple[list[SeenJob], float]:
        """Return the jobs that were created at a Unix time or later, and the time up to which these are all.

        :param since: Unix time.
        :param stop_before: of thousands of jobs that were created before this Unix time, only the oldest are
            returned, so that they fit in memory.
        """
        jobs: dict[str, SeenJob] = {}
        until: float | None = None
        while until is None:
            until = await self._list(jobs, since, stop_before)
        self._listed_pending = {job.job_id: job.created_at for job in jobs.values() if job.ended_at is None}
        return list(jobs.values()), until

    async def _list(self, jobs: dict[str, SeenJob], since: float, stop_before: float) -> float | None:
        """Add the jobs that were created at a Unix time or later; ``None`` if that has to be repeated."""
        for begin, end in self._readable_spans(since):
            newest = begin
            try:
                async for page in self._pages(self._created_between(begin, end)):
                    jobs.update((job.job_id, job) for job in page)
                    newest = page[-1].created_at
                    if len(jobs) >= JOBS_AT_ONCE and since < newest < stop_before:
                        return newest
            except ResponseTooLargeError as error:
                others = await self._leave_out_next(math.floor(newest), error)
                jobs.update((job.job_id, job) for job in others)
                return None
        return math.inf

    def _created_between(self, begin: float, end: float | None) -> ListJobs:
        return ListJobs(
            tag=self._group.tag,
            start_creation_time=datetime.fromtimestamp(begin, UTC),
            end_creation_time=None if end is None else datetime.fromtimestamp(end, UTC),
            order_by_time="Asc",
        )

    def _readable_spans(self, since: float) -> Iterator[tuple[float, float | None]]:
        begin = since
        for second in sorted(second for second in self._left_out if second >= math.floor(since)):
            if begin < second:
                yield begin, second - 1
            begin = second + 1
        yield begin, None

    async def _leave_out_next(self, newest: int, error: ResponseTooLargeError) -> list[SeenJob]:
        """Leave the next job out of lists, as it is too large even for a list of one job. A list cannot leave
        out one job, so it leaves out the second in which the job was created.

        :param newest: when the job before it in the list was created, Unix time.
        :returns: the other jobs of that second. From now on they have to be followed by their ids.
        """
        if await self._is_too_large(newest, newest):
            second = newest
        else:  # search the first second that makes a list too large
            low, second = newest + 1, math.ceil(time.time() + await self.clock_offset())
            first = low
            while low < second:
                middle = (low + second) // 2
                if await self._is_too_large(first, middle):
                    second = middle
                else:
                    low = middle + 1
        if second in self._left_out:
            raise error
        others: dict[str, SeenJob] = {}
        for order in ("Asc", "Desc"):
            request = replace(self._created_between(second, second), order_by_time=order, size=1)
            with suppress(ResponseTooLargeError):
                async for page in self._pages(request):
                    others.update((job.job_id, job) for job in page)
        self._left_out.add(second)
        known = {job_id for job_id, at in self._listed_pending.items() if math.floor(at) == second}
        self.unlisted |= known.difference(others)  # one of them is too large, which its description says
        # also those with an event: if this poll fails, no later list has them
        self.unlisted |= {job.job_id for job in others.values() if job.ended_at is None or job.event}
        if known <= others.keys():
            self._warn_of_too_large(second, error)
        return list(others.values())

    async def _is_too_large(self, begin: int, end: int) -> bool:
        try:
            async for _ in self._pages(replace(self._created_between(begin, end), size=1)):
                pass
        except ResponseTooLargeError:
            return True
        return False

    def _warn_of_too_large(self, second: int, error: ResponseTooLargeError) -> None:
        log.warning(
            "A job of %s, created at %s, has a description that is too large to be read, so its end is not "
            "announced. Its id is not known. Look it up in CI's console, and use its result from there: %s",
            self._group,
            datetime.fromtimestamp(second, UTC).isoformat(" "),
            error,
        )

    async def pending(self) -> set[str]:
        """Return the ids of all jobs that have not ended, whenever they were created."""
        request = ListJobs(tag=self._group.tag, states=PENDING_STATES)
        return {job.job_id async for page in self._pages(request) for job in page}

    async def follow(self, job_ids: Collection[str]) -> Followed:
        """Describe jobs that had not ended so far. A failure is no error, and what was read before is kept.

        Of many jobs, those that still have not ended are left out.
        """
        followed = Followed()
        left = set(job_ids)
        try:
            with provider_errors_only():
                if len(left) > IDS_PER_REQUEST:  # a page of the list has the states of ten times as many
                    left -= await self.pending()
                for ids in _chunks(sorted(left)):
                    await self._describe(ids, followed)
        except TencentCIError as error:
            followed.failure = error
        return followed

    async def _describe(self, job_ids: tuple[str, ...], followed: Followed) -> None:
        """Describe jobs, fewer at a time if one of them may be why that fails."""
        try:
            jobs = await self._described(job_ids)
        except TencentCIError as error:
            # if that many are refused, the cause is probably the service, which must not get more requests
            if not may_be_due_to_one_id(error) or len(followed.refused) >= IDS_PER_REQUEST:
                raise
            if len(job_ids) == 1:
                followed.refused[job_ids[0]] = error
                return
        else:
            followed.jobs += jobs
            followed.missing |= set(job_ids).difference(job.job_id for job in jobs)
            return
        half = (len(job_ids) + 1) // 2
        await self._describe(job_ids[:half], followed)
        await self._describe(job_ids[half:], followed)

    async def _described(self, job_ids: tuple[str, ...]) -> list[SeenJob]:
        return await self._seen([*(await self._call(DescribeJobs(job_ids))).jobs_detail])

    async def _pages(self, request: ListJobs) -> AsyncIterator[list[SeenJob]]:
        """Yield the jobs of each page that has any."""
        next_request: ListJobs | None = request
        while (present := next_request) is not None:
            try:
                jobs, next_request = await self._page(present)
            except ResponseTooLargeError:
                next_request = present.smaller()
                if next_request is None:
                    raise
                continue
            if jobs:
                yield jobs

    async def _page(self, request: ListJobs) -> tuple[list[SeenJob], ListJobs | None]:
        """Return the jobs of a page and the request for the next one. The page itself is not kept."""
        page = await self._call(request)
        jobs, next_request = list(page.jobs_detail), request.next_page(page)
        del page
        return await self._seen(jobs), next_request

    async def _seen(self, jobs: list[Job]) -> list[SeenJob]:
        """Return what a watch needs of jobs. The list is emptied, as reading a job makes it larger."""
        endpoint = self.endpoint
        reduced: list[SeenJob] = []
        jobs.reverse()
        while jobs:
            job = jobs.pop()
            seen = SeenJob.of(job)
            if seen.ended_at is not None and self._is_news(seen):
                event = ended_job_event(job, bucket=endpoint.bucket, region=endpoint.region)
                seen = replace(seen, event=event)
                await asyncio.sleep(0)  # a result with megabytes takes milliseconds, which others may use
            reduced.append(seen)
        return reduced

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
