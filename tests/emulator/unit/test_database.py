"""Rows as dataclasses: conditions, conflicts, pages, and transactions that are all or nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tencent_ci_emulator.database import BadPageTokenError, Database, PageQuery


@dataclass(frozen=True)
class Row:
    number: int
    name: str
    size: int | None
    created: float = 0.0


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path / "db")
    made.create(
        "CREATE TABLE things (number INTEGER PRIMARY KEY, name TEXT UNIQUE, size INTEGER, more TEXT,"
        " created REAL DEFAULT 0.0)"
    )
    for name, size in (("a", 1), ("b", 2), ("c", None)):
        made.insert("things", {"name": name, "size": size, "more": "not in the dataclass"})
    yield made
    made.close()


def names(database, **where):
    return [row.name for row in database.select(Row, "things", where)]


def test_rows_are_selected_by_conditions(database):
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


def test_changes_return_the_number_of_rows(database):
    assert database.update("things", {"size": 9}, {"name": ("a", "b")}) == 2
    assert database.update("things", {"size": 9}, {"name": "z"}) == 0
    assert database.delete("things", {"size": 9}) == 2
    assert names(database) == ["c"]


def test_a_conflict_is_resolved_as_named(database):
    with pytest.raises(sqlite3.IntegrityError):
        database.insert("things", {"name": "a", "size": 5})
    database.insert("things", {"name": "a", "size": 5}, conflict="IGNORE")
    assert database.first(Row, "things", {"name": "a"}).size == 1
    database.insert("things", {"name": "a", "size": 5}, conflict="REPLACE")
    assert database.first(Row, "things", {"name": "a"}).size == 5


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 7), ascending=st.booleans(), late=st.integers(0, 3))
def test_pages_neither_skip_nor_repeat_rows_while_others_are_added(tmp_path_factory, size, ascending, late):
    database = Database(tmp_path_factory.mktemp("pages") / "db")
    try:
        database.create(
            "CREATE TABLE things (number INTEGER PRIMARY KEY, name TEXT, size INTEGER,"
            " created REAL DEFAULT 9.0)"
        )
        for number in range(1, 11):
            # Three of the same time, and then one of another
            database.insert("things", {"name": str(number), "created": number // 4 + 0.1})
        seen: list[int] = []
        token = None
        while True:
            rows, token = database.page(Row, "things", PageQuery({}, ascending, size, token))
            assert len(seen) < 20, "the pages do not end"
            seen += [row.number for row in rows]
            if token is None:
                break
            for _ in range(late):
                database.insert("things", {"name": "late"})
            late = 0
        old = [number for number in seen if number <= 10]
        assert old == sorted(range(1, 11), reverse=not ascending)
        assert len(seen) == len(set(seen))
    finally:
        database.close()


@pytest.mark.parametrize("ascending", [True, False])
def test_pages_of_several_values_are_in_one_order(database, ascending):
    for number in range(4, 10):
        database.insert("things", {"name": str(number), "size": number % 3, "created": 10.0 - number // 3})
    seen: list[Row] = []
    token = None
    while True:
        query = PageQuery({"size": (0, 1), "created >=": 1.0}, ascending, size=2, token=token)
        rows, token = database.page(Row, "things", query)
        seen += rows
        if token is None:
            break
    wanted = [row for row in database.select(Row, "things", {"size": (0, 1)}) if row.created >= 1.0]
    assert seen == sorted(wanted, key=lambda row: (row.created, row.number), reverse=not ascending)
    assert database.page(Row, "things", PageQuery({"size": ()})) == ([], None)


@pytest.mark.parametrize(
    "token", ["x", "YWZ0ZXI6LTE", "é", "YWZ0ZXI6MTIzNDU2Nzg5MDEyMzQ1Njc4OTA", "YWZ0ZXI6MS4yLjM6NA"]
)
def test_invented_page_tokens_are_refused(database, token):
    with pytest.raises(BadPageTokenError):
        database.page(Row, "things", PageQuery({}, token=token))


def test_rows_are_found_by_id_within_a_bucket_in_the_order_of_the_ids(tmp_path):
    @dataclass
    class Item:
        id: str
        bucket: str

    database = Database(tmp_path / "other")
    database.create("CREATE TABLE items (id TEXT, bucket TEXT)")
    for row in (Item("a", "mine"), Item("b", "mine"), Item("c", "foreign")):
        database.insert("items", vars(row))
    assert list(database.find(Item, "items", "mine", ["b", "none", "c", "a"])) == ["b", "a"]
    database.close()


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
