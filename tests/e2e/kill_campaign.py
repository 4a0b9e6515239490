"""SIGKILL around submission, in real Airflow: how many jobs does each task instance pay for?

``python -m tests.e2e.kill_campaign --tasks 100`` prints a line for each type of job and each way. The service
takes 0.1 to 0.6 s for a submission, before or after it accepts it, so that many kills come while it is under
way.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_ci.protocol.tree import find_tree
from tests.e2e.airflow_stack import NOTICES_KILLS, AirflowStack
from tests.e2e.services import Service, serve

NAIVE = "killed_naive"
WAYS = ("killed_submit", "killed_worker", "killed_deferred", "killed_sensed", NAIVE)
TAGS = ("VoiceSeparate", "SpeechRecognition", "NoiseReduction", "Tts", "Transcode")
_SLOW_SUBMISSIONS = (
    {"share": 0.5, "seed": 1, "delay": 0.25, "when": "before"},
    {"share": 0.5, "seed": 2, "delay": 0.25, "when": "after"},
)
_SECONDS_A_TASK = 15
_AT_LEAST = 240


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one run: tasks, the tries of them all, and the jobs that the service accepted."""

    way: str
    tag: str
    state: str
    tasks: int
    tries: int
    accepted: int
    #: tasks with more than one accepted job, or with none
    twice: int
    never: int

    def __str__(self) -> str:
        return (
            f"{self.way:15} {self.tag:17} {self.state:8} tasks {self.tasks:4}  tries {self.tries:4}"
            f"  accepted {self.accepted:4}  paid more than once {self.twice:3}  never {self.never:3}"
        )


def campaign(
    stack: AirflowStack, quick: Service, way: str, tag: str, tasks: int, seed: int, name: str = ""
) -> Report:
    """Run one DAG of ``tests/e2e/dags/killed.py`` with ``tasks`` mapped tasks.

    :param name: tells runs of one way and tag on one service apart.
    """
    prefix = f"{name}{way}-{tag}"
    quick.put(prefix, tasks)
    quick.show_in_list(tag)
    rules = [quick.emulator.faults.add("submit", **rule) for rule in _SLOW_SUBMISSIONS]
    try:
        access = quick.emulator.connection["extra"] | {
            name: quick.emulator.connection[name] for name in ("login", "password")
        }
        access["domain"] = urlsplit(quick.emulator.url).netloc
        run_id = stack.trigger(
            way, {"tag": tag, "count": tasks, "seed": seed, "sdk": access, "prefix": prefix}
        )
        state = stack.wait_for_run(way, run_id, _AT_LEAST + tasks * _SECONDS_A_TASK)
    finally:
        for rule in rules:
            quick.emulator.faults.remove(rule)
    instances = stack.task_instances(way, run_id, "run")
    each = Counter(folders_of_results(quick, tag, f"out/{prefix}/"))
    return Report(
        way=way,
        tag=tag,
        state=state,
        tasks=len(instances),
        tries=sum(ti["try_number"] for ti in instances),
        accepted=each.total(),
        twice=sum(count > 1 for count in each.values()),
        never=tasks - len(each),
    )


def folders_of_results(quick: Service, tag: str, prefix: str) -> Iterator[str]:
    """Yield the folder of the results of each job under ``prefix``: each task has one of its own."""
    for job in quick.hook.list_jobs(tag=tag):
        keys = [*find_tree(job.operation, "Output").values()]
        folder = next((str(key) for key in keys if str(key).startswith(prefix)), None)
        if folder is not None:
            yield folder.rpartition("/")[0]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tasks", type=int, default=100, help="mapped tasks of each way")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--parallelism", type=int, default=16)
    arguments.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS)
    arguments.add_argument("--tags", nargs="*", default=TAGS[:1], choices=TAGS)
    chosen = arguments.parse_args()
    logging.getLogger("airflow_provider_ci").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, serve("quick", Path(folder)) as quick:
        settings = quick.environment | NOTICES_KILLS | {"AIRFLOW__CORE__PARALLELISM": str(chosen.parallelism)}
        with AirflowStack(Path(folder) / "airflow", Path(__file__).parent / "dags", settings) as stack:
            for tag in chosen.tags:
                for way in chosen.ways:
                    print(campaign(stack, quick, way, tag, chosen.tasks, chosen.seed), flush=True)


if __name__ == "__main__":
    main()
