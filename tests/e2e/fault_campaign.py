"""A soak through every fault that the emulator can make: what is lost, doubled, or shown in the wrong colour?

``python -m tests.e2e.fault_campaign --jobs 1000`` runs a real Airflow on an emulator that is a process of its
own: first a tenth of the jobs in calm weather, for comparison, then all of them through storm after storm
(``tests/e2e/fault_storms.py``), and compares every task with the emulator's database. docs/one-paid-job.md
says what is promised.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.fault_service import DOOMED, FaultyService
from tests.e2e.fault_storms import STORMS, Storm, weather
from tests.e2e.fault_truth import DAG_ID, Task, Truth, compare, tasks_of
from tests.patience import SLOWNESS

#: Shares of the jobs; the rest is for the two batches of each run.
_SHARES = {"sync": 0.35, "deferrable": 0.40, "sensed": 0.15}
#: One of so many jobs is doomed to fail.
_DOOMED_EVERY = 25
#: Jobs of one run of the DAG, and runs at once.
_RUN, _RUNS_AT_ONCE = 100, 4
_LULL = 4.0
# What a try may log, and a process grow by from the middle of a campaign to its end, MiB
_LINES_A_TRY, _GROWTH = 200, 32
_LOOK = 5.0
_MIB = 2**20
# for jobs that take seconds
_SECONDS_AT_LEAST, _SECONDS_A_JOB = 240, 3

# Nobody kills workers here, but a busy machine may hold them up. Seconds
_PATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "180",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "20",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "180",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "3",
}

Inputs = dict[str, list[str]]


@dataclass
class Report:
    """Figures of one campaign."""

    name: str
    seed: int
    jobs: int
    truth: Truth = field(default_factory=Truth)
    seconds: float = 0.0
    tasks: int = 0
    tries: Counter[int] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    #: Of the logs of one task instance, all tries and triggers together; of those of one try.
    log_lines: list[int] = field(default_factory=list)
    log_bytes: list[int] = field(default_factory=list)
    try_lines: list[int] = field(default_factory=list)
    #: Of each process its resident bytes, from the begin to the end.
    memory: dict[str, list[int]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    @property
    def requests_per_job(self) -> float:
        return self.requests.total() / max(self.truth.accepted, 1)

    @property
    def excesses(self) -> list[str]:
        """What grows without bound."""
        grown = {process: self.growth(process) for process in self.memory}
        found = [
            f"{process} has grown by {size:.0f} MiB" for process, size in grown.items() if size > _GROWTH
        ]
        if max(self.try_lines) > _LINES_A_TRY:
            found.append(f"a try has logged {max(self.try_lines)} lines")
        return found

    def growth(self, process: str) -> float:
        """Return the MiB by which a process has grown from the middle of the campaign to its end."""
        seen = self.memory[process]
        third = max(len(seen) // 3, 1)
        return (statistics.median(seen[-third:]) - statistics.median(seen[third:-third] or seen)) / _MIB

    def __str__(self) -> str:
        truth = self.truth
        lines = [
            f"{self.name}: seed {self.seed}, {self.jobs} jobs wanted at first, {self.seconds:.0f} s",
            f"  submissions wanted {truth.wanted}, accepted {truth.accepted}; {self.tasks} task instances:"
            f" {truth.green} green, {truth.red} red",
            *(f"  {kind.replace('_', ' ')}: {len(found)}" for kind, found in self._kinds()),
            f"  tries: {dict(sorted(self.tries.items()))}",
            f"  requests per job: {self.requests_per_job:.1f} {dict(self.requests.most_common())}",
            f"  faults: {self.faults.total()} {dict(self.faults.most_common())}",
            f"  log of a task, lines: {_spread(self.log_lines)}; bytes: {_spread(self.log_bytes)}",
            f"  log of a try, lines: {_spread(self.try_lines)}",
            *(
                f"  memory of {name}, MiB: {_three(seen)}, most {max(seen) / _MIB:.0f}"
                for name, seen in self.memory.items()
            ),
            *(f"  {kind}: {one}" for kind, found in truth.wrongs.items() for one in found),
            *(f"  emulator: {one}" for one in self.complaints),
            *(f"  unbounded: {one}" for one in self.excesses),
        ]
        return "\n".join(lines)

    def _kinds(self) -> Iterator[tuple[str, list[str]]]:
        return ((kind, found) for kind, found in vars(self.truth).items() if isinstance(found, list))


def _spread(values: Sequence[int]) -> str:
    ordered = sorted(values) or [0]
    return (
        f"median {ordered[len(ordered) // 2]}, 99 % {ordered[len(ordered) * 99 // 100]}, most {ordered[-1]}"
    )


def _three(seen: Sequence[int]) -> str:
    return " → ".join(f"{seen[place] / _MIB:.0f}" for place in (0, len(seen) // 2, -1))


class Weather(threading.Thread):
    """Lets one storm follow the other, with a lull between them, until the block is left."""

    def __init__(self, service: FaultyService, storms: tuple[Storm, ...], seed: int, lull: float) -> None:
        super().__init__(name="weather", daemon=True)
        self._service = service
        self._coming = weather(storms, seed)
        self._lull = lull
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            for storm, rules in self._coming:
                self._service.begin(storm, rules)
                self._over.wait(storm.seconds)
                while storm.until and not self._service.has_met(storm.until):
                    if self._over.wait(_LOOK):
                        break
                self._service.end(storm)
                if self._over.wait(self._lull):
                    return
        except BaseException as error:
            self._error = error

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Weather:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.join(120)


def inputs_of(prefix: str, jobs: int) -> Inputs:
    """Return the inputs of one run: for each way their keys, for batches their prefixes."""
    counts = {way: round(jobs * share) for way, share in _SHARES.items()}
    return {
        **{
            way: [f"{prefix}/{way}/{_fate(number)}{number}.wav" for number in range(count)]
            for way, count in counts.items()
        },
        "batch": [f"{prefix}/batch-good/", f"{prefix}/batch-bad/"],
    }


def _fate(number: int) -> str:
    return f"{DOOMED}-" if number % _DOOMED_EVERY == 2 else "good-"


def keys_of(inputs: Mapping[str, Sequence[str]], jobs: int) -> list[str]:
    """Return the keys of all objects of a run with ``jobs`` jobs."""
    keys = [key for way in _SHARES for key in inputs[way]]
    left = max(jobs - len(keys), 2)
    good, bad = inputs["batch"]
    batched = [f"{good}{number}.wav" for number in range(left // 2)]
    batched += [f"{bad}{_fate(number + 2)}{number}.wav" for number in range(left - left // 2)]
    return keys + batched


class Campaign:
    """One way through the weather, on a running Airflow whose connection leads to ``service``."""

    def __init__(self, stack: AirflowStack, service: FaultyService, name: str, jobs: int, seed: int) -> None:
        self._stack = stack
        self._service = service
        self._prefix = f"{name}/"
        sizes = [min(_RUN, jobs - begun) for begun in range(0, jobs, _RUN)]
        self._sizes = [size for size in sizes if size]
        self._waiting = [inputs_of(f"{name}/{number}", size) for number, size in enumerate(self._sizes)]
        self._runs: dict[str, Inputs] = {}
        self.report = Report(name, seed, jobs)

    def run(self, storms: tuple[Storm, ...], lull: float = _LULL) -> Report:
        """Run all jobs to their end and return the figures.

        :param storms: none: calm weather.
        :param lull: seconds of calm weather between two storms.
        """
        report, service = self.report, self._service
        for inputs, size in zip(self._waiting, self._sizes, strict=True):
            service.put(keys_of(inputs, size))
        requests, faults, begun = service.requests(), Counter(service.faults), time.monotonic()
        if storms:
            with Weather(service, storms, report.seed, lull) as passing:
                self._run_all(passing)
            passing.check()
        else:
            self._run_all(None)
        report.seconds = time.monotonic() - begun
        report.requests = service.requests() - requests
        report.faults = service.faults - faults
        self._judge()
        return report

    def _run_all(self, passing: Weather | None) -> None:
        active: list[str] = []
        patience = SLOWNESS * (_SECONDS_AT_LEAST + self.report.jobs * _SECONDS_A_JOB)
        end = time.monotonic() + patience
        while self._waiting or active:
            while self._waiting and len(active) < _RUNS_AT_ONCE:
                inputs = self._waiting.pop(0)
                active.append(self._stack.trigger(DAG_ID, {"inputs": inputs}))
                self._runs[active[-1]] = inputs
            time.sleep(_LOOK)
            self._look()
            if passing is not None:
                passing.check()
            active = [
                run for run in active if self._stack.run_state(DAG_ID, run) not in ("success", "failed")
            ]
            assert time.monotonic() < end, f"not within {patience:.0f} s: {active}"

    def _look(self) -> None:
        for name, size in {**processes(self._stack), "emulator": self._service.memory()}.items():
            if size:
                self.report.memory.setdefault(name, []).append(size)

    def _judge(self) -> None:
        report = self.report
        tasks: list[Task] = []
        for run_id, inputs in self._runs.items():
            tasks += tasks_of(self._stack, run_id, inputs)
        report.tasks, report.tries = len(tasks), Counter(task.tries for task in tasks)
        report.log_lines = [sum(log.count("\n") for log in task.logs) for task in tasks]
        report.log_bytes = [sum(len(log.encode()) for log in task.logs) for task in tasks]
        report.try_lines = [log.count("\n") for task in tasks for log in task.logs]
        report.truth = compare(tasks, self._service, self._prefix)
        report.complaints = [
            line for line in self._service.log.splitlines() if "failed in the emulator" in line
        ]


def processes(stack: AirflowStack) -> dict[str, int]:
    """Return the resident bytes of scheduler, triggerer, and the largest worker that is not a task's own."""
    found = {}
    for name in ("scheduler", "triggerer"):
        process = psutil.Process(stack.pid(name))
        found[name] = process.memory_info().rss
        children = [_resident(child) for child in process.children()]
        found["triggers' process" if name == "triggerer" else "largest worker"] = max(children, default=0)
    return found


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--calm", type=int, default=100, help="jobs in calm weather before, for comparison")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parallelism", type=int, default=16)
    parser.add_argument("--database", help="SQLAlchemy URL of an empty database for Airflow, if not SQLite")
    parser.add_argument("--keep", type=Path, help="a folder to leave logs and databases in")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary)
        with FaultyService(folder / "service", chosen.seed) as service:
            settings = (
                service.environment | _PATIENT | {"AIRFLOW__CORE__PARALLELISM": str(chosen.parallelism)}
            )
            if chosen.database:
                settings |= {
                    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": chosen.database,
                    "AIRFLOW__API__WORKERS": "3",  # which SQLite would only hold up
                }
            with AirflowStack(folder / "airflow", Path(__file__).parent / "dags", settings) as stack:
                wrong = 0
                for name, jobs, storms in (("calm", chosen.calm, ()), ("storms", chosen.jobs, STORMS)):
                    if jobs:
                        report = Campaign(stack, service, name, jobs, chosen.seed).run(storms)
                        print(report, flush=True)
                        wrong += len(report.truth.wrongs) + len(report.complaints) + len(report.excesses)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
