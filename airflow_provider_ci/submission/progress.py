"""Says in the log how far a bulk task is. Neither Airflow nor I/O: the caller brings the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from airflow_provider_ci.submission.tracking import Log

# Seconds between two lines, unless another tenth of the jobs has been submitted or has ended
_PAUSE = 60.0


class Counts(NamedTuple):
    """How many of a task's jobs have been accepted, wait or run, have ended, and have ended without success.

    ``failed`` are among ``ended``, as far as they are known.
    """

    submitted: int
    running: int
    ended: int
    failed: int


class Progress:
    """Logs a line whenever another tenth of all jobs has been submitted or has ended, and each minute, unless
    nothing has changed.

    :param total: the number of items.
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
        self._logged: Counts | None = None
        self._logged_at = self._began_at

    def update(self, counts: Counts) -> None:
        """Log the counts, if it is time for that and they have changed."""
        if self._first is None:
            self._first = counts
        now = self._clock()
        if counts == self._logged:
            return
        is_new_tenth = self._logged is None or any(
            self._tenths(new) > self._tenths(old)
            for new, old in ((counts.submitted, self._logged.submitted), (counts.ended, self._logged.ended))
        )
        if is_new_tenth or now - self._logged_at >= _PAUSE:
            self._logged, self._logged_at = counts, now
            self._log.info(
                "Of %d jobs %d are submitted, %d running, %d done, %d of these failed%s",
                self._total,
                *counts,
                self._speed(counts, now),
            )

    def _tenths(self, count: int) -> int:
        return count * 10 // self._total if self._total else 0

    def _speed(self, counts: Counts, now: float) -> str:
        """Return how fast jobs end, and when the last one will; empty as long as none has ended."""
        ended = counts.ended - (self._first.ended if self._first else 0)
        seconds = now - self._began_at
        left = self._total - counts.ended
        if ended <= 0 or seconds <= 0 or not left:
            return ""
        rate = ended / seconds
        return f"; {rate:.2g} done a second, about {_duration(left / rate)} left"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
