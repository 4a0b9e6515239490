"""Uploads in parts: initiate (436/7746), part (436/7750), complete (436/7742), abort (436/7740), parts that
are there (436/7747), uploads that are open (436/7736). Tencent's Python SDK needs them for large files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.service_errors import ServiceError
from tencent_ci_emulator.http.xml import Element, XMLError, build, parse
from tencent_ci_emulator.objects.data_folder import PARTS, own_files
from tencent_ci_emulator.objects.listing import instant, max_of
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject

_MAX_PARTS = 10_000
_MIN_PART_BYTES = 1024**2
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
    """One upload that has begun: ``key`` percent-encoded, ``headers`` those of the object as JSON."""

    id: str
    bucket: str
    key: str
    initiated: float
    headers: str

    @property
    def object_key(self) -> str:
        """The key of the object that is uploaded."""
        return _unescape(self.key)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an upload."""

    upload_id: str
    number: int
    file: str
    size: int
    md5: str
    modified: float


class UploadStore:
    """Uploads in parts. Parts are files of random names, complete on disk before their row is there."""

    def __init__(self, database: Database, objects: ObjectStore, folder: Path) -> None:
        self._database = database
        self._objects = objects
        self._folder = folder / PARTS
        self._folder.mkdir(exist_ok=True)
        database.create(_SCHEMA)
        known = {part.file for part in database.select(Part, "upload_parts", {})}
        for path in own_files(self._folder):
            if path.name not in known:
                path.unlink()

    def begin(self, bucket: str, key: str, headers: Mapping[str, str], now: float) -> str:
        """Begin an upload; return its id."""
        upload_id = uuid.uuid4().hex
        row = {"id": upload_id, "bucket": bucket, "key": _escape(key), "initiated": now}
        self._database.insert("uploads", row | {"headers": json.dumps(dict(headers))})
        return upload_id

    def get(self, bucket: str, key: str, upload_id: str) -> Upload:
        """Return an upload.

        :raises ServiceError: 404, there is none of this id for the key.
        """
        where = {"id": _escape(upload_id), "bucket": bucket, "key": _escape(key)}
        upload = self._database.first(Upload, "uploads", where)
        if upload is None:
            raise _no_such_upload()
        return upload

    def put(self, upload: Upload, number: int, content: Path, md5: str, now: float) -> None:
        """Make a file, which is moved away, a part; a part of the same number is replaced."""
        name, size = uuid.uuid4().hex, content.stat().st_size
        content.replace(self._folder / name)
        row = {"upload_id": upload.id, "number": number}
        with self._database.transaction():
            old = self._database.select(Part, "upload_parts", row)
            row |= {"file": name, "size": size, "md5": md5, "modified": now}
            self._database.insert("upload_parts", row, conflict="REPLACE")
        self._unlink(old)

    def parts(self, upload: Upload) -> list[Part]:
        """Return the parts that are there, in order."""
        return self._database.select(Part, "upload_parts", {"upload_id": upload.id}, order="number")

    def complete(self, upload: Upload, body: bytes, now: float) -> StoredObject:
        """Put the parts that the body lists together to an object.

        :raises ServiceError: the list is not in order, or names parts that are not there.
        """
        parts = self._chosen(upload, body)
        path = self._objects.incoming()
        try:
            with path.open("wb") as target:
                for part in parts:
                    with (self._folder / part.file).open("rb") as file:
                        shutil.copyfileobj(file, target, 1024**2)
            sums = b"".join(bytes.fromhex(part.md5) for part in parts)
            md5 = f"{hashlib.md5(sums, usedforsecurity=False).hexdigest()}-{len(parts)}"
            headers = json.loads(upload.headers)
            stored = self._objects.put(
                upload.bucket, upload.object_key, path, md5=md5, modified=now, headers=headers
            )
        except FileNotFoundError:  # another request has completed or aborted it meanwhile
            raise _no_such_upload() from None
        finally:
            path.unlink(missing_ok=True)
        self.abort(upload)
        return stored

    def abort(self, upload: Upload) -> None:
        """End an upload and delete its parts."""
        with self._database.transaction():
            parts = self.parts(upload)
            self._database.delete("upload_parts", {"upload_id": upload.id})
            self._database.delete("uploads", {"id": upload.id})
        self._unlink(parts)

    def open_uploads(self, bucket: str, prefix: str) -> list[Upload]:
        """Return the uploads of a bucket that have not ended, by key."""
        uploads = self._database.select(Upload, "uploads", {"bucket": bucket}, order="key, initiated")
        return [upload for upload in uploads if upload.object_key.startswith(prefix)]

    def _unlink(self, parts: Iterable[Part]) -> None:
        for part in parts:
            (self._folder / part.file).unlink(missing_ok=True)

    def _chosen(self, upload: Upload, body: bytes) -> list[Part]:
        there = {part.number: part for part in self.parts(upload)}
        asked = _read_asked_parts(body)
        if [number for number, _ in asked] != sorted({number for number, _ in asked}):
            raise ServiceError(400, "InvalidPartOrder", "the parts are not in ascending order")
        for number, etag in asked:
            if number not in there or there[number].md5 != etag:
                raise ServiceError(400, "InvalidPart", f"part {number} was not uploaded with this ETag")
        small = [number for number, _ in asked[:-1] if there[number].size < _MIN_PART_BYTES]
        if small:
            message = f"part {small[0]} has less than {_MIN_PART_BYTES} bytes"
            raise ServiceError(400, "EntityTooSmall", message)
        return [there[number] for number, _ in asked]


def part_number(text: str | None) -> int:
    """Return a part's number.

    :raises ServiceError: it is not from 1 to 10,000.
    """
    if text and text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= _MAX_PARTS:
        return int(text)
    raise ServiceError(400, "InvalidArgument", f"partNumber is {text!r}, allowed: 1 to {_MAX_PARTS}")


def describe_initiated(bucket: str, key: str, upload_id: str) -> Element:
    """Return the document that names a new upload."""
    content = {"Bucket": bucket, "Key": _printable(key), "UploadId": upload_id}
    return build("InitiateMultipartUploadResult", content)


def describe_completed(location: str, bucket: str, stored: StoredObject) -> Element:
    """Return the document that describes the object that came of an upload."""
    content = {
        "Location": quote(location.encode(errors="surrogateescape"), safe="/:."),
        "Bucket": bucket,
        "Key": _printable(stored.key),
        "ETag": stored.etag,
    }
    return build("CompleteMultipartUploadResult", content)


def list_parts(upload: Upload, parts: list[Part], params: Mapping[str, str]) -> Element:
    """Return a page of the parts of an upload."""
    most, marker = max_of(params.get("max-parts"), "max-parts"), params.get("part-number-marker", "0")
    after = int(marker) if marker.isascii() and marker.isdigit() and len(marker) < 6 else 0
    left = [part for part in parts if part.number > after]
    page, is_truncated = left[:most], len(left) > most
    owner = {name: upload.bucket.rpartition("-")[2] for name in ("ID", "DisplayName")}
    is_encoded = params.get("encoding-type") == "url"
    content = {
        "Bucket": upload.bucket,
        "EncodingType": "url" if is_encoded else None,
        "Key": upload.key if is_encoded else _printable(upload.object_key),
        "UploadId": upload.id,
        "Initiator": owner,
        "Owner": owner,
        "StorageClass": "STANDARD",
        "PartNumberMarker": after,
        "MaxParts": most,
        "NextPartNumberMarker": page[-1].number if is_truncated and page else None,
        "IsTruncated": "true" if is_truncated else "false",
        "Part": [
            {
                "PartNumber": part.number,
                "LastModified": instant(part.modified),
                "ETag": f'"{part.md5}"',
                "Size": part.size,
            }
            for part in page
        ],
    }
    return build("ListPartsResult", content)


def list_uploads(bucket: str, uploads: list[Upload], params: Mapping[str, str]) -> Element:
    """Return the uploads that are open; at most 1,000, and no further pages."""
    is_encoded, prefix = params.get("encoding-type") == "url", params.get("prefix", "")
    most = max_of(params.get("max-uploads"), "max-uploads")
    content = {
        "Bucket": bucket,
        "EncodingType": "url" if is_encoded else None,
        "Prefix": _escape(prefix) if is_encoded else _printable(prefix),
        "MaxUploads": most,
        "IsTruncated": "false",
        "Upload": [
            {
                "Key": upload.key if is_encoded else _printable(upload.object_key),
                "UploadId": upload.id,
                "StorageClass": "STANDARD",
                "Initiated": instant(upload.initiated),
            }
            for upload in uploads[:most]
        ],
    }
    return build("ListMultipartUploadsResult", content)


def _no_such_upload() -> ServiceError:
    return ServiceError(404, "NoSuchUpload", "the upload does not exist, was completed or aborted")


def _read_asked_parts(body: bytes) -> list[tuple[int, str]]:
    try:
        root = parse(body)
    except XMLError as error:
        raise ServiceError(400, "MalformedXML", str(error)) from None
    asked = [
        (part_number(part.findtext("PartNumber")), (part.findtext("ETag") or "").strip().strip('"'))
        for part in root.iterfind("Part")
    ]
    if not asked:
        raise ServiceError(400, "MalformedXML", "no Part is named")
    return asked


def _printable(key: str) -> str:
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in key)


def _escape(key: str) -> str:
    return quote(key.encode(errors="surrogateescape"), safe="/")


def _unescape(key: str) -> str:
    return unquote(key, errors="surrogateescape")
