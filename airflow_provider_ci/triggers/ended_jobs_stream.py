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
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_provider_ci.exceptions import ResponseTooLargeError, TencentCIError
from airflow_provider_ci.submission.durable_submission import LIST_CONSISTENCY_DELAY
from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD
from airflow_provider_ci.submission.waiting import (
    MAX_BACKOFF_FACTOR,
    decrease_factor,
    increase_factor,
    is_outage,
    retry_after,
)
from airflow_provider_ci.submission.watermark import (
    BEGINS_EARLIER,
    LOOK_BACK,
    LOOK_BACK_AFTER_OUTAGE,
    OVERLAP_MIN,
    PROMPT,
    EndedJobsWatermark,
    SeenJob,
    next_watermark,
)
from airflow_provider_ci.triggers.bucket_jobs import BucketJobs
from airflow_provider_ci.triggers.settings import provider_errors_only

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from airflow_provider_ci.protocol.ended_job_filter import EndedJobFilter
    from airflow_provider_ci.protocol.ended_jobs import EndedJobEvent
    from airflow_provider_ci.triggers.job_group import JobGroup
    from airflow_provider_ci.triggers.watermark_store import WatermarkStore

#: Jobs, at most, whose events no stored watermark has passed. So many come again to a trigger after a
#: triggerer has died that had to catch up: a slow Airflow stores all of them, one after the other, before it
#: confirms the first.
UNSTORED_JOBS_MAX = 50
#: The events of these jobs, for all triggers together; one job may exceed it. With 50, Airflow would wait for
#: the next events half of the time. It sends no heartbeat while it stores events, and after 30 seconds others
#: take a triggerer for dead: with 250, only if one event takes 0.12 seconds, and not the usual 0.02.
UNSTORED_EVENTS_MAX = 250
#: Seconds that a job which has been read may wait for its announcement before the log says so.
LATE = 60.0
#: Seconds after which a watermark that has moved on is stored although no event was. A restarted triggerer
#: lists all jobs since the stored one.
SAVE_INTERVAL = 60.0
#: Seconds after which all jobs since the watermarks are listed again, as the list may show some late. In
#: between, only those are listed that are recent, or not older than the oldest that has not ended.
WHOLE_LIST_INTERVAL = 60.0
#: Seconds after which a job whose description the service refused is described again.
REFUSED_PAUSE = 600.0
#: The longest pause while the service refuses polls, as a multiple of the usual one. Somebody has to correct
#: the tag, the keys or a permission, so each refused poll is logged. To end the trigger would not help:
#: Airflow starts one that has failed again at once.
MAX_BACKOFF_FACTOR_WHEN_REFUSED = 64.0

log = logging.getLogger(__name__)
# How often to look whether a new watch begins, seconds
_LOOK_FOR_NEW_WATCHES = 0.5
# Smaller than any correction of a clock, seconds
_CLOCK_TOLERANCE = 1.0
# Shared by all streams of a process: a stream that ends late must not confirm what its successor announced
_numbers = count(1)


@dataclass(eq=False, slots=True, kw_only=True)
class Subscription:
    """One trigger that takes part in a stream.

    :param began_at: this machine's Unix time from which on a watch that has not begun announces ends.
    :param passed_on: the number of the last announcement that the trigger has passed on to Airflow.
    :param unconfirmed: jobs whose events may not be stored yet, with the numbers of their announcements.
    """

    wanted: EndedJobFilter
    poll_interval: float
    store: WatermarkStore
    watermark: EndedJobsWatermark
    began_at: float = 0.0
    passed_on: int = 0
    unconfirmed: dict[str, int] = field(default_factory=dict)
    is_logged: bool = False
    _is_changed: bool = False
    _saved_since: float = -math.inf

    def announce(self, job: SeenJob, event: EndedJobEvent, number: int) -> bool:
        """Move the watermark past a job that has ended; return whether that is news for the trigger."""
        if not self.watermark.is_new(job):
            return False
        self.watermark.note_announced(job)
        if not self.wanted.matches(event):
            return False
        self.unconfirmed[job.job_id] = number
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
        if not self.watermark.has_begun:  # the store has the time at which it began
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
    listed: list[SeenJob]
    listed_until: float | None
    followed: list[SeenJob]


class _Attempts:
    """How requests that are repeated for ever fare, and the pauses between them."""

    def __init__(self) -> None:
        self.is_failing = False
        self._backoff_factor = 1.0
        self._retry_after = 0.0

    def note_success(self) -> None:
        self.is_failing = False
        self._backoff_factor = decrease_factor(self._backoff_factor)
        self._retry_after = 0.0

    def note_failure(self, error: TencentCIError) -> bool:
        """Return whether this is the first failure of an outage."""
        is_first, self.is_failing = not self.is_failing, True
        limit = MAX_BACKOFF_FACTOR if is_outage(error) else MAX_BACKOFF_FACTOR_WHEN_REFUSED
        self._backoff_factor = increase_factor(self._backoff_factor, limit)
        self._retry_after = retry_after(error)
        return is_first

    def pause(self, interval: float) -> float:
        return max(interval * self._backoff_factor, self._retry_after)


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
        self._present: list[Subscription] = []  # those that take part in the present poll
        self._jobs = BucketJobs(group, self._is_news)
        self._lists, self._descriptions = _Attempts(), _Attempts()
        self._describe_from = -math.inf  # the loop's time
        self._listed_whole_at = -math.inf  # the service's Unix time
        self._listed_for: frozenset[Subscription] = frozenset()
        self._recent = -math.inf  # Unix time of creation
        # How many events no stored watermark has passed, by the number of their announcement
        self._unstored: dict[int, int] = {}
        self._has_room = asyncio.Event()
        self._is_late = False
        self._missing_since: dict[str, float] = {}
        self._refused_at: dict[str, float] = {}

    async def announcements(self) -> AsyncIterator[Announcement]:
        """Yield announcements for ever. An outage is no error."""
        loop_time = asyncio.get_running_loop().time
        while True:
            while not subscriptions(self._group):  # the triggers are still reading their watermarks
                await asyncio.sleep(0.1)
            if poll := await self._poll():
                read_at = loop_time()
                for job in _ended(poll):
                    if announcement := self._announce(job, poll.subscriptions):
                        await self._wait_for_room()
                        self._log_if_late(announcement, job, poll, loop_time() - read_at)
                        self._unstored[announcement.number] = len(announcement.recipients)
                        yield announcement
                self._log_if_in_time(loop_time() - read_at)
                if poll.listed_until is not None:
                    await self._advance_watermarks(poll, poll.listed_until)
                    if poll.listed_until < math.inf:  # there is more to catch up with
                        self._listed_whole_at = -math.inf
                        continue
            await self._wait_for_next_poll()

    async def note_stored(self, numbers: Sequence[int]) -> None:
        """Store the watermarks of all triggers, after Airflow has stored all events up to an announcement."""
        for subscription in list(subscriptions(self._group)):
            subscription.confirm(max(numbers))
            await subscription.save_if_needed()
        for number in numbers:  # not before: until then they come again after a death
            self._unstored.pop(number, None)
        self._has_room.set()

    async def close(self) -> None:
        """Close the session."""
        await self._jobs.close()

    async def _poll(self) -> _Poll | None:
        """Read jobs; ``None`` if that failed, or has to be repeated."""
        try:
            with provider_errors_only():
                poll = await self._read()
        except TencentCIError as error:
            if self._lists.note_failure(error) or not is_outage(error):
                log.warning("Jobs of %s cannot be read, will keep trying: %s", self._group, error)
            self._jobs.reload_connection()
            return None
        self._lists.note_success()
        return poll

    async def _wait_for_next_poll(self) -> None:
        """Wait for the interval, or until a new watch begins, which has to find the jobs under way."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._lists.pause(self._interval())
        while (left := end - loop.time()) > 0:
            if not self._lists.is_failing and _new(subscriptions(self._group)):
                return
            await asyncio.sleep(min(left, _LOOK_FOR_NEW_WATCHES))

    def _interval(self) -> float:
        return min((each.poll_interval for each in subscriptions(self._group)), default=0.0)

    async def _read(self) -> _Poll | None:
        offset = await self._jobs.clock_offset()
        now = time.time() + offset
        present = self._present = list(subscriptions(self._group))
        watermarks = [each.watermark for each in present if each.watermark.has_begun]
        new = _new(present)
        if new:
            await self._begin_watches(new, now, offset)
        is_whole = self._must_list_all(present, now)
        start = min((each.watermark.since for each in present), default=now)
        if is_whole:
            listed, until = await self._jobs.created_since(start, stop_before=now - OVERLAP_MIN)
        else:
            listed, until = await self._jobs.created_since(max(start, self._recent), stop_before=-math.inf)
        if abs(await self._jobs.clock_offset() - offset) > _CLOCK_TOLERANCE:
            return None  # the clock was corrected: a watermark that a wrong one moves on would miss jobs
        for each in present:
            each.watermark.follow(self._jobs.unlisted)
        self._jobs.unlisted.clear()
        for each in new:
            each.watermark.has_begun = True
            await each.save_if_needed()
        self._log_watches(present, new)
        followed = await self._follow(watermarks, listed, now)
        if is_whole:
            self._listed_whole_at, self._listed_for = now, frozenset(present)
        self._recent = _start_of_recent(listed)
        return _Poll(now, present, listed, until if is_whole else None, followed)

    def _must_list_all(self, present: Iterable[Subscription], now: float) -> bool:
        is_time = now - self._listed_whole_at >= WHOLE_LIST_INTERVAL
        return is_time or not self._listed_for.issuperset(present)

    async def _begin_watches(self, new: Iterable[Subscription], now: float, offset: float) -> None:
        """Give a watermark to triggers for which none was stored. It counts when jobs have been listed."""
        pending = await self._jobs.pending()
        for each in new:
            # not later than any watch can have begun, should this machine's clock have been ahead at first
            began_at = min(each.began_at + offset, now - BEGINS_EARLIER)
            look_back = LOOK_BACK if now - began_at <= PROMPT else LOOK_BACK_AFTER_OUTAGE
            each.watermark = EndedJobsWatermark.beginning(began_at, look_back, pending)

    def _log_watches(self, present: Iterable[Subscription], new: Sequence[Subscription]) -> None:
        """Say once of each watch what it announces."""
        for each in present:
            if each.is_logged:
                continue
            each.is_logged = True
            began = datetime.fromtimestamp(each.watermark.began_at, UTC).isoformat(" ", "seconds")
            log.info(
                "%s jobs of type %s in bucket %s that end from %s on (states: %s; input_prefix: %s)",
                "Watching" if each in new else "Watching again, from where it stopped,",
                self._group.tag,
                self._jobs.endpoint.bucket,
                began,
                ", ".join(each.wanted.states),
                each.wanted.input_prefix or "all",
            )

    async def _follow(
        self, watermarks: Sequence[EndedJobsWatermark], listed: Iterable[SeenJob], now: float
    ) -> list[SeenJob]:
        """Return pending jobs that are older than the list, as they are now. A failure holds up no others."""
        pending = set[str]().union(*(each.pending for each in watermarks))
        left = pending.difference(job.job_id for job in listed)
        self._refused_at = {job_id: at for job_id, at in self._refused_at.items() if job_id in left}
        due = {job_id for job_id in left if now - self._refused_at.get(job_id, -math.inf) >= REFUSED_PAUSE}
        loop_time = asyncio.get_running_loop().time
        if loop_time() < self._describe_from:
            return []
        followed = await self._jobs.follow(due)
        if followed.failure is None:
            self._descriptions.note_success()
            self._missing_since = {
                job_id: self._missing_since.get(job_id, now) for job_id in followed.missing
            }
        else:
            if self._descriptions.note_failure(followed.failure):
                log.warning(
                    "Older jobs of %s cannot be described, so their ends are announced later. The ends of "
                    "newer jobs are announced. Will keep trying: %s",
                    self._group,
                    followed.failure,
                )
            self._describe_from = loop_time() + self._descriptions.pause(self._interval())
            self._jobs.reload_connection()
        dropped = self._missing_for_long(now) | self._note_refused(followed.refused, now)
        for each in watermarks:
            each.pending -= dropped
        return followed.jobs

    def _missing_for_long(self, now: float) -> set[str]:
        """Return the ids that the service has not found for so long that it never will."""
        lost = {job_id for job_id, at in self._missing_since.items() if now - at > NOT_FOUND_GRACE_PERIOD}
        for job_id in sorted(lost):
            log.warning(
                "The service does not find job %s any more, so its end is not announced. Look in the console",
                job_id,
            )
            del self._missing_since[job_id]
        return lost

    def _note_refused(self, refused: Mapping[str, TencentCIError], now: float) -> set[str]:
        """Note which jobs are described later, and return the ids of those that never can be."""
        for job_id, error in refused.items():
            if isinstance(error, ResponseTooLargeError):
                log.warning(
                    "Job %s has ended with a description that is too large to be read, so its end is not "
                    "announced. Look the job up in CI's console, and use its result from there: %s",
                    job_id,
                    error,
                )
            elif job_id not in self._refused_at:
                log.warning(
                    "The service refuses to describe job %s, so its end is not announced as long as it does. "
                    "Look the job up in CI's console. It is asked again every %d minutes: %s",
                    job_id,
                    REFUSED_PAUSE / 60,
                    error,
                )
        too_large = {job_id for job_id, error in refused.items() if isinstance(error, ResponseTooLargeError)}
        self._refused_at |= dict.fromkeys(refused.keys() - too_large, now)
        return too_large

    def _is_news(self, job: SeenJob) -> bool:
        return any(each.watermark.is_new(job) for each in self._present)

    def _announce(self, job: SeenJob, present: Iterable[Subscription]) -> Announcement | None:
        if job.event is None:
            return None
        number = next(_numbers)
        event = job.event
        recipients = frozenset(each for each in present if each.announce(job, event, number))
        return Announcement(number, event, recipients) if recipients else None

    async def _wait_for_room(self) -> None:
        while len(self._unstored) >= UNSTORED_JOBS_MAX or sum(self._unstored.values()) >= UNSTORED_EVENTS_MAX:
            self._has_room.clear()
            await self._has_room.wait()

    def _log_if_late(self, announcement: Announcement, job: SeenJob, poll: _Poll, waited: float) -> None:
        """Say once that Airflow stores events more slowly than jobs end.

        :param waited: seconds that the job has waited since the poll.
        """
        ended_at = job.ended_at
        if self._is_late or waited <= LATE or ended_at is None or math.isinf(ended_at):
            return
        self._is_late = True
        log.warning(
            "Events about jobs of %s come %d s after the jobs' ends, because Airflow stores events slowly. A "
            "job is an event for each trigger that it matches, here %d. Give DAGs that watch the same jobs "
            "one equal trigger, as Airflow merges equal ones, and check the load of Airflow's database",
            self._group,
            poll.now + waited - ended_at,
            len(announcement.recipients),
        )

    def _log_if_in_time(self, waited: float) -> None:
        if self._is_late and waited <= LATE / 2:
            self._is_late = False
            log.info("Events about jobs of %s come in time again", self._group)

    async def _advance_watermarks(self, poll: _Poll, listed_until: float) -> None:
        since = min(next_watermark(poll.now, poll.listed), listed_until)
        pending = [job for job in poll.listed if job.ended_at is None]
        for each in poll.subscriptions:
            each.watermark.advance(since, pending)
            await each.save_if_needed()


def _new(present: Iterable[Subscription]) -> list[Subscription]:
    """Return the subscriptions whose watch has not begun."""
    return [each for each in present if not each.watermark.has_begun]


def _ended(poll: _Poll) -> list[SeenJob]:
    """Return the jobs that have ended, in the order of their ends."""
    ended = [(job.ended_at, job) for job in (*poll.listed, *poll.followed) if job.ended_at is not None]
    return [job for _, job in sorted(ended, key=lambda pair: pair[0])]


def _start_of_recent(listed: Sequence[SeenJob]) -> float:
    """Return since when jobs are to be listed next: those that have not ended, and those that come."""
    pending = [job.created_at for job in listed if job.ended_at is None]
    newest = max((job.created_at for job in listed), default=-math.inf)
    return min([*pending, newest - LIST_CONSISTENCY_DELAY])
