"""The data folder: only one that the emulator has made itself is used, and by one emulator at a time."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType

DATABASE = "emulator.sqlite3"
OBJECTS, INCOMING, PARTS = "objects", "incoming", "parts"

_LOCK = "lock"
#: What the lock file says, by which a folder is known as the emulator's own
_OWNER = b"airflow-ci-emulator"
_NOTICE = _OWNER + b" has made this folder and keeps its objects and jobs here.\n"
_FILES = (_LOCK, DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")
_FOLDERS = (OBJECTS, INCOMING, PARTS)
# Tables and columns of every database of an emulator, also of one that wrote no notice into its lock file.
# Another program may well have tables of these names
_TABLES = {
    "objects": {"bucket", "key", "file", "size", "md5", "modified", "headers"},
    "jobs": {"id", "bucket", "tag", "queue_id", "level", "input_object", "state", "request"},
}
_COLUMNS = "SELECT name FROM pragma_table_info(?)"
_RANDOM_NAME = re.compile("[0-9a-f]{32}")


class DataFolder:
    """Holds a folder, which is made if absent, for this process while in use.

    A folder that holds anything must be the emulator's own: its start deletes what an earlier one left
    unfinished, which in another folder would be somebody's files. The lock ends with the process, so a killed
    emulator does not block the next one.

    :raises BlockingIOError: another emulator uses the folder.
    :raises ValueError: the folder holds files, and no emulator has made it.
    :raises OSError: it is no folder, or it cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None

    def __enter__(self) -> DataFolder:
        folder = self._folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(f"{folder} is not a folder") from None
        self._refuse_foreign_entries()
        try:
            self._take()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _take(self) -> None:
        path = self._folder / _LOCK
        is_new = not any(self._folder.iterdir())
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._lock = os.open(path, flags | (os.O_CREAT if is_new else 0), 0o666)
        except FileNotFoundError:
            raise self._refusal(f"it has no file {_LOCK}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another emulator uses the folder {self._folder}"
            raise BlockingIOError(error.errno, message) from None
        notice = os.pread(self._lock, len(_OWNER), 0)
        if notice == _OWNER:
            return
        if not is_new and (notice or not self._has_database()):
            raise self._refusal(f"its file {_LOCK} is not of an emulator")
        os.pwrite(self._lock, _NOTICE, 0)

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _refuse_foreign_entries(self) -> None:
        """Refuse links, which may lead outside, and entries of another kind than an emulator makes."""
        for name in _FILES + _FOLDERS:
            path = self._folder / name
            if path.is_symlink():
                raise self._refusal(f"{name} is a symbolic link")
            if path.exists() and not (path.is_dir() if name in _FOLDERS else path.is_file()):
                raise self._refusal(f"{name} is not a {'folder' if name in _FOLDERS else 'file'}")

    def _has_database(self) -> bool:
        """Return whether the folder's database is an emulator's."""
        path = self._folder / DATABASE
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

    def _refusal(self, reason: str) -> ValueError:
        return ValueError(
            f"the folder {self._folder} is not empty, and airflow-ci-emulator has not made it ({reason}):"
            " its files would be in danger. Choose an empty folder, or one that does not exist"
        )


def own_files(folder: Path) -> Iterator[Path]:
    """Yield the files that the emulator itself made in one of its folders: others are not its to delete."""
    for path in folder.iterdir():
        if _RANDOM_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            yield path
