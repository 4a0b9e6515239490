"""Constants, and what buckets, regions, ids and object keys may look like. Light: DAG files load it.

Sources: 436/13324 (what COS accepts as a key), 1045/43605 (keys of inputs).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{0,60}-[0-9]{5,20}")
REGION = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)+")  # one label of a host name
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: Bytes of the longest object key that COS holds, in UTF-8.
KEY_BYTES_MAX = 850

#: What XML 1.0 cannot carry, not even escaped.
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# A line feed at the end, as a template may leave it, is a mistake rather than a part of the key
_NOT_IN_KEY = re.compile(f"{NOT_XML.pattern}|[\t\n\r\x7f]")
# HTTP clients take such an end for a step in a path: the object could not be fetched
_DOT_SEGMENT_AT_END = re.compile(r"(^|/)\.{1,2}\Z")
_ADDRESS = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")


def is_object_key(key: object) -> bool:
    """Tell whether ``key`` has the form of an object key that XML and a URL can carry."""
    return isinstance(key, str) and key != "" and not key.startswith("/") and not _NOT_IN_KEY.search(key)


def key_rule_violation(key: str) -> str | None:
    """Return the rule of COS that forbids an object of this key; ``None`` if there may be one.

    For keys that already have the form of one (:func:`is_object_key`).
    """
    if (length := utf8_length(key)) > KEY_BYTES_MAX:
        return f"a key of at most {KEY_BYTES_MAX} bytes in UTF-8; this one has {length}"
    return key_text_violation(key)


def key_text_violation(key: str) -> str | None:
    """Return the rule of COS that a key breaks, whatever its length."""
    if _DOT_SEGMENT_AT_END.search(key):
        return "a key that does not end in /. or /.."
    if key.startswith("\\"):
        return "a key that does not begin with \\"
    if "%0a%0d" in key.lower():
        return "a key without %0a%0d, which COS refuses"
    return None


def utf8_length(text: str) -> int:
    """Return how many bytes ``text`` has in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))


class ObjectAddress(NamedTuple):
    """An object's whole address, where its key alone was wanted. ``bucket`` is ``None`` if it names none."""

    bucket: str | None
    key: str


def object_address(text: object) -> ObjectAddress | None:
    """Return the parts of an address such as ``cos://media-1250000001/in/song.mp3`` or a URL of COS.

    ``None`` if ``text`` is no address, and so may be a key.
    """
    if not isinstance(text, str) or not (found := _ADDRESS.match(text)):
        return None
    try:
        parts = urlsplit(text.strip())
    except ValueError:  # a bracket in the place of the host
        return ObjectAddress(None, "")
    host = parts.netloc.rpartition("@")[2]  # what comes before may be a password
    name = host.partition(".")[0] if found[1].lower() in ("http", "https") else host
    return ObjectAddress(name if BUCKET.fullmatch(name) else None, unquote(parts.path.removeprefix("/")))


def redact_address(text: str, *, with_path: bool = True) -> str:
    """Return an address as an error may show it: without what may be a password or a key.

    Those are the part before ``@``, the query, the fragment, and what is no number where a port should be.

    :param with_path: show the path too.
    """
    scheme, separator, rest = text.rpartition("://") if text.count("://") == 1 else ("", "", text)
    shown, *hidden = re.split("[?#]", rest, maxsplit=1)
    if not (separator and scheme.isalnum()):
        scheme = separator = ""
    if any("@" in part for part in hidden):  # which part is the password cannot be told
        return f"{scheme}{separator}…"
    host, slash, path = shown.rpartition("@")[2].partition("/")
    name, colon, port = host.rpartition(":")
    if colon and not host.startswith("[") and not port.isdecimal():
        host = f"{name.rpartition(':')[2]}:…"
    return f"{scheme}{separator}{host}{slash}{path if with_path else '…' if path else ''}"


def is_carriable(text: str) -> bool:
    """Tell whether XML, and so an answer, can carry ``text``."""
    return not NOT_XML.search(text)


def is_web_address(text: str) -> bool:
    """Tell whether ``text`` is an absolute http or https URL."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises unless it is one
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable() and " " not in text
    )
