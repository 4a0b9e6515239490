"""The SQLite file in the data folder, and rows of its tables as dataclasses."""

from __future__ import annotations

import base64
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
#: Conditions that must all hold, such as ``{"created >=": 5}``; a column without an operator must be equal.
#: The value ``None`` is no condition; a tuple means one of its values, so that an empty one matches nothing
Where = Mapping[str, Any]

_COLUMN = re.compile(r"[a-z_]+")
_PAGE_TOKEN = re.compile(r"after:([0-9.e+-]{1,32}):([0-9]{1,18})")


class BadPageTokenError(ValueError):
    """The page token was not made by this emulator."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a row is in its list: rows of the same time are in the order of their numbers."""

    created: float
    number: int


@dataclass(frozen=True, slots=True)
class PageQuery:
    """One page of a table that has the columns ``created`` and ``number``, by which it is ordered.

    :param token: the token of the page, ``None`` for the first.
    """

    where: Where
    ascending: bool = False
    size: int = 10
    token: str | None = None


class Database:
    """One connection, used by one thread at a time; each :meth:`transaction` is all or nothing.

    Names of tables and columns come from the code, never from a request.

    :raises OSError: the file cannot be opened or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        try:
            # With WAL a killed process loses nothing that was committed; a power cut may lose the last jobs
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error as error:
            self._connection.close()
            raise OSError(f"the database {path} cannot be used: {error}") from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the changes made inside, or none of them if it raises. The outermost transaction commits."""
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
        """Create the tables and indexes of a schema that do not exist."""
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
        """Insert a row; ``conflict`` names what SQLite does if there is a row of the same key.

        :raises sqlite3.IntegrityError: with ``ABORT``, there is one.
        """
        marks = ", ".join("?" * len(row))
        statement = f"INSERT OR {conflict} INTO {table} ({', '.join(row)}) VALUES ({marks})"  # noqa: S608 - own names
        self.execute(statement, tuple(row.values()))

    def update(self, table: str, changes: Mapping[str, Any], where: Where) -> int:
        """Change the rows that meet all conditions; return how many."""
        assignments = ", ".join(f"{column} = ?" for column in changes)
        conditions, values = _to_sql(where)
        statement = f"UPDATE {table} SET {assignments} WHERE {conditions}"  # noqa: S608 - own names
        return self.execute(statement, (*changes.values(), *values))

    def delete(self, table: str, where: Where) -> int:
        """Delete the rows that meet all conditions; return how many."""
        conditions, values = _to_sql(where)
        return self.execute(f"DELETE FROM {table} WHERE {conditions}", values)  # noqa: S608 - own names

    def select(self, cls: type[T], table: str, where: Where, *, order: str = "1", limit: int = -1) -> list[T]:
        """Return the rows that meet all conditions, as dataclasses whose fields are columns."""
        conditions, values = _to_sql(where)
        columns = ", ".join(field.name for field in fields(cls))
        query = f"SELECT {columns} FROM {table} WHERE {conditions} ORDER BY {order} LIMIT ?"  # noqa: S608 - own names
        return [cls(**dict(row)) for row in self.rows(query, (*values, limit))]

    def first(self, cls: type[T], table: str, where: Where) -> T | None:
        """Return the first row that meets all conditions, or ``None``."""
        return next(iter(self.select(cls, table, where, limit=1)), None)

    def find(self, cls: type[T], table: str, bucket: str, ids: list[str]) -> dict[str, T]:
        """Return the rows of a bucket that have one of some ids, by id, in the order of ``ids``."""
        rows: list[Any] = self.select(cls, table, {"bucket": bucket, "id": tuple(ids)})
        by_id = {row.id: row for row in rows}
        return {each: by_id[each] for each in ids if each in by_id}

    def count(self, table: str, where: Where) -> int:
        """Return how many rows meet all conditions."""
        conditions, values = _to_sql(where)
        query = f"SELECT COUNT(*) FROM {table} WHERE {conditions}"  # noqa: S608 - own names
        return int(self.rows(query, values)[0][0])

    def page(self, cls: type[T], table: str, query: PageQuery) -> tuple[list[T], str | None]:
        """Return a page of rows, and the token of the next page, ``None`` on the last.

        A token names the last row of its page, so that pages neither repeat nor skip rows while others are
        added.

        :raises BadPageTokenError: the token was not made here.
        """
        comparison, direction = (">", "ASC") if query.ascending else ("<", "DESC")
        where, order = dict(query.where), f"created {direction}, number {direction}"
        if query.token is not None:
            where["(created, number) " + comparison] = _read_token(query.token)
        # One value of a tuple at a time: an index has the rows of one value, not of several, in this order
        rows: list[Any] = [
            row
            for alternative in _alternatives(where)
            for row in self.select(cls, table, alternative, order=order, limit=query.size + 1)
        ]
        rows.sort(key=_position, reverse=not query.ascending)
        page = rows[: query.size]
        return page, _make_token(page[-1]) if len(rows) > query.size else None

    def close(self) -> None:
        """Close the file; its write-ahead log is merged and removed."""
        with self._lock:
            self._connection.close()


def _to_sql(where: Where) -> tuple[str, tuple[Any, ...]]:
    conditions: list[str] = []
    values: list[Any] = []
    for condition, value in where.items():
        if isinstance(value, Position):
            conditions.append(f"{condition} (?, ?)")
            values.extend((value.created, value.number))
        elif isinstance(value, tuple):
            conditions.append(f"{condition.removesuffix(' =')} IN ({', '.join('?' * len(value))})")
            values.extend(value)
        elif value is not None:
            conditions.append(f"{condition}{' =' if _COLUMN.fullmatch(condition) else ''} ?")
            values.append(value)
    return " AND ".join(conditions) or "1", tuple(values)


def _alternatives(where: Where) -> Iterator[Where]:
    """Yield the conditions with each value of the first that may have several."""
    choice = next((name for name, value in where.items() if isinstance(value, tuple)), None)
    if choice is None:
        yield where
        return
    for value in where[choice]:
        yield {**where, choice: value}


def _position(row: Any) -> Position:
    return Position(row.created, row.number)


def _make_token(row: Any) -> str:
    return base64.urlsafe_b64encode(f"after:{row.created!r}:{row.number}".encode()).decode().rstrip("=")


def _read_token(token: str) -> Position:
    try:
        match = _PAGE_TOKEN.fullmatch(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
        if match is not None:
            return Position(float(match[1]), int(match[2]))
    except ValueError:
        pass
    raise BadPageTokenError(token)
