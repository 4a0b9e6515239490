"""How long a test waits for what must happen. No test's outcome depends on how fast the machine is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

#: Seconds after which a test gives up: far more than a busy machine needs; ``TEST_PATIENCE`` for a slower one
PATIENCE = float(os.environ.get("TEST_PATIENCE", "300"))


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until ``condition()`` is true."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        pause.wait(0.01)
