"""How fast requests are sent that the service may throttle. Neither Airflow nor I/O."""

from __future__ import annotations

from collections.abc import Callable

# Seconds by which sending may lag behind the rate and still catch up
_CATCH_UP = 0.25
# Throttling halves the rate at most once in so many seconds, and not below this share of the highest rate
_SECONDS_BETWEEN_HALVINGS = 10.0
_LEAST_SHARE = 1 / 64
# By how much each success raises the rate: it doubles in seven seconds
_RECOVERY = 0.1
# The pause after a failure, seconds. It doubles while no request succeeds
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Pace:
    """Spreads requests evenly, and sends fewer while the service throttles or is away. For one thread.

    :param rate: requests a second, at most.
    :param clock: returns the seconds of a monotonic clock.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        #: Requests a second at present.
        self.rate = rate
        self._highest_rate = rate
        self._clock = clock
        self._next_at = self._paused_until = clock()
        self._may_halve_at = clock()
        self._pause = 0.0
        self._failed_last = False

    def seconds_to_next(self) -> float:
        """Return the seconds until the next request may be sent; 0 or less: it may be sent now."""
        return max(self._next_at, self._paused_until) - self._clock()

    def note_sent(self) -> None:
        """Note that a request is sent now."""
        self._next_at = max(self._next_at, self._clock() - _CATCH_UP) + 1 / self.rate

    def note_success(self) -> None:
        """Note that a request succeeded: the rate recovers step by step."""
        self._failed_last = False
        self._pause = 0.0
        self.rate = min(self.rate + _RECOVERY, self._highest_rate)

    def note_throttled(self, retry_after: float = 0.0) -> bool:
        """Pause, and send half as fast afterwards.

        :param retry_after: the least pause, seconds.
        :return: whether a pause begins, and not only becomes longer.
        """
        if self._clock() >= self._may_halve_at:
            self._may_halve_at = self._clock() + _SECONDS_BETWEEN_HALVINGS
            self.rate = max(self.rate / 2, self._highest_rate * _LEAST_SHARE)
        return self._begin_pause(retry_after)

    def note_failure(self, retry_after: float = 0.0) -> bool:
        """Pause if no request has succeeded since the failure before: the service may be away.

        Parameters and return value are those of :meth:`note_throttled`.
        """
        if self._failed_last or retry_after > 0:
            return self._begin_pause(retry_after)
        self._failed_last = True
        return False

    def _begin_pause(self, least: float) -> bool:
        """Pause. Failures of requests that were sent together come together: those that come during a pause
        only extend it to ``least``.
        """
        now = self._clock()
        begins = now >= self._paused_until
        if begins:
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._paused_until = now + self._pause
        self._paused_until = self._next_at = max(self._paused_until, now + least)
        return begins
