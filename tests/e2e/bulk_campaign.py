"""SIGKILL while one task submits a thousand jobs and waits for them, in real Airflow: is each paid once?

``python -m tests.e2e.bulk_campaign --files 1000 --kills 50`` prints a line for each way to wait and for each
weather: calm; lost responses, 429 and a list that lags; and three jobs that fail and are retried. Each kill
hits, at a random moment, the task's process, the process that supervises it, the triggerer or the scheduler,
with all that they started or alone.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tencent_ci_emulator.ledger import AcceptedJob
from tests.e2e.airflow_stack import NOTICES_KILLS, AirflowStack
from tests.e2e.services import Service, serve
from tests.patience import SLOWNESS

WAYS = ("bulk_deferred", "bulk_worker")
CALM, ROUGH, DOOMED = "calm", "rough", "doomed"
WEATHERS = (CALM, ROUGH, DOOMED)
TASK = "separate"
TAG = "VoiceSeparate"
SETTINGS = {
    "run_seconds": 2.0,
    "queue_max_concurrent": 2000,
    "queue_max_size": 100_000,
    "skip_processing": True,
}
# A new scheduler takes over the tasks of a killed one after seconds, not minutes
_AIRFLOW = {
    **NOTICES_KILLS,
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
}
_SECONDS = {
    "SUBMISSION_VALIDITY": 10.0,
    "LIST_CONSISTENCY_DELAY": 4.0,
    "_CHUNK_SECONDS": 5.0,
    "_SENDING_SECONDS": 7.5,
}
#: After a kill between submissions a task waits until the signatures of the last ones have expired and
#: the list shows their jobs: 70 s with the times of the provider, so that fifty kills would take hours
SHORT_TIMES = {"CI_E2E_TIMES": json.dumps(_SECONDS)}
_LAG = 2.0
#: Three jobs, whose first ends Failed.
DOOMED_FILES = 3
# A twelfth of the submissions: each fault halves the rate for a while
_ROUGH = (
    {"id": "accepted, no response", "operation": "submit", "drop": True, "when": "after", "share": 0.03},
    {"id": "accepted, 500", "operation": "submit", "status": 500, "when": "after", "share": 0.02},
    {"id": "not accepted, no response", "operation": "submit", "drop": True, "share": 0.01},
    {"id": "429", "operation": "submit", "status": 429, "retry_after": 1, "share": 0.02},
    {"id": "429 to a read", "operation": ["list", "describe"], "status": 429, "share": 0.1},
    {"id": "lagging list", "operation": "list", "list_consistency_delay": _LAG},
)
#: What gets killed, and how often.
_VICTIMS = {"task": 10, "supervisor": 3, "triggerer": 3, "scheduler": 2, "scheduler alone": 2}
_OF_TASK, _COMPONENTS = ("task", "supervisor"), ("triggerer", "scheduler")
_START_SECONDS = 15.0  # of a try; a deferred task has no process at all
#: Of the kills, so many come while jobs are submitted, and while all are held; the rest comes afterwards.
_SUBMITTING, _HELD = 0.7, 0.9
_PAUSE = 0.2
_PATIENCE = 40.0  # a task that does not get on for so long may be killed before it does
_JITTER = 1.5
_SECONDS_A_KILL, _SECONDS_AT_LEAST = 120, 600


@dataclass
class Report:
    """What became of one run: kills by victim, tries, the jobs that the service accepted, and the manifest.

    :param repeated: inputs with more than one job; those of jobs that failed do not count.
    :param missing: inputs without a job.
    """

    way: str
    weather: str
    files: int
    state: str = ""
    tries: int = 0
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    repeated: list[str] = field(default_factory=list)
    missing: int = 0
    #: What the XCom or the manifest say that is not so.
    untrue: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        victims = ", ".join(f"{count} {victim}" for victim, count in sorted(self.kills.items()))
        return (
            f"{self.way:13} {self.weather:6} {self.state:8} files {self.files:5}  accepted {self.accepted:5}"
            f"  more than once {len(self.repeated)}  never {self.missing}  tries {self.tries:3}"
            f"  {self.seconds:4.0f} s  kills {self.kills.total()}: {victims}"
            + "".join(f"\n  {one}" for one in (*self.repeated[:5], *self.untrue[:5]))
        )


@contextmanager
def running(folder: Path, of_dags: Mapping[str, str]) -> Iterator[tuple[AirflowStack, Service]]:
    """Run Airflow, and the service to which the connection ``bulk`` leads.

    :param of_dags: the settings of ``tests/e2e/dags/bulk_killed.py``: times, and the rate of submissions.
    """
    with serve("bulk", folder, **SETTINGS) as service:
        settings = {**service.environment, **_AIRFLOW, **of_dags}
        with AirflowStack(folder / "airflow", Path(__file__).parent / "dags", settings) as stack:
            yield stack, service


class Killer:
    """Kills processes of a running Airflow. Components begin again at once."""

    def __init__(self, stack: AirflowStack, processes: Path, chance: random.Random) -> None:
        self._stack = stack
        self._processes = processes
        self._chance = chance
        self.kills: Counter[str] = Counter()

    def kill(self) -> None:
        """Kill one victim. A task that is to be killed is waited for, as it may be between two tries."""
        victim = self._chance.choices([*_VICTIMS], [*_VICTIMS.values()])[0]
        if victim in _OF_TASK:
            if pid := self._find(victim):
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(pid, signal.SIGKILL)
                    self.kills[victim] += 1
                return
            victim = self._chance.choice(_COMPONENTS)
        self._kill_component(victim)
        self.kills[victim] += 1

    def _find(self, victim: str) -> int:
        end = time.monotonic() + _START_SECONDS * SLOWNESS
        while not (pid := self._pid(victim)) and time.monotonic() < end:
            time.sleep(_PAUSE)
        return pid

    def _kill_component(self, victim: str) -> None:
        component = victim.removesuffix(" alone")
        if component == victim:
            self._stack.kill(component)
        else:
            self._stack.kill_alone(component)
        self._stack.start(component)

    def _pid(self, name: str) -> int:
        """Return the id of the latest process of the task, or of its supervisor; 0 if it has ended."""
        lines = self._processes.read_text().splitlines()
        pid = int(json.loads(lines[-1])[name]) if lines else 0
        with suppress(psutil.NoSuchProcess):
            if pid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return pid
        return 0


class BulkCampaign:
    """One run of a DAG of ``tests/e2e/dags/bulk_killed.py``."""

    def __init__(
        self, stack: AirflowStack, service: Service, way: str, weather: str, files: int, seed: int
    ) -> None:
        self._stack = stack
        self._service = service
        self._chance = random.Random(seed)
        self._prefix = f"{way}/{weather}/"
        self._files = files
        self.report = Report(way, weather, files)

    def run(self, kills: int) -> Report:
        """Run the task to its end, with so many kills."""
        report, began = self.report, time.monotonic()
        self._service.put(self._prefix.rstrip("/"), self._files)
        self._service.show_in_list(TAG)
        processes = self._stack.home / f"{report.way}-{report.weather}.jsonl"
        processes.touch()
        conf = {"count": self._files, "prefix": self._prefix, "processes": str(processes)}
        killer = Killer(self._stack, processes, self._chance)
        with self._faults(), self._held(report.weather != DOOMED) as release:
            run_id = self._stack.trigger(report.way, conf)
            self._kill_while_running(killer, kills, run_id, release)
            report.state = self._stack.wait_for_run(
                report.way, run_id, _SECONDS_AT_LEAST + kills * _SECONDS_A_KILL
            )
        report.seconds, report.kills = time.monotonic() - began, killer.kills
        self._judge(run_id)
        return report

    def _kill_while_running(
        self, killer: Killer, kills: int, run_id: str, release: Callable[[], None]
    ) -> None:
        submitting, held = round(kills * _SUBMITTING), round(kills * _HELD)
        moments = sorted(self._chance.randrange(self._files) for _ in range(submitting))
        for accepted in (*moments, *[self._files] * (held - submitting)):
            self._wait_for(accepted, _PATIENCE, run_id)
            time.sleep(self._chance.uniform(0, _JITTER))
            killer.kill()
        self._wait_for(self._files, _SECONDS_AT_LEAST, run_id)
        release()
        for _ in range(kills - held):
            time.sleep(self._chance.uniform(0, 2 * _JITTER))
            if self._has_ended(run_id):
                return
            killer.kill()

    def _wait_for(self, accepted: int, seconds: float, run_id: str) -> None:
        """Wait until there are jobs for so many inputs, or the time is over, or the run."""
        end = time.monotonic() + seconds * SLOWNESS
        while self._inputs_with_jobs() < accepted and time.monotonic() < end and not self._has_ended(run_id):
            time.sleep(_PAUSE)

    def _has_ended(self, run_id: str) -> bool:
        return self._stack.run_state(self.report.way, run_id) in ("success", "failed")

    def _inputs_with_jobs(self) -> int:
        return len(self._service.emulator.ledger.jobs_of_inputs(self._prefix))

    @contextmanager
    def _faults(self) -> Iterator[None]:
        faults = self._service.emulator.faults
        rules: list[dict[str, Any]] = []
        if self.report.weather == ROUGH:
            rules = [{"seed": self._chance.randrange(10**6), **rule} for rule in _ROUGH]
        if self.report.weather == DOOMED:
            keys = [f"{self._prefix}{self._files // 2 + number}.wav" for number in range(DOOMED_FILES)]
            rules = [{"operation": "job", "key": key, "first": 1, "code": "Doomed"} for key in keys]
        ids = faults.add_rules(rules)
        try:
            yield
        finally:
            for rule_id in ids:
                faults.remove(rule_id)

    @contextmanager
    def _held(self, is_held: bool) -> Iterator[Callable[[], None]]:
        """Pause the queue, so that no job ends; give the function that resumes it."""
        queues = self._service.hook.queues
        (queue,) = queues.list()

        def set_state(state: str) -> None:
            queues.update(str(queue.queue_id), state=state)

        if is_held:
            set_state("Paused")
        try:
            yield lambda: set_state("Active")
        finally:
            set_state("Active")

    def _judge(self, run_id: str) -> None:
        report = self.report
        jobs = defaultdict(list)
        for job in self._service.jobs(self._prefix.rstrip("/")):
            jobs[job.key].append(job)
        report.accepted = sum(map(len, jobs.values()))
        report.missing = self._files - len(jobs)
        report.repeated = [
            f"{key}: {', '.join(f'{job.job_id} {job.state}' for job in found)}"
            for key, found in jobs.items()
            if sum(job.state != "Failed" for job in found) != 1
        ]
        (instance,) = self._stack.task_instances(report.way, run_id, TASK)
        report.tries = instance["try_number"]
        if report.state == "success":
            report.untrue = [*self._untrue(run_id, {key: found[-1] for key, found in jobs.items()})]

    def _untrue(self, run_id: str, jobs: Mapping[str, AcceptedJob]) -> Iterator[str]:
        """Yield what XCom and manifest say that is not so."""
        result = self._stack.xcom(self.report.way, run_id, TASK)
        counts = {name: result[name] for name in ("total", "succeeded", "failed")}
        if counts != {"total": self._files, "succeeded": self._files, "failed": 0}:
            yield f"XCom: {counts}"
        lines = [*self._service.hook.read_manifest(result["manifest"]["object"])]
        if [line["input_object"] for line in lines] != [
            f"{self._prefix}{number}.wav" for number in range(self._files)
        ]:
            yield "manifest: other items, or in another order"
        for line in lines:
            job = jobs.get(str(line["input_object"]))
            if job is None or (line["job_id"], line["state"]) != (job.job_id, "Success"):
                yield f"manifest: {line['input_object']} has {line['job_id']} {line['state']}, not {job}"
            elif not line["outputs"]["voice"]["object"].endswith(f"-{job.job_id}.wav"):
                yield f"manifest: {line['outputs']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS)
    parser.add_argument("--weathers", nargs="*", default=WEATHERS, choices=WEATHERS)
    parser.add_argument("--true-times", action="store_true", help="a signature is valid for 60 s, not for 10")
    chosen = parser.parse_args()
    for name in ("airflow_provider_ci", "tencent_ci_emulator"):
        logging.getLogger(name).setLevel(logging.WARNING)
    times = {} if chosen.true_times else SHORT_TIMES
    with tempfile.TemporaryDirectory() as temporary, running(Path(temporary), times) as (stack, service):
        for way in chosen.ways:
            for weather in chosen.weathers:
                run = BulkCampaign(stack, service, way, weather, chosen.files, chosen.seed)
                print(run.run(0 if weather == DOOMED else chosen.kills), flush=True)


if __name__ == "__main__":
    main()
