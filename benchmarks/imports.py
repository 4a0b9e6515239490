r"""What importing an operator adds to the parsing of a DAG file: ours, an Amazon one and a dbt Cloud one.

Each parse of a DAG file is a new process, so each measurement is one: it imports Airflow's ``BaseOperator``,
``BaseSensorOperator`` and ``BaseHook``, then the module, with compiled bytecode. The peers go into an
environment of their own, from which the command runs:

    python -m venv build/peers
    build/peers/bin/pip install apache-airflow==3.3.2 apache-airflow-providers-amazon \
        apache-airflow-providers-dbt-cloud -e .
    build/peers/bin/python -m benchmarks.imports
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

ROUNDS = 20
GOAL = 30.0
INSTALL = "pip install apache-airflow-providers-amazon apache-airflow-providers-dbt-cloud"
OURS = "airflow_provider_ci.operators.voice_separate"
PEERS = (
    "airflow.providers.amazon.aws.operators.redshift_data",
    "airflow.providers.dbt.cloud.operators.dbt",
)
#: Prints milliseconds of the clock and of CPU: the base classes, then the modules named as arguments.
CHILD = """
import sys, time
def now(): return time.perf_counter(), time.process_time()
begin = now()
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
base = now()
for name in sys.argv[1:]: __import__(name)
end = now()
print(*(1000 * (b - a) for first, last in ((begin, base), (base, end)) for a, b in zip(first, last)))
"""


@dataclass
class Case:
    """Modules to import, and what that took in each round: milliseconds of the clock and of CPU, for
    Airflow's base classes and beyond them.
    """

    name: str
    modules: tuple[str, ...]
    figures: list[tuple[float, ...]] = field(default_factory=list)

    def median(self, *places: int) -> float:
        """Return the median of the sum of some figures."""
        return statistics.median(sum(figures[place] for place in places) for figures in self.figures)


def cases() -> list[Case]:
    """Return what is measured."""
    return [
        Case("base classes only", ()),
        Case(OURS, (OURS,)),
        Case("... and airflow_provider_ci.sensors.job", (OURS, "airflow_provider_ci.sensors.job")),
        *(Case(peer, (peer,)) for peer in PEERS),
    ]


def missing() -> list[str]:
    """Return the peers that are not installed here."""
    return [peer for peer in PEERS if importlib.util.find_spec(".".join(peer.split(".")[:3])) is None]


def run(case: Case, environment: dict[str, str]) -> tuple[float, ...]:
    """Import the modules of ``case`` in a new process."""
    command = [sys.executable, "-c", CHILD, *case.modules]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return tuple(float(figure) for figure in done.stdout.split())


def report(rounds: int) -> str:
    """Measure, and return the table; the first round only writes bytecode."""
    measured = cases()
    with tempfile.TemporaryDirectory(prefix="airflow-provider-ci-benchmark-") as home:
        environment = os.environ | {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for number in range(-1, rounds):
            turn = number % len(measured)
            for case in measured[turn:] + measured[:turn]:
                figures = run(case, environment)
                if number >= 0:
                    case.figures.append(figures)
    base = measured[0]
    lines = [
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {rounds} rounds",
        "",
        "| imported | whole process, ms | minus base classes, CPU ms | import alone, CPU ms | clock ms |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for case in measured:
        beyond = case.median(1, 3) - base.median(1, 3)
        lines.append(
            f"| `{case.name}` | {case.median(0, 2):.0f} | {beyond:.1f}"
            f" | {case.median(3):.1f} | {case.median(2):.1f} |"
        )
    ours, fewest = measured[1].median(3), min(case.median(3) for case in measured[3:])
    lines += ["", f"Goal: ours under {GOAL:.0f} ms ({ours:.1f}), and less than both ({fewest:.1f})."]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    if absent := missing():
        raise SystemExit(f"Not installed here: {', '.join(absent)}. {INSTALL} (see --help)")
    print(report(rounds))


if __name__ == "__main__":
    main()
