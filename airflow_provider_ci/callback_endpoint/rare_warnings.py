"""Limits warnings that anybody can cause, so that they do not fill the log."""

from __future__ import annotations

import time

#: Seconds between two warnings for the same reason.
PAUSE = 60.0


class RareWarnings:
    """Decides when to log a warning: at once, and then for the same reason once a minute."""

    def __init__(self) -> None:
        self._logged_at: dict[str, float] = {}
        self._count: dict[str, int] = {}

    def count(self, reason: str, number: int = 1) -> int:
        """Count events, and return how many a warning has to speak of; 0 if none is to be logged now.

        :param reason: one of few texts, none of which comes from outside.
        """
        now = time.monotonic()
        self._count[reason] = self._count.get(reason, 0) + number
        if now - self._logged_at.get(reason, -PAUSE) < PAUSE:
            return 0
        self._logged_at[reason] = now
        return self._count.pop(reason)
