"""The emulator's clock: the machine's, or a virtual one that tests advance.

Threads that wait for a time, or begin and end work, call the clock. The machine's clock ignores most of these
calls. The virtual clock counts them: time passes only when no work is running and every thread waits.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable


class Clock:
    """The machine's clock, and the methods of every clock."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait, holding ``condition``, until notified or ``seconds`` have passed (``None``: without limit).

        It may return earlier, so the caller must check the time again.
        """
        condition.wait(seconds)

    def stop_waiting(self, condition: threading.Condition) -> None:
        """Note that no thread waits at ``condition`` any more."""

    def begin_work(self) -> None:
        """Note that work begins, which takes no time by this clock."""

    def end_work(self) -> None:
        """Note that work has ended, and has scheduled everything that it causes later."""


class VirtualClock(Clock):
    """A clock that stands still until :meth:`advance` is called, for tests of long durations.

    The emulator's own durations follow it. Real work, such as separating a recording, takes true time, during
    which this clock stands still. It serves one emulator.

    :param start: Unix time at first; by default the present.
    """

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._lock = threading.Condition()
        self._advancing = threading.Lock()
        # By the condition of each waiting thread: the time that it waits for, None while it is active
        self._wake_times: dict[threading.Condition, float | None] = {}
        self._running_works = 0
        self._works_begun = 0

    def now(self) -> float:
        """Return Unix time in seconds."""
        return self._now

    def advance(self, seconds: float, *, patience: float = 600.0) -> None:
        """Let time pass, and return when everything that is due has been done, each at its own time.

        :param patience: true seconds that the work of one step may take.
        :raises ValueError: ``seconds`` is negative or not finite.
        :raises TimeoutError: the work of one step has not ended in time.
        """
        if not seconds >= 0 or math.isinf(seconds):
            raise ValueError(f"seconds is {seconds!r}, allowed: a finite number from 0")
        with self._advancing:
            target = self._now + seconds
            self._wait_until_idle(patience)
            while (due := self._next_wake_time()) <= target:
                self._now = max(self._now, due)
                self._wait_until_idle(patience)
            self._now = target

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait, holding ``condition``, until notified, also by :meth:`advance`."""
        with self._lock:
            is_new = condition not in self._wake_times
            wake_time = math.inf if seconds is None else self._now + seconds
            self._wake_times[condition] = None if is_new else wake_time
            self._lock.notify_all()
        # A thread that was unknown may have missed a step since it read the time: it must read it again
        if not is_new:
            condition.wait()

    def stop_waiting(self, condition: threading.Condition) -> None:
        """Note that no thread waits at ``condition`` any more."""
        with self._lock:
            self._wake_times.pop(condition, None)
            self._lock.notify_all()

    def begin_work(self) -> None:
        """Stand still until :meth:`end_work`."""
        with self._lock:
            self._running_works += 1
            self._works_begun += 1

    def end_work(self) -> None:
        """Note the end of work for which :meth:`begin_work` was called."""
        with self._lock:
            self._running_works -= 1
            self._lock.notify_all()

    def _next_wake_time(self) -> float:
        with self._lock:
            return min((each for each in self._wake_times.values() if each is not None), default=math.inf)

    def _wait_until_idle(self, patience: float) -> None:
        """Wait until no work is running, and every thread waits for a time to come."""
        while True:
            self._wait_for(lambda: self._running_works == 0, patience)
            works_begun = self._works_begun
            for condition in [*self._wake_times]:
                self._wake(condition)
            self._wait_for(lambda: None not in self._wake_times.values(), patience)
            with self._lock:
                if self._running_works == 0 and self._works_begun == works_begun:
                    return

    def _wake(self, condition: threading.Condition) -> None:
        # Holding the condition, so that its thread is not between reading the time and waiting
        with condition:
            with self._lock:
                if condition in self._wake_times:
                    self._wake_times[condition] = None
            condition.notify_all()

    def _wait_for(self, predicate: Callable[[], bool], patience: float) -> None:
        with self._lock:
            if not self._lock.wait_for(predicate, patience):
                raise TimeoutError(f"the emulator's work has not ended within {patience} seconds")
