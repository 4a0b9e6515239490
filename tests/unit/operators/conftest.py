"""An operator that submits a job to a scripted server, and its context."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.operators import bulk_cancellation, cancellation
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from tests.patience import PATIENCE
from tests.scripted_server import ScriptedServer
from tests.unit.operators.job_operator import CancellationWaits, Context, MakeOperator


@pytest.fixture
def make_operator(server: ScriptedServer, connection: Callable[..., str]) -> Iterator[MakeOperator]:
    """Return a function that makes an operator that waits, impatiently, with reads that are tried once."""
    operators: list[VoiceSeparateOperator] = []

    def make(extra: dict[str, Any] | None = None, **arguments: Any) -> VoiceSeparateOperator:
        connection(server.url, **({"max_attempts": 1, "read_timeout": PATIENCE} | (extra or {})))
        usual = {"wait_for_completion": True, "poll_interval": 0.01}
        operators.append(
            VoiceSeparateOperator(
                task_id="submit", input_object="in/a.mp3", voice_object="out/a", **(usual | arguments)
            )
        )
        return operators[-1]

    yield make
    for operator in operators:
        operator.hook.close()


@pytest.fixture(autouse=True)
def cancellation_waits(mocker: MockerFixture) -> CancellationWaits:
    """The waits for cancellations. A slow machine makes neither these nor their requests fail."""
    waits = CancellationWaits()
    mocker.patch.object(cancellation, "wait", waits.wait)
    for module in (cancellation, bulk_cancellation):
        mocker.patch.object(module, "REQUEST_SECONDS", PATIENCE)
    return waits


@pytest.fixture
def context(make_context: Callable[..., Context]) -> Context:
    return make_context()


@pytest.fixture
def pauses(mocker: MockerFixture) -> list[float]:
    """Let the operator's pauses take no time; return their list."""
    began, clock, pauses = time.time(), [0.0], list[float]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    virtual = SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep, time=lambda: began + clock[0])
    for module in ("base_job", "base_task", "job_wait", "kill_guard"):
        mocker.patch(f"airflow_provider_ci.operators.{module}.time", virtual)
    mocker.patch("airflow_provider_ci.operators.kill_guard._LONGEST_SLEEP", math.inf)
    return pauses
