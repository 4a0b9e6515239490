"""When to repeat a call, and after how long: one policy for every transport."""

from __future__ import annotations

import random
from dataclasses import dataclass

from airflow_provider_ci.exceptions import ServerError, TencentCIError, ThrottledError
from airflow_provider_ci.protocol.errors import is_not_accepted, is_retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    :param max_attempts: calls at most, the first included.
    :param base: seconds; the pause before attempt n+1 is drawn from 0 … base * 2**(n-1) …
    :param cap: … but never from more than this many seconds.
    """

    max_attempts: int = 6
    base: float = 1.0
    cap: float = 30.0

    def pause(
        self, attempt: int, error: TencentCIError, *, idempotent: bool, time_left: float | None = None
    ) -> float | None:
        """Return the seconds to wait after ``attempt`` (from 1) failed with ``error``; ``None``: do not
        repeat.

        A call of which only ``time_left`` seconds remain is not repeated later than that.
        A call that is not idempotent is repeated only when it certainly was not accepted and repeating may
        help. ``Retry-After``, where the service gave one, is waited for before the jitter, so that clients do
        not all come back at once.
        """
        if attempt >= self.max_attempts or not is_retryable(error):
            return None
        if not idempotent and not is_not_accepted(error):
            return None
        jitter = random.uniform(0, min(self.cap, self.base * 2 ** (attempt - 1)))  # noqa: S311 - not for security
        advice = error.retry_after if isinstance(error, ThrottledError | ServerError) else None
        pause = (advice or 0.0) + jitter
        return None if time_left is not None and pause >= time_left else pause
