"""A real ``airflow triggerer`` with 1,000 deferred mapped tasks: does our polling hold up its loop?

``python -m benchmarks.triggerer`` prints, for triggers that only sleep and for ours, how often Airflow warned
that its "async thread was blocked" (until all had started, and after that), and what both processes of the
triggerer used. The tasks' rows are written into a database of its own, so that neither a scheduler nor
workers take part; a minimal service in a process of its own answers that every job is running.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.poller import BUCKET, REGION, service
from tests.e2e.airflow_stack import AirflowStack, wait_until

DAG = """
from airflow.sdk import DAG
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

with DAG(dag_id="waiting", schedule=None):
    VoiceSeparateOperator.partial(
        task_id="separate", voice_object="out/${jobid}.mp3", wait_for_completion=True, deferrable=True
    ).expand(input_object=[f"in/{n}.mp3" for n in range(TASKS)])
"""

#: Runs in a process with Airflow's settings: defers all instances of the task, on triggers of one kind.
SEED = """
import sys
from datetime import datetime, timedelta, timezone
from sqlalchemy import select
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session

kind, poll_interval = sys.argv[1], float(sys.argv[2])
now = datetime.now(timezone.utc)
with create_session() as session:
    for ti in session.scalars(select(TaskInstance).where(TaskInstance.task_id == "separate")):
        if kind == "ours":
            job = dict(job_ids=[f"j{ti.map_index:032d}"], poll_interval=poll_interval)
            trigger = Trigger("airflow_provider_ci.triggers.job.TencentCIJobTrigger", job)
        else:
            moment = dict(moment=now + timedelta(days=1))
            trigger = Trigger("airflow.providers.standard.triggers.temporal.DateTimeTrigger", moment)
        session.add(trigger)
        session.flush()
        ti.state, ti.trigger_id, ti.next_method = "deferred", trigger.id, "execute_complete"
        ti.start_date, ti.try_number, ti.next_kwargs = now, 1, {}
"""


_WARNING = "async thread was blocked"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run: warnings until all had started and after that, seconds until then, and of each process its
    share of a core and resident bytes.
    """

    while_starting: int
    afterwards: int
    started: float
    cpu: list[float]
    memory: list[int]


def measure(kind: str, tasks: int, poll_interval: float, seconds: float, url: str) -> Figures:
    """Run a triggerer with ``tasks`` triggers, for ``seconds`` after all have started."""
    connection = {
        "conn_type": "tencent_ci",
        "login": "AKIDbenchmark",
        "password": "benchmark",
        "extra": {"bucket": BUCKET, "region": REGION, "endpoint_url": url},
    }
    with tempfile.TemporaryDirectory() as folder:
        dags = Path(folder) / "dags"
        dags.mkdir()
        (dags / "waiting.py").write_text(DAG.replace("TASKS", str(tasks)))
        settings = {"AIRFLOW_CONN_TENCENT_CI_DEFAULT": json.dumps(connection)}
        stack = AirflowStack(Path(folder) / "airflow", dags, settings)
        try:
            for command in (
                ["db", "migrate"],
                ["dags", "reserialize"],
                ["dags", "unpause", "--yes", "waiting"],
            ):
                stack.run(*command)
            stack.run("dags", "trigger", "waiting")
            seed = [sys.executable, "-c", SEED, kind, str(poll_interval)]
            subprocess.run(seed, env=stack.environment, check=True, capture_output=True)
            begin = time.monotonic()
            stack.start("triggerer")

            def all_run() -> bool:
                return sum(1 for _ in stack.logs.glob("dag_id=waiting/**/*.trigger.*.log")) == tasks

            wait_until(all_run, 300, "all triggers have started")
            started = time.monotonic() - begin
            time.sleep(2)  # what was said of the last ones
            warned = stack.log_of("triggerer").count(_WARNING)
            family = processes(stack)
            before = [sum(process.cpu_times()[:2]) for process in family]
            time.sleep(seconds)
            after = [sum(process.cpu_times()[:2]) for process in family]
            return Figures(
                while_starting=warned,
                afterwards=stack.log_of("triggerer").count(_WARNING) - warned,
                started=started,
                cpu=[(end - start) / seconds for start, end in zip(before, after, strict=True)],
                memory=[process.memory_info().rss for process in family],
            )
        finally:
            stack.stop()


def processes(stack: AirflowStack) -> list[psutil.Process]:
    """Return the triggerer's supervisor and its runner, in which the triggers are."""
    supervisor = psutil.Process(stack.pid("triggerer"))
    return [supervisor, *supervisor.children()]


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tasks", type=int, default=1000)
    arguments.add_argument("--seconds", type=float, default=40)
    chosen = arguments.parse_args()
    print(f"{chosen.tasks} deferred mapped tasks, {os.cpu_count()} cores, {chosen.seconds:.0f} s each")
    print(f"{'triggers':24}{'blocked':>10}{'started':>10}{'CPU supervisor, runner':>26}{'memory':>20}")
    with service() as port:
        url = f"http://127.0.0.1:{port}"
        for name, kind, interval in (
            ("sleeping", "sleeping", 0.0),
            ("ours, every 30 s", "ours", 30.0),
            ("ours, every 5 s", "ours", 5.0),
        ):
            figures = measure(kind, chosen.tasks, interval, chosen.seconds, url)
            cpu = ", ".join(f"{share:.1%}" for share in figures.cpu)
            memory = ", ".join(f"{size / 2**20:.0f}" for size in figures.memory)
            blocked = f"{figures.while_starting} + {figures.afterwards}"
            line = f"{name:24}{blocked:>10}{figures.started:8.1f} s{cpu:>26}{memory:>16} MiB"
            print(line, flush=True)


if __name__ == "__main__":
    main()
