"""The data folder: what the emulator takes for its own, and what it never touches."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import Client
from tests.patience import PATIENCE


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every entry under a folder: the bytes of files, ``None`` for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def refusal(folder: Path) -> str:
    """The sentence with which an emulator refuses a folder, which has not changed."""
    before = contents(folder) if folder.is_dir() else folder.read_bytes()
    with pytest.raises((ValueError, OSError)) as refused:
        Emulator(folder).start()
    assert (contents(folder) if folder.is_dir() else folder.read_bytes()) == before
    return str(refused.value)


def test_files_of_the_user_are_neither_deleted_nor_emptied(tmp_path):
    for name in ("incoming/mail.txt", f"objects/{'0' * 32}", "parts/engine.step", "lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    assert "not empty, and airflow-ci-emulator has not made it" in refusal(tmp_path)
    assert str(tmp_path) in refusal(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "lock", "objects/song.mp3"])
def test_a_folder_with_anything_else_is_refused(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    assert "Choose an empty folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    "tables",
    [
        ["games (name TEXT)"],
        ["objects (bucket, key, file, size, md5, modified, headers)", "jobs (id, bucket, state)"],
    ],
)
def test_an_empty_lock_beside_a_database_of_another_program_is_refused(tmp_path, tables):
    (tmp_path / "lock").touch()
    with closing(sqlite3.connect(tmp_path / "emulator.sqlite3")) as database:
        for table in tables:
            database.execute(f"CREATE TABLE {table}")
        database.commit()
    assert "not empty" in refusal(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "song.mp3"
    path.write_bytes(b"sound")
    assert f"{path} is not a folder" in refusal(path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    with pytest.raises(NotADirectoryError, match="nowhere is not a folder"):
        Emulator(tmp_path / "nowhere").start()


def test_an_empty_folder_and_one_behind_a_link_are_used(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for _ in range(2):
        with Emulator(tmp_path / "link") as emulator:
            assert Client(emulator)("PUT", "/a", b"x")[0].status == 200
    assert (tmp_path / "real" / "emulator.sqlite3").exists()
    assert b"airflow-ci-emulator" in (tmp_path / "real" / "lock").read_bytes()


@pytest.mark.parametrize("name", ["objects", "lock", "emulator.sqlite3-wal"])
def test_links_in_its_own_folder_are_not_followed(tmp_path, name):
    """A folder of recordings that a link makes look like the emulator's would lose them."""
    own, outside = tmp_path / "own", tmp_path / "outside"
    with Emulator(own):
        pass
    if name in ("objects", "incoming", "parts"):
        (own / name).rmdir()
        outside.mkdir()
        (outside / ("0" * 32)).write_text("mine")
    else:
        (own / name).unlink(missing_ok=True)
        outside.write_text("mine")
    (own / name).symlink_to(outside)
    before = contents(tmp_path)
    assert f"{name} is a symbolic link" in refusal(own)
    assert contents(tmp_path) == before


def test_what_others_put_into_its_folder_stays(tmp_path):
    with Emulator(tmp_path) as emulator:
        assert Client(emulator)("PUT", "/a", b"x")[0].status == 200
    added = [tmp_path / "notes.txt", tmp_path / "objects" / "song.mp3", tmp_path / "parts" / "README"]
    for path in added:
        path.write_text("mine")
    (tmp_path / "incoming" / "folder").mkdir()
    (tmp_path / "incoming" / ("1" * 32)).symlink_to(added[0])
    left = tmp_path / "incoming" / ("2" * 32)  # as a killed emulator leaves it
    left.write_text("half an upload")
    with Emulator(tmp_path) as emulator:
        assert Client(emulator)("GET", "/a")[1] == b"x"
    assert [path.read_text() for path in added] == ["mine"] * 3
    assert (tmp_path / "incoming" / "folder").is_dir()
    assert (tmp_path / "incoming" / ("1" * 32)).is_symlink()
    assert not left.exists()


def test_a_folder_of_an_earlier_version_still_opens(tmp_path):
    with Emulator(tmp_path) as emulator:
        Client(emulator)("PUT", "/in/a", b"kept")
    (tmp_path / "lock").write_bytes(b"")  # those wrote nothing into it
    for _ in range(2):
        with Emulator(tmp_path) as emulator:
            assert Client(emulator)("GET", "/in/a")[1] == b"kept"


def test_a_running_emulator_of_an_earlier_version_keeps_its_folder(tmp_path):
    with Emulator(tmp_path) as emulator:
        (tmp_path / "lock").write_bytes(b"")
        assert "another emulator uses the folder" in refusal_while_running(tmp_path)
        assert Client(emulator)("PUT", "/a", b"x")[0].status == 200


def refusal_while_running(folder: Path) -> str:
    with pytest.raises(BlockingIOError) as refused:
        Emulator(folder).start()
    return str(refused.value)


def test_a_damaged_database_ends_the_command_with_a_sentence(tmp_path):
    with Emulator(tmp_path):
        pass
    (tmp_path / "emulator.sqlite3").write_bytes(b"no database" * 1000)
    command = [sys.executable, "-m", "tencent_ci_emulator", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (2, "")
    assert "emulator.sqlite3 cannot be used: file is not a database" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_refuses_a_home_folder(tmp_path):
    (tmp_path / ".profile").write_text("mine")
    command = [sys.executable, "-m", "tencent_ci_emulator", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=dict(os.environ))
    assert (done.returncode, done.stdout) == (2, "")
    assert "airflow-ci-emulator: the folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(tmp_path) == {".profile": b"mine"}
