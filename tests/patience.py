"""How long a test waits for what must happen. No test's outcome depends on how fast the machine is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

#: How many times slower than a quiet machine with two cores this one may be
SLOWNESS = float(os.environ.get("TEST_SLOWNESS", "5"))
#: Seconds after which a test gives up
PATIENCE = 60 * SLOWNESS
#: Seconds until a timeout that is to pass, and before which a request arrives
SOON = 0.1 * SLOWNESS


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until ``condition()`` is true."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        pause.wait(0.01)
