"""The kit of ``make live`` as a process that gets signals: nothing is left, and nothing else is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IMODE

import pytest

from live.connection import CONN_VARIABLE
from tencent_ci_emulator.server import Emulator
from tests.live.account import OTHER_BUCKET, Account
from tests.live.kit import Kit, kit, report_of
from tests.patience import PATIENCE, wait_until

__all__ = ["kit"]

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., "subprocess.Popen[str]"]
ONLY = ("--yes", "--only", "progress", "misspelt_placeholder", "batch_user_data", "template_not_found")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator in which jobs wait so long that they can be cancelled."""
    with Emulator(buckets=(OTHER_BUCKET,), queue_seconds=600) as emulator:
        yield emulator


@pytest.fixture
def account(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    return Account(emulator, tmp_path, monkeypatch)


@pytest.fixture
def start(kit: Kit) -> Iterator[Start]:
    """Starts the kit in processes of its own, which end with the test, whatever its outcome."""
    started: list[subprocess.Popen[str]] = []

    def start(emulator: Emulator, *options: str) -> subprocess.Popen[str]:
        files = ["--report", str(kit.report), "--folder", str(kit.journals)]
        process = subprocess.Popen(
            # The kit leaves SIGHUP ignored where it finds it so, and this suite may run under nohup
            ["env", "--default-signal=HUP", sys.executable, "-m", "live", *files, *options],
            cwd=ROOT,
            env={**os.environ, CONN_VARIABLE: json.dumps(emulator.connection)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
    for process in started:
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_removes_everything(
    number: signal.Signals, emulator: Emulator, account: Account, kit: Kit, start: Start
) -> None:
    process = start(emulator, *ONLY)
    wait_until(lambda: len(emulator.ledger.accepted_jobs()) == 3 or process.poll() is not None)
    assert len(account.new_buckets()) == 1
    assert [S_IMODE(path.stat().st_mode) for path in kit.journal_files()] == [0o600]

    process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    assert "Nothing is left." in said
    assert kit.journal_files() == []
    assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Cancel"] * 3
    report = json.loads(kit.report.read_text())
    assert (report["error"], report["paid_jobs"]) == ("interrupted", 3)
    account.assert_untouched()


def test_what_a_killed_run_has_left_is_removed_later(
    emulator: Emulator, account: Account, kit: Kit, start: Start
) -> None:
    process = start(emulator, *ONLY)
    wait_until(lambda: len(emulator.ledger.accepted_jobs()) == 3 or process.poll() is not None)
    running = start(emulator, "--clean")
    said, _ = running.communicate(timeout=PATIENCE)
    assert (running.returncode, "has not ended" in said) == (1, True)

    process.kill()
    process.communicate(timeout=PATIENCE)
    assert len(account.new_buckets()) == 1
    cleaning = start(emulator, "--clean")
    said, _ = cleaning.communicate(timeout=PATIENCE)

    assert (cleaning.returncode, "Nothing is left." in said) == (0, True)
    assert kit.journal_files() == []
    assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Cancel"] * 3
    account.assert_untouched()


def test_a_job_of_airflow_is_cancelled_by_its_id(
    kit: Kit, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No list has jobs of its type."""
    observed = report_of({"listed_tags": {"SpeechRecognition": False}})
    with Emulator(buckets=(OTHER_BUCKET,), queue_seconds=600, as_observed=observed) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        process = start(emulator, "--yes", "--only", "input_formats")
        notes = "*.airflow/submissions/speech_recognition"
        wait_until(
            lambda: any(note.read_text() for note in kit.journals.glob(notes)) or process.poll() is not None
        )
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE)

        assert (process.returncode, "Nothing is left." in said) == (130, True)
        tags = [job.tag for job in emulator.ledger.accepted_jobs()]
        assert "SpeechRecognition" in tags
        assert {job.state for job in emulator.ledger.accepted_jobs()} == {"Cancel"}
        account.assert_untouched()


def test_a_job_of_airflow_that_was_refused_is_not_left(
    kit: Kit, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed = report_of({"listed_tags": {"SpeechRecognition": False}})
    with Emulator(buckets=(OTHER_BUCKET,), queue_seconds=0, as_observed=observed) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        emulator.faults.add("submit", key="*speech.mp3", status=400, code="InvalidArgument")
        process = start(emulator, "--yes", "--only", "input_formats")
        said, _ = process.communicate(timeout=PATIENCE)

        assert (process.returncode, "Nothing is left." in said) == (0, True)
        assert "| `SpeechRecognitionOperator` | submitted no job |" in said
        account.assert_untouched()


def group_of_child(pid: int) -> int:
    """Return the process group of the only child."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return os.getpgid(int(child))


def is_running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_airflow_ends_with_a_kit_that_is_killed(
    emulator: Emulator, account: Account, kit: Kit, start: Start
) -> None:
    process = start(emulator, "--yes", "--only", "samplerate_spelling")
    wait_until(lambda: len(emulator.ledger.accepted_jobs()) == 2 or process.poll() is not None)
    group = group_of_child(process.pid)
    assert (is_running(group), group) != (True, os.getpgid(process.pid))

    process.kill()
    process.communicate(timeout=PATIENCE)
    wait_until(lambda: not is_running(group))
    cleaning = start(emulator, "--clean")
    said, _ = cleaning.communicate(timeout=PATIENCE)

    assert (cleaning.returncode, "Nothing is left." in said) == (0, True)
    assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Cancel", "Cancel"]
    account.assert_untouched()
