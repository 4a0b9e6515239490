"""Whether a request carries a valid signature, by exactly what its lists name (436/7778)."""

from __future__ import annotations

import hmac

from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.http.service_errors import ServiceError
from tencent_ci_emulator.http.service_request import Service, ServiceRequest
from tencent_ci_emulator.http.signature import MalformedSignatureError, Signature

# Status and code of CI (460/42867) and of COS (436/7730), and what both say
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

_TOKEN_NAMES = ("x-ci-security-token", "x-cos-security-token")
_QUERY_FIELDS = "q-"


def authenticate(request: ServiceRequest, config: EmulatorConfig, now: float) -> None:
    """Return if the request may pass.

    :raises ServiceError: with the code and status that the addressed service documents.
    """
    signature, params = _signature(request)
    if signature.secret_id != config.secret_id:
        raise _refusal(request, "unknown id")
    if not signature.is_valid_at(now):
        raise _refusal(request, "expired")
    if not any(
        signature.matches(request.method, request.path, params, headers, secret_key=config.secret_key)
        for headers in _header_readings(request)
    ):
        raise _refusal(request, "mismatch")
    _check_token(request, config)


def _signature(request: ServiceRequest) -> tuple[Signature, list[tuple[str, str]]]:
    """Return the signature and the parameters that it may have signed."""
    text = request.header("authorization")
    params = list(request.params)
    if text is None and any(name == "q-signature" for name, _ in params) and request.service is Service.COS:
        # A presigned URL, which COS allows for objects: the seven fields are parameters, and not signed
        # themselves
        fields = [(name, value) for name, value in params if name.startswith(_QUERY_FIELDS)]
        params = [(name, value) for name, value in params if not name.startswith(_QUERY_FIELDS)]
        text = "&".join(f"{name}={value}" for name, value in fields)
    if not text:
        raise _refusal(request, "missing")
    try:
        return Signature.parse(text), params
    except MalformedSignatureError as error:
        raise _refusal(request, "malformed", str(error)) from None


def _header_readings(request: ServiceRequest) -> list[list[tuple[str, str]]]:
    """The headers as sent, and with the port cut from Host: Tencent's Python SDK signs the bare name."""
    headers = list(request.headers)
    bare = [(name, _without_port(value) if name.lower() == "host" else value) for name, value in headers]
    return [headers] if bare == headers else [headers, bare]


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return name if separator and port.isdigit() else host


def _check_token(request: ServiceRequest, config: EmulatorConfig) -> None:
    if config.security_token is None:
        return
    given = [request.header(name) for name in _TOKEN_NAMES]
    given += [value for name, value in request.params if name in _TOKEN_NAMES]
    expected = config.security_token.encode()
    if not any(
        value and hmac.compare_digest(value.encode(errors="surrogateescape"), expected) for value in given
    ):
        raise _refusal(request, "token")


def _refusal(request: ServiceRequest, kind: str, detail: str | None = None) -> ServiceError:
    of_ci, of_cos, message = _REFUSALS[kind]
    status, code = of_ci if request.service is Service.CI else of_cos
    return ServiceError(status, code, f"{message}: {detail}" if detail else message)
