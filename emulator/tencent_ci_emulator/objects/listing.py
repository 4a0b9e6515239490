"""Listing the objects of a bucket: GET Bucket (436/7734)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from lxml import etree

from tencent_ci_emulator.http.service_errors import ServiceFault
from tencent_ci_emulator.http.service_request import Incoming
from tencent_ci_emulator.http.xml import to_bytes
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject, after_prefix

MAX_KEYS = 1000


@dataclass(slots=True)
class _Found:
    """What a page holds, and whether more follows after ``last``."""

    objects: list[StoredObject] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    last: str = ""
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class _Wanted:
    prefix: str
    delimiter: str
    marker: str
    max_keys: int
    encoded: bool


def list_objects(bucket: str, request: Incoming, objects: ObjectStore) -> bytes:
    """Return the body of the answer.

    :raises ServiceFault: a parameter is not allowed.
    """
    wanted = _wanted(request)
    found = _find(bucket, wanted, objects)
    root = etree.Element("ListBucketResult")
    write = _Writer(wanted.encoded)
    write.text(root, "Name", bucket)
    if wanted.encoded:
        write.text(root, "EncodingType", "url")
    write.key(root, "Prefix", wanted.prefix)
    write.key(root, "Marker", wanted.marker)
    write.text(root, "MaxKeys", str(wanted.max_keys))
    if wanted.delimiter:
        write.key(root, "Delimiter", wanted.delimiter)
    write.text(root, "IsTruncated", "true" if found.truncated else "false")
    if found.truncated:
        write.key(root, "NextMarker", found.last)
    for stored in found.objects:
        write.contents(root, stored, bucket)
    for prefix in found.prefixes:
        write.key(etree.SubElement(root, "CommonPrefixes"), "Prefix", prefix)
    return to_bytes(root)


def _wanted(request: Incoming) -> _Wanted:
    given = {name.lower(): value for name, value in request.params}
    encoding = given.get("encoding-type") or None
    if encoding not in (None, "url"):
        raise ServiceFault(400, "InvalidArgument", f"encoding-type is {encoding!r}, allowed: url")
    return _Wanted(
        prefix=given.get("prefix", ""),
        delimiter=given.get("delimiter", ""),
        marker=given.get("marker", ""),
        max_keys=max_of(given.get("max-keys"), "max-keys"),
        encoded=encoding is not None,
    )


def max_of(text: str | None, name: str) -> int:
    """Return how many entries a page is to have, 1,000 at most.

    :raises ServiceFault: it is no number.
    """
    if not text:
        return MAX_KEYS
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ServiceFault(400, "InvalidArgument", f"{name} is {text!r}, allowed: 0 to {MAX_KEYS}")
    return min(int(text), MAX_KEYS)


def _find(bucket: str, wanted: _Wanted, objects: ObjectStore) -> _Found:
    found = _Found()
    if not wanted.max_keys:
        return found
    for entry in _entries(bucket, wanted, objects):
        if len(found.objects) + len(found.prefixes) == wanted.max_keys:
            found.truncated = True
            return found
        if isinstance(entry, str):
            found.prefixes.append(entry)
            found.last = entry
        else:
            found.objects.append(entry)
            found.last = entry.key
    return found


def _entries(bucket: str, wanted: _Wanted, objects: ObjectStore) -> Iterator[StoredObject | str]:
    """Yield objects, and common prefixes in place of what is under them, which is jumped over."""
    low: bytes | None = _after(wanted)
    while low is not None:
        page = objects.scan(bucket, low, wanted.prefix, MAX_KEYS + 1)
        low = None
        for stored in page:
            group = _group(stored.key, wanted)
            if group is not None:
                yield group
                low = after_prefix(_raw(group))
                break
            yield stored
            low = _raw(stored.key) + b"\0"


def _after(wanted: _Wanted) -> bytes | None:
    """Return where a page begins: after the marker, or after all keys under it if it is a common prefix."""
    marker = wanted.marker
    if not marker:
        return b""
    if marker.startswith(wanted.prefix) and _group(marker, wanted) == marker:
        return after_prefix(_raw(marker))
    return _raw(marker) + b"\0"


def _group(key: str, wanted: _Wanted) -> str | None:
    if not wanted.delimiter:
        return None
    rest = key[len(wanted.prefix) :]
    head, separator, _ = rest.partition(wanted.delimiter)
    return wanted.prefix + head + separator if separator else None


def _raw(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


class _Writer:
    """Writes keys as they are, or percent-encoded if ``encoding-type=url`` was asked for."""

    def __init__(self, encoded: bool) -> None:
        self._encoded = encoded

    def text(self, parent: etree._Element, name: str, text: str) -> None:
        etree.SubElement(parent, name).text = text

    def key(self, parent: etree._Element, name: str, key: str) -> None:
        try:
            self.text(parent, name, quote(_raw(key), safe="/") if self._encoded else key)
        except ValueError:
            message = f"{name} has characters that XML cannot carry: ask with encoding-type=url"
            raise ServiceFault(400, "InvalidArgument", message) from None

    def contents(self, parent: etree._Element, stored: StoredObject, bucket: str) -> None:
        root = etree.SubElement(parent, "Contents")
        self.key(root, "Key", stored.key)
        self.text(root, "LastModified", instant(stored.modified))
        self.text(root, "ETag", stored.etag)
        self.text(root, "Size", str(stored.size))
        owner = etree.SubElement(root, "Owner")
        for name in ("ID", "DisplayName"):
            self.text(owner, name, bucket.rpartition("-")[2])
        self.text(root, "StorageClass", "STANDARD")


def instant(seconds: float) -> str:
    """Return a time as COS writes it in bodies: ``2025-01-02T03:04:05.000Z``."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
