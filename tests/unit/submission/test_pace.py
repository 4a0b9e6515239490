"""How fast requests are sent, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_ci.submission.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def send_for(clock: Clock, pace: Pace, seconds: float, note: Callable[[], object] = lambda: None) -> int:
    """Return how many requests may be sent in some seconds."""
    end, sent = clock.now + seconds, 0
    while clock.now < end:
        if pace.seconds_to_next() <= 0:
            pace.note_sent()
            note()
            sent += 1
        else:
            clock.now += min(pace.seconds_to_next() + 1e-6, 0.01)
    return sent


def test_requests_are_spread_evenly(clock: Clock) -> None:
    pace = Pace(20, clock)
    assert send_for(clock, pace, 1.0) == pytest.approx(20, abs=1)
    assert send_for(clock, pace, 10.0) == pytest.approx(200, abs=2)


def test_a_sender_that_was_late_catches_up_a_little(clock: Clock) -> None:
    pace = Pace(20, clock)
    send_for(clock, pace, 1.0)
    clock.now += 60
    assert send_for(clock, pace, 1.0) <= 20 + 6


def test_throttling_pauses_and_halves_the_rate(clock: Clock) -> None:
    pace = Pace(20, clock)
    assert pace.slow_down(5.0)
    assert pace.rate == 10
    assert pace.seconds_to_next() == 5.0
    clock.now += 5
    assert send_for(clock, pace, 2.0) == pytest.approx(20, abs=1)


def test_failures_that_come_together_count_as_one(clock: Clock) -> None:
    pace = Pace(20, clock)
    assert [pace.slow_down(seconds) for seconds in (0, 0, 3.0, 0)] == [True, False, False, False]
    assert pace.rate == 10
    assert pace.seconds_to_next() == 3.0


def test_pauses_grow_while_nothing_succeeds(clock: Clock) -> None:
    pace, pauses = Pace(20, clock), []
    for _ in range(8):
        pace.slow_down()
        pauses.append(round(pace.seconds_to_next()))
        clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert pace.rate == pytest.approx(20 / 64)
    pace.speed_up()
    pace.slow_down()
    assert pace.seconds_to_next() == 1


def test_the_rate_recovers(clock: Clock) -> None:
    pace = Pace(20, clock)
    pace.slow_down()
    clock.now += 1
    send_for(clock, pace, 20.0, pace.speed_up)
    assert pace.rate == 20
