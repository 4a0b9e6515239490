"""One try of a task instance in a process of its own, which stops itself (SIGSTOP) where it is told to.
``test_zombie.py`` starts it, and lets it go on.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.hooks import transport
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.submission import durable_submission, record
from tests.patience import PATIENCE

RETRIES = 50
#: The points to stop at, in their order on a first try.
POINTS = (
    "before the look at the record",
    "after the look at the record",
    "after the look at the try 1",
    "before the intention",
    "after the intention",
    "after the look at the try 2",
    "before the submission",
    "after the submission",
    "after the job id",
    "before the result",
)


@dataclass(frozen=True)
class Try:
    """What a process needs to know. ``stops_at`` names one of the points, or none."""

    number: int
    store: str
    run_id: str
    connection: str
    stops_at: str | None


class Process:
    """Counts the points that it passes, and stops at the one that it is told."""

    def __init__(self, told: Try) -> None:
        self._told = told
        self._passed: set[str] = set()

    def at(self, point: str) -> None:
        if point == self._told.stops_at and point not in self._passed:
            self._passed.add(point)
            os.kill(os.getpid(), signal.SIGSTOP)
        self._passed.add(point)


class FileStore:
    """A task state store that processes share: a folder with a file for each key."""

    def __init__(self, folder: str, process: Process) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(exist_ok=True)
        self._process = process
        self._looks_at_try = 0

    def get(self, key: str, default: Any = None) -> Any:
        what = "the look at the record"
        if key == record.TRY_KEY:
            self._looks_at_try += 1
            what = f"the look at the try {self._looks_at_try}"
        self._process.at(f"before {what}")
        path = self._folder / key
        value = json.loads(path.read_text()) if path.exists() else default
        self._process.at(f"after {what}")
        return value

    def set(self, key: str, value: Any) -> None:
        what = "taking over"
        if key == record.STORE_KEY:
            what = "the job id" if "job_id" in value else "the intention"
        self._process.at(f"before {what}")
        whole = self._folder / f"{key}.{os.getpid()}"
        whole.write_text(json.dumps(value))
        whole.replace(self._folder / key)
        self._process.at(f"after {what}")


def run(told: Try, validity: float, lag: float, answers: Connection) -> None:
    """Make the try; send the job id, or the name of the error that ended it."""
    # a process that is continued but whose parent is gone must not go on for ever
    signal.alarm(int(2 * PATIENCE))
    os.environ["AIRFLOW_CONN_TENCENT_CI_DEFAULT"] = told.connection
    durable_submission.SUBMISSION_VALIDITY, durable_submission.LIST_CONSISTENCY_DELAY = validity, lag
    process = Process(told)
    send = transport.send

    def observed(session: Any, request: Any, timeout: Any, **options: Any) -> Any:
        if request.method != "POST":
            return send(session, request, timeout, **options)
        process.at("before the submission")
        answer = send(session, request, timeout, **options)
        process.at("after the submission")
        return answer

    transport.send = observed
    operator = VoiceSeparateOperator(
        task_id="separate",
        input_object="in/a.mp3",
        voice_object="out/a.aac",
        audio_mode="IsAudio",
        retries=RETRIES,
    )
    try:
        result = operator.execute(_context(told, process))
        process.at("before the result")
    except TencentCIError as error:
        result = type(error).__name__
    answers.send(result)


def _context(told: Try, process: Process) -> Any:
    now = datetime.now(UTC)
    ti = SimpleNamespace(
        dag_id="zombie",
        run_id=told.run_id,
        task_id="separate",
        map_index=-1,
        try_number=told.number,
        max_tries=RETRIES,
        start_date=now,
        stats_tags={},
        xcom_push=lambda key, value: None,
    )
    store = FileStore(told.store, process)
    return {"ti": ti, "dag_run": SimpleNamespace(start_date=now), "task_state_store": store}
