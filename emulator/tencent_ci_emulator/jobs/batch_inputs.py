"""What a batch job works on: the keys under a prefix, in an inventory (436/33703), or in a list of URLs."""

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
from tencent_ci_emulator.objects.names import is_object_key
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject

#: The elements of ``Input``, of which a batch job has exactly one
INPUT_KINDS = ("Manifest", "UrlFile", "Prefix", "Object")

_COS_HOST = re.compile(r"(?P<bucket>[a-z0-9-]+)\.cos\.[a-z0-9-]+\.(?:myqcloud\.com|tencentcos\.cn)(?::\d+)?")
_MAX_MANIFEST_BYTES = 8 * 1024 * 1024
_MAX_LINE = 16 * 1024
_SCAN = 1000


class UnreadableInputError(Exception):
    """The list of inputs cannot be read: the batch job ends ``Failed`` with this ``Code`` and text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class UploadTimes:
    """Only objects uploaded from ``start`` to ``end``, in Unix seconds, are taken; ``None``: any."""

    start: float | None
    end: float | None

    def take(self, stored: StoredObject) -> bool:
        """Return whether an object was uploaded within them. Times are given in whole seconds."""
        second = int(stored.modified)
        return (self.start is None or second >= self.start) and (self.end is None or second <= self.end)


def upload_times(request: Element) -> UploadTimes:
    """Return the interval of a request.

    :raises ServiceError: a time cannot be read.
    """
    start, end = (text_of(request, f"Operation/TimeInterval/{name}") for name in ("Start", "End"))
    at = "Operation.TimeInterval"
    # 0 is the documented default
    return UploadTimes(read_time(f"{at}.Start", None if start == "0" else start), read_time(f"{at}.End", end))


def input_keys(request: Element, bucket: str, created: float, objects: ObjectStore) -> Iterator[str]:
    """Yield the keys to be worked on, in order, as lazily as they can be read.

    An object of a prefix that came after the batch job, such as one of its own results, is not taken.

    :raises UnreadableInputError: while iterating.
    """
    given, times = request.find("Input"), upload_times(request)
    prefix = request.findtext("Input/Prefix")
    if prefix is not None:
        for stored in under_prefix(objects, bucket, prefix):
            if times.take(stored) and stored.modified <= created and is_object_key(stored.key):
                yield stored.key
        return
    for key in _listed(given, bucket, objects):
        found = objects.get(bucket, key) if is_object_key(key) else None
        # One that does not exist becomes a job too, which fails and says so
        if is_object_key(key) and (found is None or times.take(found)):
            yield key


def under_prefix(objects: ObjectStore, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """Yield the objects under a prefix in the order of their keys."""
    low = prefix
    while True:
        page = objects.scan(bucket, low.encode(errors="surrogateescape"), prefix, _SCAN)
        yield from page
        if len(page) < _SCAN:
            return
        low = page[-1].key + "\0"


def _listed(given: Element | None, bucket: str, objects: ObjectStore) -> Iterator[str]:
    key, url_file = text_of(given, "Object"), text_of(given, "UrlFile")
    if key is not None:
        yield key
    elif url_file is not None:
        for line in _lines(_list_file(objects, bucket, url_file, "UrlFile")):
            key = key_of(line.strip(), bucket)
            if key:
                yield key
    else:
        yield from _inventory(objects, bucket, text_of(given, "Manifest") or "")


def key_of(text: str, bucket: str) -> str | None:
    """Return the key that a URL, or a bare key, means; ``None`` for a URL into another bucket."""
    if not re.match("https?://", text):
        return text
    parts = urlsplit(text)
    host = _COS_HOST.fullmatch(parts.netloc.lower())
    if host is not None and host["bucket"] != bucket:
        return None
    return unquote(parts.path.removeprefix("/"))


def _list_file(objects: ObjectStore, bucket: str, named: str, field: str) -> StoredObject:
    key = key_of(named, bucket)
    stored = objects.get(bucket, key.removeprefix("/")) if key else None
    if stored is None:
        raise UnreadableInputError("ResourceNotFound", f"Input.{field} {named} does not exist in {bucket}")
    return stored


def _lines(stored: StoredObject) -> Iterator[str]:
    try:
        with stored.path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            source: Any = gzip.GzipFile(fileobj=file) if packed else file
            with io.TextIOWrapper(source, "utf-8", newline=None) as text:
                while line := text.readline(_MAX_LINE):
                    yield line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UnreadableInputError(
            "ResourceNotSupported", f"{stored.key} cannot be read: {type(error).__name__}"
        ) from None


def _inventory(objects: ObjectStore, bucket: str, named: str) -> Iterator[str]:
    manifest = _manifest(_list_file(objects, bucket, named, "Manifest"))
    try:
        columns = [name.strip() for name in manifest["fileSchema"].split(",")]
        places = columns.index("Bucket"), columns.index("Key")
        names = [str(one["key"]) for one in manifest["files"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UnreadableInputError(
            "ResourceNotSupported", f"{named} is not an inventory's manifest of CSV files"
        ) from None
    for name in names:
        yield from _rows(_list_file(objects, bucket, name, "Manifest's file"), places, bucket)


def _manifest(stored: StoredObject) -> Any:
    if stored.size > _MAX_MANIFEST_BYTES:
        raise UnreadableInputError("ResourceNotSupported", f"{stored.key} is too large for a manifest")
    try:
        return json.loads(stored.path.read_bytes())
    except (OSError, ValueError):
        raise UnreadableInputError("ResourceNotSupported", f"{stored.key} is not JSON") from None


def _rows(stored: StoredObject, places: tuple[int, int], bucket: str) -> Iterator[str]:
    of_bucket, of_key = places
    short = bucket.rpartition("-")[0]  # an inventory has the APPID in a column of its own
    try:
        for row in csv.reader(_lines(stored)):
            if len(row) > max(places) and row[of_bucket].strip() in (bucket, short):
                yield unquote(row[of_key])
    except csv.Error:
        raise UnreadableInputError("ResourceNotSupported", f"{stored.key} is not CSV") from None
