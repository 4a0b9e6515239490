"""Listing the objects of a bucket: GET Bucket (436/7734)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import quote

from tencent_ci_emulator.http.service_errors import invalid_argument
from tencent_ci_emulator.http.xml import Element, build
from tencent_ci_emulator.objects.names import is_xml_text
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject, after_prefix

MAX_KEYS = 1000


@dataclass(frozen=True, slots=True)
class _Wanted:
    prefix: str
    delimiter: str
    marker: str
    max_keys: int
    is_encoded: bool

    def written(self, name: str, key: str) -> str:
        """Return a key as it is written: as it is, or percent-encoded if that was asked for."""
        if self.is_encoded:
            return quote(_raw(key), safe="/")
        if not is_xml_text(key):
            raise invalid_argument(f"{name} has characters that XML cannot carry: ask with encoding-type=url")
        return key


def list_objects(bucket: str, params: Iterable[tuple[str, str]], objects: ObjectStore) -> Element:
    """Return the document of the response.

    :raises ServiceError: a parameter is not allowed.
    """
    wanted = _read(params)
    most = wanted.max_keys + 1 if wanted.max_keys else 0
    entries = list(islice(_entries(bucket, wanted, objects), most))
    page, is_truncated = entries[: wanted.max_keys], len(entries) > wanted.max_keys
    found = [entry for entry in page if isinstance(entry, StoredObject)]
    groups = [entry for entry in page if isinstance(entry, str)]
    last = page[-1] if page else ""
    next_marker = last if isinstance(last, str) else last.key
    content = {
        "Name": bucket,
        "EncodingType": "url" if wanted.is_encoded else None,
        "Prefix": wanted.written("Prefix", wanted.prefix),
        "Marker": wanted.written("Marker", wanted.marker),
        "MaxKeys": wanted.max_keys,
        "Delimiter": wanted.written("Delimiter", wanted.delimiter) if wanted.delimiter else None,
        "IsTruncated": "true" if is_truncated else "false",
        "NextMarker": wanted.written("NextMarker", next_marker) if is_truncated else None,
        "Contents": [_describe(stored, bucket, wanted.written) for stored in found],
        "CommonPrefixes": [{"Prefix": wanted.written("Prefix", group)} for group in groups],
    }
    return build("ListBucketResult", content)


def _describe(stored: StoredObject, bucket: str, written: Callable[[str, str], str]) -> dict[str, Any]:
    return {
        "Key": written("Key", stored.key),
        "LastModified": instant(stored.modified),
        "ETag": stored.etag,
        "Size": stored.size,
        "Owner": {name: bucket.rpartition("-")[2] for name in ("ID", "DisplayName")},
        "StorageClass": "STANDARD",
    }


def _read(params: Iterable[tuple[str, str]]) -> _Wanted:
    given = {name.lower(): value for name, value in params}
    encoding = given.get("encoding-type") or None
    if encoding not in (None, "url"):
        raise invalid_argument(f"encoding-type is {encoding!r}, allowed: url")
    return _Wanted(
        prefix=given.get("prefix", ""),
        delimiter=given.get("delimiter", ""),
        marker=given.get("marker", ""),
        max_keys=max_of(given.get("max-keys"), "max-keys"),
        is_encoded=encoding is not None,
    )


def max_of(text: str | None, name: str) -> int:
    """Return how many entries a page is to have, 1,000 at most.

    :raises ServiceError: it is no number.
    """
    if not text:
        return MAX_KEYS
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise invalid_argument(f"{name} is {text!r}, allowed: 0 to {MAX_KEYS}")
    return min(int(text), MAX_KEYS)


def _entries(bucket: str, wanted: _Wanted, objects: ObjectStore) -> Iterator[StoredObject | str]:
    """Yield objects, and common prefixes in place of what is under them, which is jumped over."""
    low = _first_key(wanted)
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


def _first_key(wanted: _Wanted) -> bytes | None:
    """Return where a page begins: after the marker, or after all keys under it if it is a common prefix."""
    marker = wanted.marker
    if not marker:
        return b""
    if marker.startswith(wanted.prefix) and _group(marker, wanted) == marker:
        return after_prefix(_raw(marker))
    return _raw(marker) + b"\0"


def _group(key: str, wanted: _Wanted) -> str | None:
    """Return the common prefix that stands for a key, ``None`` if the key stands for itself."""
    if not wanted.delimiter:
        return None
    head, separator, _ = key[len(wanted.prefix) :].partition(wanted.delimiter)
    return wanted.prefix + head + separator if separator else None


def _raw(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def instant(seconds: float) -> str:
    """Return a time as COS writes it in bodies: ``2025-01-02T03:04:05.000Z``."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
