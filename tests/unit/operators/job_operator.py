"""What the tests of an operator that submits a job share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_ci.exceptions import TaskKilledError
from airflow_provider_ci.operators.base_job import XCOM_JOB
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from tests.conftest import Logs
from tests.patience import PATIENCE
from tests.scripted_server import job


class Store(dict[str, Any]):
    """A task state store."""

    set = dict.__setitem__


@dataclass
class CancellationWaits:
    """Replaces the waits for an attempt to cancel a job.

    :param seconds: the limits of the waits so far.
    :param end_at_once: so many of the first waits reach their limits at once, the others never.
    """

    seconds: list[float] = field(default_factory=list)
    end_at_once: int = 0

    def wait(self, attempts: list[Future[Any]], seconds: float) -> Any:
        self.seconds.append(seconds)
        return wait(attempts, 0 if len(self.seconds) <= self.end_at_once else PATIENCE)


MakeOperator = Callable[..., VoiceSeparateOperator]


Context = dict[str, Any]


SUBMITTED, RUNNING, SUCCESS = job("j1", "Submitted"), job("j1", "Running"), job("j1", "Success")


@contextmanager
def signal_handled(number: signal.Signals, handler: Callable[[], object]) -> Iterator[None]:
    before = signal.signal(number, lambda *_: handler())
    try:
        yield
    finally:
        signal.signal(number, before)


def terminate() -> None:
    """Send this process what a worker gets when its task is to stop."""
    os.kill(os.getpid(), signal.SIGTERM)


def xcoms(context: Context) -> list[tuple[str, Any]]:
    """Return the pushes in order without the links, of the job only its state."""
    pushed = [(key, value) for key, value in context["ti"].xcoms if not key.startswith("_link_")]
    return [(key, value["state"] if key == XCOM_JOB else value) for key, value in pushed]


def warnings(logs: Logs) -> list[str]:
    """Return the warnings without the one of Airflow, that it does not call ``execute``."""
    return [line for line in logs.at("warning") if "cannot be called outside" not in line]


def killed(operator: VoiceSeparateOperator, context: Context, kind: type[Exception] = TaskKilledError) -> str:
    """Execute, with ``on_kill`` called as Airflow does, from the handler of SIGTERM; return the error."""
    with signal_handled(signal.SIGTERM, operator.on_kill), pytest.raises(kind) as caught:
        operator.execute(context)
    return str(caught.value)
