"""Uploads in parts: initiate (436/7746), part (436/7750), complete (436/7742), abort (436/7740), list parts
(436/7747), list unfinished uploads (436/7736). Tencent's Python SDK uses them for large files.
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
from tencent_ci_emulator.http.errors import ServiceError, invalid_argument
from tencent_ci_emulator.http.rules import read_number
from tencent_ci_emulator.http.xml import Element, XMLError, build, parse, printable
from tencent_ci_emulator.objects.data_folder import PARTS, own_files
from tencent_ci_emulator.objects.listing import format_time, read_max
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
    """One unfinished upload: ``key`` percent-encoded, ``headers`` of the object as JSON."""

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
    """Uploads in parts. Parts are files with random names, complete on disk before their row exists."""

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
        """Make a file a part; the file is moved away, and a part of the same number is replaced."""
        name, size = uuid.uuid4().hex, content.stat().st_size
        content.replace(self._folder / name)
        row = {"upload_id": upload.id, "number": number}
        with self._database.transaction():
            old = self._database.select(Part, "upload_parts", row)
            row |= {"file": name, "size": size, "md5": md5, "modified": now}
            self._database.insert("upload_parts", row, conflict="REPLACE")
        self._unlink(old)

    def parts(self, upload: Upload) -> list[Part]:
        """Return the stored parts, in order."""
        return self._database.select(Part, "upload_parts", {"upload_id": upload.id}, order="number")

    def complete(self, upload: Upload, body: bytes, now: float) -> StoredObject:
        """Join the parts that the body lists to an object.

        :raises ServiceError: the list is not in order, or names parts that do not exist.
        """
        parts = self._find_listed_parts(upload, body)
        path = self._objects.make_incoming_path()
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

    def list_unfinished(self, bucket: str, prefix: str) -> list[Upload]:
        """Return the unfinished uploads of a bucket, ordered by key."""
        uploads = self._database.select(Upload, "uploads", {"bucket": bucket}, order="key, initiated")
        return [upload for upload in uploads if upload.object_key.startswith(prefix)]

    def _unlink(self, parts: Iterable[Part]) -> None:
        for part in parts:
            (self._folder / part.file).unlink(missing_ok=True)

    def _find_listed_parts(self, upload: Upload, body: bytes) -> list[Part]:
        stored = {part.number: part for part in self.parts(upload)}
        listed = _read_list_of_parts(body)
        numbers = [number for number, _ in listed]
        if numbers != sorted(set(numbers)):
            raise ServiceError(400, "InvalidPartOrder", "the parts are not in ascending order")
        for number, etag in listed:
            if number not in stored or stored[number].md5 != etag:
                raise ServiceError(400, "InvalidPart", f"part {number} was not uploaded with this ETag")
        for number in numbers[:-1]:
            if stored[number].size < _MIN_PART_BYTES:
                message = f"part {number} has less than {_MIN_PART_BYTES} bytes"
                raise ServiceError(400, "EntityTooSmall", message)
        return [stored[number] for number in numbers]


def read_part_number(text: str | None) -> int:
    """Return a part's number.

    :raises ServiceError: it is not from 1 to 10,000.
    """
    number = read_number(text)
    if number is None or not 1 <= number <= _MAX_PARTS:
        raise invalid_argument(f"partNumber is {text!r}, allowed: 1 to {_MAX_PARTS}")
    return number


def describe_initiated(bucket: str, key: str, upload_id: str) -> Element:
    """Return the document that names a new upload."""
    content = {"Bucket": bucket, "Key": printable(key), "UploadId": upload_id}
    return build("InitiateMultipartUploadResult", content)


def describe_completed(location: str, bucket: str, stored: StoredObject) -> Element:
    """Return the document that describes the object of a completed upload."""
    content = {
        "Location": quote(location.encode(errors="surrogateescape"), safe="/:."),
        "Bucket": bucket,
        "Key": printable(stored.key),
        "ETag": stored.etag,
    }
    return build("CompleteMultipartUploadResult", content)


def list_parts(upload: Upload, parts: list[Part], params: Mapping[str, str]) -> Element:
    """Return the document that lists a page of the parts of an upload."""
    most, marker = read_max(params.get("max-parts"), "max-parts"), params.get("part-number-marker")
    after = read_number(marker) or 0
    parts = [part for part in parts if part.number > after]
    page, is_truncated = parts[:most], len(parts) > most
    owner = {name: upload.bucket.rpartition("-")[2] for name in ("ID", "DisplayName")}
    is_encoded = params.get("encoding-type") == "url"
    content = {
        "Bucket": upload.bucket,
        "EncodingType": "url" if is_encoded else None,
        "Key": upload.key if is_encoded else printable(upload.object_key),
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
                "LastModified": format_time(part.modified),
                "ETag": f'"{part.md5}"',
                "Size": part.size,
            }
            for part in page
        ],
    }
    return build("ListPartsResult", content)


def list_uploads(bucket: str, uploads: list[Upload], params: Mapping[str, str]) -> Element:
    """Return the document that lists unfinished uploads; at most 1,000, without further pages."""
    is_encoded, prefix = params.get("encoding-type") == "url", params.get("prefix", "")
    most = read_max(params.get("max-uploads"), "max-uploads")
    content = {
        "Bucket": bucket,
        "EncodingType": "url" if is_encoded else None,
        "Prefix": _escape(prefix) if is_encoded else printable(prefix),
        "MaxUploads": most,
        "IsTruncated": "false",
        "Upload": [
            {
                "Key": upload.key if is_encoded else printable(upload.object_key),
                "UploadId": upload.id,
                "StorageClass": "STANDARD",
                "Initiated": format_time(upload.initiated),
            }
            for upload in uploads[:most]
        ],
    }
    return build("ListMultipartUploadsResult", content)


def _no_such_upload() -> ServiceError:
    return ServiceError(404, "NoSuchUpload", "the upload does not exist, was completed or aborted")


def _read_list_of_parts(body: bytes) -> list[tuple[int, str]]:
    try:
        root = parse(body)
    except XMLError as error:
        raise ServiceError(400, "MalformedXML", str(error)) from None
    listed = [
        (read_part_number(part.findtext("PartNumber")), (part.findtext("ETag") or "").strip().strip('"'))
        for part in root.iterfind("Part")
    ]
    if not listed:
        raise ServiceError(400, "MalformedXML", "there is no Part")
    return listed


def _escape(key: str) -> str:
    return quote(key.encode(errors="surrogateescape"), safe="/")


def _unescape(key: str) -> str:
    return unquote(key, errors="surrogateescape")
