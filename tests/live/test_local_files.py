"""Of the files in the folder of the journals, only those that a run has made and recorded are removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.kit import Kit, virtual_emulator
from tests.patience import wait_until

TOKEN = "airflow-ci-live-0123456789ab"
_HELD = """
import sys
from pathlib import Path
from live.home import private_home
with private_home(Path(sys.argv[1]), sys.argv[2]) as home:
    (home / "airflow.cfg").touch()
    (home / "ready").touch()
    sys.stdin.read()
"""


@contextmanager
def run_that_holds(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the local files of a run, until it is killed or its standard input ends."""
    command = [sys.executable, "-c", _HELD, str(folder), TOKEN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        try:
            home = folder / f"{TOKEN}.airflow"
            wait_until(lambda: (home / "ready").exists() or process.poll() is not None)
            yield process
        finally:
            process.kill()


def tree(folder: Path) -> dict[str, str]:
    """Return all that is in a folder, with the text of files and the aim of links."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else path.read_text()
        if path.is_file()
        else "a folder"
        for path in folder.rglob("*")
    }


def test_what_a_killed_run_has_left_is_removed(kit: Kit) -> None:
    kit.journals.mkdir()
    with run_that_holds(kit.journals) as process:
        before = tree(kit.journals)
        assert f"{TOKEN}.airflow/airflow.cfg" in before
        with virtual_emulator() as emulator:
            assert kit.run(emulator, "--clean").status == 0
            assert tree(kit.journals) == before, "it has not ended"
            process.kill()
            process.wait()
            (kit.journals / f"{TOKEN}.begun").touch()
            assert kit.run(emulator, "--clean").status == 0
    assert tree(kit.journals) == {}


def test_files_of_others_stay(kit: Kit, tmp_path: Path) -> None:
    """Also those with the names of the kit's, without a record; and nothing is followed out of the folder."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "inner").mkdir(parents=True)
    (elsewhere / "inner" / "file").write_text("mine")
    folder = kit.journals
    for name in ("prod.airflow", f"{TOKEN}.airflow", "airflow-ci-live-aaaaaaaaaaaa.journal", "b.journal"):
        (folder / name).mkdir(parents=True)
        (folder / name / "airflow.cfg").write_text("mine")
    for name in ("notes.begun", f"{TOKEN}.begun", "notes.journal", "notes.home", f"{TOKEN}.home", "notes"):
        (folder / name).write_text("mine, without a newline")
    other = "airflow-ci-live-cccccccccccc"
    for name in ("link.airflow", "link.journal", f"{other}.journal", f"{other}.airflow", "link.home"):
        (folder / name).symlink_to(elsewhere)
    record = json.dumps({"home": f"{other}.airflow"})
    (elsewhere / "record").write_text(record)
    (folder / f"{other}.home").symlink_to(elsewhere / "record")
    (folder / "airflow-ci-live-dddddddddddd.journal").symlink_to(folder / "nowhere")
    before = tree(tmp_path)
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, "--clean")
        assert (outcome.status, "no run has left a journal" in outcome.said) == (0, True)
        assert tree(tmp_path) == before
        assert kit.run(emulator, "--yes", "--only", "unknown_job").status == 0
    kit.report.unlink()
    assert tree(tmp_path) == before


def test_a_link_in_the_place_of_a_recorded_folder_is_not_followed(kit: Kit, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    kit.journals.mkdir()
    (kit.journals / f"{TOKEN}.airflow").symlink_to(elsewhere)
    (kit.journals / f"{TOKEN}.home").write_text(json.dumps({"home": f"{TOKEN}.airflow"}))
    before = tree(tmp_path)
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, "--clean")
    assert (outcome.status, "cannot be removed: " in outcome.said) == (1, True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("options", [("--clean",), ("--yes", "--only", "unknown_job")])
def test_a_folder_that_existed_stays(options: tuple[str, ...], kit: Kit) -> None:
    with virtual_emulator() as emulator:
        assert kit.run(emulator, *options).status == 0
        assert not kit.journals.exists(), "the run has made it"
        kit.journals.mkdir()
        assert kit.run(emulator, *options).status == 0
    assert kit.journals.is_dir()


@pytest.mark.parametrize("name", ["file", "file/below", "none/below"])
def test_a_folder_that_cannot_be_used_is_refused(name: str, kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    before = tree(tmp_path)
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, "--yes", "--folder", str(tmp_path / name))
        assert (outcome.status, emulator.ledger.count()) == (2, 0)
    assert f"--folder is {tmp_path / name}, allowed: " in outcome.said
    assert tree(tmp_path) == before
