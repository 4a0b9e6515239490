"""Measures what ``durable=True`` costs a submit-only task, against the same task with ``durable=False``.

``python -m benchmarks.durability`` takes about half a minute and prints a table. A service in a process of
its own answers on loopback; the sides take turns, so that whatever disturbs the machine disturbs all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any, ClassVar

BUCKET, REGION = "media-1250000001", "ap-guangzhou"
TASKS, WARM_UP = 300, 20
JOB = (
    "<JobsDetail><Code>Success</Code><Message/><JobId>j{id:032x}</JobId><State>Submitted</State>"
    "<CreationTime>{time}</CreationTime><StartTime>-</StartTime><EndTime>-</EndTime>"
    "<QueueId>p0123456789abcdef0123456789abcdef</QueueId><Tag>VoiceSeparate</Tag>"
    f"<Input><BucketId>{BUCKET}</BucketId><Object>in/a.mp3</Object><Region>{REGION}</Region></Input>"
    "{operation}</JobsDetail>"
)


class Service(BaseHTTPRequestHandler):
    """Accepts every job, and lists the newest. ``GET /count`` says what was asked so far."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()
    newest = ""

    def do_POST(self) -> None:
        """Accept a job."""
        Service.asked["submit"] += 1
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        operation = f"<Operation>{body.partition('<Operation>')[2].rpartition('</Operation>')[0]}</Operation>"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
        Service.newest = JOB.format(id=Service.asked["submit"], time=now, operation=operation)
        self.respond(f"<Response>{Service.newest}</Response>")

    def do_GET(self) -> None:
        """List or describe the newest job."""
        if self.path == "/count":
            self.respond(json.dumps(Service.asked))
            return
        Service.asked["list" if self.path.startswith("/jobs?") else "describe"] += 1
        self.respond(f"<Response>{Service.newest}<NextToken/></Response>")

    def respond(self, text: str) -> None:
        """Answer ``text``."""
        body = text.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def serve(ready: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    ready.send(server.server_port)
    server.serve_forever()


@contextmanager
def service() -> Iterator[str]:
    """Run the service in a process of its own; yield its URL."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


class Store:
    """Airflow's task state store, in memory; its calls are counted. Airflow's own is a request to its API
    server each.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        self.calls["get"] += 1
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.calls["set"] += 1
        self.values[key] = value


@dataclass
class Side:
    """One way to run tasks, and what it cost: seconds and CPU seconds of each task, requests, store calls."""

    name: str
    durable: bool
    has_store: bool
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    store_calls: Counter[str] = field(default_factory=Counter)


def context_of(number: int, store: Store | None, try_number: int = 1) -> Any:
    now = datetime.now(UTC)
    ti = SimpleNamespace(
        dag_id="benchmark",
        run_id=f"run-{number}",
        task_id="separate",
        map_index=-1,
        try_number=try_number,
        max_tries=1,
        start_date=now,
        xcom_push=lambda key, value: None,
    )
    context = {"ti": ti, "dag_run": SimpleNamespace(start_date=now)}
    return context | ({} if store is None else {"task_state_store": store})


def task(side: Side) -> Any:
    from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

    return VoiceSeparateOperator(
        task_id="separate",
        tencent_ci_conn_id="benchmark",
        input_object="in/a.mp3",
        voice_object="out/${jobid}/voice.${ext}",
        audio_mode="IsAudio",
        durable=side.durable,
        retries=1,
    )


def run_once(side: Side, number: int, url: str, *, measured: bool) -> None:
    """Run a task from its making to its end."""
    store = Store() if side.has_store else None
    before = asked(url)
    context = context_of(number, store)
    wall, cpu = time.perf_counter(), time.process_time()
    operator = task(side)
    operator.execute(context)
    operator.hook.close()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if measured:
        side.seconds.append(wall)
        side.cpu.append(cpu)
        side.asked += asked(url) - before
        side.store_calls += store.calls if store else Counter()


def asked(url: str) -> Counter[str]:
    import requests

    return Counter(requests.get(f"{url}/count", timeout=5).json())


def retry_without_store(url: str) -> Counter[str]:
    """Return what a second try asks of the service whose first one died after its submission."""
    side = Side("", durable=True, has_store=False)
    task(side).execute(context_of(-1, None))
    before = asked(url)
    task(side).execute(context_of(-1, None, try_number=2))
    return asked(url) - before


def shown(calls: Counter[str], tasks: int = 1) -> str:
    return ", ".join(f"{name} {count / tasks:g}" for name, count in sorted(calls.items())) or "none"


def report(tasks: int, url: str) -> str:
    sides = [
        Side("durable=False", durable=False, has_store=False),
        Side("durable=True, no store", durable=True, has_store=False),
        Side("durable=True, store", durable=True, has_store=True),
    ]
    for number in range(-WARM_UP, tasks):
        # each is the first as often as the others: the first finds cold caches
        turn = number % len(sides)
        for place, side in enumerate(sides[turn:] + sides[:turn]):
            run_once(side, number * len(sides) + place, url, measured=number >= 0)
    lines = [
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {tasks} tasks"
    ]
    lines += [
        "",
        "| first try, goes well | median ms | CPU ms | ratio, median | ratio, CPU | requests | store calls |",
    ]
    lines += ["| --- | ---: | ---: | ---: | ---: | --- | --- |"]
    base = sides[0]
    for side in sides:
        median, cpu = _median_ms(side.seconds), statistics.mean(side.cpu) * 1000
        lines.append(
            f"| {side.name} | {median:.2f} | {cpu:.2f} | {median / _median_ms(base.seconds):.3f}"
            f" | {cpu / (statistics.mean(base.cpu) * 1000):.3f}"
            f" | {shown(side.asked, tasks)} | {shown(side.store_calls, tasks)} |"
        )
        if side.asked != base.asked:
            lines.append("\nDURABILITY COSTS REQUESTS ON A FIRST TRY")
    lines += ["", f"A retry without a store, whose job is there: {shown(retry_without_store(url))}."]
    return "\n".join(lines)


def _median_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=int, default=TASKS, help=f"for each side; default {TASKS}")
    tasks = parser.parse_args().tasks
    with tempfile.TemporaryDirectory(prefix="airflow-provider-ci-benchmark-") as home, service() as url:
        extra = {"bucket": BUCKET, "region": REGION, "endpoint_url": url}
        said = {"conn_type": "tencent_ci", "login": "AKIDbenchmark", "password": "no-secret", "extra": extra}
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW_CONN_BENCHMARK": json.dumps(said),
        }
        began = time.monotonic()
        print(report(tasks, url))
        print(f"\nMeasured in {time.monotonic() - began:.0f} s.", file=sys.stderr)


if __name__ == "__main__":
    main()
