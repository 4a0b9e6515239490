"""Jobs that end in a bucket as events of assets, in real Airflow: requests, delays, and what is lost or
repeated when the triggerer is killed.

``python -m benchmarks.events`` takes about 70 minutes and prints two tables. Scheduler, dag-processor and
triggerer run on loopback, with the emulator as the service; jobs are submitted from outside Airflow.
Scheduler and dag-processor are stopped once the triggers run, as they store no events. The time of an event
is that in Airflow's database.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sqlite3
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e.airflow_stack import COMPONENTS, AirflowStack
from tests.e2e.services import Service, serve

DAGS, SHARED_JOBS, SHARED_SECONDS = 50, 500, 300.0
JOBS, KILLS, SECONDS = 10_000, 20, 3600.0
JOB_SECONDS, POLL_SECONDS = 5.0, 5.0
#: A type of which the emulator only notes that nothing was done, so that it costs little.
TAG = "SoundHound"
_SEED = 1
_LIMIT = 600

#: Each DAG also waits for an asset that nobody updates, so that no run adds to the load.
DAG_FILE = """
from airflow.sdk import DAG, Asset, AssetWatcher
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow_provider_ci.triggers.jobs_ended import TencentCIJobsEndedTrigger

NEVER = Asset("never")
for number in range({dags}):
    trigger = TencentCIJobsEndedTrigger(
        "{tag}", "events", input_prefix=f"in/{{number}}/", poll_interval={poll_seconds}
    )
    watched = Asset(f"jobs_{{number}}", watchers=[AssetWatcher(name=f"watcher_{{number}}", trigger=trigger)])
    with DAG(f"on_jobs_{{number}}", schedule=[watched, NEVER], is_paused_upon_creation=False):
        EmptyOperator(task_id="nothing")
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run showed: events that are missing and that came again, delays in seconds, list requests in so
    many seconds, and other requests of the triggerer.
    """

    jobs: int
    kills: int
    missing: int
    repeated: int
    delays: list[float]
    seconds: float
    lists: int
    describes: int


@contextmanager
def watching(dags: int) -> Iterator[tuple[AirflowStack, Service]]:
    """Run a triggerer with the triggers of so many DAGs."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"run_seconds": JOB_SECONDS, "queue_max_concurrent": 100}
        with serve("events", Path(folder), **settings) as service:
            for number in range(dags):
                service.put(f"in/{number}", 1)
            service.put("first", 1)
            submit(service, ["first"], 1, 0)  # the emulator lists jobs of types that it has seen
            dag_folder = Path(folder, "dags")
            dag_folder.mkdir()
            content = DAG_FILE.format(dags=dags, tag=TAG, poll_seconds=POLL_SECONDS)
            Path(dag_folder, "on_jobs.py").write_text(content)
            components = {name: arguments for name, arguments in COMPONENTS.items() if name != "api-server"}
            home = Path(folder, "airflow")
            with AirflowStack(home, dag_folder, service.environment, components) as stack:
                stack.wait(lambda: has_state(stack, dags), _LIMIT, "all triggers have begun")
                stack.kill("scheduler")
                stack.kill("dag-processor")
                yield stack, service


def has_state(stack: AirflowStack, count: int) -> bool:
    """Tell whether so many watermarks are stored."""
    return len(rows(stack, "SELECT asset_id FROM asset_state_store")) == count


def rows(stack: AirflowStack, query: str) -> list[tuple[str, ...]]:
    """Return what Airflow's database answers."""
    with closing(sqlite3.connect(f"file:{stack.home}/airflow.db?mode=ro", uri=True, timeout=60)) as database:
        return database.execute(query).fetchall()


def submit(service: Service, folders: Sequence[str], count: int, seconds: float) -> None:
    """Submit so many jobs, one after the other, at an even rate."""
    began = time.monotonic()
    for number in range(count):
        request = {
            "Tag": TAG,
            "Input": {"Object": f"{folders[number % len(folders)]}/0.wav"},
            "Operation": {"UserData": "benchmark"},
        }
        service.hook.submit_job(request)
        time.sleep(max(began + (number + 1) * seconds / count - time.monotonic(), 0))


def measure(dags: int, jobs: int, kills: int, seconds: float) -> Figures:
    """Let jobs end at an even rate while the triggerer is killed at random times."""
    dice = random.Random(_SEED)
    with watching(dags) as (stack, service):
        ledger = service.emulator.ledger
        lists, describes, began = ledger.count("list"), ledger.count("describe"), time.monotonic()
        folders = [f"in/{number}" for number in range(dags)]
        submitting = threading.Thread(target=submit, args=(service, folders, jobs, seconds))
        submitting.start()
        for _ in range(kills):
            time.sleep(dice.uniform(0.5, 1.5) * seconds / (kills + 1))
            stack.kill("triggerer")
            stack.start("triggerer")
        submitting.join()
        ended = wait_for_ends(stack, service, jobs)
        stack.wait(lambda: len({job_id for job_id, _ in events(stack)}) >= jobs, _LIMIT, "all are announced")
        return figures_of(
            ended=ended,
            stored=events(stack),
            kills=kills,
            seconds=time.monotonic() - began,
            lists=ledger.count("list") - lists,
            describes=ledger.count("describe") - describes,
        )


def figures_of(
    *,
    ended: Mapping[str, float],
    stored: Sequence[tuple[str, float]],
    kills: int,
    seconds: float,
    lists: int,
    describes: int,
) -> Figures:
    """Compare the ends of jobs with the stored events, oldest first."""
    first: dict[str, float] = {}
    for job_id, at in stored:
        first.setdefault(job_id, at)
    return Figures(
        jobs=len(ended),
        kills=kills,
        missing=len(ended.keys() - first.keys()),
        repeated=sum(count - 1 for count in Counter(job_id for job_id, _ in stored).values()),
        delays=sorted(at - ended[job_id] for job_id, at in first.items()),
        seconds=seconds,
        lists=lists,
        describes=describes,
    )


def wait_for_ends(stack: AirflowStack, service: Service, count: int) -> dict[str, float]:
    """Return when each job ended, as soon as all but the first, which came before the measurement, have."""

    def ended() -> dict[str, float]:
        jobs = service.emulator.ledger.accepted_jobs()[1:]
        ends = {job.job_id: job.ended for job in jobs if job.ended is not None}
        return ends if len(ends) == count else {}

    return stack.wait(ended, _LIMIT, "all jobs have ended")


def events(stack: AirflowStack) -> list[tuple[str, float]]:
    """Return the job and the Unix time of each stored event, oldest first."""
    found = rows(stack, "SELECT extra, timestamp FROM asset_event ORDER BY timestamp")
    return [
        (json.loads(extra)["payload"]["job_id"], datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp())
        for extra, at in found
    ]


def report(figures: Figures) -> str:
    """Return a run as a table."""
    delays = figures.delays
    lines = [
        ("ends of jobs", f"{figures.jobs}"),
        ("SIGKILLs of the triggerer", f"{figures.kills}"),
        ("ends without an event", f"{figures.missing}"),
        ("events that came again", f"{figures.repeated} ({figures.repeated / figures.jobs:.2%})"),
        ("end to stored event, s: median", f"{statistics.median(delays):.1f}"),
        ("95 of 100 within", f"{delays[int(len(delays) * 0.95) - 1]:.1f}"),
        ("most", f"{delays[-1]:.1f}"),
        ("intervals", f"{figures.seconds / POLL_SECONDS:.0f}"),
        ("list requests", f"{figures.lists}"),
        ("describe requests", f"{figures.describes}"),
    ]
    return "\n".join(["| | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in lines)])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", choices=("shared", "killed", "both"), default="both")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    os.environ.setdefault("TEST_SLOWNESS", "5")
    if arguments.part != "killed":
        print(f"{DAGS} DAGs on one bucket\n\n{report(measure(DAGS, SHARED_JOBS, 0, SHARED_SECONDS))}\n")
    if arguments.part != "shared":
        figures = measure(1, arguments.jobs, arguments.kills, arguments.seconds)
        print(f"One DAG, and a triggerer that is killed\n\n{report(figures)}")


if __name__ == "__main__":
    main()
