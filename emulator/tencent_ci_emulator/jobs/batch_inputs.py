"""The inputs of a batch job: the keys under a prefix, in an inventory (436/33703), or in a list of URLs.

Not documented, and so decided here: ``Manifest`` and ``UrlFile`` are keys or COS URLs; keys in inventories
are percent-encoded; entries of other buckets are ignored; each key counts once; of a prefix nothing is
taken that came after the batch job, so none of its results.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from tencent_ci_emulator.http.ci_call import read_time
from tencent_ci_emulator.http.xml import Element, text_of
from tencent_ci_emulator.jobs.job_store import JobFailedError
from tencent_ci_emulator.objects.names import is_object_key
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject

#: The elements of ``Input``, of which a batch job has exactly one
INPUT_KINDS = ("Manifest", "UrlFile", "Prefix", "Object")

_COS_HOST = re.compile(r"(?P<bucket>[a-z0-9-]+)\.cos\.[a-z0-9-]+\.(?:myqcloud\.com|tencentcos\.cn)(?::\d+)?")
_MAX_MANIFEST_BYTES = 8 * 1024 * 1024
_MAX_LINE = 16 * 1024
_OBJECTS_TO_A_SCAN = 1000


@dataclass(frozen=True, slots=True)
class UploadTimes:
    """An interval from ``start`` to ``end`` in Unix seconds; ``None``: no limit."""

    start: float | None
    end: float | None

    def include(self, stored: StoredObject) -> bool:
        """Return whether an object was uploaded within the interval, which has whole seconds."""
        second = int(stored.modified)
        return (self.start is None or second >= self.start) and (self.end is None or second <= self.end)


def read_upload_times(request: Element) -> UploadTimes:
    """Return the interval of a request.

    :raises ServiceError: a time cannot be read.
    """
    start, end = (text_of(request, f"Operation/TimeInterval/{name}") for name in ("Start", "End"))
    # 0 is the documented default
    return UploadTimes(
        read_time("Operation.TimeInterval.Start", None if start == "0" else start),
        read_time("Operation.TimeInterval.End", end),
    )


def find_input_keys(request: Element, bucket: str, created: float, objects: ObjectStore) -> Iterator[str]:
    """Yield the keys of the inputs in order, reading no more than is needed.

    An object under a prefix that is younger than the batch job, such as one of its own results, is left out.
    An object that is named and does not exist is yielded: its job fails with that reason.

    :raises JobFailedError: while iterating: a list of inputs cannot be read.
    """
    times, prefix = read_upload_times(request), request.findtext("Input/Prefix")
    if prefix is not None:
        for stored in _scan(objects, bucket, prefix):
            if times.include(stored) and stored.modified <= created and is_object_key(stored.key):
                yield stored.key
        return
    for key in filter(is_object_key, _listed_keys(request.find("Input"), bucket, objects)):
        found = objects.get(bucket, key)
        if found is None or times.include(found):
            yield key


def _scan(objects: ObjectStore, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """Yield the objects under a prefix in the order of their keys."""
    first_key = prefix
    while True:
        page = objects.scan(bucket, first_key.encode(errors="surrogateescape"), prefix, _OBJECTS_TO_A_SCAN)
        yield from page
        if len(page) < _OBJECTS_TO_A_SCAN:
            return
        first_key = page[-1].key + "\0"


def _listed_keys(job_input: Element | None, bucket: str, objects: ObjectStore) -> Iterator[str]:
    key, url_file = text_of(job_input, "Object"), text_of(job_input, "UrlFile")
    if key is not None:
        yield key
    elif url_file is not None:
        for line in _lines(_find_list(objects, bucket, url_file, "UrlFile")):
            key = key_of(line.strip(), bucket)
            if key:
                yield key
    else:
        yield from _inventory_keys(objects, bucket, text_of(job_input, "Manifest") or "")


def key_of(text: str, bucket: str) -> str | None:
    """Return the key that a URL, or a bare key, names; ``None`` for a URL of another bucket, or for none."""
    if not re.match("https?://", text):
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    host = _COS_HOST.fullmatch(parts.netloc.lower())
    if host is not None and host["bucket"] != bucket:
        return None
    return unquote(parts.path.removeprefix("/"))


def _find_list(objects: ObjectStore, bucket: str, name: str, field: str) -> StoredObject:
    key = key_of(name, bucket)
    stored = objects.get(bucket, key.removeprefix("/")) if key else None
    if stored is None:
        raise JobFailedError("ResourceNotFound", f"Input.{field} {name} does not exist in {bucket}")
    return stored


def _lines(stored: StoredObject) -> Iterator[str]:
    """Yield the lines of a text, which may be compressed by gzip."""
    try:
        with stored.path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            source: Any = gzip.GzipFile(fileobj=file) if is_gzip else file
            with io.TextIOWrapper(source, "utf-8", newline=None) as text:
                while line := text.readline(_MAX_LINE):
                    yield line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise _unreadable(f"{stored.key} cannot be read: {type(error).__name__}") from None


def _inventory_keys(objects: ObjectStore, bucket: str, name: str) -> Iterator[str]:
    manifest = _read_manifest(_find_list(objects, bucket, name, "Manifest"))
    try:
        columns = [column.strip() for column in manifest["fileSchema"].split(",")]
        bucket_column, key_column = columns.index("Bucket"), columns.index("Key")
        files = [str(file["key"]) for file in manifest["files"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _unreadable(f"{name} is not an inventory's manifest of CSV files") from None
    own_names = (bucket, bucket.rpartition("-")[0])  # an inventory may have the APPID in another column
    for file in files:
        stored = _find_list(objects, bucket, file, "Manifest's file")
        try:
            for row in csv.reader(_lines(stored)):
                is_complete = len(row) > max(bucket_column, key_column)
                if is_complete and row[bucket_column].strip() in own_names:
                    yield unquote(row[key_column])
        except csv.Error:
            raise _unreadable(f"{stored.key} is not CSV") from None


def _read_manifest(stored: StoredObject) -> Any:
    if stored.size > _MAX_MANIFEST_BYTES:
        raise _unreadable(f"{stored.key} is too large for a manifest")
    try:
        return json.loads(stored.path.read_bytes())
    except (OSError, ValueError):
        raise _unreadable(f"{stored.key} is not JSON") from None


def _unreadable(message: str) -> JobFailedError:
    return JobFailedError("ResourceNotSupported", message)
