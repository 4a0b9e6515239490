"""What ends a run early: Ctrl-C, SIGQUIT, SIGTERM, and the end of the terminal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS: tuple[signal.Signals, ...] = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGQUIT, SIGTERM and SIGHUP do what Ctrl-C does. ``nohup`` still keeps SIGHUP away."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous: list[tuple[int, Any]] = []
    for number in _SIGNALS:
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue
        previous.append((number, signal.signal(number, interrupt)))
    try:
        yield
    finally:
        for interrupted, handler in previous:
            signal.signal(interrupted, handler)


def ignore_signals() -> None:
    """Let nothing interrupt what follows."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
