"""How long after the end of a job the next task starts, for each way of waiting, in real Airflow.

``python -m benchmarks.latency`` runs scheduler, triggerer, dag-processor and api-server on loopback, with the
emulator as the service, and prints a table after about five minutes. In each round the ways run side by side,
once each; ``benchmarks/dags/waiting_modes.py`` has the DAGs.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.dags import POLL_SECONDS
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service, serve

DAGS = Path(__file__).parent / "dags"
#: DAG, and the task in it that waits.
WAYS = {
    "waits_sync": "separate",
    "waits_sensor": "wait",
    "waits_deferrable": "separate",
}
ROUNDS, JOB_SECONDS = 5, 20.0
_LIMIT = 900


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds from the end of a job to the end of the task that waited, and to the start of the next one."""

    noticed: float
    started: float


def measure_round(stack: AirflowStack, service: Service, number: int) -> dict[str, Lag]:
    """Run each DAG once, at the same time."""
    runs = {}
    for way in WAYS:
        prefix = f"{way}-{number}"
        service.put(prefix, 1)
        runs[way] = stack.trigger(way, {"prefix": prefix})
    for way, run_id in runs.items():
        state = stack.wait_for_run(way, run_id, _LIMIT)
        assert state == "success", f"{way}: {state}\n{stack.task_logs(way)[-6000:]}"
    return {way: lag(stack, service, way, run_id, number) for way, run_id in runs.items()}


def lag(stack: AirflowStack, service: Service, way: str, run_id: str, number: int) -> Lag:
    """Return what a run shows, by the clock that the emulator and Airflow share."""
    (job,) = service.jobs(f"{way}-{number}")
    (waited,) = stack.task_instances(way, run_id, WAYS[way])
    (following,) = stack.task_instances(way, run_id, "following")
    assert job.ended is not None
    return Lag(_time(waited["end_date"]) - job.ended, _time(following["start_date"]) - job.ended)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def report(rounds: int, job_seconds: float) -> str:
    """Measure, and return the table."""
    with (
        tempfile.TemporaryDirectory(prefix="airflow-provider-ci-benchmark-") as folder,
        serve("media", Path(folder), run_seconds=job_seconds) as service,
        AirflowStack(Path(folder) / "airflow", DAGS, service.environment) as stack,
    ):
        lags = [measure_round(stack, service, number) for number in range(rounds)]
    lines = [
        f"{os.cpu_count()} cores, jobs of {job_seconds:g} s, polled every {POLL_SECONDS:g} s, {rounds} runs",
        "",
        "| way | waiting task ended after, s | next task started after, s: median | least | most |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for way in WAYS:
        started = [found[way].started for found in lags]
        noticed = statistics.median(found[way].noticed for found in lags)
        lines.append(
            f"| `{way}` | {noticed:.1f} | {statistics.median(started):.1f}"
            f" | {min(started):.1f} | {max(started):.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--job-seconds", type=float, default=JOB_SECONDS)
    chosen = parser.parse_args()
    logging.getLogger("airflow_provider_ci").setLevel(logging.WARNING)
    print(report(chosen.rounds, chosen.job_seconds))


if __name__ == "__main__":
    main()
