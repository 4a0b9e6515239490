"""One try of a task instance in its own process, which stops itself (SIGSTOP) at a point that
``test_zombie.py`` chooses. The test starts the process, and continues it.
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
    "before reading the record",
    "after reading the record",
    "after reading the latest try 1",
    "before writing the record",
    "after writing the record",
    "after reading the latest try 2",
    "before the submission",
    "after the submission",
    "after writing the job id",
    "before the result",
)


@dataclass(frozen=True)
class Try:
    """What the process does. ``stops_at`` is one of the points, or ``None``."""

    number: int
    store: str
    run_id: str
    connection: str
    stops_at: str | None


class Process:
    """Stops at its point the first time that it gets there."""

    def __init__(self, plan: Try) -> None:
        self._plan = plan
        self._has_stopped = False

    def at(self, point: str) -> None:
        if point == self._plan.stops_at and not self._has_stopped:
            self._has_stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)


class FileStore:
    """A task state store that processes share: a folder with a file for each key."""

    def __init__(self, folder: str, process: Process) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(exist_ok=True)
        self._process = process
        self._reads_of_try = 0

    def get(self, key: str, default: Any = None) -> Any:
        action = "reading the record"
        if key == record.TRY_KEY:
            self._reads_of_try += 1
            action = f"reading the latest try {self._reads_of_try}"
        self._process.at(f"before {action}")
        path = self._folder / key
        value = json.loads(path.read_text()) if path.exists() else default
        self._process.at(f"after {action}")
        return value

    def set(self, key: str, value: Any) -> None:
        action = "taking over"
        if key == record.STORE_KEY:
            action = "writing the job id" if "job_id" in value else "writing the record"
        self._process.at(f"before {action}")
        complete = self._folder / f"{key}.{os.getpid()}"
        complete.write_text(json.dumps(value))
        complete.replace(self._folder / key)
        self._process.at(f"after {action}")


def run(plan: Try, validity: float, lag: float, results: Connection) -> None:
    """Make the try; send the job id, or the name of the error that ended it."""
    # a process whose test is gone must not run for ever
    signal.alarm(int(2 * PATIENCE))
    os.environ["AIRFLOW_CONN_TENCENT_CI_DEFAULT"] = plan.connection
    durable_submission.SUBMISSION_VALIDITY, durable_submission.LIST_CONSISTENCY_DELAY = validity, lag
    process = Process(plan)
    send = transport.send

    def observed(session: Any, request: Any, timeout: Any, **options: Any) -> Any:
        if request.method != "POST":
            return send(session, request, timeout, **options)
        process.at("before the submission")
        response = send(session, request, timeout, **options)
        process.at("after the submission")
        return response

    transport.send = observed
    operator = VoiceSeparateOperator(
        task_id="separate",
        input_object="in/a.mp3",
        voice_object="out/a.aac",
        audio_mode="IsAudio",
        retries=RETRIES,
    )
    try:
        result = operator.execute(_context(plan, process))
        process.at("before the result")
    except TencentCIError as error:
        result = type(error).__name__
    results.send(result)


def _context(plan: Try, process: Process) -> Any:
    now = datetime.now(UTC)
    ti = SimpleNamespace(
        dag_id="zombie",
        run_id=plan.run_id,
        task_id="separate",
        map_index=-1,
        try_number=plan.number,
        max_tries=RETRIES,
        start_date=now,
        stats_tags={},
        xcom_push=lambda key, value: None,
    )
    store = FileStore(plan.store, process)
    return {"ti": ti, "dag_run": SimpleNamespace(start_date=now), "task_state_store": store}
