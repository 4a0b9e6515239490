"""The jobs of which callbacks have come, until it is clear what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_ci.protocol.callbacks import MAX_BUCKETS, NamedBucket

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.wire import Endpoint

#: How many jobs are remembered at once. The callbacks of further ones are refused.
MAX_JOBS = 20_000
#: Seconds to the next look at a job, after each look that has settled nothing: it has not ended, its
#: task has not been deferred yet, or nobody waits for it. Then the callback is forgotten.
PAUSES = (2.0, 4.0, 8.0, 16.0, 32.0)


@dataclass(slots=True)
class ReceivedJob:
    """A job of which a callback has come.

    :param conn_id: the connection in the callback's address.
    :param due: when to look at it, by the queue's clock.
    :param not_before: when the next look has a chance, however many callbacks come before.
    :param looks: how often it has been looked at.
    :param needs_event: whether its asset may still lack an event.
    :param buckets: those that its callbacks name, the newest first.
    :param waited_in: those in which a task has waited for it, also if it waits no more.
    :param is_taken: whether it is being looked at.
    :param came_again: whether another callback has come since this look began.
    """

    conn_id: str
    job_id: str
    due: float
    not_before: float = 0.0
    looks: int = 0
    needs_event: bool = True
    buckets: tuple[NamedBucket, ...] = ()
    waited_in: dict[Endpoint, None] = field(default_factory=dict)
    is_taken: bool = False
    came_again: bool = False


class ReceivedJobs:
    """A queue of limited size, in which each job is once, also while it is being looked at.

    :param max_jobs: how many jobs it holds at most.
    """

    def __init__(self, max_jobs: int = MAX_JOBS) -> None:
        self._max_jobs = max_jobs
        self._jobs: dict[tuple[str, str], ReceivedJob] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def has_jobs_of(self, conn_id: str) -> bool:
        """Tell whether it holds a job of a connection."""
        return any(job.conn_id == conn_id for job in self._jobs.values())

    def add(self, conn_id: str, job_ids: Mapping[str, Sequence[NamedBucket]], now: float) -> bool:
        """Add jobs to look at now, or as soon as a look has a chance if they are there already.

        :param job_ids: the jobs, and the buckets that the callback names.
        :return: ``False`` if there was no room for one of them.
        """
        for job_id, buckets in job_ids.items():
            job = self._jobs.get((conn_id, job_id))
            if job is not None:
                job.due = min(job.due, max(now, job.not_before))
                job.buckets = tuple(dict.fromkeys((*buckets, *job.buckets)))[:MAX_BUCKETS]
                job.came_again = job.is_taken
            elif len(self._jobs) >= self._max_jobs:
                return False
            else:
                self._jobs[conn_id, job_id] = ReceivedJob(conn_id, job_id, now, buckets=tuple(buckets))
        return True

    def take_due(self, conn_id: str, now: float, count: int) -> list[ReceivedJob]:
        """Return at most ``count`` jobs of a connection that are due. Each has to be returned or settled."""
        due = (
            job
            for job in self._jobs.values()
            if job.conn_id == conn_id and job.due <= now and not job.is_taken
        )
        taken = list(islice(due, count))
        for job in taken:
            job.is_taken, job.came_again = True, False
        return taken

    def return_for_later(self, job: ReceivedJob, now: float, not_before: float = 0.0) -> bool:
        """Put a job back, behind the others, after a look that has settled nothing.

        :param not_before: when the next look has a chance.
        :return: ``False`` if it has been looked at often enough, and is forgotten.
        """
        if job.looks >= len(PAUSES):
            self.settle(job, now)
            return job.came_again
        job.not_before = not_before
        job.due = max(now if job.came_again else now + PAUSES[job.looks], not_before)
        job.looks += 1
        job.is_taken = False
        key = job.conn_id, job.job_id
        self._jobs[key] = self._jobs.pop(key)
        return True

    def settle(self, job: ReceivedJob, now: float) -> None:
        """Remove a job, unless another callback has come during the look: then look at it anew."""
        del self._jobs[job.conn_id, job.job_id]
        if job.came_again:
            self._jobs[job.conn_id, job.job_id] = ReceivedJob(
                job.conn_id,
                job.job_id,
                now,
                needs_event=job.needs_event,
                buckets=job.buckets,
                waited_in=job.waited_in,
            )
