"""COS objects in a folder.

An object's content is a file with a random name, so that no key can name a path; key, size, MD5 and headers
are rows in the database. A new content is complete on disk before the row points to it, and readers keep the
old one open.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.objects.crc64 import crc64_of
from tencent_ci_emulator.objects.data_folder import INCOMING, OBJECTS, own_files

MAX_KEY_BYTES = 850  # 436/13324

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, md5 TEXT NOT NULL,
    modified REAL NOT NULL, headers TEXT NOT NULL, crc64 TEXT, PRIMARY KEY (bucket, key)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object. ``md5`` in hex, ``modified`` in Unix seconds, ``headers`` to be sent with it, ``crc64`` in
    decimal.
    """

    key: str
    path: Path
    size: int
    md5: str
    modified: float
    headers: Mapping[str, str] = field(default_factory=dict)
    crc64: str = ""

    @property
    def etag(self) -> str:
        """The MD5 in double quotes, as COS sends it."""
        return f'"{self.md5}"'


@dataclass(frozen=True, slots=True)
class _Row:
    key: bytes
    file: str
    size: int
    md5: str
    modified: float
    headers: str
    crc64: str


class ObjectStore:
    """Objects by bucket and key. Safe to use from several threads."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._objects = folder / OBJECTS
        self._incoming = folder / INCOMING
        self._objects.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(exist_ok=True)
        database.create(_SCHEMA)
        self._remove_leftovers()
        self._add_missing_crcs()

    def incoming(self) -> Path:
        """Return a path for content that is still being written. Hand it to :meth:`put`, or unlink it."""
        return self._incoming / uuid.uuid4().hex

    def put(
        self,
        bucket: str,
        key: str,
        content: Path,
        *,
        md5: str,
        modified: float,
        headers: Mapping[str, str] | None = None,
    ) -> StoredObject:
        """Make the file ``content``, which is read once more and moved away, the content of a key."""
        file, size, crc64 = uuid.uuid4().hex, content.stat().st_size, crc64_of(content)
        content.replace(self._objects / file)
        row = {"bucket": bucket, "key": _bytes(key), "file": file, "size": size, "md5": md5}
        row |= {"modified": modified, "headers": json.dumps(dict(headers or {})), "crc64": crc64}
        try:
            with self._database.transaction():
                old = self._row(bucket, key)
                self._database.insert("objects", row, conflict="REPLACE")
        except BaseException:
            (self._objects / file).unlink(missing_ok=True)
            raise
        self._unlink(old)
        return StoredObject(key, self._objects / file, size, md5, modified, dict(headers or {}), crc64)

    def get(self, bucket: str, key: str) -> StoredObject | None:
        """Return an object, or ``None``."""
        row = self._row(bucket, key)
        return None if row is None else self._object(row)

    def scan(self, bucket: str, low: bytes, prefix: str, limit: int) -> list[StoredObject]:
        """Return the first ``limit`` objects under a prefix whose keys, as bytes, are not before ``low``."""
        start = _bytes(prefix)
        where = {"bucket": bucket, "key >=": max(low, start), "key <": after_prefix(start)}
        rows = self._database.select(_Row, "objects", where, order="key", limit=limit)
        return [self._object(row) for row in rows]

    def delete(self, bucket: str, key: str) -> bool:
        """Delete an object; return whether there was one."""
        with self._database.transaction():
            old = self._row(bucket, key)
            self._database.delete("objects", {"bucket": bucket, "key": _bytes(key)})
        self._unlink(old)
        return old is not None

    def _row(self, bucket: str, key: str) -> _Row | None:
        return self._database.first(_Row, "objects", {"bucket": bucket, "key": _bytes(key)})

    def _object(self, row: _Row) -> StoredObject:
        key, path = row.key.decode(errors="surrogateescape"), self._objects / row.file
        headers = json.loads(row.headers)
        return StoredObject(key, path, row.size, row.md5, row.modified, headers, row.crc64)

    def _unlink(self, row: _Row | None) -> None:
        if row is not None:
            (self._objects / row.file).unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove what a killed emulator left behind: unfinished uploads, contents that no row points to."""
        known = {row["file"] for row in self._database.rows("SELECT file FROM objects")}
        for path in [*own_files(self._incoming), *own_files(self._objects)]:
            if path.parent == self._incoming or path.name not in known:
                path.unlink()

    def _add_missing_crcs(self) -> None:
        """Compute them for the objects of a folder whose emulator did not keep them yet."""
        with self._database.transaction():
            columns = [row["name"] for row in self._database.rows("PRAGMA table_info(objects)")]
            if "crc64" not in columns:
                self._database.execute("ALTER TABLE objects ADD COLUMN crc64 TEXT")
            for row in self._database.rows("SELECT file FROM objects WHERE crc64 IS NULL"):
                path = self._objects / row["file"]
                crc64 = crc64_of(path) if path.exists() else ""
                self._database.update("objects", {"crc64": crc64}, {"file": row["file"]})


def after_prefix(prefix: bytes) -> bytes | None:
    """Return the first key that comes after all keys with a prefix, ``None`` if all keys have it."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


def _bytes(key: str) -> bytes:
    """Keys are bytes: two that differ only in undecodable ones are different keys."""
    return key.encode(errors="surrogateescape")
