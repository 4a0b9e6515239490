"""Which waiting job runs next: each queue runs ``MaxConcurrent`` at once, and a paused one begins none."""

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
    """What a queue allows at this moment."""

    active: bool = True
    max_concurrent: int = _UNLIMITED


@dataclass(order=True, slots=True)
class _Waiting:
    """A ready job. First come those begun by an earlier start, then higher ``JobLevel``, then age."""

    rank: tuple[bool, int, int]
    job: StoredJob = field(compare=False)


class QueueScheduler:
    """The ready jobs of all queues. Not for several threads at once: the engine holds its lock.

    :param limits: what the queue of this id allows; asked whenever it matters, so it may change.
    """

    def __init__(self, limits: Callable[[str], QueueLimits] = lambda _queue_id: QueueLimits()) -> None:
        self._limits = limits
        self._ready: dict[str, list[_Waiting]] = {}
        self._running: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return sum(len(jobs) for jobs in self._ready.values())

    def add(self, job: StoredJob) -> None:
        """Let a job wait for its turn."""
        waiting = _Waiting((job.state != RUNNING, -job.level, job.number), job)
        heapq.heappush(self._ready.setdefault(job.queue_id, []), waiting)

    def take(self) -> StoredJob | None:
        """Return the job whose turn it is and count it as running, or ``None`` if none may begin now."""
        allowed = [jobs for queue_id, jobs in self._ready.items() if jobs and self._may_begin(queue_id)]
        if not allowed:
            return None
        job = heapq.heappop(min(allowed, key=lambda jobs: jobs[0])).job
        self._running[job.queue_id] += 1
        return job

    def release(self, job: StoredJob) -> None:
        """Note that a job that was taken has ended, or was not begun after all."""
        self._running[job.queue_id] -= 1

    def _may_begin(self, queue_id: str) -> bool:
        limits = self._limits(queue_id)
        # What ran before a restart goes on running, even if the queue was paused since
        begun = self._ready[queue_id][0].job.state == RUNNING
        return self._running[queue_id] < limits.max_concurrent and (limits.active or begun)
