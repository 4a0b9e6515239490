"""When to poll next: the one back-off and the one waiting loop of operator, sensor and triggers.

Neither Airflow nor I/O: the caller brings the clock, and sleeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_provider_ci.exceptions import (
    InvalidRequestError,
    InvalidResponseError,
    JobError,
    NotFoundError,
    ServerError,
    TencentCIError,
    ThrottledError,
)
from airflow_provider_ci.protocol.errors import is_retryable
from airflow_provider_ci.submission.tracking import Log

#: The first pause between two polls, seconds.
FIRST_DELAY = 1.0
#: Each failed poll doubles the pause, up to this factor; each successful one halves it. In the triggerer,
#: requests that are sent together count as one.
MAX_BACKOFF_FACTOR = 16.0
#: The same limit while the service refuses polls. The task fails after ten refusals, which should not take
#: hours.
MAX_BACKOFF_FACTOR_WHEN_REFUSED = 4.0
#: Longest wait when nothing else limits it, seconds: seven days, as for Airflow's sensors.
DEFAULT_TIMEOUT = 7 * 24 * 3600.0
# The end of a job is noticed late by at most this share of its duration
_SHARE_OF_ELAPSED = 0.25


def poll_delay(elapsed: float, poll_interval: float, shortest: float = FIRST_DELAY) -> float:
    """Return the seconds to the next poll after waiting ``elapsed`` seconds.

    A quarter of the time waited, at least 1 second and at most ``poll_interval``: a job of 5 seconds is
    noticed within 1.25 seconds of its end, and one of 30 minutes costs about 75 requests at an interval of 30
    seconds.

    :param shortest: the shortest pause, seconds; longer if polls are not needed to notice the end.
    """
    return min(max(shortest, elapsed * _SHARE_OF_ELAPSED), poll_interval)


def first_delay(elapsed: float, poll_interval: float, phase: float, shortest: float = FIRST_DELAY) -> float:
    """Return the seconds to the first poll of a process that continues a wait of another process.

    After a restart all waits start at the same moment. If each began with its usual pause, they would poll
    together ever after.

    :param phase: where to poll between a pause of 1 second (0) and the usual one (1).
    :param shortest: as for :func:`poll_delay`.
    """
    usual = poll_delay(elapsed, poll_interval, shortest)
    earliest = min(FIRST_DELAY, usual)
    return earliest + (usual - earliest) * phase


def is_outage(error: TencentCIError) -> bool:
    """Tell whether a poll failed for a reason that passes by itself and says nothing about the job."""
    return is_retryable(error)


def may_be_due_to_one_id(error: TencentCIError) -> bool:
    """Tell whether one of several ids may have made a request fail: the service itself refused the request,
    or the response cannot be read.
    """
    is_about_ids = isinstance(error, InvalidRequestError | NotFoundError | InvalidResponseError)
    return is_about_ids and error.code != "NoSuchBucket"


def retry_after(error: TencentCIError) -> float:
    """Return for how many seconds the service asked not to be called."""
    return (error.retry_after or 0.0) if isinstance(error, ThrottledError | ServerError) else 0.0


def increase_factor(factor: float, limit: float = MAX_BACKOFF_FACTOR) -> float:
    """Return the back-off factor after a failed poll."""
    doubled = min(factor * 2, limit)
    return max(factor, doubled)  # a factor that is above this limit already does not fall to it


def decrease_factor(factor: float) -> float:
    """Return the back-off factor after a successful poll."""
    return max(factor / 2, 1.0)


class Backoff:
    """The pauses between polls: longer after failed polls, and as long as the service asks for.

    :param poll_interval: longest pause while all is well, seconds.
    :param refusals_tolerated: how many polls in a row may fail although there is no outage.
    """

    def __init__(self, poll_interval: float, *, refusals_tolerated: int = 0) -> None:
        self.failure: TencentCIError | None = None  # of the last poll
        self._poll_interval = poll_interval
        self._refusals_tolerated = refusals_tolerated
        self._refusals = 0
        self._factor = 1.0
        self._retry_after = 0.0

    def pause(self, elapsed: float) -> float:
        """Return the seconds to the next poll after waiting ``elapsed`` seconds."""
        return max(poll_delay(elapsed, self._poll_interval) * self._factor, self._retry_after)

    def note_success(self) -> None:
        """Shorten the pauses after a poll that succeeded."""
        self.failure = None
        self._refusals = 0
        self._factor = decrease_factor(self._factor)
        self._retry_after = 0.0

    def note_failure(self, error: TencentCIError) -> None:
        """Lengthen the pauses after a poll that failed.

        :raises TencentCIError: ``error``, if waiting cannot help: it is about the job, or one refusal too
            many.
        """
        limit = MAX_BACKOFF_FACTOR
        if not is_outage(error):
            limit = MAX_BACKOFF_FACTOR_WHEN_REFUSED
            self._refusals += 1
            if isinstance(error, JobError) or self._refusals > self._refusals_tolerated:
                raise error
        self.failure = error
        self._factor = increase_factor(self._factor, limit)
        self._retry_after = retry_after(error)


class Wait:
    """The loop of a process that polls until something has ended::

        while True:
            with wait.poll():
                if has_ended():
                    return
            if wait.is_over:
                raise ...
            sleep(wait.pause())

    :param poll_interval: longest pause while all is well, seconds.
    :param log: receives a warning for the first of several polls in a row that fail.
    :param clock: returns the seconds of a monotonic clock.
    :param longest: seconds after which the wait is over.
    :param elapsed: seconds that the wait has lasted already, in another process.
    :param refusals_tolerated: how many polls in a row may fail although there is no outage.
    """

    def __init__(
        self,
        poll_interval: float,
        log: Log,
        clock: Callable[[], float],
        *,
        longest: float = math.inf,
        elapsed: float = 0.0,
        refusals_tolerated: int = 0,
    ) -> None:
        self.longest = longest
        self._backoff = Backoff(poll_interval, refusals_tolerated=refusals_tolerated)
        self._log = log
        self._clock = clock
        self._start = clock() - elapsed

    @property
    def elapsed(self) -> float:
        """Seconds since the wait began."""
        return self._clock() - self._start

    @property
    def remaining(self) -> float:
        """Seconds until the wait is over; negative afterwards."""
        return self.longest - self.elapsed

    @property
    def is_over(self) -> bool:
        """Whether the wait has lasted as long as it may. Ask after a poll, because the last
        pause ends when the wait is over, and a last poll follows it.
        """
        return self.remaining <= 0

    @property
    def failure(self) -> TencentCIError | None:
        """Why the last poll failed, if it did."""
        return self._backoff.failure

    @contextmanager
    def poll(self) -> Iterator[None]:
        """Run one poll. A failure that can be waited out ends the block and is logged; others are raised."""
        is_first_failure = self.failure is None
        try:
            yield
        except TencentCIError as error:
            self._backoff.note_failure(error)
            if is_first_failure:
                self._log.warning("Poll failed, will keep trying: %s", error)
        else:
            self._backoff.note_success()

    def pause(self) -> float:
        """Return the seconds to the next poll, which comes at the latest when the wait is over."""
        return min(self._backoff.pause(self.elapsed), max(self.remaining, 0.0))
