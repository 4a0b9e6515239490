"""Which query parameters a COS call may have.

A parameter such as ``acl`` or ``tagging`` makes another call of the same method and path. Answered as if it
were absent, a policy would be stored as the object's content, or the object deleted in place of its tags. So
each call has a list, and what is not on it is not served.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

#: What a GET may set in its answer (436/7753), by parameter
RESPONSE_HEADERS = {
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-content-type": "Content-Type",
    "response-expires": "Expires",
}

_ANYWHERE = ("x-cos-security-token", "x-ci-security-token", "x-cos-traffic-limit")
_OF_OBJECTS: dict[str, Collection[str]] = {
    "PUT": ("partnumber", "uploadid"),
    "GET": (
        *("ci-process", "partnumber", "uploadid", "max-parts", "part-number-marker", "encoding-type"),
        *RESPONSE_HEADERS,
    ),
    "HEAD": ("partnumber", *RESPONSE_HEADERS),
    "DELETE": ("uploadid",),
    "POST": ("uploads", "uploadid", "encoding-type"),
}
_OF_BUCKETS: dict[str, Collection[str]] = {
    "GET": (
        *("prefix", "delimiter", "marker", "max-keys", "encoding-type"),
        *("uploads", "max-uploads", "key-marker", "upload-id-marker"),
        *("location", "versioning"),
    )
}


def unserved_parameter(method: str, path: str, params: Iterable[tuple[str, str]]) -> str | None:
    """Return the first parameter that makes a COS call one that is not served, ``None`` if there is none."""
    of_method = _OF_BUCKETS if path in ("", "/") else _OF_OBJECTS
    allowed = of_method.get(method, ())
    for name, _ in params:
        lower = name.lower()
        if lower not in allowed and lower not in _ANYWHERE and not lower.startswith("q-"):
            return name
    return None
