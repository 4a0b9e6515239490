"""Listing the objects of a bucket: GET Bucket (436/7734)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import quote

from tencent_ci_emulator.http.errors import invalid_argument
from tencent_ci_emulator.http.xml import Element, build
from tencent_ci_emulator.objects.names import is_xml_text
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject, after_prefix

MAX_KEYS = 1000

_SCANNED_FOR_PREFIXES = 20


@dataclass(frozen=True, slots=True)
class _ListRequest:
    prefix: str
    delimiter: str
    marker: str
    max_keys: int
    is_encoded: bool

    def encode(self, name: str, key: str) -> str:
        """Return a key for the response, percent-encoded if the request says so."""
        if self.is_encoded:
            return quote(_to_bytes(key), safe="/")
        if not is_xml_text(key):
            raise invalid_argument(f"{name} has characters that XML cannot carry: use encoding-type=url")
        return key


def list_objects(bucket: str, params: Iterable[tuple[str, str]], objects: ObjectStore) -> Element:
    """Return the document of the response.

    :raises ServiceError: a parameter is not allowed.
    """
    request = _read(params)
    most = request.max_keys + 1 if request.max_keys else 0
    entries = list(islice(_entries(bucket, request, objects), most))
    page, is_truncated = entries[: request.max_keys], len(entries) > request.max_keys
    found = [entry for entry in page if isinstance(entry, StoredObject)]
    groups = [entry for entry in page if isinstance(entry, str)]
    last = page[-1] if page else ""
    next_marker = last if isinstance(last, str) else last.key
    content = {
        "Name": bucket,
        "EncodingType": "url" if request.is_encoded else None,
        "Prefix": request.encode("Prefix", request.prefix),
        "Marker": request.encode("Marker", request.marker),
        "MaxKeys": request.max_keys,
        "Delimiter": request.encode("Delimiter", request.delimiter) if request.delimiter else None,
        "IsTruncated": "true" if is_truncated else "false",
        "NextMarker": request.encode("NextMarker", next_marker) if is_truncated else None,
        "Contents": [_describe(stored, bucket, request.encode) for stored in found],
        "CommonPrefixes": [{"Prefix": request.encode("Prefix", group)} for group in groups],
    }
    return build("ListBucketResult", content)


def _describe(stored: StoredObject, bucket: str, encode: Callable[[str, str], str]) -> dict[str, Any]:
    return {
        "Key": encode("Key", stored.key),
        "LastModified": format_time(stored.modified),
        "ETag": stored.etag,
        "Size": stored.size,
        "Owner": {name: bucket.rpartition("-")[2] for name in ("ID", "DisplayName")},
        "StorageClass": "STANDARD",
    }


def _read(params: Iterable[tuple[str, str]]) -> _ListRequest:
    values = {name.lower(): value for name, value in params}
    encoding = values.get("encoding-type") or None
    if encoding not in (None, "url"):
        raise invalid_argument(f"encoding-type is {encoding!r}, allowed: url")
    return _ListRequest(
        prefix=values.get("prefix", ""),
        delimiter=values.get("delimiter", ""),
        marker=values.get("marker", ""),
        max_keys=read_max(values.get("max-keys"), "max-keys"),
        is_encoded=encoding is not None,
    )


def read_max(text: str | None, name: str) -> int:
    """Return the number of entries on a page, 1,000 at most.

    :raises ServiceError: it is no number.
    """
    if not text:
        return MAX_KEYS
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise invalid_argument(f"{name} is {text!r}, allowed: 0 to {MAX_KEYS}")
    return min(int(text), MAX_KEYS)


def _entries(bucket: str, request: _ListRequest, objects: ObjectStore) -> Iterator[StoredObject | str]:
    """Yield objects, and common prefixes instead of the objects under them."""
    # With a delimiter most of what is scanned may be under one common prefix, and of no use
    scanned = _SCANNED_FOR_PREFIXES if request.delimiter else MAX_KEYS + 1
    first_key = _first_key(request)
    while first_key is not None:
        page = objects.scan(bucket, first_key, request.prefix, scanned)
        first_key = None
        for stored in page:
            group = _common_prefix(stored.key, request)
            if group is not None:
                yield group
                first_key = after_prefix(_to_bytes(group))
                break
            yield stored
            first_key = _to_bytes(stored.key) + b"\0"


def _first_key(request: _ListRequest) -> bytes | None:
    """Return the first possible key: the next after the marker, or after all keys under a common prefix."""
    marker = request.marker
    if not marker:
        return b""
    if marker.startswith(request.prefix) and _common_prefix(marker, request) == marker:
        return after_prefix(_to_bytes(marker))
    return _to_bytes(marker) + b"\0"


def _common_prefix(key: str, request: _ListRequest) -> str | None:
    """Return the common prefix that is listed instead of a key, ``None`` if the key itself is listed."""
    if not request.delimiter:
        return None
    head, separator, _ = key[len(request.prefix) :].partition(request.delimiter)
    return request.prefix + head + separator if separator else None


def _to_bytes(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def format_time(seconds: float) -> str:
    """Return a time as COS writes it in bodies: ``2025-01-02T03:04:05.000Z``."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
