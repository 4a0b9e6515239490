from __future__ import annotations

import hashlib

import pytest

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.objects.object_store import ObjectStore

BUCKET = "demo-1250000000"


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path / "db")
    yield opened
    opened.close()


@pytest.fixture
def store(database, tmp_path):
    return ObjectStore(database, tmp_path / "data")


def put(store: ObjectStore, key: str, content: bytes, bucket: str = BUCKET, **kwargs: object):
    path = store.make_incoming_path()
    path.write_bytes(content)
    return store.put(bucket, key, path, md5=hashlib.md5(content).hexdigest(), modified=1.5, **kwargs)


def test_replacing_removes_the_old_content_but_a_reader_keeps_it(store, tmp_path):
    old = put(store, "k", b"old")
    with old.path.open("rb") as reader:
        put(store, "k", b"new")
        assert reader.read() == b"old"
    assert store.get(BUCKET, "k").path.read_bytes() == b"new"
    assert len(list((tmp_path / "data" / "objects").iterdir())) == 1


def test_keys_are_bytes(store):
    put(store, "\udcff", b"1")
    put(store, "\udcfe", b"2")
    put(store, "e\u0301", b"3")
    put(store, "\u00e9", b"4")
    keys = ("\udcff", "\udcfe", "e\u0301", "\u00e9")
    assert [store.get(BUCKET, key).path.read_bytes() for key in keys] == [b"1", b"2", b"3", b"4"]


def test_a_failing_database_leaves_the_old_object_and_no_file(store, database, tmp_path):
    put(store, "k", b"old")
    database.execute("CREATE TRIGGER no BEFORE INSERT ON objects BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(Exception, match="full"):
        put(store, "k", b"new")
    assert store.get(BUCKET, "k").path.read_bytes() == b"old"
    assert len(list((tmp_path / "data" / "objects").iterdir())) == 1


def test_a_new_start_removes_what_a_killed_one_left(store, database, tmp_path):
    kept = put(store, "k", b"kept")
    store.make_incoming_path().write_bytes(b"half an upload")
    (kept.path.parent / ("0" * 32)).write_bytes(b"content without row")
    again = ObjectStore(database, tmp_path / "data")
    assert again.get(BUCKET, "k").path.read_bytes() == b"kept"
    assert [path.name for path in kept.path.parent.iterdir()] == [kept.path.name]
    assert not list((tmp_path / "data" / "incoming").iterdir())
