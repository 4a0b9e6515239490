"""Which jobs of a bucket have been announced as ended, in a form that stays small. Neither Airflow nor I/O.

Jobs end in another order than that in which they were created, and the job list may lag behind. So the
watermark is a time of creation that stays behind the newest jobs. Jobs after it that were announced, and jobs
before it that are still under way, are part of the state.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.ended_jobs import EndedJobEvent
from airflow_provider_ci.protocol.jobs import LIST_SIZE_MAX, Job, check_job_ids
from airflow_provider_ci.protocol.wire import CLOCK_SKEW_TOLERANCE
from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD

#: Seconds by which the watermark stays behind the service's clock at least: the list may lag behind by the
#: grace period for records, and this machine's clock may be ahead.
OVERLAP_MIN = NOT_FOUND_GRACE_PERIOD + CLOCK_SKEW_TOLERANCE
#: Seconds by which it stays behind at most, as long as the jobs since then fit on one page of the list.
OVERLAP_MAX = 3600.0
#: Seconds by which a new watch begins before its trigger first runs. After a DAG was unpaused, Airflow reads
#: its file again before it runs the trigger, by default after half a minute. Ends in between are wanted too.
BEGINS_EARLIER = 60.0
#: The age in seconds that a job may have when a watch begins, and ends before the first list. Older ones are
#: found if they are under way at the first list.
LOOK_BACK = 3600.0
#: The same if the first list comes more than ``PROMPT`` seconds after the watch has begun, which is a minute
#: before its trigger runs: the service, the connection or the triggerer was away.
LOOK_BACK_AFTER_OUTAGE = 86_400.0
PROMPT = 90.0
# With half a page of jobs behind the watermark, there is room on the page for those that come meanwhile
_JOBS_IN_OVERLAP = LIST_SIZE_MAX // 2


@dataclass(frozen=True, slots=True)
class SeenJob:
    """What a watch keeps of a job: some hundred bytes, while its description may have megabytes.

    :param created_at: Unix time. A job without one is older than all others.
    :param ended_at: Unix time; of a job that has ended without one, the time of its creation. ``None`` if it
        has not ended.
    :param event: what is announced, if the job has ended and that is news.
    """

    job_id: str
    created_at: float
    ended_at: float | None
    event: EndedJobEvent | None = None

    @classmethod
    def of(cls, job: Job) -> SeenJob:
        """Return what is kept of a job, without an event."""
        created_at = job.creation_time.timestamp() if job.creation_time else -math.inf
        ended_at = job.end_time.timestamp() if job.end_time else created_at
        return cls(str(job.job_id), created_at, ended_at if job.job_state.is_terminal else None)


class EndedJobsWatermark:
    """Up to where the ended jobs of a bucket have been announced.

    A job that was created before ``since`` has been announced, unless it is ``pending``. One that was created
    later has been announced if it is in ``announced``. Jobs that nobody wants count as announced.

    :param since: Unix time of creation.
    :param pending: ids of jobs that are to be announced when they end, whenever they were created.
    :param announced: short forms of the ids of jobs, with the Unix times of their creation.
    :param began_at: Unix time; jobs that ended before are not announced.
    :param has_begun: whether a list of jobs has been read. Until then, only ``began_at`` has a meaning, and
        that is a time of the machine, not of the service.
    """

    def __init__(
        self,
        since: float,
        pending: Iterable[str] = (),
        announced: Mapping[str, float] | None = None,
        *,
        began_at: float = 0.0,
        has_begun: bool = True,
    ) -> None:
        self.since = since
        self.pending = set(pending)
        self.announced = dict(announced or {})
        self.began_at = began_at
        self.has_begun = has_begun

    @classmethod
    def beginning(
        cls, began_at: float, look_back: float = LOOK_BACK, pending: Iterable[str] = ()
    ) -> EndedJobsWatermark:
        """Return the watermark of a watch that begins.

        :param began_at: Unix time.
        :param look_back: the age in seconds that a job may have that ends before the first list.
        :param pending: ids of the jobs under way.
        """
        began_at = math.floor(began_at)  # the service's times have no fractions
        return cls(began_at - look_back, pending, began_at=began_at, has_begun=False)

    def is_new(self, job: SeenJob) -> bool:
        """Return whether a job has not been announced. Whether it has ended is another question."""
        if job.job_id in self.pending:
            return True
        if job.ended_at is not None and job.ended_at < self.began_at:
            return False
        return job.created_at >= self.since and _shortened(job.job_id) not in self.announced

    def note_announced(self, job: SeenJob) -> None:
        """Remember that a job has been announced."""
        self.pending.discard(job.job_id)
        if job.created_at >= self.since:
            self.announced[_shortened(job.job_id)] = job.created_at

    def follow(self, job_ids: Iterable[str]) -> None:
        """Announce the ends of jobs whatever the list has, but for those that have been announced."""
        self.pending.update(job_id for job_id in job_ids if _shortened(job_id) not in self.announced)

    def advance(self, since: float, pending: Iterable[SeenJob]) -> None:
        """Move on to a later time of creation. All ended jobs that were listed up to it have been announced.

        :param pending: the jobs that were listed, and that have not ended.
        """
        if since <= self.since:
            return
        self.pending.update(job.job_id for job in pending if self.since <= job.created_at < since)
        self.announced = {short: at for short, at in self.announced.items() if at >= since}
        self.since = since

    def to_json(self, unconfirmed: Collection[str] = ()) -> dict[str, Any]:
        """Return the state as JSON.

        :param unconfirmed: ids that count as not announced yet, because their events may not be stored.
        """
        left_out = {_shortened(job_id) for job_id in unconfirmed}
        announced: dict[str, list[str]] = {}  # by second: a time for each job would double the size
        for short, at in self.announced.items():
            if short not in left_out:
                announced.setdefault(str(round(at)), []).append(short)
        return {
            "began_at": self.began_at,
            "has_begun": self.has_begun,
            "since": self.since,
            "pending": sorted(self.pending.union(unconfirmed)),
            "announced": announced,
        }

    @classmethod
    def from_json(cls, state: Any) -> EndedJobsWatermark:
        """Return the state that :meth:`to_json` returned.

        :raises ValueError: it is another value.
        """
        try:
            since, announced = float(state["since"]), dict(state["announced"])
            times = {str(short): float(at) for at, shorts in announced.items() for short in shorts}
            pending = list(state["pending"])
            check_job_ids(pending)
            began_at, has_begun = float(state["began_at"]), bool(state["has_begun"])
            for unix_time in (since, began_at):
                datetime.fromtimestamp(unix_time, UTC)
            return cls(since, pending, times, began_at=began_at, has_begun=has_begun)
        except (KeyError, TypeError, ValueError, OverflowError, OSError, RequestValidationError) as error:
            raise ValueError(f"it is no watermark: {type(error).__name__}: {error}") from None


def next_watermark(now: float, jobs: Iterable[SeenJob]) -> float:
    """Return the time of creation to which a watermark may advance.

    :param now: the service's Unix time.
    :param jobs: the jobs that the list has since the present watermark.
    """
    newest = heapq.nlargest(LIST_SIZE_MAX + 1, (job.created_at for job in jobs))
    fits_on_page = newest[_JOBS_IN_OVERLAP - 1] if len(newest) >= _JOBS_IN_OVERLAP else -math.inf
    if len(newest) > LIST_SIZE_MAX and newest[-1] == fits_on_page:
        fits_on_page += 1  # pass a second with more than a page of jobs, or a watch might stay there
    return min(max(now - OVERLAP_MAX, fits_on_page), now - OVERLAP_MIN)


@lru_cache(10_000)  # each list has most of the jobs of the one before, and is compared with each watermark
def _shortened(job_id: str) -> str:
    """Return 64 bits of a hash of an id. Airflow warns of a state of more than 64 kB, and thousands of jobs
    may have been announced since the watermark.
    """
    return base64.urlsafe_b64encode(hashlib.sha256(job_id.encode()).digest()[:8]).decode().rstrip("=")
