"""Whether a request carries a valid signature and token (436/7778).

A signature names the headers and parameters that it covers, and is verified over exactly these, with the
port in ``Host`` or without it. It says nothing about the others. A token is taken as
``x-ci-security-token`` or ``x-cos-security-token``.

What is refused, from CI and from COS: no ``Authorization`` is 401 ``MissingAuthorization`` and 403
``AccessDenied``; a malformed one 401 ``InvalidAuthorization`` and 403 ``AccessDenied``; an unknown SecretId
401 ``SecretidNotExist`` and 403 ``InvalidAccessKeyId``; a signature outside its validity 401
``SignatureExpired`` and 403 ``AccessDenied``; a wrong key or a changed request 401 ``InvalidAuthorization``
(a guess) and 403 ``SignatureDoesNotMatch``; a token that is missing or wrong 401 ``InvalidAuthorization``
and 403 ``InvalidAccessKeyId``. The fault plan's expired token is 400 ``ExpiredToken`` on both, which is
documented for COS only.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.http.service_request import Service, ServiceRequest

Pairs = Iterable[tuple[str, str]]

# Status and code of CI (460/42867), those of COS (436/7730), and the message of both
_REFUSALS = {
    "missing": ((401, "MissingAuthorization"), (403, "AccessDenied"), "the request carries no Authorization"),
    "malformed": ((401, "InvalidAuthorization"), (403, "AccessDenied"), "the Authorization is malformed"),
    "unknown id": ((401, "SecretidNotExist"), (403, "InvalidAccessKeyId"), "the SecretId does not exist"),
    "expired": ((401, "SignatureExpired"), (403, "AccessDenied"), "Request has expired"),
    "mismatch": (
        (401, "InvalidAuthorization"),
        (403, "SignatureDoesNotMatch"),
        "the signature does not match",
    ),
    "token": ((401, "InvalidAuthorization"), (403, "InvalidAccessKeyId"), "the token is missing or wrong"),
}
_FIELDS = (
    *("q-sign-algorithm", "q-ak", "q-sign-time", "q-key-time"),
    *("q-header-list", "q-url-param-list", "q-signature"),
)
_PERIOD = re.compile(r"[0-9]{1,15};[0-9]{1,15}")
_TOKEN_NAMES = ("x-ci-security-token", "x-cos-security-token")


class MalformedSignatureError(ValueError):
    """An ``Authorization`` value that does not have the documented form."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The fields of an ``Authorization`` value.

    :param period: first and last second of its validity in Unix time, ``<start>;<end>``.
    :param headers: names of the signed headers, escaped and in lower case.
    :param params: names of the signed parameters, escaped and in lower case.
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
            headers=_split_names(fields["q-header-list"]),
            params=_split_names(fields["q-url-param-list"]),
            digest=fields["q-signature"],
        )

    def is_valid_at(self, now: float) -> bool:
        """Return whether a time in Unix seconds lies within the validity."""
        start, _, end = self.period.partition(";")
        return int(start) <= now <= int(end)

    def matches(self, method: str, path: str, params: Pairs, headers: Pairs, *, secret_key: str) -> bool:
        """Return whether this is the signature of a request, made with ``secret_key``.

        :param path: decoded.
        :param params: all parameters of the request; one that is signed but missing never matches.
        :param headers: all headers of the request; one that is signed but missing never matches.
        """
        signed_params, signed_headers = _join_signed(params, self.params), _join_signed(headers, self.headers)
        if signed_params is None or signed_headers is None:
            return False
        request = "\n".join((method.lower(), path, signed_params, signed_headers, ""))
        request_digest = hashlib.sha1(_to_bytes(request), usedforsecurity=False).hexdigest()
        key = hmac.digest(secret_key.encode(), self.period.encode(), "sha1").hex()
        message = f"sha1\n{self.period}\n{request_digest}\n"
        expected = hmac.digest(key.encode(), message.encode(), "sha1").hex()
        return hmac.compare_digest(expected.encode(), _to_bytes(self.digest))


def authenticate(request: ServiceRequest, config: EmulatorConfig, now: float) -> None:
    """Check signature and token of a request.

    :param now: Unix time that the signature's validity is compared with.
    :raises ServiceError: with the code and status that the addressed service documents.
    """
    signature, params = _read_signature(request)
    if signature.secret_id != config.secret_id:
        raise _refusal(request, "unknown id")
    if not signature.is_valid_at(now):
        raise _refusal(request, "expired")
    if not any(
        signature.matches(request.method, request.path, params, headers, secret_key=config.secret_key)
        for headers in (request.headers, _without_port_of_host(request.headers))
    ):
        raise _refusal(request, "mismatch")
    if config.security_token is not None and not _has_token(request, config.security_token):
        raise _refusal(request, "token")


def _read_signature(request: ServiceRequest) -> tuple[Signature, Pairs]:
    """Return the signature and the parameters that it may cover."""
    authorization, params = request.header("authorization"), request.params
    if authorization is None and request.service is Service.COS and request.has_param("q-signature"):
        # A presigned URL, which COS allows for objects: the seven fields are unsigned parameters
        authorization = "&".join(f"{name}={value}" for name, value in params if name.startswith("q-"))
        params = tuple((name, value) for name, value in params if not name.startswith("q-"))
    if not authorization:
        raise _refusal(request, "missing")
    try:
        return Signature.parse(authorization), params
    except MalformedSignatureError as error:
        raise _refusal(request, "malformed", f": {error}") from None


def _without_port_of_host(headers: Pairs) -> Pairs:
    """Return the headers with the port cut from ``Host``: Tencent's Python SDK signs the bare name."""
    return [
        (name, re.sub(":[0-9]+$", "", value) if name.lower() == "host" else value) for name, value in headers
    ]


def _has_token(request: ServiceRequest, token: str) -> bool:
    tokens = [value for name, value in (*request.headers, *request.params) if name.lower() in _TOKEN_NAMES]
    return any(hmac.compare_digest(_to_bytes(one), token.encode()) for one in tokens)


def _refusal(request: ServiceRequest, kind: str, detail: str = "") -> ServiceError:
    of_ci, of_cos, message = _REFUSALS[kind]
    return ServiceError(*(of_ci if request.service is Service.CI else of_cos), message + detail)


def _split_names(joined: str) -> frozenset[str]:
    return frozenset(joined.split(";")) if joined else frozenset()


def _join_signed(pairs: Pairs, names: frozenset[str]) -> str | None:
    """Return the signed pairs in the form that is signed, ``None`` if one of the names is missing."""
    escaped = sorted((_escape(name).lower(), _escape(value)) for name, value in pairs)
    signed = [(name, value) for name, value in escaped if name in names]
    if {name for name, _ in signed} != names:
        return None
    return "&".join(f"{name}={value}" for name, value in signed)


def _escape(text: str) -> str:
    return quote(_to_bytes(text), safe="-_.~")


def _to_bytes(text: str) -> bytes:
    """Return the bytes that were received, undecodable ones included."""
    return text.encode(errors="surrogateescape")
