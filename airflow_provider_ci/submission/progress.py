"""Says in the log how far a bulk task is. Neither Airflow nor I/O: the caller brings the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from airflow_provider_ci.submission.tracking import Log

# Seconds between two lines, unless another tenth of the items is done
_PAUSE = 60.0


class Counts(NamedTuple):
    """How many of a task's items have a job that waits or runs, have none such, and have failed.

    ``failed`` are among ``ended``, as far as they are known.
    """

    running: int
    ended: int
    failed: int


class SubmissionProgress:
    """Logs how many items have been submitted, whenever that is another tenth of all, and each minute, unless
    nothing has changed.

    It says nothing of jobs that run or are done: while a task submits, it looks for failed jobs only.

    :param total: the number of items.
    :param clock: returns seconds.
    """

    def __init__(self, total: int, log: Log, clock: Callable[[], float]) -> None:
        self._total = total
        self._log = log
        self._clock = clock
        self._schedule = _Schedule(total, clock())

    def update(self, submitted: int, failed: int) -> None:
        """Log the counts, if it is time for that and they have changed.

        :param submitted: the items that have a job.
        :param failed: those that the service refused, or whose job is known to have ended without success.
        """
        if self._schedule.is_due((submitted, failed), submitted, self._clock()):
            self._log.info(
                "Of %d items %d are submitted, %d refused or failed", self._total, submitted, failed
            )


class WaitProgress:
    """Logs how many items are done, whenever that is another tenth of all, and each minute, unless nothing
    has changed.

    :param total: the number of items, all of which have been submitted or refused.
    :param clock: returns seconds.
    :param began_at: when the task began to wait, on this clock; default: now.
    """

    def __init__(
        self, total: int, log: Log, clock: Callable[[], float], began_at: float | None = None
    ) -> None:
        self._total = total
        self._log = log
        self._clock = clock
        self._began_at = clock() if began_at is None else began_at
        self._first: Counts | None = None
        self._schedule = _Schedule(total, self._began_at)

    def update(self, counts: Counts) -> None:
        """Log the counts, if it is time for that and they have changed."""
        if self._first is None:
            self._first = counts
        now = self._clock()
        if self._schedule.is_due(counts, counts.ended, now):
            self._log.info(
                "Of %d items %d wait or run, %d done, %d of these failed%s",
                self._total,
                *counts,
                self._speed(counts, now),
            )

    def _speed(self, counts: Counts, now: float) -> str:
        """Return how fast jobs end, and when the last one will; empty as long as none has ended."""
        ended = counts.ended - (self._first.ended if self._first else 0)
        seconds = now - self._began_at
        left = self._total - counts.ended
        if ended <= 0 or seconds <= 0 or not left:
            return ""
        rate = ended / seconds
        return f"; {rate:.2g} done a second, about {_duration(left / rate)} left"


class _Schedule:
    """Decides when a line is due.

    :param now: seconds on the clock of :meth:`is_due`.
    """

    def __init__(self, total: int, now: float) -> None:
        self._total = total
        self._counts: tuple[int, ...] | None = None
        self._tenths = -1
        self._at = now

    def is_due(self, counts: tuple[int, ...], done: int, now: float) -> bool:
        """Return whether to log the counts now. The caller does so.

        :param done: how many of all items are as they should become.
        """
        tenths = done * 10 // self._total if self._total else 0
        if counts == self._counts or (tenths <= self._tenths and now - self._at < _PAUSE):
            return False
        self._counts, self._tenths, self._at = counts, tenths, now
        return True


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
