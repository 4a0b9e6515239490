"""SIGKILL at random moments under load: ``python -m tests.e2e.emulator_kill_campaign --rounds 50``.

Each round starts the emulator on the same folder, lets clients upload, overwrite, read and submit, kills it
in the middle, and looks at what is left after the next start.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from tests.e2e.emulator_process import NO_ANSWER, Client, EmulatorProcess, short_wav
from tests.patience import PATIENCE, wait_until

CLIENTS = 4


@dataclass
class Report:
    rounds: int
    seed: int
    accepted: int = 0
    unanswered: int = 0
    running_when_killed: int = 0
    uploads: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.damaged or self.unfinished)


@dataclass
class Memory:
    """What the clients know: jobs they were given, what each object may hold."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    jobs: dict[str, str] = field(default_factory=dict)
    unanswered: int = 0
    uploads: int = 0
    # key -> numbers of the versions that may be there: the last confirmed one and any that came after it
    versions: dict[str, list[int]] = field(default_factory=dict)
    confirmed: set[str] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)


def content(key: str, version: int) -> bytes:
    """What an object holds in a version: its size differs, too."""
    block = hashlib.sha256(f"{key} {version}".encode()).digest()
    return block * (1 + (version * 7919) % 20_000)


class LoadThread(threading.Thread):
    """One client at work until the emulator is gone."""

    def __init__(self, port: int, name: str, seed: str, memory: Memory) -> None:
        super().__init__(name=name, daemon=True)
        self._client = Client(port)
        self._random = random.Random(seed)
        self._memory = memory
        self._version = 0

    def run(self) -> None:
        try:
            while True:
                self._step()
        except NO_ANSWER:
            pass
        except AssertionError as error:
            self._memory.damaged.append(f"unexpected answer: {error}")
        finally:
            self._client.close()

    def _step(self) -> None:
        action = self._random.random()
        if action < 0.4:
            self._submit()
        elif action < 0.8:
            self._upload()
        else:
            self._read()

    def _submit(self) -> None:
        user_data = f"{self.name}-{self._random.getrandbits(48):x}"
        with self._memory.lock:
            self._memory.unanswered += 1
        job_id = self._client.submit("in/short.wav", user_data)
        with self._memory.lock:
            self._memory.unanswered -= 1
            self._memory.jobs[job_id] = user_data

    def _upload(self) -> None:
        # a key of this thread's own, so that the order of its versions is known
        key = f"load/{self.name.partition('-')[0]}/{self._random.randrange(5)}"
        with self._memory.lock:
            versions = self._memory.versions.setdefault(key, [])
            self._version = max(self._version, max(versions, default=0)) + 1
            version = self._version
            versions.append(version)
        status, _ = self._client("PUT", f"/{key}", content(key, version))
        assert status == 200
        with self._memory.lock:
            self._memory.versions[key] = [version]
            self._memory.confirmed.add(key)
            self._memory.uploads += 1

    def _read(self) -> None:
        with self._memory.lock:
            key = next((one for one in sorted(self._memory.confirmed) if self._random.random() < 0.3), None)
        if key is not None:
            response = self._client.send("GET", f"/{key}")
            body = response.read()
            if response.getheader("ETag") != f'"{hashlib.md5(body).hexdigest()}"':
                self._memory.damaged.append(f"{key} while it was written")


def campaign(folder: Path, rounds: int, seed: int) -> Report:
    """Run all rounds and look at everything at the end."""
    begun, chance = time.monotonic(), random.Random(seed)
    report, memory = Report(rounds, seed), Memory()
    wav = short_wav(folder / "short.wav")
    data = folder / "data"
    for number in range(rounds):
        emulator = EmulatorProcess(data)
        with emulator:
            client = Client(emulator.port)
            assert client("PUT", "/in/short.wav", wav)[0] == 200
            check_objects(client, memory, report)
            check_jobs(client, memory, report)
            client.close()
            threads = [
                LoadThread(emulator.port, f"c{n}-{number}", f"{seed} {number} {n}", memory)
                for n in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.02, 0.5))  # the moment of death, not a wait for something
            if number == rounds - 1:  # however slow the machine is, something has to survive
                wait_until(partial(has_worked, memory, threads))
            emulator.kill()
            for thread in threads:
                thread.join(PATIENCE)
            assert not is_any_alive(threads)
            report.running_when_killed += running_jobs(data)
    finish(data, memory, report)
    report.seconds = round(time.monotonic() - begun, 1)
    return report


def is_any_alive(threads: Iterable[threading.Thread]) -> bool:
    return any(thread.is_alive() for thread in threads)


def has_worked(memory: Memory, threads: Iterable[threading.Thread]) -> bool:
    """Tell whether there are a job and an upload, or will be none as all clients have failed."""
    return bool(memory.jobs and memory.uploads) or not is_any_alive(threads)


def running_jobs(data: Path) -> int:
    with closing(sqlite3.connect(data / "emulator.sqlite3")) as database:
        return int(database.execute("SELECT COUNT(*) FROM jobs WHERE state = 'Running'").fetchone()[0])


def check_jobs(client: Client, memory: Memory, report: Report) -> None:
    """Every job that a client was given an id for is known."""
    _, unknown = client.describe(list(memory.jobs))
    report.lost += unknown


def check_objects(client: Client, memory: Memory, report: Report) -> None:
    """Every object is whole, and one of the versions that may be there."""
    for key, versions in memory.versions.items():
        status, body = client("GET", f"/{key}")
        if status == 404 and key not in memory.confirmed:
            continue
        found = [version for version in versions if body == content(key, version)]
        if status != 200 or not found:
            report.damaged.append(f"{key}: status {status}, {len(body)} bytes")
        else:
            memory.versions[key] = found
            memory.confirmed.add(key)


def finish(data: Path, memory: Memory, report: Report) -> None:
    """Let the last start do all that is left, then compare with what the clients know."""
    with EmulatorProcess(data) as emulator:
        client = Client(emulator.port)
        check_objects(client, memory, report)
        check_jobs(client, memory, report)
        jobs = all_jobs(data)
        report.unfinished = wait_for(client, [job_id for job_id, _ in jobs])
        check_results(client, [job_id for job_id, _ in jobs], report)
        client.close()
    all_user_data = Counter(user_data for _, user_data in jobs)
    report.doubled = [user_data for user_data, count in all_user_data.items() if count > 1]
    known = {job_id for job_id, _ in jobs}
    report.lost += [job_id for job_id in memory.jobs if job_id not in known]
    report.accepted, report.unanswered = len(memory.jobs), memory.unanswered
    report.uploads = memory.uploads
    report.damaged += memory.damaged
    report.damaged += [f"left behind: {path.name}" for path in (data / "incoming").iterdir()]


def all_jobs(data: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(data / "emulator.sqlite3")) as database:
        rows = database.execute("SELECT id, request FROM jobs").fetchall()
    return [(row[0], row[1].partition(b"<UserData>")[2].partition(b"<")[0].decode()) for row in rows]


def wait_for(client: Client, job_ids: list[str]) -> list[str]:
    """Return the jobs that have not succeeded when patience ends."""
    deadline = time.monotonic() + PATIENCE
    while job_ids and time.monotonic() < deadline:
        details, unknown = client.describe(job_ids[:200])
        done = {one.findtext("JobId") for one in details if one.findtext("State") == "Success"}
        failed = [one for one in details if one.findtext("State") in ("Failed", "Cancel")]
        if failed or unknown:
            texts = ("JobId", "State", "Code", "Message")
            return [" ".join(one.findtext(name) or "" for name in texts) for one in failed] + unknown
        job_ids = [job_id for job_id in job_ids if job_id not in done]
        threading.Event().wait(0.02)
    return job_ids


def check_results(client: Client, job_ids: list[str], report: Report) -> None:
    details, _ = client.describe(job_ids)
    for detail in details:
        for info in detail.iterfind("Operation/MediaResult/OutputFile/Md5Info"):
            _, body = client("GET", f"/{info.findtext('ObjectName')}")
            if hashlib.md5(body).hexdigest() != info.findtext("Md5"):
                report.damaged.append(f"result {info.findtext('ObjectName')}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = campaign(Path(folder), arguments.rounds, arguments.seed)
    sys.stdout.write(json.dumps(asdict(report), indent=1) + "\n")
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
