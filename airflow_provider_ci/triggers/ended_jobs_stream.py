"""Announces jobs that have ended, in one stream for all triggers that watch the same jobs.

A trigger's watermark in the asset state store passes a job only when Airflow has stored the job's event. So a
triggerer that dies loses no event, and repeats those that were stored within about the last second.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.protocol.ended_jobs import ended_job_event
from airflow_provider_ci.submission.durable_submission import LIST_CONSISTENCY_DELAY
from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD
from airflow_provider_ci.submission.waiting import decrease_factor, increase_factor, retry_after
from airflow_provider_ci.submission.watermark import (
    OVERLAP_MIN,
    EndedJobsWatermark,
    created_at,
    next_watermark,
)
from airflow_provider_ci.triggers.bucket_jobs import BucketJobs
from airflow_provider_ci.triggers.settings import provider_errors_only

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from airflow_provider_ci.protocol.ended_job_filter import EndedJobFilter
    from airflow_provider_ci.protocol.ended_jobs import EndedJobEvent
    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.triggers.job_group import JobGroup
    from airflow_provider_ci.triggers.watermark_store import WatermarkStore

#: Events that Airflow has not stored yet, of all triggers of a stream together, at most. This bounds how many
#: come again after a triggerer has died.
UNSTORED_EVENTS_MAX = 200
#: Seconds after which a watermark that has moved on is stored although no event was. A restarted triggerer
#: lists all jobs since the stored one.
SAVE_INTERVAL = 60.0
#: Seconds after which all jobs since the watermarks are listed again, as the list may show some late. In
#: between, only those are listed that are recent, or not older than the oldest that has not ended.
WHOLE_LIST_INTERVAL = 60.0

log = logging.getLogger(__name__)
# How often to look whether a new watch begins, seconds
_LOOK_FOR_NEW_WATCHES = 0.5
# Smaller than any correction of a clock, seconds
_CLOCK_TOLERANCE = 1.0
# Shared by all streams of a process: a stream that ends late must not confirm what its successor announced
_numbers = count(1)


@dataclass(eq=False, slots=True, kw_only=True)
class Subscription:
    """One trigger that takes part in a stream. Its watermark is ``None`` until its first poll.

    :param began_at: this machine's Unix time from which on ends are announced if no watermark was stored.
    :param passed_on: the number of the last announcement that the trigger has passed on to Airflow.
    :param unconfirmed: jobs whose events may not be stored yet, with the numbers of their announcements.
    """

    wanted: EndedJobFilter
    poll_interval: float
    store: WatermarkStore
    watermark: EndedJobsWatermark | None
    began_at: float
    passed_on: int = 0
    unconfirmed: dict[str, int] = field(default_factory=dict)
    _is_changed: bool = False
    _saved_since: float = -math.inf

    def announce(self, job: Job, event: EndedJobEvent, number: int) -> bool:
        """Move the watermark past a job that has ended; return whether that is news for the trigger."""
        if self.watermark is None or not self.watermark.is_new(job):
            return False
        self.watermark.note_announced(job)
        if not self.wanted.matches(event):
            return False
        self.unconfirmed[str(job.job_id)] = number
        return True

    def confirm(self, number: int) -> None:
        """Note that Airflow has stored all events up to an announcement."""
        confirmed = min(number, self.passed_on)
        stored = [job_id for job_id, announced in self.unconfirmed.items() if announced <= confirmed]
        for job_id in stored:
            del self.unconfirmed[job_id]
        self._is_changed = self._is_changed or bool(stored)

    async def save_if_needed(self) -> None:
        """Store the watermark if events were confirmed since, or if it has moved on far."""
        if self.watermark is None:
            return
        since = self.watermark.since
        if not self._is_changed and since - self._saved_since < SAVE_INTERVAL:
            return
        self._is_changed = False  # what is confirmed while it is stored is another change
        if await self.store.save(self.watermark, self.unconfirmed):
            self._saved_since = since
        else:
            self._is_changed = True


@dataclass(frozen=True, slots=True)
class Announcement:
    """A job that has ended, and the subscriptions for which that is news."""

    number: int
    event: EndedJobEvent
    recipients: frozenset[Subscription]


@dataclass(frozen=True, slots=True)
class _Poll:
    """What one poll has read, for those who had subscribed before.

    :param now: the service's Unix time.
    :param listed_until: Unix time of creation up to which all jobs since the watermarks were listed; ``None``
        if only recent ones were.
    """

    now: float
    subscriptions: list[Subscription]
    listed: list[Job]
    listed_until: float | None
    followed: list[Job]


_subscriptions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[JobGroup, set[Subscription]]] = (
    WeakKeyDictionary()
)


def subscriptions(group: JobGroup) -> set[Subscription]:
    """Return the subscriptions to the stream of a group of jobs on this event loop."""
    return _subscriptions.setdefault(asyncio.get_running_loop(), {}).setdefault(group, set())


class EndedJobsStream:
    """Polls the jobs of a group, and announces each that has ended to each subscription once."""

    def __init__(self, group: JobGroup) -> None:
        self._group = group
        self._jobs = BucketJobs(group)
        self._backoff_factor = 1.0
        self._retry_after = 0.0
        self._is_failing = False
        self._listed_whole_at = -math.inf  # the service's Unix time
        self._listed_for: frozenset[Subscription] = frozenset()
        self._recent = -math.inf  # Unix time of creation
        # Events that are not stored yet, by the number of their announcement
        self._unstored: dict[int, int] = {}
        self._has_room = asyncio.Event()
        self._missing_since: dict[str, float] = {}

    async def announcements(self) -> AsyncIterator[Announcement]:
        """Yield announcements for ever. An outage is no error."""
        while True:
            while not subscriptions(self._group):  # the triggers are still reading their watermarks
                await asyncio.sleep(0.1)
            if poll := await self._poll():
                for job in _ended(poll):
                    if announcement := self._announce(job, poll.subscriptions):
                        await self._wait_for_room()
                        self._unstored[announcement.number] = len(announcement.recipients)
                        yield announcement
                if poll.listed_until is not None:
                    await self._advance_watermarks(poll, poll.listed_until)
                    if poll.listed_until < math.inf:  # there is more to catch up with
                        self._listed_whole_at = -math.inf
                        continue
            await self._wait_for_next_poll()

    async def note_stored(self, numbers: Sequence[int]) -> None:
        """Store the watermarks of all triggers, after Airflow has stored all events up to an announcement."""
        for number in numbers:
            self._unstored.pop(number, None)
        self._has_room.set()
        for subscription in list(subscriptions(self._group)):
            subscription.confirm(max(numbers))
            await subscription.save_if_needed()

    async def close(self) -> None:
        """Close the session."""
        await self._jobs.close()

    async def _poll(self) -> _Poll | None:
        """Read jobs; ``None`` if that failed, or has to be repeated."""
        try:
            with provider_errors_only():
                poll = await self._read()
        except TencentCIError as error:
            if not self._is_failing:
                log.warning("Jobs of %s cannot be read, will keep trying: %s", self._group, error)
            self._is_failing = True
            self._backoff_factor = increase_factor(self._backoff_factor)
            self._retry_after = retry_after(error)
            self._jobs.reload_connection()
            return None
        self._is_failing = False
        self._backoff_factor = decrease_factor(self._backoff_factor)
        self._retry_after = 0.0
        return poll

    async def _wait_for_next_poll(self) -> None:
        """Wait for the interval, or until a new watch begins, which has to find the jobs under way."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._pause()
        while (left := end - loop.time()) > 0:
            if not self._is_failing and any(each.watermark is None for each in subscriptions(self._group)):
                return
            await asyncio.sleep(min(left, _LOOK_FOR_NEW_WATCHES))

    def _pause(self) -> float:
        intervals = [each.poll_interval for each in subscriptions(self._group)]
        return max(min(intervals, default=0.0) * self._backoff_factor, self._retry_after)

    async def _read(self) -> _Poll | None:
        offset = await self._jobs.clock_offset()
        now = time.time() + offset
        present = list(subscriptions(self._group))
        new = [each for each in present if each.watermark is None]
        watermarks = [each.watermark for each in present if each.watermark is not None]
        is_whole = self._must_list_all(present, now)
        begins = [each.began_at + offset - OVERLAP_MIN for each in new]
        start = min([each.since for each in watermarks] + begins, default=now)
        if is_whole:
            listed, until = await self._jobs.created_since(start, stop_before=now - OVERLAP_MIN)
        else:
            listed, until = await self._jobs.created_since(max(start, self._recent), stop_before=-math.inf)
        if abs(await self._jobs.clock_offset() - offset) > _CLOCK_TOLERANCE:
            return None  # the clock was corrected: a watermark that a wrong one moves on would miss jobs
        if new:
            await self._begin_watches(new, listed, now, offset)
        followed = await self._follow(watermarks, listed, now)
        if is_whole:
            self._listed_whole_at, self._listed_for = now, frozenset(present)
        self._recent = _start_of_recent(listed)
        return _Poll(now, present, listed, until if is_whole else None, followed)

    def _must_list_all(self, present: Iterable[Subscription], now: float) -> bool:
        is_time = now - self._listed_whole_at >= WHOLE_LIST_INTERVAL
        return is_time or not self._listed_for.issuperset(present)

    async def _begin_watches(
        self, new: Iterable[Subscription], listed: Iterable[Job], now: float, offset: float
    ) -> None:
        """Give a watermark to triggers for which none was stored."""
        pending = [str(job.job_id) for job in await self._jobs.pending()]
        for each in new:
            began = math.floor(each.began_at + offset)  # the service's times have no fractions
            before = {str(job.job_id): now for job in listed if _ended_before(job, began)}
            each.watermark = EndedJobsWatermark(began - OVERLAP_MIN, pending, before)
            await each.save_if_needed()

    async def _follow(
        self, watermarks: Iterable[EndedJobsWatermark], listed: Iterable[Job], now: float
    ) -> list[Job]:
        """Return pending jobs that are older than the list, as they are now."""
        pending = set[str]().union(*(each.pending for each in watermarks))
        left = pending.difference(str(job.job_id) for job in listed)
        described, missing = await self._jobs.follow(left)
        self._missing_since = {job_id: self._missing_since.get(job_id, now) for job_id in missing}
        lost = {job_id for job_id, at in self._missing_since.items() if now - at > NOT_FOUND_GRACE_PERIOD}
        for job_id in sorted(lost):
            log.warning(
                "The service does not find job %s any more, so its end is not announced. Look in the console",
                job_id,
            )
        for each in watermarks:
            each.pending -= lost
        return described

    def _announce(self, job: Job, present: Iterable[Subscription]) -> Announcement | None:
        if not any(each.watermark and each.watermark.is_new(job) for each in present):
            return None
        endpoint = self._jobs.endpoint
        event = ended_job_event(job, bucket=endpoint.bucket, region=endpoint.region)
        number = next(_numbers)
        recipients = frozenset(each for each in present if each.announce(job, event, number))
        return Announcement(number, event, recipients) if recipients else None

    async def _wait_for_room(self) -> None:
        while sum(self._unstored.values()) >= UNSTORED_EVENTS_MAX:
            self._has_room.clear()
            await self._has_room.wait()

    async def _advance_watermarks(self, poll: _Poll, listed_until: float) -> None:
        since = min(next_watermark(poll.now, poll.listed), listed_until)
        pending = [job for job in poll.listed if not job.job_state.is_terminal]
        for each in poll.subscriptions:
            if each.watermark is not None:
                each.watermark.advance(since, pending)
                await each.save_if_needed()


def _ended(poll: _Poll) -> list[Job]:
    """Return the jobs that have ended, in the order of their ends."""
    ended = [job for job in (*poll.listed, *poll.followed) if job.job_state.is_terminal]
    return sorted(ended, key=lambda job: job.end_time.timestamp() if job.end_time else 0.0)


def _start_of_recent(listed: Sequence[Job]) -> float:
    """Return since when jobs are to be listed next: those that have not ended, and those that come."""
    pending = [created_at(job) for job in listed if not job.job_state.is_terminal]
    newest = max((created_at(job) for job in listed), default=-math.inf)
    return min([*pending, newest - LIST_CONSISTENCY_DELAY])


def _ended_before(job: Job, unix_time: float) -> bool:
    is_earlier = job.end_time is None or job.end_time.timestamp() < unix_time
    return job.job_state.is_terminal and is_earlier
