"""The COS XML-API request signature, which Cloud Infinite uses unchanged (Tencent document 436/7778).

Names are percent-encoded and then lower-cased, values percent-encoded; the path is signed decoded. Signing is
opt-in for each header and parameter: the two lists of the ``Authorization`` value name exactly what was
signed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

Pairs = Iterable[tuple[str, str]]

_ALGORITHM = "sha1"
_SAFE = "-_.~"
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")
_TIME = re.compile(r"[0-9]{1,15};[0-9]{1,15}")
_FIELDS = (
    "q-sign-algorithm",
    "q-ak",
    "q-sign-time",
    "q-key-time",
    "q-header-list",
    "q-url-param-list",
    "q-signature",
)


class SignatureFormatError(ValueError):
    """An ``Authorization`` value that does not have the documented form."""


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
    :param params: query parameters to be signed, raw; a parameter without value has the value ``""``.
    :param headers: headers to be signed, values exactly as sent.
    :param key_time: start and end of the validity, Unix seconds.
    """
    validity = f"{key_time[0]};{key_time[1]}"
    canonical_params, canonical_headers = _canonical(params), _canonical(headers)
    signature = _signature(method, path, canonical_params, canonical_headers, secret_key, validity)
    return (
        f"q-sign-algorithm={_ALGORITHM}&q-ak={secret_id}&q-sign-time={validity}&q-key-time={validity}"
        f"&q-header-list={_names(canonical_headers)}&q-url-param-list={_names(canonical_params)}"
        f"&q-signature={signature}"
    )


@dataclass(frozen=True, slots=True)
class Authorization:
    """A parsed ``Authorization`` value. The lists hold escaped, lower-case names, as on the wire."""

    secret_id: str
    sign_time: str
    key_time: str
    header_list: tuple[str, ...]
    url_param_list: tuple[str, ...]
    signature: str

    @classmethod
    def parse(cls, text: str) -> Authorization:
        """Read the seven fields in any order.

        :raises SignatureFormatError: a field is missing, repeated, or malformed.
        """
        fields: dict[str, str] = {}
        for part in text.split("&"):
            name, separator, value = part.partition("=")
            if not separator or name not in _FIELDS or name in fields:
                raise SignatureFormatError(
                    "the Authorization value has an unknown, repeated or malformed field"
                )
            fields[name] = value
        missing = [name for name in _FIELDS if name not in fields]
        if missing:
            raise SignatureFormatError(f"the Authorization value lacks {', '.join(missing)}")
        if fields["q-sign-algorithm"] != _ALGORITHM:
            raise SignatureFormatError(f"q-sign-algorithm must be {_ALGORITHM}")
        for name in ("q-sign-time", "q-key-time"):
            if not _TIME.fullmatch(fields[name]):
                raise SignatureFormatError(f"{name} must be <start>;<end> in Unix seconds")
        if fields["q-sign-time"] != fields["q-key-time"]:
            raise SignatureFormatError("q-sign-time and q-key-time must be equal")
        return cls(
            secret_id=fields["q-ak"],
            sign_time=fields["q-sign-time"],
            key_time=fields["q-key-time"],
            header_list=_split(fields["q-header-list"]),
            url_param_list=_split(fields["q-url-param-list"]),
            signature=fields["q-signature"],
        )

    @property
    def start(self) -> int:
        """First second of validity, Unix time."""
        return int(self.key_time.partition(";")[0])

    @property
    def end(self) -> int:
        """Last second of validity, Unix time."""
        return int(self.key_time.partition(";")[2])


def verify(
    authorization: Authorization, method: str, path: str, params: Pairs, headers: Pairs, *, secret_key: str
) -> bool:
    """Tell whether the signature fits the request, by exactly the parameters and headers that its lists name.

    ``params`` and ``headers`` are all those of the request. A listed name that the request lacks never
    verifies. Validity in time and the SecretId are the caller's to check.
    """
    signed_params = _listed(params, authorization.url_param_list)
    signed_headers = _listed(headers, authorization.header_list)
    if signed_params is None or signed_headers is None:
        return False
    expected = _signature(method, path, signed_params, signed_headers, secret_key, authorization.key_time)
    return hmac.compare_digest(expected.encode(), authorization.signature.encode(errors="surrogateescape"))


def _signature(
    method: str,
    path: str,
    params: list[tuple[str, str]],
    headers: list[tuple[str, str]],
    secret_key: str,
    validity: str,
) -> str:
    http_string = f"{method.lower()}\n{path}\n{_joined(params)}\n{_joined(headers)}\n"
    digest = hashlib.sha1(http_string.encode(errors="surrogateescape")).hexdigest()  # noqa: S324 - the algorithm is the service's
    sign_key = hmac.digest(secret_key.encode(), validity.encode(), "sha1").hex()
    return hmac.digest(sign_key.encode(), f"{_ALGORITHM}\n{validity}\n{digest}\n".encode(), "sha1").hex()


def _canonical(pairs: Pairs) -> list[tuple[str, str]]:
    return sorted((_escape(name).lower(), _escape(value)) for name, value in pairs)


def _listed(pairs: Pairs, names: tuple[str, ...]) -> list[tuple[str, str]] | None:
    found = [pair for pair in _canonical(pairs) if pair[0] in names]
    return found if {name for name, _ in found} == set(names) else None


def _escape(text: str) -> str:
    if _PLAIN.fullmatch(text):  # most are, and telling takes less time than quoting
        return text
    # surrogateescape: what a server read from the wire as undecodable bytes is signed as those very bytes
    return quote(text, safe=_SAFE, errors="surrogateescape")


def _joined(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in pairs)


def _names(pairs: list[tuple[str, str]]) -> str:
    return ";".join(name for name, _ in pairs)


def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split(";")) if names else ()
