"""The COS XML-API request signature, which Cloud Infinite uses unchanged (Tencent document 436/7778).

Names are percent-encoded and then lower-cased, values are percent-encoded, and the path is signed decoded.
Not every header and parameter must be signed: two lists in the ``Authorization`` value name those that are.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from urllib.parse import quote

Pairs = Iterable[tuple[str, str]]

_ALGORITHM = "sha1"
_NOT_ESCAPED = "-_.~"
_NEEDS_NO_ESCAPING = re.compile(r"[A-Za-z0-9_.~-]*")


def sign(
    method: str,
    path: str,
    params: Pairs,
    headers: Pairs,
    *,
    secret_id: str,
    secret_key: str,
    key_time: tuple[int, int],
) -> str:
    """Return the ``Authorization`` value of a request.

    :param method: HTTP method, any case.
    :param path: the decoded path, without query (``/jobs/a,b``).
    :param params: query parameters to sign, not encoded; ``""`` stands for a parameter without value.
    :param headers: headers to sign, with their values as sent.
    :param key_time: first and last second of the validity, Unix time.
    """
    validity = f"{key_time[0]};{key_time[1]}"
    canonical_params, canonical_headers = _canonical(params), _canonical(headers)
    signature = _signature(method, path, canonical_params, canonical_headers, secret_key, validity)
    return (
        f"q-sign-algorithm={_ALGORITHM}&q-ak={secret_id}&q-sign-time={validity}&q-key-time={validity}"
        f"&q-header-list={_join_names(canonical_headers)}&q-url-param-list={_join_names(canonical_params)}"
        f"&q-signature={signature}"
    )


def _signature(
    method: str,
    path: str,
    params: list[tuple[str, str]],
    headers: list[tuple[str, str]],
    secret_key: str,
    validity: str,
) -> str:
    http_string = f"{method.lower()}\n{path}\n{_join(params)}\n{_join(headers)}\n"
    digest = hashlib.sha1(http_string.encode(errors="surrogateescape")).hexdigest()  # noqa: S324 - the algorithm is the service's
    sign_key = hmac.digest(secret_key.encode(), validity.encode(), "sha1").hex()
    return hmac.digest(sign_key.encode(), f"{_ALGORITHM}\n{validity}\n{digest}\n".encode(), "sha1").hex()


def _canonical(pairs: Pairs) -> list[tuple[str, str]]:
    return sorted((_escape(name).lower(), _escape(value)) for name, value in pairs)


def _escape(text: str) -> str:
    if _NEEDS_NO_ESCAPING.fullmatch(text):  # true for most names and values, and faster than quote
        return text
    # Surrogates stand for bytes that are not UTF-8, and those bytes are signed
    return quote(text, safe=_NOT_ESCAPED, errors="surrogateescape")


def _join(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in pairs)


def _join_names(pairs: list[tuple[str, str]]) -> str:
    return ";".join(name for name, _ in pairs)
