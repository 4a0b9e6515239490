"""One running Airflow for all tests of this folder, and two services that its connections lead to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_provider_ci.emulator.clock import VirtualClock
from airflow_provider_ci.emulator.server import Emulator
from airflow_provider_ci.hooks.ci import CIHook
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.emulator_process import short_wav


@dataclass
class Service:
    """An emulator, and a hook that speaks to it from outside Airflow."""

    emulator: Emulator
    hook: CIHook
    recording: Path

    def put(self, prefix: str, count: int) -> None:
        """Store ``count`` inputs, ``<prefix>/<number>.wav``."""
        for number in range(count):
            self.hook.upload_file(self.recording, f"{prefix}/{number}.wav")

    def accepted(self, prefix: str) -> list[str]:
        """Return the ids of the jobs accepted for inputs under ``prefix``, oldest first."""
        jobs = self.emulator.ledger.accepted_jobs()
        return [job.job_id for job in jobs if job.key.startswith(f"{prefix}/")]

    def states(self, job_ids: list[str]) -> list[str]:
        """Return the states of jobs, in this order."""
        known = {job.job_id: job.state for job in self.hook.describe_jobs(job_ids).jobs_detail}
        return [str(known[job_id]) for job_id in job_ids]

    def let_jobs_end(self) -> None:
        """Let the time pass that jobs wait and run."""
        assert isinstance(self.emulator.clock, VirtualClock)
        self.emulator.clock.advance(7200)


def serve(emulator: Emulator, conn_id: str, folder: Path) -> Service:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(emulator.connection))
        hook = CIHook(conn_id)
        assert hook.settings.bucket == emulator.bucket
    recording = folder / "short.wav"
    short_wav(recording)
    return Service(emulator, hook, recording)


@pytest.fixture(scope="session")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose jobs stay ``Submitted`` until the test lets time pass: connection ``held``."""
    with Emulator(
        clock=VirtualClock(), queue_seconds=1800, run_seconds=1800, queue_max_concurrent=100
    ) as emulator:
        service = serve(emulator, "held", tmp_path_factory.mktemp("held"))
        yield service
        service.hook.close()


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that does its jobs at once: connection ``quick``."""
    with Emulator() as emulator:
        service = serve(emulator, "quick", tmp_path_factory.mktemp("quick"))
        yield service
        service.hook.close()


@pytest.fixture(scope="session")
def stack(held: Service, quick: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """A running Airflow."""
    connections = {
        f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(service.emulator.connection)
        for conn_id, service in (("held", held), ("quick", quick))
    }
    home = tmp_path_factory.mktemp("airflow")
    with AirflowStack(home, Path(__file__).parent / "dags", connections) as running:
        yield running
