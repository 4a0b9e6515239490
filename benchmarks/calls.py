"""How many submissions and descriptions a second one thread makes over loopback: the hook, Tencent's SDK and
bare ``requests``.

``python -m benchmarks.calls`` takes a minute and prints a table. It needs the SDK: ``pip install
cos-python-sdk-v5``. All sides send the same request content over one kept connection each, to a server in a
process of its own that answers canned bytes; they take turns in short rounds. Bare ``requests`` is the most
that a client on top of it can reach: a session that sends one request, signed beforehand, again and again,
and reads the answer's bytes without looking at them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.samples import (
    ACCEPTED,
    BUCKET,
    FINISHED,
    JOB_ID,
    OUR_JOB,
    REGION,
    REQUEST_ID,
    SDK_JOB,
    SECRET_ID,
    SECRET_KEY,
)

ROUNDS, CALLS = 60, 50
CALL_NAMES = ("submit", "describe")
Side = dict[str, Callable[[], Any]]


class Service(asyncio.Protocol):
    """Answers a POST with the accepted job and a GET with the finished one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection."""
        self.transport: Any = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """Answer the request if it is complete; its client waits before it sends another."""
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        posted = head.startswith(b"POST")
        if not end or (posted and len(body) < _length(head)):
            return
        self.buffer = b""
        self.transport.write(_SUBMITTED if posted else _DESCRIBED)


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def _canned(body: bytes) -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nx-ci-request-id: {REQUEST_ID}\r\n"
        f"Server: tencent-ci\r\nDate: Sun, 22 Nov 2026 03:04:05 GMT\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


_SUBMITTED, _DESCRIBED = _canned(ACCEPTED), _canned(FINISHED)


def serve(ready: Connection) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def service() -> Iterator[int]:
    """Run the service in a process of its own; yield its port."""
    # not forked: a fork of a process with threads, as a test run is, may wait for a lock for ever
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def hook(port: int) -> Side:
    """Return the hook's calls, with the settings that its session has for Tencent's own hosts."""
    from airflow_provider_ci.hooks.ci import TencentCIHook

    url = f"http://127.0.0.1:{port}"
    extra = {"bucket": BUCKET, "region": REGION, "endpoint_url": url}
    said = {"conn_type": "tencent_ci", "login": SECRET_ID, "password": SECRET_KEY, "extra": extra}
    os.environ["AIRFLOW_CONN_BENCHMARK"] = json.dumps(said)
    made = TencentCIHook("benchmark")
    made.get_conn().trust_env = True  # which it is not for loopback addresses
    return {"submit": lambda: made.submit_job(OUR_JOB), "describe": lambda: made.describe_jobs([JOB_ID])}


def sdk(port: int) -> Side:
    """Return the SDK's calls."""
    from qcloud_cos import CosConfig, CosS3Client

    logging.getLogger("qcloud_cos").setLevel(logging.WARNING)  # it logs each call, which would cost more
    config = CosConfig(
        Region=REGION, SecretId=SECRET_ID, SecretKey=SECRET_KEY, Scheme="http", Domain=f"127.0.0.1:{port}"
    )
    client = CosS3Client(config)
    return {
        "submit": lambda: client.ci_create_media_jobs(Bucket=BUCKET, Jobs=SDK_JOB),
        "describe": lambda: client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=JOB_ID),
    }


def bare(port: int) -> Side:
    """Return the same requests, signed beforehand, by a plain session of ``requests``."""
    import requests

    from airflow_provider_ci.protocol.jobs import DescribeJobs, SubmitJob
    from airflow_provider_ci.protocol.wire import Credentials, Endpoint, sign_request

    endpoint = Endpoint(bucket=BUCKET, region=REGION, base_url=f"http://127.0.0.1:{port}")
    credentials, session = Credentials(SECRET_ID, SECRET_KEY), requests.Session()

    def made(request: Any) -> Callable[[], Any]:
        ready = sign_request(request, endpoint, credentials, now=time.time())
        return lambda: (
            session.request(
                ready.method, ready.url, headers=ready.headers, data=ready.body, timeout=30
            ).content
        )

    return {
        "submit": made(SubmitJob(OUR_JOB).http_request()),
        "describe": made(DescribeJobs([JOB_ID]).http_request()),
    }


def cost(call: Callable[[], Any], calls: int) -> tuple[float, float]:
    """Return calls a second, and calls to a second of this process's CPU, which others disturb less."""
    begin, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    return calls / (time.perf_counter() - begin), calls / (time.process_time() - cpu)


def measure(sides: dict[str, Side], rounds: int, calls: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the median rates of each side and call; each side is the first as often as the others."""
    found: dict[tuple[str, str], list[tuple[float, float]]]
    found = {(name, call): [] for name in sides for call in CALL_NAMES}
    names = [*sides]
    for turn in range(-3, rounds):
        first = turn % len(names)
        for call in CALL_NAMES:
            for name in names[first:] + names[:first]:
                rates = cost(sides[name][call], calls)
                if turn >= 0:
                    found[name, call].append(rates)
    return {
        key: (statistics.median(rate for rate, _ in rates), statistics.median(rate for _, rate in rates))
        for key, rates in found.items()
    }


def report(rounds: int = ROUNDS, calls: int = CALLS) -> str:
    """Measure, and return the table."""
    with service() as port:
        rates = measure({"hook": hook(port), "sdk": sdk(port), "bare": bare(port)}, rounds, calls)
    lines = [f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}", ""]
    lines += ["| calls to a second | hook | SDK | bare requests | hook : SDK | hook : bare |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
    for number, clock in enumerate(("of the clock", "of CPU")):
        for call in CALL_NAMES:
            ours, theirs, most = (rates[side, call][number] for side in ("hook", "sdk", "bare"))
            lines.append(
                f"| {call}, {clock} | {ours:.0f} | {theirs:.0f} | {most:.0f}"
                f" | {ours / theirs:.2f} | {ours / most:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="airflow-provider-ci-benchmark-") as home:
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        try:
            print(report(rounds))
        except ImportError as error:
            raise SystemExit(f"{error}: pip install cos-python-sdk-v5") from None


if __name__ == "__main__":
    main()
