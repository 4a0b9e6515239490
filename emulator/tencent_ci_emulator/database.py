"""The SQLite file in the data folder, and rows of its tables as dataclasses."""

from __future__ import annotations

import base64
import binascii
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
#: Conditions that must all hold: ``"created >=": 5``. ``None`` stands for no condition, and a tuple for any
#: of its values, so that an empty one matches nothing
Where = Mapping[str, Any]

_COLUMN = re.compile(r"[a-z_]+")
_BEFORE_NUMBER = "after:"


class BadPageTokenError(ValueError):
    """A token of a page that this emulator has not made."""


class Database:
    """One connection, used by one thread at a time; each :meth:`transaction` is all or nothing.

    Names of tables and columns are those of the code, never of a request.

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
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside, or nothing of it if that raises. If nested, the outermost commits."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def create(self, schema: str) -> None:
        """Create the tables and indexes of a schema that are not there yet."""
        with self.transaction():
            for statement in schema.split(";"):
                self._connection.execute(statement)

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> int:
        """Run a writing statement; return how many rows it changed."""
        with self.transaction():
            return self._connection.execute(statement, values).rowcount

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Return all rows of a reading query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def insert(self, table: str, row: Mapping[str, Any], *, conflict: str = "ABORT") -> None:
        """Insert a row; ``conflict`` is what SQLite does where a row of the same key is there.

        :raises sqlite3.IntegrityError: with ``ABORT``, there is one.
        """
        marks = ", ".join("?" * len(row))
        self.execute(
            f"INSERT OR {conflict} INTO {table} ({', '.join(row)}) VALUES ({marks})",  # noqa: S608 - own names
            tuple(row.values()),
        )

    def update(self, table: str, changes: Mapping[str, Any], where: Where) -> int:
        """Change the rows that meet all conditions; return how many."""
        assignments = ", ".join(f"{column} = ?" for column in changes)
        conditions, values = _conditions(where)
        statement = f"UPDATE {table} SET {assignments} WHERE {conditions}"  # noqa: S608 - own names
        return self.execute(statement, (*changes.values(), *values))

    def delete(self, table: str, where: Where) -> int:
        """Delete the rows that meet all conditions; return how many."""
        conditions, values = _conditions(where)
        return self.execute(f"DELETE FROM {table} WHERE {conditions}", values)  # noqa: S608 - own names

    def select(self, cls: type[T], table: str, where: Where, *, order: str = "1", limit: int = -1) -> list[T]:
        """Return the rows that meet all conditions, as dataclasses whose fields are columns."""
        conditions, values = _conditions(where)
        columns = ", ".join(field.name for field in fields(cls))
        query = f"SELECT {columns} FROM {table} WHERE {conditions} ORDER BY {order} LIMIT ?"  # noqa: S608 - own names
        return [cls(**dict(row)) for row in self.rows(query, (*values, limit))]

    def first(self, cls: type[T], table: str, where: Where) -> T | None:
        """Return the first row that meets all conditions, or ``None``."""
        return next(iter(self.select(cls, table, where, limit=1)), None)

    def count(self, table: str, where: Where) -> int:
        """Return how many rows meet all conditions."""
        conditions, values = _conditions(where)
        query = f"SELECT COUNT(*) FROM {table} WHERE {conditions}"  # noqa: S608 - own names
        return int(self.rows(query, values)[0][0])

    def page(
        self, cls: type[T], table: str, where: Where, *, ascending: bool, size: int, token: str | None
    ) -> tuple[list[T], str | None]:
        """Return a page of rows by their ``number``, and the token of the next page, ``None`` on the last.

        A token names the last row that was given, so that pages neither repeat nor skip rows while new ones
        arrive.

        :raises BadPageTokenError: the token is not one of these.
        """
        after = {"number >" if ascending else "number <": _number_in(token)}
        order = f"number {'ASC' if ascending else 'DESC'}"
        found = self.select(cls, table, {**where, **after}, order=order, limit=size + 1)
        page = found[:size]
        return page, _token_after(page[-1]) if len(found) > size else None

    def close(self) -> None:
        """Close the file; its write-ahead log is merged and removed."""
        with self._lock:
            self._connection.close()


def _conditions(where: Where) -> tuple[str, tuple[Any, ...]]:
    texts: list[str] = []
    values: list[Any] = []
    for condition, value in where.items():
        if isinstance(value, tuple):
            texts.append(f"{condition} IN ({', '.join('?' * len(value))})")
            values.extend(value)
        elif value is not None:
            # A bare column is compared for equality
            texts.append(f"{condition}{' =' if _COLUMN.fullmatch(condition) else ''} ?")
            values.append(value)
    return " AND ".join(texts) or "1", tuple(values)


def _token_after(row: Any) -> str:
    return base64.urlsafe_b64encode(f"{_BEFORE_NUMBER}{row.number}".encode()).decode().rstrip("=")


def _number_in(token: str | None) -> int | None:
    if token is None:
        return None
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (ValueError, binascii.Error):
        raise BadPageTokenError(token) from None
    number = text.removeprefix(_BEFORE_NUMBER)
    if text.startswith(_BEFORE_NUMBER) and number.isascii() and number.isdigit() and len(number) < 19:
        return int(number)
    raise BadPageTokenError(token)
