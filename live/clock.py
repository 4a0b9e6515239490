"""The time by which the kit waits and measures; its tests have another one."""

from __future__ import annotations

import time


class Clock:
    """The clock of this machine."""

    def now(self) -> float:
        """Return seconds, from any beginning."""
        return time.monotonic()

    def unix_time(self) -> float:
        """Return Unix time in seconds, which other processes have too."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)
