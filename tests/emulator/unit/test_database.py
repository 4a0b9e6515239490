"""The helper for rows: conditions, conflicts, pages, and transactions that are all or nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import pytest

from tencent_ci_emulator.database import Database


@dataclass(frozen=True)
class Row:
    number: int
    name: str
    size: int | None


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path / "db")
    made.create("CREATE TABLE things (number INTEGER PRIMARY KEY, name TEXT UNIQUE, size INTEGER, more TEXT)")
    for name, size in (("a", 1), ("b", 2), ("c", None)):
        made.insert("things", {"name": name, "size": size, "more": "not in the dataclass"})
    yield made
    made.close()


def names(database, **where):
    return [row.name for row in database.select(Row, "things", where)]


def test_conditions(database):
    assert names(database) == ["a", "b", "c"]
    assert names(database, name="b") == ["b"]
    assert names(database, name=None) == ["a", "b", "c"]  # no condition
    assert names(database, name=("a", "c")) == ["a", "c"]
    assert names(database, name=()) == []
    assert names(database, **{"size >=": 2}) == ["b"]
    assert names(database, **{"size >=": 1, "name": "a"}) == ["a"]
    assert database.count("things", {"size <": 2}) == 1
    assert database.first(Row, "things", {"name": "b"}) == Row(2, "b", 2)
    assert database.first(Row, "things", {"name": "z"}) is None


def test_changes_say_how_many_rows_they_met(database):
    assert database.update("things", {"size": 9}, {"name": ("a", "b")}) == 2
    assert database.update("things", {"size": 9}, {"name": "z"}) == 0
    assert database.delete("things", {"size": 9}) == 2
    assert names(database) == ["c"]


def test_conflicts(database):
    with pytest.raises(sqlite3.IntegrityError):
        database.insert("things", {"name": "a", "size": 5})
    database.insert("things", {"name": "a", "size": 5}, conflict="IGNORE")
    assert database.first(Row, "things", {"name": "a"}).size == 1
    database.insert("things", {"name": "a", "size": 5}, conflict="REPLACE")
    assert database.first(Row, "things", {"name": "a"}).size == 5


def test_pages_by_number(database):
    first, token = database.page(Row, "things", {}, ascending=False, size=2, token=None)
    rest, end = database.page(Row, "things", {}, ascending=False, size=2, token=token)
    assert ([row.name for row in first], [row.name for row in rest], end) == (["c", "b"], ["a"], None)


def test_a_transaction_is_all_or_nothing_and_the_outermost_commits(database):
    def delete_and_fail():
        with database.transaction():
            with database.transaction():
                database.delete("things", {"name": "a"})
            assert names(database) == ["b", "c"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        delete_and_fail()
    assert names(database) == ["a", "b", "c"]
