"""The folder for Airflow of a run. It is beside the journals, and named by a record, which is a file.

The record is written first, and deleted last. As long as the process lives, it is locked. Only what a record
names is ever removed: whatever else is in the folder of the journals belongs to somebody else.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from live.tokens import TOKEN


@contextmanager
def private_home(folder: Path, token: str) -> Iterator[Path]:
    """Make a folder for Airflow in ``folder``, made too if it does not exist; remove both later.

    :raises OSError: they cannot be made. Nothing was.
    """
    is_new = _make(folder)
    home, record = _home_of(folder.resolve(), token), folder / f"{token}.home"
    lock = -1
    try:
        lock = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, _content(token))
        os.fsync(lock)
        home.mkdir(mode=0o700)
        yield home
    finally:
        if lock != -1:
            shutil.rmtree(home, ignore_errors=True)
            if not home.exists():
                record.unlink(missing_ok=True)
            os.close(lock)
        if is_new:
            with suppress(OSError):  # a journal is in it
                folder.rmdir()


def remove_abandoned_homes(folder: Path) -> list[str]:
    """Remove the local files of runs that were killed; return a line for each that cannot be removed."""
    left = []
    for record in sorted(folder.glob("*.home")):
        token = record.stem
        if TOKEN.fullmatch(token) is None:
            continue
        try:
            lock = os.open(record, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # it has just been removed, or is no file
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.read(lock, 1000) == _content(token):
                _remove(folder, token)
                record.unlink()
        except (BlockingIOError, FileNotFoundError):  # its run has not ended, or another process removes it
            continue
        except OSError as error:
            left.append(f"What a killed run has left in {folder} cannot be removed: {error}. Remove it.")
        finally:
            os.close(lock)
    return left


def _make(folder: Path) -> bool:
    """Make the folder; return whether it did not exist."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _home_of(folder: Path, token: str) -> Path:
    return folder / f"{token}.airflow"


def _content(token: str) -> bytes:
    return json.dumps({"home": f"{token}.airflow"}).encode()


def _remove(folder: Path, token: str) -> None:
    """Remove the folder for Airflow of a run, and its journal if it had only just been begun."""
    with suppress(FileNotFoundError):
        shutil.rmtree(_home_of(folder, token))  # which refuses a link, and follows none
    begun = folder / f"{token}.begun"
    with suppress(FileNotFoundError):
        if stat.S_ISREG(begun.lstat().st_mode):
            begun.unlink()
