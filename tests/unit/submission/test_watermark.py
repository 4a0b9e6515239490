"""The watermark of ended jobs: whatever the order of ends, the lag of the list and the restarts, each job is
announced, and only once unless its event may have been lost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.submission.watermark import (
    OVERLAP_MAX,
    OVERLAP_MIN,
    EndedJobsWatermark,
    SeenJob,
    next_watermark,
)

EPOCH = 1_800_000_000
STATE = EndedJobsWatermark(EPOCH).to_json()


@dataclass(frozen=True)
class Life:
    """When a job is created, for how long it lasts, and by how much the list lags behind, in seconds."""

    created: int
    duration: int
    lag: int

    def seen(self, number: int, at: float) -> SeenJob:
        end = EPOCH + self.created + self.duration
        return SeenJob(f"j{number}", EPOCH + self.created, end if end <= EPOCH + at else None)


LIVES = st.lists(
    st.builds(
        Life,
        created=st.integers(0, 3000),
        duration=st.integers(0, 20_000),
        # what is left of the overlap after the time between two polls
        lag=st.integers(0, int(OVERLAP_MIN) - 1),
    ),
    max_size=120,
)
PAUSES = st.lists(st.integers(60, 1800), min_size=6, max_size=40)


def poll(watermark: EndedJobsWatermark, lives: Sequence[Life], at: float) -> list[SeenJob]:
    """Read jobs as the stream does, and return those that are announced."""
    listed = [
        life.seen(number, at - life.lag)
        for number, life in enumerate(lives)
        if life.created + EPOCH >= watermark.since and life.created + life.lag <= at
    ]
    left = watermark.pending.difference(job.job_id for job in listed)
    followed = [life.seen(number, at) for number, life in enumerate(lives) if f"j{number}" in left]
    news = [job for job in (*listed, *followed) if job.ended_at is not None and watermark.is_new(job)]
    for job in news:
        watermark.note_announced(job)
    pending = [job for job in listed if job.ended_at is None]
    watermark.advance(next_watermark(EPOCH + at, listed), pending)
    return news


@given(lives=LIVES, pauses=PAUSES, data=st.data())
def test_each_job_is_announced_and_only_again_if_its_event_may_be_lost(lives, pauses, data):
    watermark = EndedJobsWatermark(EPOCH)
    announced, repeated = Counter[str](), Counter[str]()
    at = 0.0
    for pause in (*pauses, 30_000, 300, 300):  # at last all have ended, and the list has caught up
        at += pause
        news = [job.job_id for job in poll(watermark, lives, at)]
        announced.update(news)
        if data.draw(st.booleans(), "the triggerer dies"):
            lost = data.draw(
                st.sets(st.sampled_from(news)) if news else st.just(set()), "without confirmation"
            )
            repeated.update(lost)
            watermark = EndedJobsWatermark.from_json(json.loads(json.dumps(watermark.to_json(lost))))
    news = [job.job_id for job in poll(watermark, lives, at + 300)]
    announced.update(news)
    expected = {f"j{number}" for number in range(len(lives))}
    assert set(announced) == expected
    assert announced == Counter(expected) + repeated


def test_what_was_created_before_the_watermark_is_old_unless_it_is_pending():
    watermark = EndedJobsWatermark(EPOCH, pending=["j1"])
    assert watermark.is_new(Life(-100, 5, 0).seen(1, 0))
    assert not watermark.is_new(Life(-100, 5, 0).seen(2, 0))
    assert watermark.is_new(Life(0, 5, 0).seen(2, 10))


def test_a_job_that_the_watermark_passes_before_it_ends_becomes_pending():
    watermark = EndedJobsWatermark(EPOCH)
    watermark.advance(EPOCH + 50, [Life(10, 500, 0).seen(1, 60), Life(60, 500, 0).seen(2, 60)])
    assert watermark.pending == {"j1"}
    watermark.advance(EPOCH + 20, [])  # never back
    assert watermark.since == EPOCH + 50


def test_announced_jobs_behind_the_watermark_are_forgotten():
    watermark = EndedJobsWatermark(EPOCH)
    for number, created in enumerate((10, 20, 30)):
        watermark.note_announced(Life(created, 1, 0).seen(number, 100))
    watermark.advance(EPOCH + 20, [])
    assert not watermark.is_new(Life(20, 1, 0).seen(1, 100))
    assert not watermark.is_new(Life(30, 1, 0).seen(2, 100))
    assert len(watermark.announced) == 2


def test_airflow_does_not_warn_of_the_state_after_four_thousand_jobs_within_the_overlap():
    watermark = EndedJobsWatermark(EPOCH)
    for number in range(4000):
        job_id = f"j{number:032x}"
        watermark.note_announced(SeenJob(job_id, EPOCH + number * OVERLAP_MIN // 4000, EPOCH + 200.0))
    assert len(json.dumps(watermark.to_json())) <= 65_535


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        pytest.param([], -OVERLAP_MAX, id="no-jobs"),
        pytest.param([-5000.0 * n for n in range(49)], -OVERLAP_MAX, id="few"),
        pytest.param([-30.0 * n for n in range(60)], -30 * 49, id="half-a-page"),
        pytest.param([-1.0 * n for n in range(90)], -OVERLAP_MIN, id="many"),
        pytest.param([-500.0] * 100, -500, id="a-page-in-one-second"),
        pytest.param([-500.0] * 101, -499, id="more-than-a-page-in-one-second"),
        pytest.param([-500.0] * 2000 + [-400.0] * 49, -499, id="thousands-in-one-second"),
    ],
)
def test_the_overlap_has_half_a_page_of_jobs_within_its_bounds(created, expected):
    jobs = [Life(int(at), 0, 0).seen(number, 0) for number, at in enumerate(created)]
    assert next_watermark(EPOCH, jobs) == EPOCH + expected


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        {"since": 1},
        {**STATE, "since": None},
        {**STATE, "since": 1e18},
        {**STATE, "since": float("nan")},
        {**STATE, "began_at": float("nan")},
        {**STATE, "pending": ["no id"]},
    ],
)
def test_another_value_is_no_watermark(state):
    with pytest.raises(ValueError, match="it is no watermark"):
        EndedJobsWatermark.from_json(state)
