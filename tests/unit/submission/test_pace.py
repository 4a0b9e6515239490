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
    assert pace.note_throttled(5.0)
    assert pace.rate == 10
    assert pace.seconds_to_next() == 5.0
    clock.now += 5
    assert send_for(clock, pace, 2.0) == pytest.approx(20, abs=1)


def test_failures_that_come_together_count_as_one(clock: Clock) -> None:
    pace = Pace(20, clock)
    assert [pace.note_throttled(seconds) for seconds in (0, 0, 3.0, 0)] == [True, False, False, False]
    assert pace.rate == 10
    assert pace.seconds_to_next() == 3.0


def test_pauses_grow_while_nothing_succeeds(clock: Clock) -> None:
    pace, pauses = Pace(20, clock), []
    for _ in range(8):
        pace.note_throttled()
        pauses.append(round(pace.seconds_to_next()))
        clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    pace.note_success()
    pace.note_throttled()
    assert pace.seconds_to_next() == 1


def test_one_failure_among_successes_pauses_nothing(clock: Clock) -> None:
    pace = Pace(20, clock)
    assert not pace.note_failure()
    pace.note_success()
    assert not pace.note_failure()
    assert pace.seconds_to_next() <= 0
    assert pace.note_failure()
    assert pace.seconds_to_next() == 1
    assert pace.rate == 20


def test_a_failure_with_advice_is_obeyed(clock: Clock) -> None:
    pace = Pace(20, clock)
    assert pace.note_failure(7.0)
    assert pace.seconds_to_next() == 7.0


def test_the_rate_recovers(clock: Clock) -> None:
    pace = Pace(20, clock)
    pace.note_throttled()
    clock.now += 1
    send_for(clock, pace, 20.0, pace.note_success)
    assert pace.rate == 20


def test_a_rate_of_failures_that_does_not_depend_on_the_pace_does_not_stop_it(clock: Clock) -> None:
    pace, sent = Pace(20, clock), 0

    def note() -> None:
        nonlocal sent
        sent += 1
        pace.note_throttled(1.0) if sent % 7 == 0 else pace.note_success()

    assert send_for(clock, pace, 300.0, note) > 300 * 3
