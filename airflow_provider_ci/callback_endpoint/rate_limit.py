"""Spaces out what would otherwise happen all at once."""

from __future__ import annotations

import asyncio
import math
import time

#: After work in a thread, the endpoint rests for so many times as long as the thread has used the processor:
#: only one thread of a process runs Python at a time, so the API server's other requests wait for it.
REST = 4.0


class RateLimit:
    """Makes callers wait, so that they continue one after another.

    :param per_second: how many continue in a second.
    :param longest: how long one waits at most, seconds. Who would have to wait longer does not wait, so that
        at most ``per_second * longest`` callers wait at once.
    """

    def __init__(self, per_second: float, longest: float = math.inf) -> None:
        self._pause = 1 / per_second
        self._longest = longest
        self._next = 0.0

    async def wait(self) -> bool:
        """Wait until it is this caller's turn.

        :return: ``False``, at once, if too many wait.
        """
        now = time.monotonic()
        turn = max(self._next, now)
        if turn - now > self._longest:
            return False
        self._next = turn + self._pause
        await asyncio.sleep(turn - now)
        return True
