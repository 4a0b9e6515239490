"""When to repeat a failed call, and after how long: one policy for every transport."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from airflow_provider_ci.exceptions import ServerError, TencentCIError, ThrottledError
from airflow_provider_ci.protocol.errors import is_not_accepted, is_retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    :param max_attempts: how often a call is tried at most, the first time included.
    :param base: seconds; the pause after attempt n is drawn from 0 to ``base * 2**(n-1)``,
    :param cap: but from no more than this many seconds.
    """

    max_attempts: int = 6
    base: float = 1.0
    cap: float = 30.0

    def pause_after(
        self, attempt: int, error: TencentCIError, *, idempotent: bool, time_left: float = math.inf
    ) -> float | None:
        """Return the seconds to wait after ``attempt`` (from 1) failed with ``error``; ``None``: give up.

        A call that is not idempotent is repeated only if the service certainly did not accept it.
        ``Retry-After`` is the least pause. Jitter comes on top, so that clients do not return all at once.

        :param time_left: seconds after which no attempt may begin any more.
        """
        if attempt >= self.max_attempts or not is_retryable(error):
            return None
        if not idempotent and not is_not_accepted(error):
            return None
        jitter = random.uniform(0, min(self.cap, self.base * 2 ** (attempt - 1)))  # noqa: S311 - not for security
        retry_after = error.retry_after if isinstance(error, ThrottledError | ServerError) else None
        pause = (retry_after or 0.0) + jitter
        return pause if pause < time_left else None
