"""The jobs of which callbacks have come, until it is clear what follows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
    """

    conn_id: str
    job_id: str
    due: float
    not_before: float = 0.0
    looks: int = 0
    needs_event: bool = True


class ReceivedJobs:
    """A queue of limited size, in which each job is once.

    :param max_jobs: how many jobs it holds at most.
    """

    def __init__(self, max_jobs: int = MAX_JOBS) -> None:
        self._max_jobs = max_jobs
        self._jobs: dict[tuple[str, str], ReceivedJob] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, conn_id: str, job_ids: Iterable[str], now: float) -> bool:
        """Add jobs to look at now, or as soon as a look has a chance if they are there already.

        :return: ``False`` if there was no room for one of them.
        """
        for job_id in job_ids:
            job = self._jobs.get((conn_id, job_id))
            if job is not None:
                job.due = min(job.due, max(now, job.not_before))
            elif len(self._jobs) >= self._max_jobs:
                return False
            else:
                self._jobs[conn_id, job_id] = ReceivedJob(conn_id, job_id, now)
        return True

    def take_due(self, now: float, count: int) -> list[ReceivedJob]:
        """Remove jobs that are due, at most ``count`` and all of one connection, and return them."""
        due = [job for job in self._jobs.values() if job.due <= now]
        taken = [job for job in due if job.conn_id == due[0].conn_id][:count]
        for job in taken:
            del self._jobs[job.conn_id, job.job_id]
        return taken

    def return_for_later(self, job: ReceivedJob, now: float, not_before: float = 0.0) -> bool:
        """Put a job back after a look that has settled nothing.

        :param not_before: when the next look has a chance.
        :return: ``False`` if it has been looked at often enough, and is forgotten.
        """
        if job.looks >= len(PAUSES):
            return False
        job.not_before = not_before
        job.due = max(now + PAUSES[job.looks], not_before)
        job.looks += 1
        key = job.conn_id, job.job_id
        if (newer := self._jobs.get(key)) is not None:  # another callback has come meanwhile
            job.due = min(job.due, max(newer.due, not_before))
        self._jobs[key] = job
        return True
