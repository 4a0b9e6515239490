"""What waiting for many jobs costs: the shared poller, beside one request for each job and poll, Airflow's
HTTP trigger and Tencent's SDK.

``python -m benchmarks.poller`` measures all in one run of four minutes. A minimal service in a process
of its own answers on loopback; each measurement is a new process. ``--jobs 1 100`` measures fewer.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import unquote

BUCKET, REGION = "media-1250000001", "ap-guangzhou"
SIZES = (1, 100, 1_000, 10_000)
#: Seconds between two polls of a job, and rounds measured. 10,000 jobs are polled at the default pace.
PACE = {1: (0.1, 20), 100: (0.25, 10), 1_000: (1.0, 4), 10_000: (30.0, 1)}
#: Single calls that are compared, and seconds between them: a process that slept has a cold cache, so these
#: must come as far apart as the poller's requests for 1,000 jobs.
CALLS, APART = 200, 0.01
_BEAT = 0.002

JOB = (
    "<JobsDetail><Code>Success</Code><Message/><JobId>{}</JobId><State>Running</State><Progress>30</Progress>"
    "<CreationTime>2025-01-02T03:04:05+0800</CreationTime><StartTime>2025-01-02T03:04:06+0800</StartTime>"
    "<EndTime>-</EndTime><QueueId>p0123456789abcdef0123456789abcdef</QueueId><Tag>VoiceSeparate</Tag>"
    f"<Input><BucketId>{BUCKET}</BucketId><Object>in/2025/01/some-recording.mp3</Object>"
    f"<Region>{REGION}</Region></Input><Operation><VoiceSeparate><AudioMode>AudioAndBackground</AudioMode>"
    "<AudioConfig><Codec>mp3</Codec><Samplerate>44100</Samplerate><Bitrate>128</Bitrate><Channels>2</Channels>"
    f"</AudioConfig></VoiceSeparate><Output><Region>{REGION}</Region><Bucket>{BUCKET}</Bucket>"
    "<Object>out/${{jobid}}/background.mp3</Object><AuObject>out/${{jobid}}/voice.mp3</AuObject></Output>"
    "<UserData>airflow-0123456789abcdef</UserData><JobLevel>0</JobLevel></Operation></JobsDetail>"
)


class Service(asyncio.Protocol):
    """Answers each request at once with running jobs. ``GET /count`` says how many requests came so far."""

    requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection."""
        self.transport: Any = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are complete."""
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            path = unquote(head.split(b" ", 2)[1].decode())
            if path == "/count":
                self.respond(str(Service.requests))
                continue
            Service.requests += 1
            jobs = "".join(JOB.format(job_id) for job_id in path.removeprefix("/jobs/").split(","))
            self.respond(f"<?xml version='1.0' encoding='UTF-8'?><Response>{jobs}</Response>")

    def respond(self, text: str) -> None:
        """Answer ``text``."""
        body = text.encode()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n"
            b"x-ci-request-id: NjRhZmZhZDRfNjUyOWM4MGFf\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


def serve(ready: Connection) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0, backlog=1024)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def service() -> Iterator[int]:
    """Run the service in a process of its own; yield its port."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


@dataclass
class Cost:
    """What a measurement found; CPU in seconds for 1,000 polls of a job."""

    jobs: int
    requests_per_round: float = 0.0
    cpu: float = 0.0
    share_of_core: float = 0.0
    stall: float = 0.0


async def requests_so_far(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /count HTTP/1.1\r\n\r\n")
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    count = int(await reader.readexactly(int(head.rpartition("Content-Length: ")[2])))
    writer.close()
    return count


async def worst_stall(seconds: float) -> float:
    """Return how long the loop was held up at worst."""
    worst, last = 0.0, time.perf_counter()
    end = last + seconds
    while last < end:
        await asyncio.sleep(_BEAT)
        now = time.perf_counter()
        worst, last = max(worst, now - last - _BEAT), now
    return worst


async def measure(start: Callable[[], list[asyncio.Task[Any]]], jobs: int, port: int) -> Cost:
    """Measure some rounds of what ``start`` starts: first the CPU, then, as looking costs too, the stalls."""
    interval, rounds = PACE[jobs]
    tasks = start()
    gc.collect()
    await asyncio.sleep(interval * 1.2)  # the first polls open connections, and log each job's first state
    cost = Cost(jobs)
    window = interval * rounds
    requests, cpu = await requests_so_far(port), time.process_time()
    await asyncio.sleep(window)
    cpu = time.process_time() - cpu
    cost.requests_per_round = (await requests_so_far(port) - requests) / rounds
    cost.cpu = cpu / (jobs * rounds) * 1000
    cost.share_of_core = cpu / window
    cost.stall = await worst_stall(min(window, 4))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return cost


def prepare(port: int) -> None:
    """Give Airflow a home of its own, and a connection to the service."""
    url = f"http://127.0.0.1:{port}"
    extra = {"bucket": BUCKET, "region": REGION, "endpoint_url": url}
    said = {"conn_type": "tencent_ci", "login": "AKIDbenchmark", "password": "no-secret", "extra": extra}
    os.environ["AIRFLOW_CONN_BENCHMARK"] = json.dumps(said)
    os.environ["AIRFLOW_CONN_BENCHMARK_HTTP"] = json.dumps({"conn_type": "http", "host": url})
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"


def ids(count: int) -> list[str]:
    """Return ids as long as the service's."""
    chance = random.Random(count)
    return [f"j{chance.getrandbits(128):032x}" for _ in range(count)]


def without_ramp() -> None:
    """Let polls come at the full interval, as they do of jobs that have waited for minutes: the first within
    one interval, at any time.
    """
    from airflow_provider_ci.triggers import poller

    poller.poll_delay = lambda elapsed, interval: interval
    poller.first_delay = lambda elapsed, interval, phase: interval * random.random()


async def wait_in_trigger(job_id: str, interval: float) -> None:
    from airflow_provider_ci.triggers.job import TencentCIJobTrigger

    trigger = TencentCIJobTrigger([job_id], "benchmark", poll_interval=interval, deadline=time.time() + 10**6)
    async for _ in trigger.run():
        pass


def shared(jobs: int, port: int) -> Cost:
    """A trigger for each job, all on the shared poller."""
    prepare(port)
    without_ramp()
    interval = PACE[jobs][0]

    async def main() -> Cost:
        return await measure(
            lambda: [asyncio.create_task(wait_in_trigger(i, interval)) for i in ids(jobs)], jobs, port
        )

    return asyncio.run(main())


def naive(jobs: int, port: int) -> Cost:
    """A request for each job and poll, with the same client; one session for all, which is generous."""
    prepare(port)
    from airflow_provider_ci.hooks.aio import AsyncClient, load_settings
    from airflow_provider_ci.protocol.jobs import DescribeJobs
    from airflow_provider_ci.submission.tracking import JobTracker

    interval = PACE[jobs][0]

    async def wait(job_id: str, client: AsyncClient, log: Any) -> None:
        tracker, endpoint = JobTracker([job_id], log), client.settings.endpoint()
        await asyncio.sleep(interval * random.random())
        while tracker.pending:
            tracker.update(await client.call(DescribeJobs((job_id,)), endpoint, max_attempts=1), 0)
            await asyncio.sleep(interval * random.uniform(0.9, 1.1))

    async def main() -> Cost:
        import logging

        log = logging.getLogger("benchmark")
        async with AsyncClient(await load_settings("benchmark")) as client:
            return await measure(
                lambda: [asyncio.create_task(wait(i, client, log)) for i in ids(jobs)], jobs, port
            )

    return asyncio.run(main())


def airflow_http(port: int) -> float | None:
    """Return the CPU seconds of 1,000 polls with Airflow's own trigger; ``None``: not installed."""
    prepare(port)
    try:
        from airflow.providers.http.triggers.http import HttpTrigger
    except ImportError:
        return None

    async def poll(job_id: str) -> None:
        trigger = HttpTrigger("benchmark_http", method="GET", endpoint=f"jobs/{job_id}", headers={})
        async for event in trigger.run():
            assert event.payload["status"] == "success", event.payload

    return asyncio.run(_cpu_of(poll))


async def _cpu_of(poll: Callable[[str], Awaitable[None]]) -> float:
    for job_id in ids(10):
        await poll(job_id)
    cpu = time.process_time()
    for job_id in ids(CALLS):
        await poll(job_id)
        await asyncio.sleep(APART)
    return (time.process_time() - cpu) / CALLS * 1000


def sdk(port: int) -> float | None:
    """Return the CPU seconds of 1,000 describe calls of Tencent's SDK; ``None``: not installed."""
    try:
        from qcloud_cos import CosConfig, CosS3Client
    except ImportError:
        return None
    import logging

    logging.disable(logging.INFO)  # it logs each call, which would cost more
    config = CosConfig(
        Region=REGION,
        SecretId="AKIDx",
        SecretKey="x",
        Scheme="http",
        Domain=f"127.0.0.1:{port}",
    )
    client = CosS3Client(config)
    for job_id in ids(10):
        client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=job_id)
    cpu = time.process_time()
    for job_id in ids(CALLS):
        client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=job_id)
        time.sleep(APART)
    return (time.process_time() - cpu) / CALLS * 1000


def memory(jobs: int, port: int) -> tuple[float, float]:
    """Return the bytes of a waiting trigger after some polls, and of one that only sleeps."""
    prepare(port)
    without_ramp()
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_ci.triggers import poller

    class Sleeping(BaseTrigger):
        def serialize(self) -> tuple[str, dict[str, Any]]:
            return "", {}

        async def run(self) -> Any:
            await asyncio.sleep(10**6)
            yield None

    async def sleep() -> None:
        async for _ in Sleeping().run():
            pass

    async def size_of(start: Callable[[int], Any], count: int, seconds: float) -> float:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        tasks = [asyncio.create_task(start(n)) for n in range(count)]
        await asyncio.sleep(seconds)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return size / count

    async def main() -> tuple[float, float]:
        await size_of(lambda n: wait_in_trigger(f"warm{n}", 0.2), 1, 1)  # imports, caches
        tracemalloc.start()
        names = ids(jobs)
        interval = max(jobs / 1000, 0.5)
        sleeping = await size_of(lambda n: sleep(), jobs, 0.2)
        ours = await size_of(lambda n: wait_in_trigger(names[n], interval), jobs, interval * 3)
        assert not poller._pollers.get(asyncio.get_running_loop())
        return ours, sleeping

    return asyncio.run(main())


def in_new_process(function: Callable[..., Any], *args: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(function, args)


def report(sizes: list[int]) -> str:
    lines = [f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}", ""]
    lines += ["| jobs | way | requests a round | CPU s for 1,000 job-polls | of one core | worst stall ms |"]
    lines += ["| ---: | --- | ---: | ---: | ---: | ---: |"]
    compared: list[tuple[Cost, Cost]] = []
    with service() as port:
        for jobs in sizes:
            pair = in_new_process(shared, jobs, port), in_new_process(naive, jobs, port)
            for way, cost in zip(("shared poller", "a request each"), pair, strict=True):
                lines.append(
                    f"| {jobs:,} | {way} | {cost.requests_per_round:,.1f} | {cost.cpu:.4f}"
                    f" | {cost.share_of_core:.1%} | {cost.stall * 1000:.1f} |"
                )
            compared.append(pair)
        ours, sleeping = in_new_process(memory, max(sizes) if max(sizes) < 10_000 else 2_000, port)
        http, tencent = in_new_process(airflow_http, port), in_new_process(sdk, port)
    ours_cost, naive_cost = compared[-1]
    fewer = naive_cost.requests_per_round / ours_cost.requests_per_round
    interval = PACE[ours_cost.jobs][0]
    lines += [
        "",
        f"At {ours_cost.jobs:,} jobs, each polled every {interval:g} s:",
        "",
        "| | measured | goal |",
        "| --- | ---: | ---: |",
        f"| requests, a request each : shared | {fewer:.1f} | ≥ 8 |",
        f"| CPU, a request each : shared | {naive_cost.cpu / ours_cost.cpu:.1f} | ≥ 4 |",
        _ratio("CPU, Tencent's SDK (one job a call) : shared", tencent, ours_cost.cpu, "≥ 20"),
        _ratio("CPU, Airflow's HttpTrigger : shared", http, ours_cost.cpu, ""),
        f"| share of one core | {ours_cost.share_of_core:.1%} | < 25 % |",
        f"| memory of a waiting trigger, KB | {ours / 1000:.1f} | |",
        f"| of which beyond a trigger that only sleeps, KB | {(ours - sleeping) / 1000:.1f} | < 10 |",
    ]
    return "\n".join(lines)


def _ratio(what: str, theirs: float | None, ours: float, goal: str) -> str:
    if theirs is None:
        return f"| {what} | not installed | {goal} |"
    return f"| {what} | {theirs / ours:.0f} ({theirs:.2f} s for 1,000) | {goal} |"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[*SIZES], choices=SIZES)
    sizes = sorted(parser.parse_args().jobs)
    with tempfile.TemporaryDirectory(prefix="airflow-provider-ci-benchmark-") as home:
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        began = time.monotonic()
        print(report(sizes))
        print(f"\nMeasured in {time.monotonic() - began:.0f} s.", file=sys.stderr)


if __name__ == "__main__":
    main()
