"""What a file costs Airflow with CeleryExecutor, PostgreSQL and Redis: CPU by component, slots, requests.

``python -m benchmarks.scaling`` runs mapped tasks on the emulator: with one slot, for the time that a task
holds a slot when nothing is in its way, and with two workers of four slots, for what this machine can do;
deferrable, and submit-only with one sensor for all. The service ends no job until all are submitted, so that
submitting and going on are measured apart. Needs Debian's packages ``postgresql`` and ``redis-server``.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2

from tencent_ci_emulator.clock import VirtualClock
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.cluster import cluster
from tests.e2e.services import Service, serve

DAGS = """
from airflow.sdk import DAG, task
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

OUT = "out/${jobid}.${ext}"
REQUEST = dict(tencent_ci_conn_id="held", voice_object=OUT, audio_mode="IsAudio", codec="wav", retries=2)

@task
def inputs(dag_run=None):
    return [f"{dag_run.dag_id}/{number}.wav" for number in range(dag_run.conf["count"])]

with DAG("deferrable", schedule=None, max_active_tasks=64):
    VoiceSeparateOperator.partial(
        task_id="separate", wait_for_completion=True, deferrable=True, **REQUEST
    ).expand(input_object=inputs())

with DAG("submit_only", schedule=None, max_active_tasks=64):
    submitted = VoiceSeparateOperator.partial(task_id="separate", **REQUEST).expand(input_object=inputs())
    job_id = submitted.output
    TencentCIJobSensor(task_id="wait", tencent_ci_conn_id="held", job_id=job_id, deferrable=True, retries=2)
"""
_BEGUN = 0.1


@dataclass(frozen=True, slots=True)
class Usage:
    """So far: seconds, CPU seconds of each component, transactions, bytes in the database, requests of tasks
    to the API server, and calls of the service; at this moment: bytes (PSS) of each component, and
    connections to PostgreSQL.
    """

    time: float
    cpu: Counter[str]
    transactions: int
    stored: int
    requests: int
    calls: Counter[str]
    memory: Counter[str]
    connections: int


class Meter:
    """Reads what a running Airflow, which this process started, has used."""

    def __init__(self, stack: AirflowStack, held: Service) -> None:
        self._ledger = held.emulator.ledger
        self._stack = stack
        self._names = {stack.pid(name): name for name in stack.components}
        url = stack.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
        self._database = psycopg2.connect(url)
        self._database.autocommit = True

    def read(self) -> Usage:
        """Return the usage at this moment."""
        cpu: Counter[str] = Counter()
        memory: Counter[str] = Counter()
        for component in psutil.Process().children():
            name = self._names.get(component.pid, component.name())
            for process in (component, *component.children(recursive=True)):
                with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                    cpu[name] += sum(process.cpu_times()[:4])  # with those of children that have ended
                    memory[name] += pss(process.pid)
        counted = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        committed = "SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database"
        with self._database.cursor() as cursor:
            cursor.execute(f"SELECT ({counted}) - 1, ({committed})::bigint, pg_database_size('postgres')")
            connections, transactions, stored = cursor.fetchone()
        requests = self._stack.log_of("api-server").count("/execution/")
        calls = Counter({name: self._ledger.count(name) for name in ("submit", "describe", "list")})
        return Usage(time.monotonic(), cpu, transactions, stored, requests, calls, memory, connections)


def pss(pid: int) -> int:
    """Return the bytes in memory of a process, with its share of what it has in common with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def measure(stack: AirflowStack, held: Service, dag_id: str, tasks: int) -> None:
    """Run a DAG and print what its two halves have used."""
    meter = Meter(stack, held)
    held.put(dag_id, tasks)
    run_id = stack.trigger(dag_id, {"count": tasks})
    begun = int(tasks * _BEGUN)  # the first tasks wait for the scheduler, not for slots
    stack.wait(lambda: len(held.accepted(dag_id)) >= begun, 300, "the first jobs are submitted")
    first = len(held.accepted(dag_id))
    samples = [meter.read()]

    def all_submitted() -> bool:
        if time.monotonic() - samples[-1].time > 5:
            samples.append(meter.read())
        return len(held.accepted(dag_id)) >= tasks

    stack.wait(all_submitted, 3000, "all jobs are submitted")
    samples.append(meter.read())
    report(f"{dag_id}, submitting", samples, tasks - first)
    waits = "wait" if dag_id == "submit_only" else "separate"
    waiting = 1 if dag_id == "submit_only" else tasks
    stack.wait(
        lambda: stack.states(dag_id, run_id, waits).count("deferred") == waiting, 300, "all are deferred"
    )
    samples = [meter.read()]
    held.let_jobs_end()

    def ended() -> bool:
        if time.monotonic() - samples[-1].time > 5:
            samples.append(meter.read())
        return stack.run_state(dag_id, run_id) in ("success", "failed")

    stack.wait(ended, 3000, "the run ends")
    samples.append(meter.read())
    assert stack.run_state(dag_id, run_id) == "success"
    report(f"{dag_id}, going on", samples, tasks)


def report(what: str, samples: list[Usage], tasks: int) -> None:
    """Print the usage between the first and the last sample, for each of ``tasks``, and the peaks."""
    first, last = samples[0], samples[-1]
    seconds = last.time - first.time
    print(f"{what}: {tasks} in {seconds:.0f} s, {60 * tasks / seconds:.0f} a minute")
    used = last.cpu - first.cpu
    each = ", ".join(f"{name} {1000 * value / tasks:.0f}" for name, value in sorted(used.items()))
    print(f"  CPU ms a file: {1000 * used.total() / tasks:.0f} ({each})")
    print(f"  transactions a file: {(last.transactions - first.transactions) / tasks:.0f}")
    print(f"  database a file, KB: {(last.stored - first.stored) / tasks / 1000:.1f}")
    print(f"  requests of tasks to the API server a file: {(last.requests - first.requests) / tasks:.1f}")
    calls = (last.calls - first.calls).items()
    print(
        f"  calls of the service a file: {', '.join(f'{name} {value / tasks:.1f}' for name, value in calls)}"
    )
    peak = {name: max(sample.memory[name] for sample in samples) / 2**20 for name in sorted(used)}
    print(f"  memory at most, MiB: {', '.join(f'{name} {size:.0f}' for name, size in peak.items())}")
    print(f"  connections at most: {max(sample.connections for sample in samples)}", flush=True)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tasks", type=int, default=200)
    arguments.add_argument("--tasks-of-one-slot", type=int, default=40)
    chosen = arguments.parse_args()
    logging.getLogger("airflow_provider_ci").setLevel(logging.WARNING)
    service = {"queue_seconds": 1800, "run_seconds": 1800, "queue_max_concurrent": 100}
    for workers, concurrency, tasks in (
        (("worker",), 1, chosen.tasks_of_one_slot),
        (("worker", "worker-2"), 4, chosen.tasks),
    ):
        print(f"\n{len(workers)} x {concurrency} slots")
        with (
            tempfile.TemporaryDirectory() as name,
            serve("held", Path(name), clock=VirtualClock(), **service) as held,
        ):
            dags = Path(name) / "dags"
            dags.mkdir()
            (dags / "scaling.py").write_text(DAGS)
            home = Path(name) / "airflow"
            settings = held.environment | {"AIRFLOW__CORE__PARALLELISM": "16"}
            with cluster(home, dags, settings, workers, concurrency) as stack:
                for dag_id in ("deferrable", "submit_only"):
                    measure(stack, held, dag_id, tasks)


if __name__ == "__main__":
    main()
