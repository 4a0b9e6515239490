"""Waiting for a condition with a generous deadline, instead of sleeping for a fixed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Seconds after which a test gives up: far more than a busy machine needs
PATIENCE = 300.0


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        pause.wait(0.01)
