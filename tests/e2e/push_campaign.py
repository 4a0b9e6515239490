"""Callbacks that are forged, early, doubled, lost, late, out of order, and ten thousand at once.

``python -m tests.e2e.push_campaign`` prints four reports:

``storm``     tasks of which each has its own kind of callback, while others post forged ones
``delay``     from the end of a job to the resumption of its task, by callbacks and by polls
``flood``     ten thousand deferred tasks and their callbacks at once: what other users of the API server
              notice, its memory, and the requests to the service. Needs PostgreSQL: with SQLite others
              are slower whenever tasks are resumed
``polls``     the requests of a triggerer for jobs that wait, with and without callbacks: in the first half
              hour in virtual time, and in two minutes of a wait that has lasted an hour, by HTTP
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import aiohttp
import psutil
import requests
import sqlalchemy

from airflow_provider_ci.triggers.job import TencentCIJobTrigger
from tests.e2e.airflow_stack import AirflowStack, wait_until
from tests.e2e.postgres_redis import postgres_and_redis
from tests.e2e.services import Service, serve
from tests.patience import PATIENCE
from tests.unit.triggers import virtual

SECRET = "the-callback-secret-of-the-campaign"
KINDS = ("once", "twice", "never", "early", "late", "out_of_order", "forged")
DAGS = Path(__file__).parent / "push_dags"
#: The DAGs of the delay.
MEASURED = ("measured_callback_30", "measured_callback_300", "measured_30", "measured_300")
#: The endpoint's address on the API server.
PATH = f"/tencent-ci/callbacks/tencent_ci_default/{SECRET}"
_CONNECTIONS = 200


def body_of(job_id: str) -> bytes:
    return json.dumps(
        {"EventName": "TaskFinish", "JobsDetail": [{"JobId": job_id, "State": "Success"}]}
    ).encode()


@contextmanager
def running(
    service: Service, folder: Path, components: dict[str, Sequence[str]] | None = None, **callbacks: Any
) -> Iterator[AirflowStack]:
    """Run Airflow with the endpoint."""
    stack = AirflowStack(folder / "airflow", DAGS, **({"components": components} if components else {}))
    connection = json.loads(service.environment["AIRFLOW_CONN_TENCENT_CI_DEFAULT"])
    connection["extra"] |= {"callback_base_url": stack.url, "callback_secret": SECRET, **callbacks}
    stack.environment |= {
        "AIRFLOW_CONN_TENCENT_CI_DEFAULT": json.dumps(connection),
        "AIRFLOW__TENCENT_CI__CALLBACK_CONN_IDS": "tencent_ci_default",
        "AIRFLOW__CORE__PARALLELISM": "16",
    }
    with stack:
        yield stack


# The storm


class Forgers:
    """Post forged callbacks until they are stopped: of true jobs, of unknown ones, with wrong secrets, and
    garbage.
    """

    def __init__(self, url: str, job_ids: Callable[[], list[str]], seed: int) -> None:
        self.statuses: Counter[int] = Counter()
        self._url = url
        self._job_ids = job_ids
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Forgers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._stop.wait(0.02):
                url, body = self._forge()
                self.statuses[session.post(url, data=body, timeout=PATIENCE).status_code] += 1

    def _forge(self) -> tuple[str, bytes]:
        known = self._job_ids() or ["j1"]
        job_id = self._random.choice([*known, f"j{self._random.getrandbits(64)}"])
        path = self._random.choice([PATH] * 8 + [PATH[:-1]])
        return self._url + path, self._random.choice([body_of(job_id)] * 8 + [b"garbage"])


def storm(tasks: int, seed: int) -> Iterator[str]:
    """Run as many tasks, each with the next kind of callback."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"queue_seconds": 10, "run_seconds": 15, "queue_max_concurrent": 100}
        with serve("tencent_ci_default", folder, **settings) as service:
            kinds = [KINDS[number % len(KINDS)] for number in range(tasks)]
            for number, kind in enumerate(kinds):
                if kind != "once":
                    rule = {"delay": 8} if kind in ("early", "late", "forged") else {}
                    service.emulator.faults.add("callback", callback=kind, key=f"storm/{number}.wav", **rule)
            service.put("storm", tasks)
            with (
                running(service, folder, callback_poll_interval=45) as stack,
                Forgers(stack.url, lambda: service.accepted("storm"), seed) as forgers,
            ):
                run_id = stack.trigger("pushed", {"prefix": "storm", "count": tasks})
                state = stack.wait_for_run("pushed", run_id, 300 + 10 * tasks)
                instances = stack.task_instances("pushed", run_id, "separate")
                results = [
                    stack.xcom("pushed", run_id, "separate", "job", index)["state"] for index in range(tasks)
                ]
                resumed = stack.log_of("api-server").count("Resumed the task")
            ledger = service.emulator.ledger
            bills = Counter(job.key for job in service.jobs("storm"))
            tries = sum(ti["try_number"] for ti in instances)
            yield f"{tasks} tasks, callbacks {dict(Counter(kinds))}"
            yield f"forged callbacks posted beside, by status: {dict(forgers.statuses)}"
            yield f"run {state}; tries {tries}; results {dict(Counter(results))}"
            yield (
                f"jobs paid for {bills.total()}, at most {max(bills.values())} for a task; cancel requests"
                f" {ledger.count('cancel')}; describe requests {ledger.count('describe')};"
                f" tasks resumed by callbacks {resumed}"
            )


# The delay


def delay(tasks: int, dag_ids: Sequence[str] = MEASURED) -> Iterator[str]:
    """Measure, for tasks with and without callbacks, how long after their jobs' ends they are resumed."""
    seconds_per_task = 2 * len(dag_ids)  # all are deferred before the first job ends
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {
            "queue_seconds": 0,
            "run_seconds": 100 + tasks * seconds_per_task,
            "queue_max_concurrent": 1000,
        }
        with serve("tencent_ci_default", folder, **settings) as service, running(service, folder) as stack:
            runs = {}
            for dag_id in dag_ids:
                service.put(dag_id, tasks)
                runs[dag_id] = stack.trigger(dag_id, {"prefix": dag_id, "count": tasks})
            for dag_id, run_id in runs.items():
                state = stack.wait_for_run(dag_id, run_id, 600 + 10 * tasks)
                ended = {job.job_id: job.ended for job in service.jobs(dag_id)}
                noticed, worked = [], []
                for ti in stack.task_instances(dag_id, run_id, "separate"):
                    job_id = stack.xcom(dag_id, run_id, "separate", index=ti["map_index"])
                    end = ended[job_id]
                    assert end is not None
                    noticed.append(datetime.fromisoformat(ti["scheduled_when"]).timestamp() - end)
                    looks = service.emulator.ledger.requests("describe", id=job_id)
                    worked.append(max(look.time for look in looks) - end)
                yield (
                    f"{dag_id:24} {state}: resumed {seconds(noticed)} after the job's end;"
                    f" the task itself asks for the result {seconds(worked)} after it"
                )


def seconds(values: Sequence[float]) -> str:
    """Return median, 95th percentile and maximum."""
    ordered = sorted(values)
    nearly_all = ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)]
    return f"median {statistics.median(ordered):.2f} s, 95 % {nearly_all:.2f} s, max {ordered[-1]:.2f} s"


# The flood


class SameState(BaseHTTPRequestHandler):
    """A service whose jobs all have the same state."""

    protocol_version = "HTTP/1.1"
    state: str
    requests: Counter[str]

    def do_GET(self) -> None:
        ids = unquote(self.path).removeprefix("/jobs/").partition("?")[0].split(",")
        self.requests["requests"] += 1
        self.requests["jobs"] += len(ids)
        jobs = "".join(
            f"<JobsDetail><JobId>{each}</JobId><State>{self.state}</State></JobsDetail>" for each in ids
        )
        content = f"<Response>{jobs}</Response>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def jobs_in_state(state: str) -> Iterator[tuple[dict[str, Any], Counter[str]]]:
    """Serve jobs; yield a connection to them, and the count of requests."""
    counted: Counter[str] = Counter()
    handler = type("Handler", (SameState,), {"requests": counted, "state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        extra = {
            "bucket": "media-1250000001",
            "region": "ap-guangzhou",
            "endpoint_url": f"http://127.0.0.1:{server.server_address[1]}",
        }
        login = {"conn_type": "tencent_ci", "login": "AKIDcampaign", "password": "campaign"}
        yield {**login, "extra": extra}, counted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_DEFER = """
import sys
from airflow_provider_ci.triggers.job import TencentCIJobTrigger
from tests.deferred_tasks import defer
defer([TencentCIJobTrigger([f"j{n:032d}"], expects_callback=True) for n in range(int(sys.argv[1]))])
"""


class Probe:
    """Another user of the API server, who opens the list of DAGs again and again."""

    def __init__(self, stack: AirflowStack) -> None:
        self.seconds: list[float] = []
        self.peak = 0
        self._stack = stack
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            began = time.monotonic()
            self._stack.api("GET", "/dags?limit=10")
            self.seconds.append(time.monotonic() - began)
            self.peak = max(self.peak, memory(self._stack))


def is_up(stack: AirflowStack) -> bool:
    """Tell whether the API server responds."""
    try:
        return requests.get(f"{stack.url}/api/v2/version", timeout=PATIENCE).ok
    except requests.RequestException:
        return False


def resumed(database: sqlalchemy.Engine) -> int:
    """Return how many tasks have been resumed."""
    query = "SELECT count(*) FROM task_instance WHERE state = 'scheduled'"
    with database.connect() as connection:
        return int(connection.execute(sqlalchemy.text(query)).scalar_one())


def memory(stack: AirflowStack) -> int:
    """Return the resident bytes of the API server's processes."""
    server = psutil.Process(stack.pid("api-server"))
    return sum(process.memory_info().rss for process in (server, *server.children(recursive=True)))


def post_all(url: str, count: int) -> Counter[int]:
    """Post the callbacks of as many jobs at once, over many connections."""
    return asyncio.run(_post_all(url, count))


async def _post_all(url: str, count: int) -> Counter[int]:
    statuses: Counter[int] = Counter()

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS), timeout=aiohttp.ClientTimeout(total=None)
    ) as session:

        async def post(number: int) -> None:
            try:
                async with session.post(url + PATH, data=body_of(f"j{number:032d}")) as response:
                    statuses[response.status] += 1
            except aiohttp.ClientError:
                statuses[0] += 1

        await asyncio.gather(*(post(number) for number in range(count)))
    return statuses


def flood(callbacks: int) -> Iterator[str]:
    """Send callbacks of as many deferred tasks at once to an API server that others use."""
    # by another process than the one that measures
    poster = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with (
        tempfile.TemporaryDirectory() as name,
        jobs_in_state("Success") as (connection, counted),
        postgres_and_redis() as settings,
        poster,
    ):
        folder = Path(name)
        stack = AirflowStack(folder / "airflow", DAGS)
        connection["extra"] |= {"callback_base_url": stack.url, "callback_secret": SECRET}
        stack.environment |= {
            "AIRFLOW_CONN_TENCENT_CI_DEFAULT": json.dumps(connection),
            "AIRFLOW__TENCENT_CI__CALLBACK_CONN_IDS": "tencent_ci_default",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"],
        }
        database = sqlalchemy.create_engine(settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
        try:
            stack.run("db", "migrate")
            defer = [sys.executable, "-c", _DEFER, str(callbacks)]
            subprocess.run(defer, env=stack.environment, check=True, capture_output=True)
            stack.start("api-server")
            wait_until(lambda: is_up(stack), 60, "the API server responds")
            stack.log_in()
            poster.submit(time.sleep, 0).result()
            with Probe(stack):
                time.sleep(5)
            with Probe(stack) as usual:
                time.sleep(30)
            with Probe(stack) as flooded:
                began = time.monotonic()
                statuses = poster.submit(post_all, stack.url, callbacks).result()
                posted = time.monotonic() - began
            with Probe(stack) as busy:
                wait_until(lambda: resumed(database) >= statuses[200], 900, "all tasks are resumed")
                took = time.monotonic() - began
            with Probe(stack) as again:
                time.sleep(30)
            yield f"{callbacks} callbacks in {posted:.0f} s, by status: {dict(statuses)}"
            yield f"all tasks were resumed {took:.0f} s after the first callback"
            phases = {
                "before": usual,
                "while they come": flooded,
                "while resuming": busy,
                "afterwards": again,
            }
            for what, probe in phases.items():
                if not probe.seconds:  # it was over at once
                    continue
                peak = f"; memory {probe.peak / 2**20:.0f} MiB"
                yield f"another user's list of DAGs, {what:15}: {seconds(probe.seconds)}{peak}"
            yield f"requests to the service: {counted['requests']} about {counted['jobs']} jobs"
        finally:
            stack.stop()
            database.dispose()


# The polls


def polls(jobs: int, seconds: int = 1800) -> Iterator[str]:
    """Count the requests of a triggerer in the first half hour of as many waits."""
    counts = {
        "without callbacks": count_polls(jobs, seconds, poll_interval=30.0),
        "with callbacks": count_polls(jobs, seconds, poll_interval=900.0, expects_callback=True),
    }
    for what, number in counts.items():
        yield f"{jobs} jobs, {seconds} s, {what}: {number} requests"
    share = counts["without callbacks"] / counts["with callbacks"]
    yield f"that is one for {share:.0f}; a callback adds one request for up to ten jobs that end together"


def count_polls(jobs: int, seconds: int, **arguments: Any) -> int:
    """Return how many requests the triggers of running jobs send."""
    service = virtual.Service()
    clock = SimpleNamespace(time=virtual.unix_time, monotonic=virtual.now)
    trigger = "airflow_provider_ci.triggers"

    async def main() -> None:
        triggers = [
            TencentCIJobTrigger([f"j{n}"], deadline=virtual.EPOCH + seconds, **arguments) for n in range(jobs)
        ]
        await asyncio.gather(*(_run(each) for each in triggers))

    with (
        patch(f"{trigger}.poller.AsyncClient", service.client),
        patch("airflow_provider_ci.hooks.aio.load_settings", service.load_settings),
        patch(f"{trigger}.job.time", clock),
    ):
        logging.getLogger(trigger).setLevel(logging.ERROR)
        virtual.run(main())
    return len(service.requests)


def http_polls(jobs: int, seconds: float = 120) -> Iterator[str]:
    """Count the requests of a triggerer for jobs for which it has waited for an hour."""
    counts = {
        "without callbacks": count_http_polls(jobs, seconds, poll_interval=30.0),
        "with callbacks": count_http_polls(jobs, seconds, poll_interval=900.0, expects_callback=True),
    }
    for what, number in counts.items():
        yield f"{jobs} jobs, {seconds} s by HTTP, {what}: {number} requests"
    yield f"that is one for {counts['without callbacks'] / counts['with callbacks']:.0f}"


def count_http_polls(jobs: int, seconds: float, **arguments: Any) -> int:
    """Return how many requests reach the service."""
    began = time.time() - 3600

    async def main() -> None:
        triggers = [TencentCIJobTrigger([f"j{n}"], started_at=began, **arguments) for n in range(jobs)]
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(_run(each) for each in triggers))

    with jobs_in_state("Running") as (connection, counted):
        environment = {"AIRFLOW_CONN_TENCENT_CI_DEFAULT": json.dumps(connection)}
        with patch.dict(os.environ, environment):
            asyncio.run(main())
        return counted["requests"]


async def _run(trigger: TencentCIJobTrigger) -> None:
    async for _ in trigger.run():
        pass


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("reports", nargs="*", default=["storm", "delay", "flood", "polls"])
    arguments.add_argument("--tasks", type=int, default=28)
    arguments.add_argument("--callbacks", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    reports = {
        "storm": lambda: storm(chosen.tasks, chosen.seed),
        "delay": lambda: delay(chosen.tasks),
        "flood": lambda: flood(chosen.callbacks),
        "polls": lambda: [*polls(chosen.callbacks), *http_polls(chosen.callbacks)],
    }
    for name in chosen.reports:
        for line in reports[name]():
            print(f"{name}: {line}", flush=True)


if __name__ == "__main__":
    main()
