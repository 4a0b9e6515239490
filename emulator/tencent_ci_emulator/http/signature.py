"""The signature of a request (436/7778): reads it, and computes it anew to compare.

A signature names the headers and parameters that it covers. Nothing else of the request takes part.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

Pairs = Iterable[tuple[str, str]]

_FIELDS = (
    "q-sign-algorithm",
    "q-ak",
    "q-sign-time",
    "q-key-time",
    "q-header-list",
    "q-url-param-list",
    "q-signature",
)
_PERIOD = re.compile(r"[0-9]{1,15};[0-9]{1,15}")


class MalformedSignatureError(ValueError):
    """An ``Authorization`` value that does not have the documented form."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What an ``Authorization`` value says.

    :param period: first and last second of its validity in Unix time, ``<start>;<end>``.
    :param headers: names of the signed headers, escaped and in lower case.
    :param params: names of the signed parameters, likewise.
    """

    secret_id: str
    period: str
    headers: frozenset[str]
    params: frozenset[str]
    digest: str

    @classmethod
    def parse(cls, authorization: str) -> Signature:
        """Read an ``Authorization`` value, whose fields may come in any order.

        :raises MalformedSignatureError: naming what is wrong.
        """
        parts = [part.partition("=") for part in authorization.split("&")]
        fields = {name: value for name, _, value in parts}
        if sorted(name for name, _, _ in parts) != sorted(_FIELDS):
            raise MalformedSignatureError(f"it must have each of the fields {', '.join(_FIELDS)} once")
        if fields["q-sign-algorithm"] != "sha1":
            raise MalformedSignatureError("q-sign-algorithm must be sha1")
        if not _PERIOD.fullmatch(fields["q-key-time"]) or fields["q-sign-time"] != fields["q-key-time"]:
            raise MalformedSignatureError(
                "q-sign-time and q-key-time must be the same <start>;<end> in Unix seconds"
            )
        return cls(
            secret_id=fields["q-ak"],
            period=fields["q-key-time"],
            headers=_names(fields["q-header-list"]),
            params=_names(fields["q-url-param-list"]),
            digest=fields["q-signature"],
        )

    def is_valid_at(self, now: float) -> bool:
        """Return whether a time in Unix seconds lies within the validity."""
        start, _, end = self.period.partition(";")
        return int(start) <= now <= int(end)

    def matches(self, method: str, path: str, params: Pairs, headers: Pairs, *, secret_key: str) -> bool:
        """Return whether the signature is that of a request, given with all of its parameters and headers.

        ``path`` is decoded. A signed name that the request does not have never matches.
        """
        covered_params, covered_headers = _covered(params, self.params), _covered(headers, self.headers)
        if covered_params is None or covered_headers is None:
            return False
        request = "\n".join((method.lower(), path, covered_params, covered_headers, ""))
        request_digest = hashlib.sha1(_bytes(request), usedforsecurity=False).hexdigest()
        key = hmac.digest(secret_key.encode(), self.period.encode(), "sha1").hex()
        message = f"sha1\n{self.period}\n{request_digest}\n"
        expected = hmac.digest(key.encode(), message.encode(), "sha1").hex()
        return hmac.compare_digest(expected.encode(), _bytes(self.digest))


def _names(joined: str) -> frozenset[str]:
    return frozenset(joined.split(";")) if joined else frozenset()


def _covered(pairs: Pairs, names: frozenset[str]) -> str | None:
    """Return the signed pairs as they are signed, ``None`` if one of the names is missing."""
    escaped = sorted((_escape(name).lower(), _escape(value)) for name, value in pairs)
    covered = [(name, value) for name, value in escaped if name in names]
    if {name for name, _ in covered} != names:
        return None
    return "&".join(f"{name}={value}" for name, value in covered)


def _escape(text: str) -> str:
    return quote(_bytes(text), safe="-_.~")


def _bytes(text: str) -> bytes:
    """Return the bytes that came, undecodable ones included."""
    return text.encode(errors="surrogateescape")
