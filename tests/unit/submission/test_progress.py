"""What the log says while a bulk task runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.submission.progress import Counts, SubmissionProgress, WaitProgress


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, /, *args: object) -> None:
        self.lines.append(message % args)

    warning = error = info


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_at_each_tenth_with_speed_and_time_left() -> None:
    log, clock = Log(), Clock()
    progress = WaitProgress(100, log, clock)
    for ended in range(101):
        clock.now += 0.5
        progress.update(Counts(100 - ended, ended, ended // 50))
    assert len(log.lines) == 11
    assert log.lines[0] == "Of 100 items 100 wait or run, 0 done, 0 of these failed"
    assert log.lines[5].endswith(
        "50 wait or run, 50 done, 1 of these failed; 2 done a second, about 26 s left"
    )
    assert log.lines[10] == "Of 100 items 0 wait or run, 100 done, 2 of these failed"


def test_a_line_each_minute_only_if_something_has_changed() -> None:
    log, clock = Log(), Clock()
    progress = WaitProgress(1000, log, clock)
    progress.update(Counts(1000, 0, 0))
    for _ in range(10):
        clock.now += 30
        progress.update(Counts(1000, 0, 0))
    assert len(log.lines) == 1
    progress.update(Counts(999, 1, 1))
    assert log.lines[1].endswith("1 done, 1 of these failed; 0.0033 done a second, about 83 h 15 min left")


def test_while_jobs_are_submitted_only_that_and_failures_are_said() -> None:
    """Nobody has asked for the others: how many run, are done, and how long it takes."""
    log, clock = Log(), Clock()
    progress = SubmissionProgress(500, log, clock)
    for submitted in range(501):
        clock.now += 0.1
        progress.update(submitted, submitted // 20)
    assert len(log.lines) == 11
    assert log.lines[4] == "Of 500 items 200 are submitted, 10 refused or failed"
    clock.now += 60
    progress.update(500, 26)
    assert log.lines[11] == "Of 500 items 500 are submitted, 26 refused or failed"


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200), st.integers(1, 50))
def test_there_are_at_most_two_lines_for_each_tenth_when_no_time_passes(steps: list[int], total: int) -> None:
    log = Log()
    progress = WaitProgress(total, log, lambda: 0.0)
    for ended in sorted(min(step, total) for step in steps):
        progress.update(Counts(total - ended, ended, 0))
    assert 1 <= len(log.lines) <= 11
