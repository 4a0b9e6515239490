"""Runs what needs the processor or the database in a thread, and rests after it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from airflow_provider_ci.callback_endpoint.rate_limit import REST

T = TypeVar("T")


class RestingThread:
    """Runs one function at a time, whoever asks for it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._rested_at = 0.0

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Run a function, as soon as those before it have ended and there has been rest after them."""

        def measured() -> T:
            began = time.thread_time()
            try:
                return work(*arguments)
            finally:
                self._rested_at = time.monotonic() + REST * (time.thread_time() - began)

        async with self._lock:
            await asyncio.sleep(self._rested_at - time.monotonic())
            return await asyncio.to_thread(measured)
