"""COS objects in a folder.

An object's content is a file with a random name, so that no key can name a path. Key, size, checksums and
headers are rows in the database. New content is complete on disk before the row names it, and readers of the
old content keep its file open.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fastcrc import crc64

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.objects.data_folder import INCOMING, OBJECTS, own_files

MAX_KEY_BYTES = 850  # 436/13324

_BLOCK_BYTES = 1024**2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, md5 TEXT NOT NULL,
    modified REAL NOT NULL, headers TEXT NOT NULL, crc64 TEXT, PRIMARY KEY (bucket, key)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object.

    :param path: the file with its content.
    :param md5: in hex.
    :param modified: in Unix seconds.
    :param headers: sent in responses with the object.
    :param crc64: in decimal.
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

    def make_incoming_path(self) -> Path:
        """Return a new path for content that is being written; then :meth:`put` it, or unlink it."""
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
        """Make a file the content of a key; the file is moved away."""
        row = _Row(
            key=_to_bytes(key),
            file=uuid.uuid4().hex,
            size=content.stat().st_size,
            md5=md5,
            modified=modified,
            headers=json.dumps(dict(headers or {})),
            crc64=crc64_of(content),
        )
        content.replace(self._objects / row.file)
        try:
            with self._database.transaction():
                old = self._row(bucket, key)
                self._database.insert("objects", {"bucket": bucket, **asdict(row)}, conflict="REPLACE")
        except BaseException:
            self._unlink(row)
            raise
        self._unlink(old)
        return self._to_object(row)

    def get(self, bucket: str, key: str) -> StoredObject | None:
        """Return an object, or ``None``."""
        row = self._row(bucket, key)
        return None if row is None else self._to_object(row)

    def scan(self, bucket: str, first_key: bytes, prefix: str, limit: int) -> list[StoredObject]:
        """Return the first objects under a prefix whose keys, as bytes, are not before ``first_key``."""
        start = _to_bytes(prefix)
        where = {"bucket": bucket, "key >=": max(first_key, start), "key <": after_prefix(start)}
        rows = self._database.select(_Row, "objects", where, order="key", limit=limit)
        return [self._to_object(row) for row in rows]

    def delete(self, bucket: str, key: str) -> bool:
        """Delete an object; return whether there was one."""
        with self._database.transaction():
            old = self._row(bucket, key)
            self._database.delete("objects", {"bucket": bucket, "key": _to_bytes(key)})
        self._unlink(old)
        return old is not None

    def _row(self, bucket: str, key: str) -> _Row | None:
        return self._database.first(_Row, "objects", {"bucket": bucket, "key": _to_bytes(key)})

    def _to_object(self, row: _Row) -> StoredObject:
        key, path = row.key.decode(errors="surrogateescape"), self._objects / row.file
        headers = json.loads(row.headers)
        return StoredObject(key, path, row.size, row.md5, row.modified, headers, row.crc64)

    def _unlink(self, row: _Row | None) -> None:
        if row is not None:
            (self._objects / row.file).unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove files that a killed emulator left: unfinished uploads, and contents that no row names."""
        known = {row["file"] for row in self._database.rows("SELECT file FROM objects")}
        for path in [*own_files(self._incoming), *own_files(self._objects)]:
            if path.parent == self._incoming or path.name not in known:
                path.unlink()

    def _add_missing_crcs(self) -> None:
        """Compute the checksums of objects in the folder of an earlier version, which did not store them."""
        with self._database.transaction():
            columns = [row["name"] for row in self._database.rows("PRAGMA table_info(objects)")]
            if "crc64" not in columns:
                self._database.execute("ALTER TABLE objects ADD COLUMN crc64 TEXT")
            for row in self._database.rows("SELECT file FROM objects WHERE crc64 IS NULL"):
                path = self._objects / row["file"]
                checksum = crc64_of(path) if path.exists() else ""
                self._database.update("objects", {"crc64": checksum}, {"file": row["file"]})


def crc64_of(path: Path) -> str:
    """Return a file's CRC-64 (ECMA-182, as XZ computes it) as COS writes it (436/40334): a decimal number."""
    value = crc64.xz(b"")
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            value = crc64.xz(block, value)
    return str(value)


def after_prefix(prefix: bytes) -> bytes | None:
    """Return the first key after all keys with a prefix, ``None`` if no key can be after them."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


def _to_bytes(key: str) -> bytes:
    """Return a key as bytes: keys that differ only in undecodable bytes are different keys."""
    return key.encode(errors="surrogateescape")
