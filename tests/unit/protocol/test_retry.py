"""When a call is repeated, and after how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    InvalidResponseError,
    QueueFullError,
    ServerError,
    ThrottledError,
    TransportError,
)
from airflow_provider_ci.protocol.retry import RetryPolicy

POLICY = RetryPolicy(max_attempts=10, base=0.5, cap=20)
LOST = TransportError("lost")


@pytest.fixture
def longest(mocker):
    """Draw the longest pause."""
    mocker.patch("random.uniform", lambda low, high: high)


@pytest.fixture
def shortest(mocker):
    """Draw the shortest pause."""
    mocker.patch("random.uniform", lambda low, high: low)


def throttled(retry_after: float | None, kind=ThrottledError, status: int = 429):
    error = kind("x", status=status)
    error.retry_after = retry_after
    return error


@pytest.mark.usefixtures("longest")
def test_the_longest_pause_doubles_up_to_the_cap():
    pauses = [POLICY.pause_after(attempt, LOST, idempotent=True) for attempt in range(1, 10)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 20, 20, 20]


@pytest.mark.usefixtures("shortest")
def test_the_shortest_pause_is_none_at_all():
    assert {POLICY.pause_after(attempt, LOST, idempotent=True) for attempt in range(1, 10)} == {0}


@given(
    attempt=st.integers(1, 9),
    advice=st.none() | st.floats(0, 300),
    base=st.floats(0, 10),
    cap=st.floats(0, 100),
)
def test_every_pause_is_within_its_bounds(attempt, advice, base, cap):
    policy = RetryPolicy(max_attempts=10, base=base, cap=cap)
    pause = policy.pause_after(attempt, throttled(advice), idempotent=True)
    least = advice or 0
    assert least <= pause <= least + min(cap, base * 2 ** (attempt - 1))


def test_attempts_are_bounded():
    policy = RetryPolicy(max_attempts=3)
    assert policy.pause_after(2, LOST, idempotent=True) is not None
    assert policy.pause_after(3, LOST, idempotent=True) is None
    assert policy.pause_after(4, LOST, idempotent=True) is None
    assert RetryPolicy(max_attempts=1).pause_after(1, LOST, idempotent=True) is None


@pytest.mark.parametrize("error_class", [ThrottledError, ServerError])
def test_retry_after_is_the_least_pause(error_class, shortest):
    assert POLICY.pause_after(1, throttled(42, error_class), idempotent=True) == 42


def test_jitter_comes_on_top_of_retry_after(longest):
    assert POLICY.pause_after(9, throttled(1), idempotent=True) == 21


@pytest.mark.parametrize(
    "error",
    [AuthenticationError("x", status=401), QueueFullError("x", status=403), ServerError("x", status=501)],
    ids=["authentication", "queue-full", "not-implemented"],
)
@pytest.mark.parametrize("idempotent", [True, False])
def test_what_repeating_does_not_help_is_not_repeated(error, idempotent):
    assert POLICY.pause_after(1, error, idempotent=idempotent) is None


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (TransportError("refused", sent=False), True),
        (ThrottledError("x", status=429), True),
        (ServerError("x", status=400), True),
        (TransportError("lost"), False),
        (ThrottledError("x", status=503), False),
        (ServerError("x", status=500), False),
        (InvalidResponseError("x", status=200), False),
    ],
    ids=["never-sent", "429", "slow-upload", "lost", "slow-down-503", "500", "unreadable"],
)
def test_a_submission_is_repeated_only_when_certainly_not_accepted(error, repeated):
    assert (POLICY.pause_after(1, error, idempotent=False) is not None) is repeated
    assert POLICY.pause_after(1, error, idempotent=True) is not None
