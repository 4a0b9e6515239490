from __future__ import annotations

import threading

import pytest

from tencent_ci_emulator.clock import VirtualClock
from tests.patience import PATIENCE, wait_until


class Timetable:
    """A thread that acts at given times, as the engine's does."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.condition = threading.Condition()
        self.due: list[float] = []
        self.done: list[tuple[float, float]] = []
        self.follow_ups: dict[float, float] = {}
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with self.condition:
            self.stopping = True
            self.condition.notify_all()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def at(self, moment: float) -> None:
        with self.condition:
            self.due.append(moment)
            self.condition.notify_all()

    def _run(self) -> None:
        with self.condition:
            while not self.stopping:
                wait = min(self.due) - self.clock.now() if self.due else None
                if wait is None or wait > 0:
                    self.clock.wait(self.condition, wait)
                    continue
                moment = min(self.due)
                self.due.remove(moment)
                self.done.append((moment, self.clock.now()))
                if moment in self.follow_ups:
                    self.due.append(self.follow_ups[moment])
            self.clock.stop_waiting(self.condition)


@pytest.fixture
def clock():
    return VirtualClock(1000.0)


def test_time_stands_still_until_it_is_advanced(clock):
    assert clock.now() == clock.now() == 1000.0
    clock.advance(2.5)
    assert clock.now() == 1002.5
    clock.advance(0)
    assert clock.now() == 1002.5


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_time_advances_by_finite_seconds_only(clock, seconds):
    with pytest.raises(ValueError, match="allowed: a finite number from 0"):
        clock.advance(seconds)


def test_everything_happens_at_its_own_time(clock):
    with Timetable(clock) as table:
        table.follow_ups = {1010.0: 1020.0, 1020.0: 1090.0}
        table.at(1050.0)
        table.at(1010.0)
        table.at(1200.0)
        clock.advance(100)
        assert table.done == [(1010.0, 1010.0), (1020.0, 1020.0), (1050.0, 1050.0), (1090.0, 1090.0)]
        assert clock.now() == 1100.0
        clock.advance(100)
        assert table.done[-1] == (1200.0, 1200.0)


def test_an_action_that_was_scheduled_just_before_is_not_missed(clock):
    for start in range(1000, 1300, 10):  # often, because a race would not be lost every time
        with Timetable(clock) as table:
            table.at(start + 1.0)
            clock.advance(5)
            table.at(start + 7.0)
            clock.advance(5)
            assert table.done == [(start + 1.0, start + 1.0), (start + 7.0, start + 7.0)]


def test_time_stands_still_while_work_is_running(clock):
    with Timetable(clock) as table:
        clock.begin_work()
        advancing = threading.Thread(target=clock.advance, args=(10,))
        advancing.start()
        advancing.join(0.1)
        assert advancing.is_alive()
        assert clock.now() == 1000.0
        table.at(1004.0)  # which the work brings about
        clock.end_work()
        advancing.join(PATIENCE)
        assert not advancing.is_alive()
        assert table.done == [(1004.0, 1004.0)]


def test_work_without_end_is_an_error(clock):
    clock.begin_work()
    with pytest.raises(TimeoutError, match=r"within 0\.05 seconds"):
        clock.advance(1, patience=0.05)


def test_a_thread_that_has_stopped_waiting_is_not_waited_for(clock):
    with Timetable(clock) as table:
        wait_until(lambda: clock._wake_times)
    assert not table.thread.is_alive()
    clock.advance(1)
