"""The data folder: only one that an emulator has made is used, and only by one emulator at a time.

It is known by the file ``lock``. Any other folder that is not empty is refused, so that the emulator
neither mixes its files with yours nor deletes yours. Folders of earlier versions still open. Only files of
names that the emulator gives are ever deleted, and no symbolic link is followed; the folder itself may be
reached by one.

Objects, jobs, templates, queues, services and batch jobs are committed before the response is sent. After a
restart on the same folder, ended jobs and objects are there, waiting jobs still wait, and running ones are
done again with the same id and start time. An incomplete upload leaves nothing. ``python -m
tests.e2e.emulator_kill_campaign --rounds 50`` shows it: SIGKILL at random moments while four clients
upload, overwrite, read and submit; no accepted job was lost or doubled, no object was damaged, and every
job was done in the end.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

DATABASE = "emulator.sqlite3"
OBJECTS, INCOMING, PARTS = "objects", "incoming", "parts"

_LOCK = "lock"
# The lock file begins with it, which shows that an emulator made the folder
_OWNER = b"airflow-ci-emulator"
_NOTICE = _OWNER + b" has made this folder and keeps its objects and jobs here.\n"
_FILES = (_LOCK, DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")
_FOLDERS = (OBJECTS, INCOMING, PARTS)
# Tables with columns that every emulator's database has, also that of an early version, which wrote no
# notice into its lock file. The names of the tables alone are common
_TABLES = {
    "objects": {"bucket", "key", "file", "size", "md5", "modified", "headers"},
    "jobs": {"id", "bucket", "tag", "queue_id", "level", "input_object", "state", "request"},
}
_COLUMNS = "SELECT name FROM pragma_table_info(?)"
_RANDOM_NAME = re.compile("[0-9a-f]{32}")


@contextmanager
def lock_data_folder(folder: Path) -> Iterator[None]:
    """Lock a folder for this process; the folder is made if absent.

    A folder that is not empty must have been made by an emulator, because a start deletes unfinished files:
    in another folder these might be the user's. The lock ends with the process, so that a killed emulator
    does not block the next one.

    :raises BlockingIOError: another emulator uses the folder.
    :raises ValueError: the folder is not empty, and no emulator has made it.
    :raises OSError: it is no folder, or it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{folder} is not a folder") from None
    _check_entries(folder)
    is_new = not any(folder.iterdir())
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if is_new else 0)
    try:
        lock_file = os.open(folder / _LOCK, flags, 0o666)
    except FileNotFoundError:
        raise _refusal(folder, f"it has no file {_LOCK}") from None
    try:
        _lock(lock_file, folder)
        notice = os.pread(lock_file, len(_OWNER), 0)
        if notice != _OWNER:
            if not is_new and (notice or not _has_emulator_database(folder)):
                raise _refusal(folder, f"its file {_LOCK} is not of an emulator")
            os.pwrite(lock_file, _NOTICE, 0)
        yield
    finally:
        os.close(lock_file)


def _lock(lock_file: int, folder: Path) -> None:
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(error.errno, f"another emulator uses the folder {folder}") from None


def _check_entries(folder: Path) -> None:
    """Refuse links, which may lead outside, and files where an emulator makes folders or the reverse."""
    for name in _FILES + _FOLDERS:
        path = folder / name
        if path.is_symlink():
            raise _refusal(folder, f"{name} is a symbolic link")
        if path.exists() and not (path.is_dir() if name in _FOLDERS else path.is_file()):
            raise _refusal(folder, f"{name} is not a {'folder' if name in _FOLDERS else 'file'}")


def _has_emulator_database(folder: Path) -> bool:
    path = folder / DATABASE
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return all(
                columns <= {row[0] for row in database.execute(_COLUMNS, (table,))}
                for table, columns in _TABLES.items()
            )
    except sqlite3.Error:
        return False


def _refusal(folder: Path, reason: str) -> ValueError:
    return ValueError(
        f"the folder {folder} is not empty, and airflow-ci-emulator has not made it ({reason}):"
        " its files might be deleted. Choose an empty folder, or one that does not exist"
    )


def own_files(folder: Path) -> Iterator[Path]:
    """Yield the files in one of the emulator's folders that it may delete, because it made them."""
    for path in folder.iterdir():
        if _RANDOM_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            yield path
