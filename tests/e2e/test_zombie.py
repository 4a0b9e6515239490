"""Two processes of one task instance, alive at once. The old try, whose supervisor is gone, is stopped at any
point of its submission, and continues while its retry is at any point, or has ended. There is one job.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tencent_ci_emulator.server import Emulator
from tests.e2e.zombie_try import POINTS, RETRIES, Try, run
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")

#: Seconds. A signature counts whole seconds, so of the first one part is lost.
VALIDITY, LAG = 4.0, 0.3
#: Cases at once: they mostly wait.
AT_ONCE = 16
#: Where the retry is when the old try continues; ``None``: it has ended.
RETRY_IS_AT = (
    None,
    "before taking over",
    "before reading the record",
    "before writing the record",
    "before the submission",
    "after the submission",
)

CONTEXT = multiprocessing.get_context("forkserver")  # Airflow is imported once, not by each process
CONTEXT.set_forkserver_preload(["tests.e2e.zombie_try"])


class Running:
    """A try in a process of its own."""

    def __init__(self, plan: Try) -> None:
        self._results, theirs = CONTEXT.Pipe(duplex=False)
        self._process = CONTEXT.Process(target=run, args=(plan, VALIDITY, LAG, theirs))
        self._process.start()
        theirs.close()

    def wait_until_stopped(self) -> bool:
        """Wait until the process has stopped itself, or has ended; tell whether it has stopped."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if not self._process.is_alive():
                return False
            if self._state() == "T":
                return True
            time.sleep(0.01)
        raise AssertionError("the process neither stops nor ends")

    def continue_process(self) -> None:
        assert self._process.pid
        os.kill(self._process.pid, signal.SIGCONT)

    def result(self) -> str:
        assert self._results.poll(PATIENCE), "no result"
        said = str(self._results.recv())
        self._process.join(PATIENCE)
        return said

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._results.close()

    def _state(self) -> str:
        try:
            return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):  # before, while reading
            return "ended"


class Case:
    """One task instance, its old try and its retry."""

    def __init__(self, emulator: Emulator, store: Path, run_id: str, old_is_at: str, retry_is_at: str | None):
        self._emulator = emulator
        self._store = str(store)
        self._run_id = run_id
        self._old_is_at, self._retry_is_at = old_is_at, retry_is_at

    def outcome(self) -> tuple[list[str], str, str]:
        """Return the accepted jobs, what the old try ended with, and what the last retry ended with."""
        with ExitStack() as stack:
            old = self._start_old(stack)
            retry = self._start(stack, 2, self._retry_is_at)
            # it ends earlier if it finds the old try's job
            stopped = self._retry_is_at is not None and retry.wait_until_stopped()
            last = "" if stopped else retry.result()
            old.continue_process()
            said = old.result()
            if stopped:
                retry.continue_process()
                last = retry.result()
            # on a busy machine a short signature may end before its request is sent
            for number in range(3, RETRIES):
                if not last.endswith("Error"):
                    break
                last = self._start(stack, number, None).result()
        jobs = self._emulator.ledger.accepted_jobs()
        mine = [job.job_id for job in jobs if f" run={self._run_id} " in (job.user_data or "")]
        return mine, said, last

    def _start_old(self, stack: ExitStack) -> Running:
        """Return the old try, stopped. On a busy machine its short signature may expire before that."""
        run_id, store = self._run_id, self._store
        for attempt in range(RETRIES):
            self._run_id, self._store = f"{run_id}-{attempt}", f"{store}-{attempt}"
            old = self._start(stack, 1, self._old_is_at)
            if old.wait_until_stopped():
                return old
            said = old.result()
            assert said == "ClockSkewError", (self._old_is_at, said)
        raise AssertionError(f"the old try does not come to {self._old_is_at}")

    def _start(self, stack: ExitStack, number: int, stops_at: str | None) -> Running:
        connection = json.dumps(self._emulator.connection)
        running = Running(Try(number, self._store, self._run_id, connection, stops_at))
        stack.callback(running.end)
        return running


def test_one_job_wherever_the_old_process_was_held_up(tmp_path: Path) -> None:
    cases_at = list(itertools.product(POINTS, RETRY_IS_AT))
    with Emulator(queue_seconds=600) as emulator, ThreadPoolExecutor(AT_ONCE) as pool:
        cases = [
            Case(emulator, tmp_path / str(number), f"run-{number}", *points)
            for number, points in enumerate(cases_at)
        ]
        outcomes = dict(zip(cases_at, pool.map(Case.outcome, cases), strict=True))
    for points, (accepted, old, last) in outcomes.items():
        assert accepted == [last], (points, old)
        assert old == last or old.endswith("Error"), (points, old)
    # both of the guards have ended an old try
    assert {"TaskKilledError", "ClockSkewError"} <= {old for _, old, _ in outcomes.values()}
