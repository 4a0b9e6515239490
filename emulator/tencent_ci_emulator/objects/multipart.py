"""Uploads in parts: initiate (436/7746), part (436/7750), complete (436/7742), abort (436/7740), parts that
are there (436/7747), uploads that are open (436/7736). Tencent's Python SDK needs them for large files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from lxml import etree

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.service_errors import ServiceFault
from tencent_ci_emulator.http.xml import XMLError, parse, to_bytes
from tencent_ci_emulator.objects.data_folder import PARTS, own_files
from tencent_ci_emulator.objects.listing import instant, max_of
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject

MAX_PARTS = 10_000
MIN_PART_BYTES = 1024**2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, initiated REAL NOT NULL, headers TEXT NOT
    NULL );
CREATE TABLE IF NOT EXISTS upload_parts (
    upload_id TEXT NOT NULL, number INTEGER NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, md5 TEXT NOT
    NULL, modified REAL NOT NULL, PRIMARY KEY (upload_id, number) )
"""


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload that has begun."""

    id: str
    bucket: str
    key: str
    headers: Mapping[str, str]


class UploadStore:
    """Uploads in parts. Parts are files of random names, complete on disk before their row is there."""

    def __init__(self, database: Database, objects: ObjectStore, folder: Path) -> None:
        self._database = database
        self._objects = objects
        self._folder = folder / PARTS
        self._folder.mkdir(exist_ok=True)
        with database.transaction() as connection:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
        known = {row["file"] for row in database.rows("SELECT file FROM upload_parts")}
        for path in own_files(self._folder):
            if path.name not in known:
                path.unlink()

    def begin(self, bucket: str, key: str, headers: Mapping[str, str], now: float) -> str:
        """Begin an upload; return its id."""
        upload_id = uuid.uuid4().hex
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?)",
                (upload_id, bucket, _escaped(key), now, json.dumps(dict(headers))),
            )
        return upload_id

    def get(self, bucket: str, key: str, upload_id: str) -> Upload:
        """Return an upload.

        :raises ServiceFault: 404, there is none of this id for the key.
        """
        row = self._database.row(
            "SELECT * FROM uploads WHERE id = ? AND bucket = ? AND key = ?",
            (_escaped(upload_id), bucket, _escaped(key)),
        )
        if row is None:
            raise _no_such_upload()
        return Upload(upload_id, bucket, key, json.loads(row["headers"]))

    def put(self, upload: Upload, number: int, content: Path, md5: str, now: float) -> None:
        """Make a file, which is moved away, a part; a part of the same number is replaced."""
        name = uuid.uuid4().hex
        size = content.stat().st_size
        content.replace(self._folder / name)
        with self._database.transaction() as connection:
            old = self._part(upload, number)
            connection.execute(
                "INSERT OR REPLACE INTO upload_parts VALUES (?, ?, ?, ?, ?, ?)",
                (upload.id, number, name, size, md5, now),
            )
        self._unlink([old] if old else [])

    def parts(self, upload: Upload) -> list[sqlite3.Row]:
        """Return the parts that are there, in order."""
        query = "SELECT * FROM upload_parts WHERE upload_id = ? ORDER BY number"
        return self._database.rows(query, (upload.id,))

    def complete(self, upload: Upload, body: bytes, now: float) -> StoredObject:
        """Put the parts that the body lists together to an object.

        :raises ServiceFault: the list is not in order, or names parts that are not there.
        """
        parts = self._chosen(upload, body)
        path = self._objects.incoming()
        try:
            with path.open("wb") as whole:
                for part in parts:
                    with (self._folder / part["file"]).open("rb") as file:
                        shutil.copyfileobj(file, whole, 1024**2)
            sums = b"".join(bytes.fromhex(part["md5"]) for part in parts)
            md5 = f"{hashlib.md5(sums, usedforsecurity=False).hexdigest()}-{len(parts)}"
            stored = self._objects.put(
                upload.bucket, upload.key, path, md5=md5, modified=now, headers=upload.headers
            )
        except FileNotFoundError:  # another request has completed or aborted it meanwhile
            raise _no_such_upload() from None
        finally:
            path.unlink(missing_ok=True)
        self.abort(upload)
        return stored

    def abort(self, upload: Upload) -> None:
        """End an upload and delete its parts."""
        with self._database.transaction() as connection:
            parts = self.parts(upload)
            connection.execute("DELETE FROM upload_parts WHERE upload_id = ?", (upload.id,))
            connection.execute("DELETE FROM uploads WHERE id = ?", (upload.id,))
        self._unlink(parts)

    def open_uploads(self, bucket: str, prefix: str) -> list[sqlite3.Row]:
        """Return the uploads of a bucket that have not ended, by key."""
        rows = self._database.rows(
            "SELECT * FROM uploads WHERE bucket = ? ORDER BY key, initiated", (bucket,)
        )
        return [row for row in rows if _unescaped(row["key"]).startswith(prefix)]

    def _part(self, upload: Upload, number: int) -> sqlite3.Row | None:
        query = "SELECT * FROM upload_parts WHERE upload_id = ? AND number = ?"
        return self._database.row(query, (upload.id, number))

    def _unlink(self, parts: Iterable[sqlite3.Row]) -> None:
        for part in parts:
            (self._folder / part["file"]).unlink(missing_ok=True)

    def _chosen(self, upload: Upload, body: bytes) -> list[sqlite3.Row]:
        there = {part["number"]: part for part in self.parts(upload)}
        asked = _asked_parts(body)
        if [number for number, _ in asked] != sorted({number for number, _ in asked}):
            raise ServiceFault(400, "InvalidPartOrder", "the parts are not in ascending order")
        for number, etag in asked:
            if number not in there or there[number]["md5"] != etag:
                raise ServiceFault(400, "InvalidPart", f"part {number} was not uploaded with this ETag")
        small = [number for number, _ in asked[:-1] if there[number]["size"] < MIN_PART_BYTES]
        if small:
            raise ServiceFault(400, "EntityTooSmall", f"part {small[0]} has less than {MIN_PART_BYTES} bytes")
        return [there[number] for number, _ in asked]


def part_number(text: str | None) -> int:
    """Return a part's number.

    :raises ServiceFault: it is not from 1 to 10,000.
    """
    if text and text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_PARTS:
        return int(text)
    raise ServiceFault(400, "InvalidArgument", f"partNumber is {text!r}, allowed: 1 to {MAX_PARTS}")


def initiated(bucket: str, key: str, upload_id: str) -> bytes:
    """Return the body that names a new upload."""
    return _document("InitiateMultipartUploadResult", Bucket=bucket, Key=_carried(key), UploadId=upload_id)


def completed(location: str, bucket: str, stored: StoredObject) -> bytes:
    """Return the body that describes the object that came of an upload."""
    where = quote(location.encode(errors="surrogateescape"), safe="/:.")
    return _document(
        "CompleteMultipartUploadResult",
        Location=where,
        Bucket=bucket,
        Key=_carried(stored.key),
        ETag=stored.etag,
    )


def part_list(upload: Upload, parts: list[sqlite3.Row], params: Mapping[str, str]) -> bytes:
    """Return a page of the parts of an upload."""
    most, marker = max_of(params.get("max-parts"), "max-parts"), params.get("part-number-marker", "0")
    after = int(marker) if marker.isascii() and marker.isdigit() and len(marker) < 6 else 0
    left = [part for part in parts if part["number"] > after]
    page, encoded = left[:most], params.get("encoding-type") == "url"
    root = etree.Element("ListPartsResult")
    _texts(root, Bucket=upload.bucket, **({"EncodingType": "url"} if encoded else {}))
    _texts(root, Key=_escaped(upload.key) if encoded else _carried(upload.key), UploadId=upload.id)
    owner = upload.bucket.rpartition("-")[2]
    for name in ("Initiator", "Owner"):
        _texts(etree.SubElement(root, name), ID=owner, DisplayName=owner)
    _texts(root, StorageClass="STANDARD", PartNumberMarker=after, MaxParts=most)
    if len(left) > most and page:
        _texts(root, NextPartNumberMarker=page[-1]["number"])
    _texts(root, IsTruncated="true" if len(left) > most else "false")
    for part in page:
        _texts(
            etree.SubElement(root, "Part"),
            PartNumber=part["number"],
            LastModified=instant(part["modified"]),
            ETag=f'"{part["md5"]}"',
            Size=part["size"],
        )
    return to_bytes(root)


def upload_list(bucket: str, uploads: list[sqlite3.Row], params: Mapping[str, str]) -> bytes:
    """Return the uploads that are open; at most 1,000, and no further pages."""
    encoded = params.get("encoding-type") == "url"
    most = max_of(params.get("max-uploads"), "max-uploads")
    root = etree.Element("ListMultipartUploadsResult")
    _texts(root, Bucket=bucket, **({"EncodingType": "url"} if encoded else {}))
    prefix = params.get("prefix", "")
    _texts(
        root, Prefix=_escaped(prefix) if encoded else _carried(prefix), MaxUploads=most, IsTruncated="false"
    )
    for upload in uploads[:most]:
        key = upload["key"] if encoded else _carried(_unescaped(upload["key"]))
        _texts(
            etree.SubElement(root, "Upload"),
            Key=key,
            UploadId=upload["id"],
            StorageClass="STANDARD",
            Initiated=instant(upload["initiated"]),
        )
    return to_bytes(root)


def _no_such_upload() -> ServiceFault:
    return ServiceFault(404, "NoSuchUpload", "the upload does not exist, was completed or aborted")


def _asked_parts(body: bytes) -> list[tuple[int, str]]:
    try:
        root = parse(body)
    except XMLError as error:
        raise ServiceFault(400, "MalformedXML", str(error)) from None
    asked = [
        (part_number(part.findtext("PartNumber")), (part.findtext("ETag") or "").strip().strip('"'))
        for part in root.iterfind("Part")
    ]
    if not asked:
        raise ServiceFault(400, "MalformedXML", "no Part is named")
    return asked


def _document(tag: str, **texts: object) -> bytes:
    root = etree.Element(tag)
    _texts(root, **texts)
    return to_bytes(root)


def _texts(parent: etree._Element, **texts: Any) -> None:
    for name, text in texts.items():
        etree.SubElement(parent, name).text = str(text)


def _carried(key: str) -> str:
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in key)


def _escaped(key: str) -> str:
    return quote(key.encode(errors="surrogateescape"), safe="/")


def _unescaped(key: str) -> str:
    return unquote(key, errors="surrogateescape")
