"""Load on the emulator, with figures: ``python -m tests.e2e.emulator_load`` and ``--object-gigabytes 2``."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.e2e.emulator_kill_campaign import all_jobs, wait_for
from tests.e2e.emulator_process import Client, EmulatorProcess, short_wav

_BLOCK = 1024**2


def many_jobs(folder: Path, jobs: int = 500, clients: int = 8) -> dict[str, Any]:
    """Submit short jobs from several clients at once, wait until all are done, count."""
    wav, data = short_wav(folder / "short.wav"), folder / "data"
    with EmulatorProcess(data) as emulator:
        client = Client(emulator.port)
        assert client("PUT", "/in/short.wav", wav)[0] == 200
        before, begun = emulator.memory(), time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            shares = [range(number, jobs, clients) for number in range(clients)]
            given = [
                job_id
                for ids in pool.map(lambda share: _submit(emulator.port, share), shares)
                for job_id in ids
            ]
        submitted = time.monotonic()
        unfinished = wait_for(client, given)
        ended = time.monotonic()
        client.close()
        peak = emulator.memory("VmHWM")
    stored = all_jobs(data)
    all_user_data = Counter(user_data for _, user_data in stored)
    return {
        "jobs": jobs,
        "clients": clients,
        "lost": sorted(set(given) - {job_id for job_id, _ in stored}),
        "doubled": [user_data for user_data, count in all_user_data.items() if count > 1],
        "stored": len(stored),
        "unfinished": unfinished,
        "submissions_per_second": round(jobs / (submitted - begun), 1),
        "jobs_done_per_second": round(jobs / (ended - begun), 1),
        "memory_before_mb": round(before / 1e6, 1),
        "memory_peak_mb": round(peak / 1e6, 1),
    }


def _submit(port: int, numbers: range) -> list[str]:
    client = Client(port)
    try:
        return [client.submit("in/short.wav", f"load-{number}") for number in numbers]
    finally:
        client.close()


def large_object(folder: Path, size: int) -> dict[str, Any]:
    """Upload and download an object of ``size`` bytes in a stream; how much does memory grow?"""
    with EmulatorProcess(folder / "data") as emulator:
        client = Client(emulator.port)
        assert client("PUT", "/warm", b"x" * 10_000_000)[0] == 200
        assert client("GET", "/warm")[0] == 200
        before = emulator.memory("VmHWM")
        times = [time.monotonic()]
        sent = hashlib.md5()
        answer = client.send("PUT", "/large", _body(size, sent), size=size)
        assert (answer.status, answer.read()) == (200, b"")
        etag = answer.getheader("ETag")
        times.append(time.monotonic())
        received, length = hashlib.md5(), 0
        answer = client.send("GET", "/large")
        while block := answer.read(_BLOCK):
            received.update(block)
            length += len(block)
        times.append(time.monotonic())
        client.close()
        grown = emulator.memory("VmHWM") - before
    assert etag == f'"{sent.hexdigest()}"'
    return {
        "bytes": size,
        "intact": (length, received.digest()) == (size, sent.digest()),
        "memory_grown_mb": round(grown / 1e6, 1),
        "upload_mb_per_second": round(size / 1e6 / (times[1] - times[0])),
        "download_mb_per_second": round(size / 1e6 / (times[2] - times[1])),
    }


def _body(size: int, digest: Any) -> Iterator[bytes]:
    block = bytes(range(256)) * (_BLOCK // 256)
    for start in range(0, size, _BLOCK):
        part = block[: min(_BLOCK, size - start)]
        digest.update(part)
        yield part


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--object-gigabytes", type=float, help="stream an object of this size, instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.object_gigabytes is not None:
            figures = large_object(Path(folder), int(arguments.object_gigabytes * 1024**3))
            failed = not figures["intact"]
        else:
            figures = many_jobs(Path(folder), arguments.jobs, arguments.clients)
            failed = bool(figures["lost"] or figures["doubled"] or figures["unfinished"])
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
