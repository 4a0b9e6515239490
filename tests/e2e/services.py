"""A service for a running Airflow, with a connection that leads there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.tree import with_value
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.ledger import AcceptedJob
from tencent_ci_emulator.server import Emulator
from tests.e2e.emulator_process import short_wav
from tests.job_samples import request_of


@dataclass
class Service:
    """An emulator, and a hook that speaks to it from outside Airflow.

    ``environment`` defines the connection for Airflow's processes.
    """

    emulator: Emulator
    hook: TencentCIHook
    recording: Path
    environment: dict[str, str]

    def put(self, prefix: str, count: int) -> None:
        """Store ``count`` inputs, ``<prefix>/<number>.wav``."""
        for number in range(count):
            self.hook.upload_file(self.recording, f"{prefix}/{number}.wav")

    def show_in_list(self, *tags: str) -> None:
        """Submit a job of each type: a task whose job may be lost believes an empty list only if the list
        shows jobs of its type.
        """
        for tag in tags:
            request = request_of(tag, "earlier", self.emulator.bucket, self.emulator.region)
            # of a job without it a task would think that the service has left it out
            self.hook.submit_job(with_value(request, "Operation.UserData", "earlier"))

    def jobs(self, prefix: str) -> list[AcceptedJob]:
        """Return the jobs accepted for inputs under ``prefix``, oldest first."""
        jobs = self.emulator.ledger.accepted_jobs()
        return [job for job in jobs if job.key.startswith(f"{prefix}/")]

    def accepted(self, prefix: str) -> list[str]:
        """Return the ids of those jobs."""
        return [job.job_id for job in self.jobs(prefix)]

    def states(self, job_ids: list[str]) -> list[str]:
        """Return the states of jobs, in this order."""
        known = {job.job_id: job.state for job in self.hook.describe_jobs(job_ids).jobs_detail}
        return [str(known[job_id]) for job_id in job_ids]

    def let_jobs_begin(self) -> None:
        """Let the time pass that jobs wait, and not that they run."""
        assert isinstance(self.emulator.clock, VirtualClock)
        self.emulator.clock.advance(1801)

    def let_jobs_end(self) -> None:
        """Let the time pass that jobs wait and run."""
        assert isinstance(self.emulator.clock, VirtualClock)
        self.emulator.clock.advance(7200)


@contextmanager
def serve(conn_id: str, folder: Path, **settings: Any) -> Iterator[Service]:
    """Serve, with settings of :class:`Emulator`, until the block is left."""
    recording = folder / "short.wav"
    short_wav(recording)
    with Emulator(**settings) as emulator:
        environment = {f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(emulator.connection)}
        hook = TencentCIHook(conn_id)
        with patch.dict(os.environ, environment):
            assert hook.settings.bucket == emulator.bucket  # read once, and kept
        yield Service(emulator, hook, recording, environment)
        hook.close()
