"""What buckets, regions, ids, object keys and addresses may look like.

DAG files load this module, so it loads nothing but the standard library.

Sources: 436/13324 (what COS accepts as a key), 1045/43605 (keys of inputs).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{0,60}-[0-9]{5,20}")
REGION = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)+")  # one label of a host name
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: The longest object key in COS, in bytes of UTF-8.
KEY_BYTES_MAX = 850

#: Characters that XML 1.0 cannot carry, not even escaped.
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# A line feed at the end, which templates may leave, is a mistake rather than part of the key
_NOT_IN_KEY = re.compile(f"{NOT_XML.pattern}|[\t\n\r\x7f]")
# HTTP clients resolve such an end as a relative path, so that the object could not be fetched
_DOT_SEGMENT_AT_END = re.compile(r"(^|/)\.{1,2}\Z")
_ADDRESS = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")
_ADDRESS_IN_TEXT = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s'"<>]*""")


def is_object_key(key: object) -> bool:
    """Tell whether ``key`` can be an object key that XML and a URL can carry."""
    return isinstance(key, str) and key != "" and not key.startswith("/") and not _NOT_IN_KEY.search(key)


def key_rule_violation(key: str) -> str | None:
    """Return what COS allows instead of ``key``; ``None`` if it allows ``key``.

    :param key: an object key as :func:`is_object_key` defines it.
    """
    if (length := utf8_length(key)) > KEY_BYTES_MAX:
        return f"a key of at most {KEY_BYTES_MAX} bytes in UTF-8; this one has {length}"
    return key_text_violation(key)


def key_text_violation(key: str) -> str | None:
    """Return what COS allows instead of ``key``, whatever its length; ``None`` if it allows ``key``."""
    if _DOT_SEGMENT_AT_END.search(key):
        return "a key that does not end in /. or /.."
    if key.startswith("\\"):
        return "a key that does not begin with \\"
    if "%0a%0d" in key.lower():
        return "a key without %0a%0d, which COS rejects"
    return None


def utf8_length(text: str) -> int:
    """Return the number of bytes of ``text`` in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))


class ObjectAddress(NamedTuple):
    """The parts of an object's complete address. ``bucket`` is ``None`` if the address has none."""

    bucket: str | None
    key: str


def object_address(text: object) -> ObjectAddress | None:
    """Return the parts of an address such as ``cos://media-1250000001/in/song.mp3`` or a URL of COS.

    ``None`` if ``text`` is not an address, but perhaps a key.
    """
    if not isinstance(text, str) or not (found := _ADDRESS.match(text)):
        return None
    try:
        parts = urlsplit(text.strip())
    except ValueError:  # for instance a bracket in the host
        return ObjectAddress(None, "")
    host = parts.netloc.rpartition("@")[2]  # what comes before may be a password
    name = host.partition(".")[0] if found[1].lower() in ("http", "https") else host
    return ObjectAddress(name if BUCKET.fullmatch(name) else None, unquote(parts.path.removeprefix("/")))


def is_address(text: str) -> bool:
    """Tell whether ``text`` begins like a complete address."""
    return _ADDRESS.match(text) is not None


def redact_addresses(text: str) -> str:
    """Return a text in which all addresses are as :func:`redact_address` shows them."""
    if "://" not in text:
        return text
    return redact_address(text) if is_address(text) else _ADDRESS_IN_TEXT.sub(_redact_found, text)


def _redact_found(found: re.Match[str]) -> str:
    return redact_address(found[0])


def redact_address(text: str, *, with_path: bool = True) -> str:
    """Return an address as an error may show it, without what may be a secret.

    That is the part before ``@``, the query, the fragment, and a port that is not a number.

    :param with_path: show the path too.
    """
    prefix, rest = "", text
    if text.count("://") == 1:
        scheme, _, rest = text.partition("://")
        prefix = f"{scheme}://" if scheme.isalnum() else ""
    visible, *hidden = re.split("[?#]", rest, maxsplit=1)
    if any("@" in part for part in hidden):  # any part may be the password then
        return f"{prefix}…"
    host, slash, path = visible.rpartition("@")[2].partition("/")
    if path and not with_path:
        path = "…"
    return f"{prefix}{_redact_port(host)}{slash}{path}"


def _redact_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or host.startswith("[") or port.isdecimal():
        return host
    return f"{name.rpartition(':')[2]}:…"


def is_web_address(text: str) -> bool:
    """Tell whether ``text`` is an absolute http or https URL."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises an error if it is not a number
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable() and " " not in text
    )
