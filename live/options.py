"""The options of ``make live`` and ``make live-clean``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_JOBS = 12
FOLDER = Path(".live")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says.

    :param prices: USD by type of job, for the unit that the plan names.
    :param patience: seconds that the jobs may take, and again that those still running may take at the end.
    :param poll: seconds between two looks at the jobs.
    """

    conn_id: str | None
    bucket: str | None
    report: Path
    folder: Path
    only: tuple[str, ...]
    max_jobs: int
    prices: Mapping[str, float]
    patience: float
    poll: float
    yes: bool
    clean: bool

    @property
    def clean_command(self) -> str:
        """The command that removes what a run with these options has left."""
        arguments = []
        if self.conn_id is not None:
            arguments.append(f"--conn-id {self.conn_id}")
        if self.folder != FOLDER:
            arguments.append(f"--folder {self.folder}")
        return f"make live-clean ARGS='{' '.join(arguments)}'" if arguments else "make live-clean"


def read_options(arguments: Sequence[str]) -> Options:
    """Read the command line.

    :raises SystemExit: an option is not allowed; a message says which.
    """
    parser = argparse.ArgumentParser(
        prog="make live",
        description="Settle with a real account what Tencent's documents leave open. See docs/live.md."
        " Options are given as: make live ARGS='--report report.json'",
    )
    parser.add_argument("--conn-id", help="an Airflow connection, instead of AIRFLOW_CONN_TENCENT_CI_LIVE")
    parser.add_argument(
        "--bucket",
        help="an existing bucket, if the account may not create one: all keys get one random prefix",
    )
    parser.add_argument("--report", type=Path, default=Path("live-report.json"), help="file for the report")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="settle only these observations"
    )
    parser.add_argument("--max-jobs", type=_jobs, default=MOST_JOBS, metavar="N", help="paid jobs, at most")
    parser.add_argument(
        "--price",
        type=_price,
        action="append",
        default=[],
        metavar="TYPE=USD",
        help="a price of your account, for the unit that the plan names; may be repeated",
    )
    parser.add_argument("--patience", type=_seconds, default=600.0, metavar="SECONDS", help="for all jobs")
    parser.add_argument("--poll", type=_seconds, default=1.0, metavar="SECONDS", help="between two looks")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the journals")
    parser.add_argument("--yes", action="store_true", help="do not ask before anything is created")
    parser.add_argument(
        "--clean", action="store_true", help="remove what runs that were killed have left (make live-clean)"
    )
    read = parser.parse_args(arguments)
    return Options(
        conn_id=read.conn_id,
        bucket=read.bucket,
        report=read.report,
        folder=read.folder,
        only=tuple(read.only),
        max_jobs=read.max_jobs,
        prices=dict(read.price),
        patience=read.patience,
        poll=read.poll,
        yes=read.yes,
        clean=read.clean,
    )


def _price(text: str) -> tuple[str, float]:
    name, _, amount = text.partition("=")
    try:
        price = float(amount)
    except ValueError:
        price = -1.0
    if not name or not 0 <= price < 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}, allowed: TYPE=USD, for instance VoiceSeparate=0.012")
    return name, price


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_JOBS:
        raise argparse.ArgumentTypeError(f"{text!r}, allowed: 0 to {MOST_JOBS}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r}, allowed: seconds, above 0")
    return seconds
