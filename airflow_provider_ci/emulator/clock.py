"""The emulator's idea of time, in one place so that it can be replaced."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Tells and awaits time."""

    def now(self) -> float:
        """Return Unix time in seconds."""

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait, holding ``condition``, until notified or ``seconds`` have passed (``None``: for ever)."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait, holding ``condition``, until it is notified or ``seconds`` have passed."""
        condition.wait(seconds)
