"""COS objects in a folder.

An object's content is a file with a random name, so that no key can name a path; key, size, MD5 and headers
are rows in the database. A new content is complete on disk before the row points to it, and readers keep the
old one open.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


class ObjectStore:
    """Objects by bucket and key. Safe to use from several threads."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._objects = folder / OBJECTS
        self._incoming = folder / INCOMING
        self._objects.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(exist_ok=True)
        with database.transaction() as connection:
            connection.execute(_SCHEMA)
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
        name = uuid.uuid4().hex
        stored = StoredObject(
            key,
            self._objects / name,
            content.stat().st_size,
            md5,
            modified,
            dict(headers or {}),
            crc64_of(content),
        )
        content.replace(stored.path)
        try:
            with self._database.transaction() as connection:
                old = self._row(bucket, key)
                connection.execute(
                    "INSERT OR REPLACE INTO objects (bucket, key, file, size, md5, modified, headers, crc64)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        bucket,
                        _bytes(key),
                        name,
                        stored.size,
                        md5,
                        modified,
                        json.dumps(dict(stored.headers)),
                        stored.crc64,
                    ),
                )
        except BaseException:
            stored.path.unlink(missing_ok=True)
            raise
        self._unlink(old)
        return stored

    def get(self, bucket: str, key: str) -> StoredObject | None:
        """Return an object, or ``None``."""
        row = self._row(bucket, key)
        return None if row is None else self._object(row)

    def scan(self, bucket: str, low: bytes, prefix: str, limit: int) -> list[StoredObject]:
        """Return the first ``limit`` objects under a prefix whose keys, as bytes, are not before ``low``."""
        start = _bytes(prefix)
        end = after_prefix(start)
        rows = self._database.rows(
            "SELECT * FROM objects WHERE bucket = ? AND key >= ? AND (? IS NULL OR key < ?)"
            " ORDER BY key LIMIT ?",
            (bucket, max(low, start), end, end, limit),
        )
        return [self._object(row) for row in rows]

    def delete(self, bucket: str, key: str) -> bool:
        """Delete an object; tell whether there was one."""
        with self._database.transaction() as connection:
            old = self._row(bucket, key)
            connection.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, _bytes(key)))
        self._unlink(old)
        return old is not None

    def _row(self, bucket: str, key: str) -> sqlite3.Row | None:
        return self._database.row("SELECT * FROM objects WHERE bucket = ? AND key = ?", (bucket, _bytes(key)))

    def _object(self, row: sqlite3.Row) -> StoredObject:
        key, path = row["key"].decode(errors="surrogateescape"), self._objects / row["file"]
        return StoredObject(
            key, path, row["size"], row["md5"], row["modified"], json.loads(row["headers"]), row["crc64"]
        )

    def _unlink(self, row: Any) -> None:
        if row is not None:
            (self._objects / row["file"]).unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove what a killed emulator left behind: unfinished uploads, contents that no row points to."""
        known = {row["file"] for row in self._database.rows("SELECT file FROM objects")}
        for path in [*own_files(self._incoming), *own_files(self._objects)]:
            if path.parent == self._incoming or path.name not in known:
                path.unlink()

    def _add_missing_crcs(self) -> None:
        """Compute them for the objects of a folder whose emulator did not keep them yet."""
        with self._database.transaction() as connection:
            if "crc64" not in [row["name"] for row in connection.execute("PRAGMA table_info(objects)")]:
                connection.execute("ALTER TABLE objects ADD COLUMN crc64 TEXT")
            for (file,) in connection.execute("SELECT file FROM objects WHERE crc64 IS NULL").fetchall():
                path = self._objects / file
                crc = crc64_of(path) if path.exists() else ""
                connection.execute("UPDATE objects SET crc64 = ? WHERE file = ?", (crc, file))


def after_prefix(prefix: bytes) -> bytes | None:
    """Return the first key that comes after all keys with a prefix, ``None`` if all keys have it."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


def _bytes(key: str) -> bytes:
    """Keys are bytes: two that differ only in undecodable ones are different keys."""
    return key.encode(errors="surrogateescape")
