"""The SQLite file in the data folder, shared by the object and the job store."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class Database:
    """One connection, used by one thread at a time; each :meth:`transaction` is all or nothing.

    :raises OSError: the file cannot be opened or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        try:
            # With WAL a killed process loses nothing that was committed; only a power cut might cost the last
            # jobs
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error as error:
            self._connection.close()
            raise OSError(f"the database {path} cannot be used: {error}") from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done inside, or nothing of it if that raises. If nested, the outermost commits."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Return all rows of a reading query."""
        with self._lock:
            return self._connection.execute(query, parameters).fetchall()

    def row(self, query: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Row | None:
        """Return the first row of a reading query, or ``None``."""
        return next(iter(self.rows(query, parameters)), None)

    def close(self) -> None:
        """Close the file; its write-ahead log is merged and removed."""
        with self._lock:
            self._connection.close()


def from_row(cls: type[T], row: sqlite3.Row) -> T:
    """Return a row as a dataclass whose fields are named as the columns; other columns are left out."""
    return cls(**{field.name: row[field.name] for field in fields(cls)})
