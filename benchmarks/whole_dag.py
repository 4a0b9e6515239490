"""A DAG that separates many files, in real Airflow: our operator, deferrable and not, a Python task with
Tencent's SDK, and ``HttpOperator`` with ``HttpSensor``.

``python -m benchmarks.whole_dag`` runs the DAGs of ``benchmarks/dags/whole_dag.py`` one after the other, each
in an Airflow of its own with scheduler, triggerer, dag-processor, api-server and 16 worker slots, with the
emulator as the service, and prints a table after about 20 minutes. It needs the peers: ``pip install
cos-python-sdk-v5 apache-airflow-providers-http``. A slot is in use while a task instance is ``running``; the
database is asked four times a second.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import re
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.dags import BUCKET, POLL_SECONDS
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service, serve

DAGS = Path(__file__).parent / "dags"
WAYS = ("ours_deferrable", "ours_sync", "python_sdk", "http")
FILES, JOB_SECONDS, SLOTS = 100, 60.0, 16
PEERS = {"qcloud_cos": "cos-python-sdk-v5", "airflow.providers.http": "apache-airflow-providers-http"}
_BEAT = 0.25
_LIMIT = 3600


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run took: seconds of the clock, slot seconds, requests by operation, jobs, files that were paid
    for, and tasks that the scheduler took for lost and began anew.
    """

    wall: float
    slots: float
    requests: Counter[str]
    jobs: int
    paid: int
    resets: int


class SlotClock(threading.Thread):
    """Adds up for how long how many task instances of a DAG are running."""

    def __init__(self, database: Path, dag_id: str) -> None:
        super().__init__(daemon=True)
        self.seconds = 0.0
        self._database, self._dag_id = database, dag_id
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look, again and again."""
        query = "SELECT count(*) FROM task_instance WHERE dag_id = ? AND state = 'running'"
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=60)
        last = time.monotonic()
        while not self._stopped.wait(_BEAT):
            (running,) = connection.execute(query, (self._dag_id,)).fetchone()
            now = time.monotonic()
            self.seconds += running * (now - last)
            last = now
        connection.close()

    def stop(self) -> float:
        """Stop, and return the sum."""
        self._stopped.set()
        self.join()
        return self.seconds


@contextmanager
def running(job_seconds: float) -> Iterator[tuple[AirflowStack, Service]]:
    """Run Airflow, and the service, to which the connections of all ways lead."""
    settings = {"bucket": BUCKET, "run_seconds": job_seconds, "queue_max_concurrent": 10_000}
    with tempfile.TemporaryDirectory(prefix="airflow-provider-ci-benchmark-") as name:
        folder = Path(name)
        with serve("media", folder, **settings) as service:
            emulator = service.emulator
            http = {"conn_type": "http", "host": emulator.url}
            login = {"login": emulator.secret_id, "password": emulator.secret_key}
            environment = service.environment | {
                "AIRFLOW_CONN_MEDIA_HTTP": json.dumps(http | login),
                "AIRFLOW_CONN_MEDIA_HTTP_WITHOUT_LOGIN": json.dumps(http),
                "AIRFLOW__CORE__PARALLELISM": str(SLOTS),
            }
            with AirflowStack(folder / "airflow", DAGS, environment) as stack:
                yield stack, service


def measure(stack: AirflowStack, service: Service, way: str, files: int) -> Figures:
    """Run a way's DAG once."""
    service.put(way, files)
    service.emulator.ledger.clear()
    slots = SlotClock(stack.home / "airflow.db", way)
    slots.start()
    run_id = stack.trigger(way, {"count": files, "url": service.emulator.url})
    state = stack.wait_for_run(way, run_id, _LIMIT)
    taken = slots.stop()
    assert state == "success", f"{way}: {state}\n{stack.task_logs(way)[-6000:]}"
    run = stack.api("GET", f"/dags/{way}/dagRuns/{run_id}")
    begin, end = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    asked = Counter(record.operation for record in service.emulator.ledger.requests())
    jobs = service.jobs(way)
    resets = re.findall(r"Reset the following (\d+) orphaned", stack.log_of("scheduler"))
    return Figures(
        (end - begin).total_seconds(),
        taken,
        asked,
        len(jobs),
        len({job.key for job in jobs}),
        sum(int(number) for number in resets),
    )


def report(ways: list[str], files: int, job_seconds: float) -> Iterator[str]:
    """Measure, and yield the lines of the table as they are known."""
    yield (
        f"{os.cpu_count()} cores, {files} files, jobs of {job_seconds:g} s, polled every {POLL_SECONDS:g} s,"
        f" {SLOTS} worker slots"
    )
    yield ""
    yield (
        "| way | wall, s | worker-slot seconds | requests | of them polls | files paid for | jobs paid"
        " | tasks reset |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for way in ways:
        with running(job_seconds) as (stack, service):
            found = measure(stack, service, way, files)
        yield (
            f"| `{way}` | {found.wall:.0f} | {found.slots:.0f} | {found.requests.total()}"
            f" | {found.requests['describe']} | {found.paid} | {found.jobs} | {found.resets} |"
        )


def missing(module: str) -> bool:
    """Tell whether a peer is not installed."""
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:
        return True


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--job-seconds", type=float, default=JOB_SECONDS)
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    chosen = parser.parse_args()
    if absent := [name for module, name in PEERS.items() if missing(module)]:
        raise SystemExit(f"The peers are not installed: pip install {' '.join(absent)}")
    logging.getLogger("airflow_provider_ci").setLevel(logging.WARNING)
    for line in report([*chosen.ways], chosen.files, chosen.job_seconds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
