"""Callbacks that are forged, early, doubled, lost, late, out of order, and ten thousand at once.

``python -m tests.e2e.push_campaign`` prints five reports:

``storm``     tasks of which each has its own kind of callback, while others post forged ones
``delay``     from the end of a job to the resumption of its task, by callbacks and by polls
``flood``     ten thousand deferred tasks and as many posts at once, half of them forged, early or doubled:
              what other users of the API server notice, its memory, and the service's ledger. Needs
              PostgreSQL: with SQLite others are slower whenever tasks are resumed
``flood_behind_nginx``  the same through nginx with the settings of docs/events.md
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
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import psutil
import requests
import sqlalchemy
import uvloop

from airflow_provider_ci.callback_endpoint.received_jobs import PAUSES
from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST
from airflow_provider_ci.triggers.job import TencentCIJobTrigger
from tencent_ci_emulator.clock import VirtualClock
from tests.e2e.airflow_stack import AirflowStack, wait_until
from tests.e2e.nginx import nginx
from tests.e2e.postgres_redis import postgres_and_redis
from tests.e2e.services import Service, serve
from tests.job_samples import request_of
from tests.patience import PATIENCE
from tests.unit.triggers import virtual

SECRET = "the-callback-secret-of-the-campaign"
KINDS = ("once", "twice", "never", "early", "late", "out_of_order", "forged")
DAGS = Path(__file__).parent / "push_dags"
#: The DAGs of the delay.
MEASURED = ("measured_callback_30", "measured_callback_300", "measured_30", "measured_300")
#: The endpoint's address on the API server.
PATH = f"/tencent-ci/callbacks/tencent_ci_default/{SECRET}"


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


_DEFER = """
import sys
from airflow_provider_ci.triggers.job import TencentCIJobTrigger
from tests.deferred_tasks import defer
defer([TencentCIJobTrigger([line.strip()], expects_callback=True) for line in sys.stdin])
"""


class Probe:
    """Another user of the API server, who asks for the list of DAGs ten times a second, however long the
    responses take.
    """

    def __init__(self, stack: AirflowStack) -> None:
        self.seconds: list[float] = []
        self.failed = 0
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

    def median(self) -> float:
        """Return the median of the seconds until a response."""
        return statistics.median(self.seconds)

    def report(self, twice: float) -> str:
        """Return what this user has noticed.

        :param twice: twice the usual seconds.
        """
        if not self.seconds:
            return "over at once"
        late = sum(each > twice for each in self.seconds)
        return (
            f"{seconds(self.seconds)}; {late} of {len(self.seconds)} over {twice:.3f} s,"
            f" {self.failed} failed; memory {self.peak / 2**20:.0f} MiB"
        )

    def _run(self) -> None:
        due = time.monotonic()
        with ThreadPoolExecutor(500) as requests_under_way:
            while not self._stop.wait(max(due - time.monotonic(), 0)):
                requests_under_way.submit(self._ask, due)
                self.peak = max(self.peak, memory(self._stack))
                due += 0.1

    def _ask(self, due: float) -> None:
        try:
            response = requests.get(
                f"{self._stack.url}/api/v2/dags?limit=10",
                headers={"Authorization": self._stack.authorization},
                timeout=PATIENCE,
            )
            self.failed += not response.ok
        except requests.RequestException:
            self.failed += 1
        self.seconds.append(time.monotonic() - due)


def is_up(stack: AirflowStack) -> bool:
    """Tell whether the API server responds."""
    try:
        return requests.get(f"{stack.url}/api/v2/version", timeout=PATIENCE).ok
    except requests.RequestException:
        return False


def resumed(database: sqlalchemy.Engine) -> set[int]:
    """Return which tasks have been resumed."""
    query = "SELECT map_index FROM task_instance WHERE state = 'scheduled'"
    with database.connect() as connection:
        return set(connection.execute(sqlalchemy.text(query)).scalars())


def memory(stack: AirflowStack) -> int:
    """Return the resident bytes of the API server's processes."""
    server = psutil.Process(stack.pid("api-server"))
    return sum(process.memory_info().rss for process in (server, *server.children(recursive=True)))


@dataclass
class Posted:
    """What became of posts: how many connections were open at once, the statuses, and when each came."""

    connections: int
    statuses: Counter[int]
    seconds: list[float]


def post_all(url: str, posts: Sequence[tuple[str, bytes]]) -> Posted:
    """Open a connection for each post, a path and a body, and then post over all of them at once."""
    return uvloop.run(_post_all(url, posts))


async def _post_all(url: str, posts: Sequence[tuple[str, bytes]]) -> Posted:
    host, _, port = url.removeprefix("http://").partition(":")
    at_once = asyncio.Semaphore(500)
    statuses: Counter[int] = Counter()
    took: list[float] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        async with at_once:
            with suppress(OSError):
                return await asyncio.open_connection(host, int(port))
        return None

    async def read_status(reader: asyncio.StreamReader) -> None:
        try:
            statuses[int((await reader.readline()).split()[1])] += 1
        except (OSError, IndexError):
            statuses[0] += 1
        took.append(time.monotonic() - began)

    opened = [each for each in await asyncio.gather(*(connect() for _ in posts)) if each]
    began = time.monotonic()
    for (_, writer), (path, body) in zip(opened, posts, strict=False):
        head = f"POST {path} HTTP/1.1\r\nHost: campaign\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
    await asyncio.gather(*(read_status(reader) for reader, _ in opened))
    for _, writer in opened:
        writer.close()
    return Posted(len(opened), statuses, took)


def raise_open_files_limit() -> None:
    """Let this process and those that it starts open as many files as the machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def make_jobs(service: Service, count: int) -> tuple[list[str], list[str]]:
    """Submit jobs, and return the ids of those that have ended, and of as many that have not."""
    service.put("flood", 1)

    def submit(number: int) -> str:
        request = request_of("VoiceSeparate", str(number), service.emulator.bucket, service.emulator.region)
        job, _ = service.hook.submit_job(request | {"Input": {"Object": "flood/0.wav"}})
        return str(job.job_id)

    ended = [submit(number) for number in range(count // 2)]
    service.let_jobs_end()
    wait_until(
        lambda: all(job.ended is not None for job in service.jobs("flood")),
        600,
        "half of the jobs have ended",
    )
    return ended, [submit(number) for number in range(count // 2, count)]


def make_posts(ended: Sequence[str], running: Sequence[str]) -> dict[str, list[tuple[str, bytes]]]:
    """Return paths and bodies, by what they are: a callback of each job that has ended, and as many more."""
    some, wrong = len(ended) // 4, PATH.replace(SECRET, SECRET[::-1])
    return {
        "of jobs that have ended": [(PATH, body_of(job_id)) for job_id in ended],
        "the same again": [(PATH, body_of(job_id)) for job_id in ended[:some]],
        "of jobs that run": [(PATH, body_of(job_id)) for job_id in running[:some]],
        "of unknown jobs": [(PATH, body_of(f"j{number:032d}")) for number in range(some)],
        "with a wrong secret": [(wrong, body_of(job_id)) for job_id in ended[:some]],
    }


@contextmanager
def flooded_stack(
    service: Service, folder: Path, job_ids: Sequence[str]
) -> Iterator[tuple[AirflowStack, Any]]:
    """Run an API server with a deferred task for each job; yield it, and its database."""
    stack = AirflowStack(folder / "airflow", DAGS)
    connection = json.loads(service.environment["AIRFLOW_CONN_TENCENT_CI_DEFAULT"])
    connection["extra"] |= {"callback_base_url": stack.url, "callback_secret": SECRET}
    with postgres_and_redis() as settings:
        stack.environment |= {
            "AIRFLOW_CONN_TENCENT_CI_DEFAULT": json.dumps(connection),
            "AIRFLOW__TENCENT_CI__CALLBACK_CONN_IDS": "tencent_ci_default",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"],
        }
        database = sqlalchemy.create_engine(settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
        try:
            stack.run("db", "migrate")
            subprocess.run(
                [sys.executable, "-c", _DEFER],
                env=stack.environment,
                check=True,
                capture_output=True,
                text=True,
                input="\n".join(job_ids),
            )
            stack.start("api-server")
            wait_until(lambda: is_up(stack), 60, "the API server responds")
            stack.log_in()
            yield stack, database
        finally:
            stack.stop()
            database.dispose()


def flood(callbacks: int, *, behind_nginx: bool = False) -> Iterator[str]:
    """Post as many callbacks at once as there are deferred tasks, to an API server that others use."""
    raise_open_files_limit()
    settings = {
        "clock": VirtualClock(start=time.time()),
        "queue_seconds": 1800,
        "run_seconds": 1800,
        "queue_max_concurrent": callbacks,
        "queue_max_size": callbacks,
        "skip_processing": True,
    }
    # posts by another process than the one that measures
    poster = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with (
        tempfile.TemporaryDirectory() as name,
        serve("tencent_ci_default", Path(name), **settings) as service,
    ):
        ended, running = make_jobs(service, callbacks)
        posts = make_posts(ended, running)
        shuffled = [post for each in posts.values() for post in each]
        random.Random(1).shuffle(shuffled)
        ledger = service.emulator.ledger
        ledger.clear()
        of_nginx = Path(name, "nginx")
        of_nginx.mkdir()
        with (
            flooded_stack(service, Path(name), ended + running) as (stack, database),
            nginx(stack.url, of_nginx) if behind_nginx else nullcontext(stack.url) as url,
            poster,
        ):
            poster.submit(post_all, url, posts["with a wrong secret"][:1]).result()
            with Probe(stack):
                time.sleep(5)
            with Probe(stack) as usual:
                time.sleep(30)
            began = time.monotonic()
            with Probe(stack) as flooded:
                posted = poster.submit(post_all, url, shuffled).result()
            with Probe(stack) as busy:
                wait_until(lambda: len(resumed(database)) >= len(ended), 900, "all tasks are resumed")
                took = time.monotonic() - began
            time.sleep(sum(PAUSES))  # until the last look at jobs that run
            with Probe(stack) as again:
                time.sleep(30)
            elapsed = time.monotonic() - began
            others = len(resumed(database) - set(range(len(ended))))
        counts = {what: len(each) for what, each in posts.items()}
        yield f"{posted.connections} connections open at once; posts {counts}"
        yield f"responses, by status: {dict(posted.statuses)}; within {seconds(posted.seconds)}"
        yield f"{len(ended)} tasks of ended jobs were resumed within {took:.0f} s, and {others} others"
        phases = {"before": usual, "while they come": flooded, "while resuming": busy, "afterwards": again}
        for what, probe in phases.items():
            yield f"another user's list of DAGs, {what:15}: {probe.report(twice=2 * usual.median())}"
        asked = Counter(job_id for each in ledger.requests("describe") for job_id in each.ids)
        yield (
            f"jobs accepted: {len(ledger.accepted_jobs())}; cancel requests: {ledger.count('cancel')};"
            f" describe requests: {ledger.count('describe')} in {elapsed:.0f} s"
        )
        for what, job_ids in {"ended": ended, "run": running}.items():
            times = Counter(asked.pop(job_id, 0) for job_id in job_ids)
            yield f"how often the service was asked about jobs that {what}, and how many: {dict(times)}"
        yield f"and about unknown jobs: {asked.total()}"


# The polls


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


def polls(jobs: int, seconds: int = 1800) -> Iterator[str]:
    """Count the requests of a triggerer in the first half hour of as many waits."""
    counts = {
        "without callbacks": count_polls(jobs, seconds, poll_interval=30.0),
        "with callbacks": count_polls(jobs, seconds, poll_interval=900.0, expects_callback=True),
    }
    for what, number in counts.items():
        yield f"{jobs} jobs, {seconds} s, {what}: {number} requests"
    polled, expected = counts["without callbacks"], counts["with callbacks"]
    yield (
        f"that is one for {polled / expected:.0f}; with the endpoint's own, one for"
        f" {polled / (expected + jobs / IDS_PER_REQUEST):.0f} if all jobs end, ten together each time, and"
        f" one for {polled / (expected + jobs):.1f} if each ends alone"
    )


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
        "flood_behind_nginx": lambda: flood(chosen.callbacks, behind_nginx=True),
        "polls": lambda: [*polls(chosen.callbacks), *http_polls(chosen.callbacks)],
    }
    for name in chosen.reports:
        for line in reports[name]():
            print(f"{name}: {line}", flush=True)


if __name__ == "__main__":
    main()
