"""Work in a thread, with rest after it."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise

import pytest

from airflow_provider_ci.callback_endpoint.rate_limit import REST
from airflow_provider_ci.callback_endpoint.resting_thread import RestingThread


def work_for(seconds: float) -> tuple[float, float, bool]:
    """Use the processor; return when that began and ended, and whether it was on the event loop's thread."""
    began, until = time.monotonic(), time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return began, time.monotonic(), threading.current_thread() is threading.main_thread()


def test_one_function_runs_at_a_time_and_then_there_is_rest() -> None:
    async def main() -> list[tuple[float, float, bool]]:
        thread = RestingThread()
        return await asyncio.gather(*(thread.run(work_for, 0.05) for _ in range(3)))

    done = asyncio.run(main())
    for (_, ended, _), (began, _, is_on_loop) in pairwise(done):
        assert began - ended >= REST * 0.05 * 0.9  # clocks have different steps
        assert not is_on_loop


def test_what_fails_is_raised_and_holds_up_no_other() -> None:
    async def main() -> str:
        thread = RestingThread()
        with pytest.raises(OSError, match="the database is away"):
            await thread.run(fail)
        return await thread.run("{}-{}".format, "a", "b")

    def fail() -> None:
        raise OSError("the database is away")

    assert asyncio.run(main()) == "a-b"
