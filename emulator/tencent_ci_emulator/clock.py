"""The emulator's idea of time, in one place so that it can be replaced."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable


class Clock:
    """The machine's own clock, and what every clock can do."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait, holding ``condition``, until notified or ``seconds`` have passed (``None``: for ever).

        It may return earlier, so the caller looks again.
        """
        condition.wait(seconds)

    def leave(self, condition: threading.Condition) -> None:
        """Note that nobody waits at ``condition`` any more."""

    def begin_work(self) -> None:
        """Note that work begins that takes no time by this clock."""

    def end_work(self) -> None:
        """Note that such work has ended, and that all that it brings about is in the timetable."""


class VirtualClock(Clock):
    """A clock that stands still until :meth:`advance` is called, for tests of long durations.

    The emulator's own durations follow it; its real work, such as separating a recording, takes true time,
    during which this clock stands still. It serves one emulator.

    :param start: Unix time that it begins at; the present if not given.
    """

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._lock = threading.Condition()
        self._advancing = threading.Lock()
        # For each condition that is waited at: until when, None while the one who waited is at work
        self._until: dict[threading.Condition, float | None] = {}
        self._work = 0
        self._works_begun = 0

    def now(self) -> float:
        """Return Unix time in seconds."""
        return self._now

    def advance(self, seconds: float, *, patience: float = 60.0) -> None:
        """Let time pass, and return when all that falls due on the way has been done, in its order.

        :param patience: true seconds that one step of the work may take.
        :raises ValueError: ``seconds`` is negative.
        :raises TimeoutError: the work of one step has not ended in time.
        """
        if not seconds >= 0 or math.isinf(seconds):
            raise ValueError(f"seconds is {seconds!r}, allowed: a finite number from 0")
        with self._advancing:
            target = self._now + seconds
            self._settle(patience)
            while (due := self._next()) is not None and due <= target:
                self._now = max(self._now, due)
                self._settle(patience)
            self._now = target

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait, holding ``condition``, until notified by somebody or by :meth:`advance`."""
        with self._lock:
            first = condition not in self._until
            self._until[condition] = None if first else math.inf if seconds is None else self._now + seconds
            self._lock.notify_all()
        # Who was not known here may have missed a step since it looked at the clock: let it look again
        if not first:
            condition.wait()

    def leave(self, condition: threading.Condition) -> None:
        """Do not expect anybody at ``condition`` any more."""
        with self._lock:
            self._until.pop(condition, None)
            self._lock.notify_all()

    def begin_work(self) -> None:
        """Stand still until :meth:`end_work`."""
        with self._lock:
            self._work += 1
            self._works_begun += 1

    def end_work(self) -> None:
        """End what :meth:`begin_work` began."""
        with self._lock:
            self._work -= 1
            self._lock.notify_all()

    def _next(self) -> float | None:
        with self._lock:
            return min(
                (until for until in self._until.values() if until not in (None, math.inf)), default=None
            )

    def _settle(self, patience: float) -> None:
        """Wait until no work is left and everybody waits for a time to come."""
        while True:
            self._await(lambda: self._work == 0, patience)
            begun = self._works_begun
            for condition in [*self._until]:
                self._wake(condition)
            self._await(lambda: None not in self._until.values(), patience)
            with self._lock:
                if self._work == 0 and self._works_begun == begun:
                    return

    def _wake(self, condition: threading.Condition) -> None:
        # Holding the condition, so that who waits there cannot be between its look at the clock and its wait
        with condition:
            with self._lock:
                if condition in self._until:
                    self._until[condition] = None
            condition.notify_all()

    def _await(self, predicate: Callable[[], bool], patience: float) -> None:
        with self._lock:
            if not self._lock.wait_for(predicate, patience):
                raise TimeoutError(f"the emulator's work has not ended within {patience} seconds")
