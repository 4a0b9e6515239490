"""Calls in real threads. Events decide what happens when, not the machine's speed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from airflow_provider_ci.submission.concurrent_calls import ConcurrentCalls
from tests.patience import PATIENCE


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ci-submit"]


def all_results(calls: ConcurrentCalls[int]) -> list[int]:
    results: list[int] = []
    while calls.running:
        results += calls.results(PATIENCE)
    return results


def call(number: int) -> Callable[[], int]:
    return lambda: number


def test_gives_all_results_and_ends_its_threads() -> None:
    with ConcurrentCalls[int]() as calls:
        results = []
        for number in range(100):
            while not calls.have_room:
                results += calls.results(PATIENCE)
            calls.start(call(number))
        results += all_results(calls)
    assert sorted(results) == list(range(100))
    assert not threads()


def test_runs_sixteen_calls_at_once() -> None:
    barrier = threading.Barrier(16)

    def meet() -> int:
        return barrier.wait(PATIENCE)

    with ConcurrentCalls[int]() as calls:
        for _ in range(16):
            assert calls.have_room
            calls.start(meet)
        assert not calls.have_room
        assert sorted(all_results(calls)) == list(range(16))


def test_uses_a_thread_again() -> None:
    with ConcurrentCalls[int]() as calls:
        for number in range(10):
            calls.start(call(number))
            assert all_results(calls) == [number]
        assert len(threads()) == 1


def test_does_not_wait_if_nothing_runs() -> None:
    with ConcurrentCalls[int]() as calls:
        assert calls.results(PATIENCE) == []


def test_an_error_does_not_wait_for_calls() -> None:
    may_end, results = threading.Event(), []

    def hang() -> int:
        may_end.wait(PATIENCE)
        results.append(1)
        return 1

    with pytest.raises(KeyError):
        start_and_fail(hang)
    assert results == []
    (thread,) = threads()
    may_end.set()
    thread.join(PATIENCE)
    assert results == [1]
    assert not threads(), "the thread runs no other call"


def start_and_fail(*calls_to_start: Callable[[], int]) -> None:
    with ConcurrentCalls[int]() as calls:
        for one in calls_to_start:
            calls.start(one)
        raise KeyError


def test_the_last_results_are_waited_for_a_short_time() -> None:
    may_end = threading.Event()
    with ConcurrentCalls[int]() as calls:
        calls.start(call(7))
        calls.start(lambda: int(may_end.wait(PATIENCE)))
        assert calls.last_results() == [7]
        may_end.set()
