"""Runs the kit of ``make live`` in this process, against an emulator whose clock the kit advances."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from live.clock import Clock
from live.connection import CONN_VARIABLE
from live.main import main
from live.observations import OBSERVATIONS
from live.plan import PAID_JOBS
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator

_OF_AIRFLOW = {job.name for job in PAID_JOBS if job.operator}
#: What the kit settles without Airflow.
BY_HOOK = [each.name for each in OBSERVATIONS if each.is_tried and not _OF_AIRFLOW.intersection(each.needs)]


class VirtualTime(Clock):
    """Time that passes in the emulator while the kit sleeps."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def unix_time(self) -> float:
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        self._clock.advance(seconds)


@dataclass(frozen=True)
class Outcome:
    """How a run has ended."""

    status: int
    said: str
    report: dict[str, Any]

    @property
    def deviations(self) -> dict[str, Any]:
        """The observations that differ from what is assumed, by what the terminal says."""
        rows = [line for line in self.said.splitlines() if line.endswith("| **differs** |")]
        names = [row.split("`")[1] for row in rows]
        return {name: self.report["observations"][name]["observed"] for name in names}

    @property
    def observed(self) -> dict[str, Any]:
        return {name: each["observed"] for name, each in self.report["observations"].items()}


class Kit:
    """The kit with its files in a temporary folder."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self.report = folder / "report.json"
        self.journals = folder / "journals"
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def journal_files(self) -> list[Path]:
        return [*self.journals.glob("*.journal")]

    def run(
        self,
        emulator: Emulator,
        *options: str,
        clock: Clock | None = None,
        terminal: io.StringIO | None = None,
    ) -> Outcome:
        """Run it; without ``clock`` the emulator's virtual clock is the kit's."""
        self._monkeypatch.setenv(CONN_VARIABLE, json.dumps(emulator.connection))
        environment = {**os.environ}
        if clock is None:
            assert isinstance(emulator.clock, VirtualClock)
            clock = VirtualTime(emulator.clock)
        self.report.unlink(missing_ok=True)
        files = ["--report", str(self.report), "--folder", str(self.journals)]
        try:
            status = main([*files, *options], clock=clock, terminal=terminal or io.StringIO())
        finally:  # the kit has changed it for itself, and for Airflow
            os.environ.clear()
            os.environ.update(environment)
        report = json.loads(self.report.read_text()) if self.report.exists() else {}
        return Outcome(status, self._capsys.readouterr().out, report)


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kit:
    return Kit(tmp_path, monkeypatch, capsys)


@contextmanager
def virtual_emulator(
    as_observed: Mapping[str, Any] | Path | None = None, **settings: Any
) -> Iterator[Emulator]:
    """An emulator with a clock that stands still unless the kit sleeps, and jobs that take some seconds.

    :param as_observed: a report, or what differs from what is assumed.
    """
    observed = report_of(as_observed) if isinstance(as_observed, Mapping) else as_observed
    times = {"queue_seconds": 3, "run_seconds": 5}
    with Emulator(clock=VirtualClock(), as_observed=observed, **(times | settings)) as emulator:
        yield emulator


def report_of(observed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report in which these values were observed."""
    return {"version": 1, "observations": {name: {"observed": value} for name, value in observed.items()}}
