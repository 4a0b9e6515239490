"""Which job runs next: each queue runs ``MaxConcurrent`` jobs at once, and a paused one begins none.

The higher ``JobLevel`` runs first, then the older job. Of the jobs that are ``Running`` only as many as
there are workers are processed at once. A job that is kept ``Running`` for some seconds shows the share of
that time as its ``Progress``, but never more than the progress of its work.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tencent_ci_emulator.jobs.job_store import StoredJob
from tencent_ci_emulator.jobs.states import RUNNING

_UNLIMITED = 1 << 31


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """The limits of a queue at this moment."""

    is_active: bool = True
    max_concurrent: int = _UNLIMITED


@dataclass(order=True, slots=True)
class _ReadyJob:
    """Smaller runs earlier: jobs that an earlier run of the emulator began, higher ``JobLevel``, older."""

    order: tuple[bool, int, int]
    job: StoredJob = field(compare=False)


class QueueScheduler:
    """The ready jobs of all queues. Not for several threads at once: the engine holds its lock.

    :param limits: returns the present limits of the queue of an id.
    """

    def __init__(self, limits: Callable[[str], QueueLimits] = lambda _queue_id: QueueLimits()) -> None:
        self._limits = limits
        self._ready: dict[str, list[_ReadyJob]] = {}
        self._running: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many jobs are ready."""
        return sum(len(jobs) for jobs in self._ready.values())

    def add(self, job: StoredJob) -> None:
        """Add a job that is ready to run."""
        ready = _ReadyJob((job.state != RUNNING, -job.level, job.number), job)
        heapq.heappush(self._ready.setdefault(job.queue_id, []), ready)

    def take(self) -> StoredJob | None:
        """Remove the next job and count it as running; return ``None`` if no job may begin now."""
        queues = [jobs for queue_id, jobs in self._ready.items() if jobs and self._may_begin(queue_id)]
        if not queues:
            return None
        job = heapq.heappop(min(queues, key=lambda jobs: jobs[0])).job
        self._running[job.queue_id] += 1
        return job

    def release(self, job: StoredJob) -> None:
        """Count a job that was taken as not running any more."""
        self._running[job.queue_id] -= 1

    def _may_begin(self, queue_id: str) -> bool:
        limits = self._limits(queue_id)
        # A job that ran before a restart runs again, even if the queue has been paused since
        has_begun = self._ready[queue_id][0].job.state == RUNNING
        return self._running[queue_id] < limits.max_concurrent and (limits.is_active or has_begun)
