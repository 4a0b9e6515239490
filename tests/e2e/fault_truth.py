"""Compares what Airflow says of each task with what became of its jobs in the emulator's database."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from airflow_provider_ci import exceptions
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.fault_service import CODE, DOOMED, MESSAGE, TOKEN_MARK, FaultyService, JobRow

DAG_ID = "faulty"
SUBMIT, SENSE = "pair.submit", "pair.sense"
BATCH = "batch"
#: The tasks, and the list of inputs in the run's configuration that each is mapped over.
TASKS = {"sync": "sync", "deferrable": "deferrable", SUBMIT: "sensed", SENSE: "sensed", BATCH: "batch"}
_SECRET = re.compile(rf"q-signature=(?!…)|{TOKEN_MARK}|key-of-(?:the-campaign|generation)")


@dataclass(frozen=True, slots=True)
class Task:
    """A task instance at the end, with all that its tries and triggers have logged."""

    task_id: str
    run_id: str
    key: str
    state: str
    tries: int
    #: Unix time.
    ended: float
    xcom: str | None
    logs: tuple[str, ...]

    @property
    def last_log(self) -> str:
        return self.logs[-1] if self.logs else ""

    @property
    def processes(self) -> int:
        """Tries and resumptions. Now and then Airflow begins a try twice."""
        return max(self.tries, sum(log.count("Worker startup parse complete") for log in self.logs))

    def __str__(self) -> str:
        return f"{self.task_id} of {self.key}, {self.state} after {self.tries} tries"


@dataclass
class Truth:
    """What is wrong, by kind; all lists but ``excused`` are empty when the provider keeps its promises."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    wrong_green: list[str] = field(default_factory=list)
    wrong_red: list[str] = field(default_factory=list)
    silent_red: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    #: Red tasks whose jobs have failed, but whose last try met a fault first, and says so.
    excused: list[str] = field(default_factory=list)
    green: int = 0
    red: int = 0
    #: Submissions that were wanted: one of each task, and one more for each job that ended without success.
    wanted: int = 0
    accepted: int = 0

    @property
    def wrongs(self) -> dict[str, list[str]]:
        named = {name: value for name, value in vars(self).items() if isinstance(value, list)}
        return {name: value for name, value in named.items() if value and name != "excused"}


def tasks_of(stack: AirflowStack, run_id: str, inputs: Mapping[str, Sequence[str]]) -> Iterator[Task]:
    """Yield the task instances of a run that have jobs."""
    for task_id, way in TASKS.items():
        found = {one["map_index"]: one for one in stack.task_instances(DAG_ID, run_id, task_id)}
        for index, key in enumerate(inputs[way]):
            ti = found.get(index, {"state": "never made", "try_number": 0})
            state, tries = str(ti["state"]), int(ti["try_number"])
            ended = datetime.fromisoformat(ti["end_date"]).timestamp() if ti.get("end_date") else 0.0
            xcom = stack.xcom(DAG_ID, run_id, task_id, index=index) if state == "success" else None
            logs = tuple(_logs(stack.logs, run_id, task_id, index, tries))
            yield Task(task_id, run_id, key, state, tries, ended, _job_id(xcom), logs)


def _job_id(xcom: object) -> str | None:
    """Return the id in a result: an operator's is the id itself, a sensor's has it."""
    return str(xcom["job_id"]) if isinstance(xcom, dict) else None if xcom is None else str(xcom)


def _logs(root: Path, run_id: str, task_id: str, index: int, tries: int) -> Iterator[str]:
    folder = root / f"dag_id={DAG_ID}" / f"run_id={run_id}" / f"task_id={task_id}" / f"map_index={index}"
    for number in range(1, tries + 1):
        files = sorted(folder.glob(f"attempt={number}.log*"))
        yield "".join(file.read_text(errors="replace") for file in files)


def compare(tasks: Sequence[Task], service: FaultyService, prefix: str) -> Truth:
    """Judge each task by the jobs of its input; all inputs lie under ``prefix``."""
    jobs: dict[str, list[JobRow]] = defaultdict(list)
    for job in service.jobs(prefix):
        jobs[job.key].append(job)
    truth = Truth(accepted=sum(map(len, jobs.values())))
    owners: dict[str, str] = {}
    for task in tasks:
        if task.task_id == BATCH:
            own = [job for key, found in jobs.items() if key.startswith(task.key) for job in found]
            _check_batch(truth, task, own, service.batches(task.key))
        else:
            own = jobs[task.key]
            _check_jobs(truth, task, own)
        _check_colour(truth, task, own)
        if (
            task.xcom is not None
            and task.task_id != SENSE
            and owners.setdefault(task.xcom, str(task)) != str(task)
        ):
            truth.shared.append(f"{task.xcom}: {owners[task.xcom]} and {task}")
        if secret := _SECRET.search("".join(task.logs)):
            truth.secrets.append(f"{task}: {secret[0]}")
    return truth


def _check_jobs(truth: Truth, task: Task, own: Sequence[JobRow]) -> None:
    """One job, and another one only after the end of one that failed or was cancelled, by another process."""
    if task.task_id == SENSE:
        return
    if not own:
        truth.lost.append(str(task))
    after_failures = sum(
        earlier.state in ("Failed", "Cancel") and earlier.ended is not None and earlier.ended <= later.created
        for earlier, later in pairwise(own)
    )
    truth.wanted += 1 + after_failures
    if len(own) > 1 + after_failures or len(own) > task.processes:
        truth.doubled.append(f"{task}: {[(job.job_id, job.state) for job in own]}")


def _check_batch(truth: Truth, task: Task, own: Sequence[JobRow], batches: Sequence[str]) -> None:
    truth.wanted += len({job.key for job in own})
    if not batches or not own:
        truth.lost.append(str(task))
    if len(batches) > 1 or len(own) > len({job.key for job in own}):
        truth.doubled.append(f"{task}: {batches}")


def _check_colour(truth: Truth, task: Task, own: Sequence[JobRow]) -> None:
    """Green if, and only if, the job had ended well by then (or was accepted, where nobody waits for its
    end); red names the job, its code and its message.
    """
    last = own if task.task_id == BATCH else own[-1:]
    well = bool(last) and (task.task_id == SUBMIT or all(job.ended_well_by(task.ended) for job in last))
    named = task.task_id == BATCH or any(job.job_id == task.xcom for job in last)
    if task.state == "success":
        truth.green += 1
        if not (well and named):
            truth.wrong_green.append(f"{task}: {[(job.job_id, job.state, job.ended) for job in own]}")
        return
    failed = [job for job in last if job.state == "Failed" and job.code == CODE]
    if task.state != "failed" or not failed or DOOMED not in "".join(job.key for job in failed):
        truth.wrong_red.append(f"{task}: {_errors(task.last_log)}")
        return
    truth.red += 1
    said = task.last_log
    if not all(job.job_id in said for job in failed) or CODE not in said or MESSAGE not in said:
        list_of = truth.excused if _names_a_fault(said) else truth.silent_red
        list_of.append(f"{task}: {_errors(said)}")


def _names_a_fault(log: str) -> bool:
    """Tell whether a try ended with an error of the provider."""
    return hasattr(exceptions, str(_last_error(log).get("exc_type")))


def _errors(log: str) -> str:
    """Return what a try has logged last about an exception, shortened."""
    error = _last_error(log)
    return f"{error.get('exc_type')}: {error.get('exc_value')}"[:600] if error else "no error is logged"


def _last_error(log: str) -> dict[str, str]:
    """Return type and value of the last exception that a try has logged."""
    for line in reversed(log.splitlines()):
        try:
            details = json.loads(line).get("error_detail")
        except ValueError:
            continue
        if details:
            first: dict[str, str] = details[0]
            return first
    return {}
