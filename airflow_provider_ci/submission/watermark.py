"""Which jobs of a bucket have been announced as ended, in a form that stays small. Neither Airflow nor I/O.

Jobs end in another order than that in which they were created, and the job list may lag behind. So the
watermark is a time of creation that stays behind the newest jobs. Jobs after it that were announced, and jobs
before it that are still under way, are part of the state.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.jobs import LIST_SIZE_MAX, Job, check_job_ids
from airflow_provider_ci.protocol.wire import CLOCK_SKEW_TOLERANCE
from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD

#: Seconds by which the watermark stays behind the service's clock at least: the list may lag behind by the
#: grace period for records, and this machine's clock may be ahead.
OVERLAP_MIN = NOT_FOUND_GRACE_PERIOD + CLOCK_SKEW_TOLERANCE
#: Seconds by which it stays behind at most, as long as the jobs since then fit on one page of the list.
OVERLAP_MAX = 3600.0
# With half a page of jobs behind the watermark, there is room on the page for those that come meanwhile
_JOBS_IN_OVERLAP = LIST_SIZE_MAX // 2


class EndedJobsWatermark:
    """Up to where the ended jobs of a bucket have been announced.

    A job that was created before ``since`` has been announced, unless it is ``pending``. One that was created
    later has been announced if it is in ``announced``. Jobs that nobody wants count as announced.

    :param since: Unix time of creation.
    :param pending: ids of jobs that are to be announced when they end, whenever they were created.
    :param announced: ids of jobs with the Unix times of their creation.
    """

    def __init__(
        self, since: float, pending: Iterable[str] = (), announced: Mapping[str, float] | None = None
    ) -> None:
        self.since = since
        self.pending = set(pending)
        self.announced = dict(announced or {})

    def is_new(self, job: Job) -> bool:
        """Return whether a job has not been announced. Whether it has ended is another question."""
        if job.job_id in self.pending:
            return True
        return created_at(job) >= self.since and job.job_id not in self.announced

    def note_announced(self, job: Job) -> None:
        """Remember that a job has been announced."""
        job_id, created = str(job.job_id), created_at(job)
        self.pending.discard(job_id)
        if created >= self.since:
            self.announced[job_id] = created

    def advance(self, since: float, pending: Iterable[Job]) -> None:
        """Move on to a later time of creation. All ended jobs that were listed up to it have been announced.

        :param pending: the jobs that were listed, and that have not ended.
        """
        if since <= self.since:
            return
        self.pending.update(str(job.job_id) for job in pending if self.since <= created_at(job) < since)
        self.announced = {job_id: at for job_id, at in self.announced.items() if at >= since}
        self.since = since

    def to_json(self, unconfirmed: Collection[str] = ()) -> dict[str, Any]:
        """Return the state as JSON.

        :param unconfirmed: ids that count as not announced yet, because their events may not be stored.
        """
        return {
            "since": self.since,
            "pending": sorted(self.pending.union(unconfirmed)),
            "announced": {
                job_id: round(at) for job_id, at in self.announced.items() if job_id not in unconfirmed
            },
        }

    @classmethod
    def from_json(cls, state: Any) -> EndedJobsWatermark:
        """Return the state that :meth:`to_json` returned.

        :raises ValueError: it is another value.
        """
        try:
            since, announced = float(state["since"]), dict(state["announced"])
            times = {str(job_id): float(at) for job_id, at in announced.items()}
            pending = list(state["pending"])
            check_job_ids(pending)
            datetime.fromtimestamp(since, UTC)
            return cls(since, pending, times)
        except (KeyError, TypeError, ValueError, OverflowError, OSError, RequestValidationError) as error:
            raise ValueError(f"it is no watermark: {type(error).__name__}: {error}") from None


def created_at(job: Job) -> float:
    """Return the Unix time of a job's creation. A job without one is older than all others."""
    return job.creation_time.timestamp() if job.creation_time else -math.inf


def next_watermark(now: float, jobs: Iterable[Job]) -> float:
    """Return the time of creation to which a watermark may advance.

    :param now: the service's Unix time.
    :param jobs: the jobs that the list has since the present watermark.
    """
    newest = heapq.nlargest(_JOBS_IN_OVERLAP, (created_at(job) for job in jobs))
    fits_on_page = newest[-1] if len(newest) == _JOBS_IN_OVERLAP else -math.inf
    return min(max(now - OVERLAP_MAX, fits_on_page), now - OVERLAP_MIN)
