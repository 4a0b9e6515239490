"""Calls that run in threads, for one thread that starts them and gets their results."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, Self, TypeVar

R = TypeVar("R")

_THREADS = 16
# Airflow kills a process five seconds after it has asked it to end
_SECONDS_AFTER_ERROR = 1.0


class ConcurrentCalls(Generic[R]):
    """Runs up to 16 calls at once::

        with ConcurrentCalls() as calls:
            while ...:
                if calls.have_room:
                    calls.start(call)
                for result in calls.results(seconds):
                    ...

    At the end of the block the threads end. If an error ends the block, it does not wait for them: a thread
    then finishes the call that it is running, and runs no other. Calls must not raise.
    """

    def __init__(self) -> None:
        self.running = 0
        self._threads: list[Thread] = []
        self._calls: SimpleQueue[Callable[[], R] | None] = SimpleQueue()
        self._results: SimpleQueue[R] = SimpleQueue()

    @property
    def have_room(self) -> bool:
        """Whether a call that is started now begins at once."""
        return self.running < _THREADS

    def start(self, call: Callable[[], R]) -> None:
        """Begin a call."""
        if self.running == len(self._threads):
            thread = Thread(target=self._run, name="ci-submit", daemon=True)
            self._threads.append(thread)
            thread.start()
        self.running += 1
        self._calls.put(call)

    def results(self, seconds: float) -> list[R]:
        """Return the results of calls that have ended; wait for the first of them.

        :param seconds: how long to wait.
        """
        results: list[R] = []
        try:
            if self.running and seconds > 0:
                results.append(self._results.get(timeout=seconds))
            while True:
                results.append(self._results.get_nowait())
        except Empty:
            self.running -= len(results)
            return results

    def last_results(self) -> list[R]:
        """Return the results that still come within a second. For a caller that is about to raise."""
        end, results = time.monotonic() + _SECONDS_AFTER_ERROR, []
        while self.running and (remaining := end - time.monotonic()) > 0:
            results += self.results(remaining)
        return results

    def __enter__(self) -> Self:
        """Begin the block."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End the threads."""
        for _thread in self._threads:
            self._calls.put(None)
        if kind is None:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            self._results.put(call())
