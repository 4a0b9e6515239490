"""Runs the DAG with the typed operators in a process of its own, with real Airflow in a temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from airflow_provider_ci.exceptions import TencentCIError
from live import job_requests
from live.connection import CONN_ID, CONN_VARIABLE, LOG_LEVEL_VARIABLE
from live.facts import AirflowJob
from live.plan import SPOKEN_TEXT, PaidJob

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from live.journal import Created, Journal

_ROOT = Path(__file__).resolve().parent.parent
_DAGS = Path(__file__).resolve().parent / "dags"
#: The format of the input of each job.
_INPUTS = {
    "voice_separate": "mp3",
    "transcode": "m4a",
    "noise_reduction": "wav",
    "speech_recognition": "mp3",
    "media_info": "flac",
}
_MOST_LOG_LINES = 15


class AirflowRun:
    """A run of the DAG. It begins with :meth:`start`, and the kit works on meanwhile.

    :param home: the temporary ``AIRFLOW_HOME``.
    """

    def __init__(
        self, hook: TencentCIHook, journal: Journal, jobs: Sequence[PaidJob], home: Path, *, poll: float
    ) -> None:
        self._hook = hook
        self._journal = journal
        self._jobs = {job.name: job for job in jobs}
        self._notes = home / "submissions"
        self._outcome = home / "outcome.json"
        self._log = home / "airflow.log"
        self._poll = poll
        self._process: subprocess.Popen[bytes] | None = None
        self._submissions: dict[str, Created] = {}
        self._accepted: dict[str, str] = {}

    def start(self, *, patience: float) -> None:
        """Begin, if there are jobs. What the DAG submits is noted in the journal before."""
        if not self._jobs:
            return
        for job in self._jobs.values():
            self._submissions[job.name] = self._journal.add("submission", f"{job.tag} {job.name}")
        self._notes.mkdir()
        place = self._journal.place
        run = {
            "notes": str(self._notes),
            "prefix": place.prefix,
            "jobs": [*self._jobs],
            "inputs": {name: job_requests.input_key(place, kind) for name, kind in _INPUTS.items()},
            "rate": job_requests.WANTED_RATE,
            "text": SPOKEN_TEXT,
            "outcome": str(self._outcome),
            "poll": max(1.0, self._poll),
            "patience": patience,
        }
        environment = {
            **os.environ,
            "AIRFLOW__CORE__DAGS_FOLDER": str(_DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "CI_LIVE_RUN": json.dumps(run),
            CONN_VARIABLE: self._connection(),
        }
        del environment[LOG_LEVEL_VARIABLE]
        command = [sys.executable, "-m", "live.airflow_process"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - no shell
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=_ROOT,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> dict[str, AirflowJob]:
        """Wait for the end of the run; return its jobs as the service describes them."""
        if self._process is None:
            return {}
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.stop()
        try:
            successful = json.loads(self._outcome.read_text())
        except (OSError, ValueError):  # the run has not come to its end
            successful = []
        return {name: self._describe(name, is_successful=name in successful) for name in self._jobs}

    def count_accepted(self) -> int:
        """Return how many jobs the service has accepted, or may have."""
        return len(self._accepted) + len(self._submissions)

    def stop(self) -> None:
        """End the process, if it runs, and note in the journal which jobs there are.

        Where this is not certain, the journal keeps the submission.
        """
        if self._process is not None:
            _close(self._process.stdin)
            self._process.wait()
        for name, submission in [*self._submissions.items()]:
            path = self._notes / name
            try:
                job_id = json.loads(path.read_text()) if path.exists() else None
            except ValueError:  # it was being submitted
                continue
            if job_id:
                self._journal.add("job", job_id)
                self._accepted[name] = job_id
            self._journal.remove(submission)
            del self._submissions[name]

    def log_end(self) -> str:
        """Return the end of Airflow's log, for the terminal."""
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_MOST_LOG_LINES:])

    def _describe(self, name: str, *, is_successful: bool) -> AirflowJob:
        place, job_id = self._journal.place, self._accepted.get(name)
        described = None
        if job_id:
            with suppress(TencentCIError):  # it was accepted all the same; nothing is observed of it
                found = self._hook.describe_jobs([job_id], bucket=place.bucket, region=place.region)
                described = next(iter(found.jobs_detail), None)
        return AirflowJob(
            extension=_INPUTS.get(name),
            is_accepted=bool(job_id) or name in self._submissions,
            description=described,
            is_successful=is_successful,
        )

    def _connection(self) -> str:
        """Return the connection, with bucket and region of the run, for the environment of the process."""
        connection, place = self._hook.get_connection(CONN_ID), self._journal.place
        return json.dumps(
            {
                "conn_type": connection.conn_type,
                "login": connection.login,
                "password": connection.password,
                "extra": {**connection.extra_dejson, "bucket": place.bucket, "region": place.region},
            }
        )


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        pipe.close()
