"""Many files in one task: the bulk operator beside mapped deferrable tasks, a Python task with Tencent's SDK
and a pool of threads, and mapped ``HttpOperator`` with ``HttpSensor``.

``python -m benchmarks.bulk`` runs the DAGs of ``benchmarks/dags/bulk.py`` one after the other, each in an
Airflow of its own with four worker slots, with the emulator as the service, whose jobs process no audio, and
prints a table. The CPU is that of all of Airflow's processes; what they take while nothing runs is measured
before, and also shown without. ``--ways bulk_prefix --files 100000`` is the largest task. It needs the peers:
``pip install cos-python-sdk-v5 apache-airflow-providers-http``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from benchmarks.dags import BUCKET, POLL_SECONDS
from benchmarks.whole_dag import PEERS, SlotClock, missing
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.data_folder import put_into_folder
from tests.e2e.emulator_process import short_wav
from tests.e2e.services import Service, serve

DAG_FILE = Path(__file__).parent / "dags" / "bulk.py"
WAYS = ("bulk", "mapped", "sdk_threads", "http_mapped")
#: Ways in which each file is a task: so many files take too long.
MAPPED = ("mapped", "http_mapped")
OPERATIONS = ("submit", "describe", "list", "head_object", "list_objects", "get_object", "put_object")
FILES, MAPPED_FILES, JOB_SECONDS, SLOTS = 1000, 100, 20.0, 4
_IDLE_SECONDS = 30.0
_LIMIT = 7200
#: An input whose job fails, and the message.
_DOOMED, _FAILURE = "0.wav", "doomed by the benchmark"
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run took: seconds of the clock, CPU seconds of all of Airflow, the same beyond an idle Airflow,
    slot seconds, submissions a second, requests by operation, jobs, files that were paid for; of each process
    of a bulk task the bytes at its begin and at most; and the seconds from the first submission to the last,
    and to the line in the task's log that names the job that fails.
    """

    wall: float
    cpu: float
    beyond_idle: float
    slots: float
    rate: float
    requests: Counter[str]
    jobs: int
    paid: int
    memory: list[dict[str, int]]
    submitting: float
    failure_seen: float | None


@contextmanager
def running(way: str, files: int, job_seconds: float) -> Iterator[tuple[AirflowStack, Service]]:
    """Run Airflow, and the service with the inputs of a way."""
    settings = {
        "bucket": BUCKET,
        "run_seconds": job_seconds,
        "queue_max_concurrent": 10_000,
        "queue_max_size": 1_000_000,
        "skip_processing": True,
    }
    with tempfile.TemporaryDirectory(prefix="airflow-provider-ci-benchmark-") as name:
        folder = Path(name)
        (folder / "dags").mkdir()
        shutil.copy(DAG_FILE, folder / "dags")
        recording = short_wav(folder / "short.wav")
        put_into_folder(
            folder / "data", (f"{way}/{number}.wav" for number in range(files)), recording, BUCKET
        )
        with serve("media", folder, data_dir=folder / "data", **settings) as service:
            emulator = service.emulator
            http = {"conn_type": "http", "host": emulator.url}
            login = {"login": emulator.secret_id, "password": emulator.secret_key}
            environment = service.environment | {
                "AIRFLOW_CONN_MEDIA_HTTP": json.dumps(http | login),
                "AIRFLOW_CONN_MEDIA_HTTP_WITHOUT_LOGIN": json.dumps(http),
                "AIRFLOW__CORE__PARALLELISM": str(SLOTS),
            }
            with AirflowStack(folder / "airflow", folder / "dags", environment) as stack:
                yield stack, service


def cpu_seconds(stack: AirflowStack) -> float:
    """Return what all processes of a running Airflow have used, also those that have ended."""
    used = 0.0
    for name in stack.components:
        component = psutil.Process(stack.pid(name))
        for process in (component, *component.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                used += sum(process.cpu_times()[:4])  # with those of children that have ended
    return used


def measure(stack: AirflowStack, service: Service, way: str, files: int) -> Figures:
    """Run a way's DAG once."""
    memory = stack.home / "memory.jsonl"
    memory.touch()
    stack.api("PATCH", f"/dags/{way}", json={"is_paused": False})
    before = cpu_seconds(stack)
    time.sleep(_IDLE_SECONDS)
    idle = (cpu_seconds(stack) - before) / _IDLE_SECONDS
    service.emulator.ledger.clear()
    if way.startswith("bulk"):
        service.emulator.faults.add("job", key=f"{way}/{_DOOMED}", code="Doomed", message=_FAILURE)
    slots = SlotClock(stack.home / "airflow.db", way)
    slots.start()
    before, begun = cpu_seconds(stack), time.monotonic()
    conf = {"count": files, "url": service.emulator.url, "memory": str(memory)}
    run_id = stack.trigger(way, conf)
    state = stack.wait_for_run(way, run_id, _LIMIT)
    cpu, wall = cpu_seconds(stack) - before, time.monotonic() - begun
    taken = slots.stop()
    assert state == "success", f"{way}: {state}\n{stack.task_logs(way)[-6000:]}"
    ledger = service.emulator.ledger
    created = [job.created for job in ledger.accepted_jobs()]
    first, last = min(created), max(created)
    seen = first_line_about(_FAILURE, stack.task_logs(way)) if way.startswith("bulk") else None
    paid = ledger.jobs_of_inputs(f"{way}/")
    return Figures(
        wall=wall,
        cpu=cpu,
        beyond_idle=cpu - idle * wall,
        slots=taken,
        rate=(len(created) - 1) / (last - first),
        requests=Counter({name: ledger.count(name) for name in OPERATIONS}),
        jobs=paid.total(),
        paid=len(paid),
        memory=[json.loads(line) for line in memory.read_text().splitlines()],
        submitting=last - first,
        failure_seen=None if seen is None else seen - first,
    )


def first_line_about(word: str, logs: str) -> float | None:
    """Return the Unix time of the first line that has a word, ``None`` if none has."""
    for line in logs.splitlines():
        if word in line and (found := re.search(r'"timestamp":"([^"]+)"', line)):
            return datetime.fromisoformat(found[1]).timestamp()
    return None


def report(ways: Sequence[str], files: Mapping[str, int], job_seconds: float) -> Iterator[str]:
    """Measure, and yield the lines of the table as they are known, then what is measured of bulk tasks."""
    yield (
        f"{os.cpu_count()} cores, jobs of {job_seconds:g} s, polled every {POLL_SECONDS:g} s,"
        f" {SLOTS} worker slots"
    )
    yield ""
    yield (
        "| way | files | wall, s | CPU s a file | beyond an idle Airflow | worker-slot seconds"
        " | submissions a second | requests a file | files paid for | jobs paid |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    details = []
    for way in ways:
        count = files[way]
        with running(way, count, job_seconds) as (stack, service):
            found = measure(stack, service, way, count)
            # before the folder is removed, which takes minutes if it has 100,000 objects
            yield row(way, count, found)
        details += describe(way, count, found)
    yield ""
    yield from details


def row(way: str, files: int, found: Figures) -> str:
    """Return a line of the table."""
    cells = (
        *(f"`{way}`", f"{files:,}", f"{found.wall:.0f}", f"{found.cpu / files:.4f}"),
        *(f"{found.beyond_idle / files:.4f}", f"{found.slots:.0f}", f"{found.rate:.1f}"),
        *(f"{found.requests.total() / files:.2f}", f"{found.paid:,}", f"{found.jobs:,}"),
    )
    return f"| {' | '.join(cells)} |"


def describe(way: str, files: int, found: Figures) -> Iterator[str]:
    """Yield what is measured of bulk tasks only."""
    for number, process in enumerate(found.memory, 1):
        yield (
            f"- `{way}`, {files:,} files, process {number}: {process['begin'] / _MIB:.1f} MiB at its begin,"
            f" {process['peak'] / _MIB:.1f} at most"
        )
    if found.failure_seen is not None:
        yield (
            f"- `{way}`: the log names the job that fails {found.failure_seen:.0f} s after the first"
            f" submission, the last submission came after {found.submitting:.0f} s"
        )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument(
        "--mapped-files", type=int, default=MAPPED_FILES, help="of the ways with a task a file"
    )
    parser.add_argument("--job-seconds", type=float, default=JOB_SECONDS)
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=(*WAYS, "bulk_prefix"))
    chosen = parser.parse_args()
    if absent := [name for module, name in PEERS.items() if missing(module)]:
        raise SystemExit(f"The peers are not installed: pip install {' '.join(absent)}")
    for name in ("airflow_provider_ci", "tencent_ci_emulator"):
        logging.getLogger(name).setLevel(logging.WARNING)
    files = {way: chosen.mapped_files if way in MAPPED else chosen.files for way in chosen.ways}
    for line in report([*chosen.ways], files, chosen.job_seconds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
