"""Time that the code under test and an emulator share, and that only sleeping moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator

_MODULES_WITH_TIME = (
    "airflow_provider_ci.operators.base_job",
    "airflow_provider_ci.operators.base_task",
    "airflow_provider_ci.operators.job_wait",
    "airflow_provider_ci.operators.kill_guard",
    "airflow_provider_ci.operators.batch_job",
    "airflow_provider_ci.operators.bulk_job",
    "airflow_provider_ci.operators.bulk_task_submission",
    "airflow_provider_ci.operators.bulk_wait",
    "airflow_provider_ci.hooks.attempts",
    "airflow_provider_ci.hooks.clock",
    "airflow_provider_ci.triggers.bulk",
    "airflow_provider_ci.triggers.job",
    "tencent_ci_emulator.server",
)


class VirtualTime:
    """Replaces the module ``time`` in the code under test."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def time(self) -> float:
        return self._clock.now()

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self._clock.advance(max(seconds, 0))


def replace_time(patch: pytest.MonkeyPatch, virtual: VirtualTime) -> None:
    """Let the code under test sleep, and read the time, in virtual time."""
    for module in _MODULES_WITH_TIME:
        patch.setattr(f"{module}.time", virtual)
    patch.setattr("airflow_provider_ci.operators.kill_guard._LONGEST_SLEEP", 1000.0)
    patch.setattr(TencentCIHook, "sleep", virtual.sleep)


@contextmanager
def emulator_in_virtual_time(**settings: Any) -> Iterator[Emulator]:
    """Run an emulator whose clock is that of the worker, and of the triggers that read lists. The shared
    poller waits in true time, as it does everything in an event loop's time.
    """
    virtual = VirtualTime(clock := VirtualClock())

    async def sleep(seconds: float) -> None:
        await asyncio.to_thread(virtual.sleep, seconds)

    with pytest.MonkeyPatch.context() as patch:
        replace_time(patch, virtual)
        in_virtual_time = SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
        patch.setattr("airflow_provider_ci.triggers.job.asyncio", in_virtual_time)
        with Emulator(clock=clock, **settings) as emulator:
            yield emulator
