"""How fast requests are sent that the service may throttle. Neither Airflow nor I/O."""

from __future__ import annotations

from collections.abc import Callable

# Seconds by which sending may lag behind the rate and still catch up
_CATCH_UP = 0.25
# The least share of the rate to which throttling reduces it
_LEAST_SHARE = 1 / 64
# A rate that was halved is restored by this many successes
_SUCCESSES_TO_RECOVER = 100
# The pause after a failure, seconds. It doubles while no request succeeds
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Pace:
    """Spreads requests evenly, and sends fewer while the service throttles or fails. For one thread.

    :param rate: requests a second, at most.
    :param clock: returns the seconds of a monotonic clock.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        #: Requests a second at present.
        self.rate = rate
        self._highest_rate = rate
        self._clock = clock
        self._next_at = clock()
        self._pause = 0.0
        self._paused_until = clock()

    def seconds_to_next(self) -> float:
        """Return the seconds until the next request may be sent; 0 or less: it may be sent now."""
        return max(self._next_at, self._paused_until) - self._clock()

    def note_sent(self) -> None:
        """Note that a request is sent now."""
        self._next_at = max(self._next_at, self._clock() - _CATCH_UP) + 1 / self.rate

    def slow_down(self, retry_after: float = 0.0) -> bool:
        """Pause, and send half as fast afterwards.

        The failures of requests that were sent together come together: those that come during the pause only
        extend it to ``retry_after``.

        :param retry_after: the least pause, seconds.
        :return: whether a pause begins.
        """
        now = self._clock()
        begins = now >= self._paused_until
        if begins:
            self.rate = max(self.rate / 2, self._highest_rate * _LEAST_SHARE)
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._paused_until = now + self._pause
        self._paused_until = self._next_at = max(self._paused_until, now + retry_after)
        return begins

    def speed_up(self) -> None:
        """Note that a request succeeded: the rate recovers step by step."""
        self._pause = 0.0
        self.rate = min(self.rate + self._highest_rate / 2 / _SUCCESSES_TO_RECOVER, self._highest_rate)
