"""Separate a media file into voice and background: real Airflow, the emulator, real audio.

Usage: ``python scripts/demo.py [MEDIA]`` (or ``make demo MEDIA=song.mp3``). No account and no network are
needed; everything it makes is in ``.demo/``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".demo"
RESULTS = WORK / "results"
AIRFLOW_LOG = WORK / "airflow.log"
EMULATOR_LOG = WORK / "emulator.log"
DAG_ID = "example_voice_separate"
FORMATS = (".mp3", ".wav", ".flac", ".m4a", ".mp4", ".aac", ".amr", ".mov", ".avi")

# For this run only. The emulator reads them from its environment, which a process list does not show
SECRET_ID, SECRET_KEY = f"AKID{secrets.token_hex(16)}", secrets.token_hex(16)
BUCKET, REGION = "demo-1250000000", "ap-guangzhou"
# So that the job can be seen waiting and running even if the file is short
SLOW_ENOUGH_TO_SEE = ["--queue-seconds", "1", "--run-seconds", "2"]


class DemoError(Exception):
    """The demo cannot continue: the message says why, and what to do."""


def main(arguments: list[str]) -> int:
    """Run the demo; return the exit status."""
    media = Path(
        arguments[0] if arguments else ROOT / "example_dags/media/speech_over_music.mp3"
    ).expanduser()
    try:
        check_media(media)
        WORK.mkdir(exist_ok=True)
        with emulator() as url:
            prepare_airflow(url)
            show_results(media, *run_dag(media))
    except DemoError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def check_media(media: Path) -> None:
    """Refuse a file that cannot be separated, before anything is started."""
    if not media.is_file():
        raise DemoError(f"there is no file {media}. Try: make demo MEDIA=path/to/song.mp3")
    if media.suffix.lower() not in FORMATS:
        raise DemoError(f"{media.name} must end in one of {', '.join(FORMATS)}")


@contextmanager
def emulator() -> Iterator[str]:
    """Start the emulator on a free loopback port, yield its address, and stop it."""
    say("Starting the emulator of Tencent Cloud Infinite")
    shutil.rmtree(WORK / "emulator", ignore_errors=True)
    command = [sys.executable, "-m", "tencent_ci_emulator", "--data-dir", str(WORK / "emulator")]
    command += ["--bucket", BUCKET, "--region", REGION, *SLOW_ENOUGH_TO_SEE]
    keys = {"AIRFLOW_CI_EMULATOR_SECRET_ID": SECRET_ID, "AIRFLOW_CI_EMULATOR_SECRET_KEY": SECRET_KEY}
    with EMULATOR_LOG.open("wb") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env={**os.environ, **keys}
        )
    try:
        assert process.stdout is not None  # noqa: S101 - with PIPE it is there
        word, _, url = process.stdout.readline().strip().partition(" ")
        if word != "ready":
            raise DemoError(f"the emulator did not start; see {EMULATOR_LOG}")
        say(f"It listens on {url}")
        yield url
    finally:
        process.terminate()
        process.wait()


def prepare_airflow(url: str) -> None:
    """Give this process and its children a private Airflow with a connection to the emulator."""
    home = WORK / "airflow"
    extra = {"bucket": BUCKET, "region": REGION, "endpoint_url": url}
    connection = {"conn_type": "tencent_ci", "login": SECRET_ID, "password": SECRET_KEY, "extra": extra}
    # the user's own Airflow may be set up by any of these, for instance by a command that prints its database
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "example_dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW_CONN_TENCENT_CI_DEFAULT=json.dumps(connection),
    )
    migrated = home / ".migrated-with"
    installed = (ROOT / "constraints.txt").read_text()
    if not migrated.exists() or migrated.read_text() != installed:
        say("Preparing a private Airflow (once)")
        shutil.rmtree(home, ignore_errors=True)
        airflow("db", "migrate")
        migrated.write_text(installed)


def airflow(*arguments: str) -> None:
    """Run an Airflow command, with its output in the log."""
    with AIRFLOW_LOG.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", *arguments], stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
        )
        try:
            status = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    if status != 0:
        tail = "\n".join(AIRFLOW_LOG.read_text(errors="replace").splitlines()[-25:])
        raise DemoError(
            f"`airflow {' '.join(arguments[:2])}` ended with status {status}. The end of {AIRFLOW_LOG}:\n"
            f"{tail}\n"
            "Remove the folder .demo and try again."
        )


def run_dag(media: Path) -> tuple[str, list[tuple[float, str]]]:
    """Upload ``media`` and run the DAG on it; return the job id, and its states with seconds."""
    from airflow_provider_ci.hooks.ci import TencentCIHook

    hook, key = TencentCIHook(), f"in/{media.name}"
    say(f"Uploading {media.name} to the bucket as {key}")
    hook.upload_file(media, key)
    AIRFLOW_LOG.unlink(missing_ok=True)
    say(f"Running the DAG {DAG_ID} with `airflow dags test` (its log: {AIRFLOW_LOG.relative_to(ROOT)})")
    done, watch = threading.Event(), JobLogger()
    watcher = threading.Thread(target=watch.follow, args=(hook, key, done), daemon=True)
    watcher.start()
    try:
        conf = {"input_object": key, "download_dir": str(RESULTS), "codec": "mp3"}
        airflow("dags", "test", DAG_ID, "--conf", json.dumps(conf))
    except DemoError:
        if watch.failure:
            raise DemoError(f"{watch.failure}. Try another media file.") from None
        raise
    finally:
        done.set()
        watcher.join()
    if watch.job_id is None:
        raise DemoError(f"the DAG ended, but no job was seen; see {AIRFLOW_LOG}")
    return watch.job_id, watch.states


class JobLogger:
    """Collects a job's states by listing jobs."""

    def __init__(self) -> None:
        self.job_id: str | None = None
        self.failure: str | None = None
        self.states: list[tuple[float, str]] = []

    def follow(self, hook: TencentCIHook, key: str, done: threading.Event) -> None:
        """List the jobs until ``done``, and once more."""
        start: float | None = None
        last = False
        while not last:
            last = done.wait(0.2)
            for job in hook.list_jobs(input_object=key):
                start = start or time.monotonic()
                self.job_id = job.job_id
                if not self.states or self.states[-1][1] != job.state:
                    seconds = time.monotonic() - start
                    self.states.append((seconds, job.state))
                    say(f"  job {job.job_id}: {job.state}")
                if job.state == "Failed":
                    self.failure = f"job {job.job_id} failed: {job.code}: {job.message}"


def show_results(media: Path, job_id: str, states: list[tuple[float, str]]) -> None:
    """Print the table of the results."""
    files = sorted((RESULTS / job_id).glob("*"), reverse=True)
    if len(files) != 2:
        raise DemoError(f"expected a voice and a background file in {RESULTS / job_id}, found {len(files)}")
    rows = [("file", "seconds", "MD5", "path")]
    rows += [
        (name, f"{duration(path):.2f}", hashlib.md5(path.read_bytes()).hexdigest(), shown(path))  # noqa: S324 - to compare
        for name, path in [("input", media), *((path.stem, path) for path in files)]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print(f"\nJob {job_id}")
    print("States " + " -> ".join(f"{state} ({seconds:.1f} s)" for seconds, state in states) + "\n")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\nSeparated by: {separated_by(job_id)}")
    print("Play the voice and the background to hear the difference.")


def separated_by(job_id: str) -> str:
    """Return the method of separation, from the emulator's log."""
    found = re.search(rf"job {job_id} was processed by: (.+)", EMULATOR_LOG.read_text(errors="replace"))
    return found[1] if found else "unknown"


def duration(path: Path) -> float:
    """Return the seconds of audio in ``path``, counted by decoding it."""
    import av

    with av.open(str(path)) as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    return float(seconds)


def shown(path: Path) -> str:
    """Return ``path`` relative to the working folder, if it is inside."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
