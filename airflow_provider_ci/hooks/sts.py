"""Temporary credentials of a role, from the Security Token Service (STS version 2018-08-13, 1312/48197 and
1312/73070).

Tencent's SDK has clients too (``STSAssumeRoleCredential``, ``OIDCRoleArnCredential``), which are not used:
they cannot send an external id or temporary base keys, follow redirects, do not trust the environment's
certificates, renew a role's keys after a tenth of their lifetime, and cannot repeat a call whose signature
was refused because of this machine's clock. ``tests/unit/hooks/test_tencent_sdk.py`` shows this.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_ci.exceptions import ConfigurationError, CredentialsError, TencentCIError
from airflow_provider_ci.hooks import transport
from airflow_provider_ci.hooks.clock import service_clock
from airflow_provider_ci.hooks.credentials_providers import parse_json, read_credentials
from airflow_provider_ci.protocol import tc3
from airflow_provider_ci.protocol.errors import server_time
from airflow_provider_ci.protocol.wire import Credentials, HttpResponse, SignedRequest, is_loopback_url

#: Seconds to connect, and to wait for each chunk of a response.
TIMEOUTS = (5.0, 10.0)
#: Lifetime of a role's credentials, seconds: the documented default and maximum.
DURATION, MAX_DURATION = 7200, 43200
#: Session name, which the audit log (CloudAudit) shows.
SESSION_NAME = "airflow-provider-ci"
#: What the platform gives a container (TKE): region, provider, file of the token, role.
TKE_VARIABLES = ("TKE_REGION", "TKE_PROVIDER_ID", "TKE_WEB_IDENTITY_TOKEN_FILE", "TKE_ROLE_ARN")

_URL = "https://sts.tencentcloudapi.com"
_VERSION = "2018-08-13"
# Each region serves all roles; Tencent's SDK asks this one
_REGION = "ap-guangzhou"
_TRANSIENT_CODES = ("InternalError", "RequestLimitExceeded", "InvalidParameter.OverLimit")
_CLOCK_CODE = "AuthFailure.SignatureExpire"
# The last one that matches is the most specific
_HINTS = {
    "AuthFailure": "Check login, password and security_token of the connection: they sign the request to STS",
    "ResourceNotFound": "Check role_arn",
    "UnauthorizedOperation": "Permit sts:AssumeRole on the role, and let its trust policy name who asks",
    "InvalidParameter.WebIdentityTokenError": "Check the cluster's OIDC provider and the role's trust",
    _CLOCK_CODE: "Synchronise this machine's clock",
}
_WEB_IDENTITY_HINT = "Check that the service account of this TKE container is bound to a CAM role"
_DEFAULT_HINT = "Check role_arn, role_session_name, duration_seconds, external_id and the role's trust policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumeRole:
    """A role, assumed with permanent keys or with those of another role.

    :param base: the credentials that sign the request.
    :param endpoint_url: ``scheme://host[:port]`` of STS, if not the public one.
    """

    base: Credentials
    role_arn: str
    role_session_name: str = SESSION_NAME
    duration_seconds: int = DURATION
    external_id: str | None = None
    endpoint_url: str | None = None
    name: str = field(default="assume_role", init=False)

    def fetch(self) -> Credentials:
        """Assume the role."""
        body: dict[str, Any] = {
            "RoleArn": self.role_arn,
            "RoleSessionName": self.role_session_name,
            "DurationSeconds": self.duration_seconds,
        }
        if self.external_id:
            body["ExternalId"] = self.external_id
        return _assume("AssumeRole", body, url=self.endpoint_url, region=_REGION, base=self.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebIdentity:
    """A role, assumed with the token that Kubernetes (TKE) writes to a file of the container and renews.

    :param role_arn: the role, if not the one that the environment names.
    :param endpoint_url: ``scheme://host[:port]`` of STS, if not the public one.
    """

    role_arn: str | None = None
    role_session_name: str = SESSION_NAME
    duration_seconds: int = DURATION
    endpoint_url: str | None = None
    name: str = field(default="web_identity", init=False)

    def fetch(self) -> Credentials:
        """Read environment and token, and assume the role."""
        region, provider, token_file, default_role = map(os.environ.get, TKE_VARIABLES)
        role = self.role_arn or default_role
        values = zip(TKE_VARIABLES, (region, provider, token_file, role), strict=True)
        if missing := [name for name, value in values if not value]:
            raise CredentialsError(
                f"No credentials from web_identity: the environment lacks {', '.join(missing)}",
                hint="Bind the service account of this TKE container to a CAM role, or use another source",
            )
        body = {
            "ProviderId": provider,
            "WebIdentityToken": _read_token(str(token_file)),
            "RoleArn": role,
            "RoleSessionName": self.role_session_name,
            "DurationSeconds": self.duration_seconds,
        }
        return _assume(
            "AssumeRoleWithWebIdentity", body, url=self.endpoint_url, region=str(region), base=None
        )


def _read_token(path: str) -> str:
    try:
        token = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise CredentialsError(
            f"The token file {path} of TKE_WEB_IDENTITY_TOKEN_FILE cannot be read: {type(error).__name__}",
            hint=_WEB_IDENTITY_HINT,
            transient=True,  # the platform replaces it from time to time
        ) from None
    if not token:
        raise CredentialsError(
            f"The token file {path} of TKE_WEB_IDENTITY_TOKEN_FILE is empty",
            hint=_WEB_IDENTITY_HINT,
            transient=True,
        )
    return token


def _assume(
    action: str, body: dict[str, Any], *, url: str | None, region: str, base: Credentials | None
) -> Credentials:
    """Post ``body``, and once more if STS refused the signature's time and its clock became known by that."""
    clock = service_clock(url)
    result: dict[str, Any] = {}
    for attempt in (1, 2):
        offset = clock.offset
        request = _sign(action, body, url or _URL, region, base, clock.now())
        response = _send(request, action)
        result = _parse(response, action)
        is_clock_refused = _error_code(result) == _CLOCK_CODE
        if not is_clock_refused or attempt == 2:
            break
        if not clock.correct(server_time(response), time.time(), used_offset=offset):
            break
    if "Error" in result:
        raise _service_error(action, result)
    found = result.get("Credentials")
    return read_credentials(
        found if isinstance(found, dict) else {},
        ("TmpSecretId", "TmpSecretKey", "Token"),
        origin=f"STS ({action})",
        hint="Check sts_endpoint_url of the connection, if it is set",
        is_token_required=True,
        expires_at=result.get("ExpiredTime"),
    )


def _sign(
    action: str, body: dict[str, Any], url: str, region: str, base: Credentials | None, now: float
) -> SignedRequest:
    data, host, timestamp = json.dumps(body).encode(), url.rstrip("/").split("/")[2], int(now)
    headers = {
        "Content-Type": tc3.CONTENT_TYPE,
        "Host": host,
        "X-TC-Action": action,
        "X-TC-Region": region,
        "X-TC-Timestamp": str(timestamp),
        "X-TC-Version": _VERSION,
        "Authorization": "SKIP",  # STS expects this if the token in the body identifies the caller
    }
    if base is not None:
        headers["Authorization"] = tc3.authorization(
            data,
            host=host,
            service="sts",
            secret_id=base.secret_id,
            secret_key=base.secret_key,
            timestamp=timestamp,
        )
        if base.token:
            headers["X-TC-Token"] = base.token
    return SignedRequest("POST", url.rstrip("/") + "/", headers, data)


def _send(request: SignedRequest, action: str) -> HttpResponse:
    try:
        with transport.new_session(loopback=is_loopback_url(request.url)) as session:
            return transport.send(session, request, TIMEOUTS)
    except ConfigurationError as error:
        raise CredentialsError(f"STS cannot be asked: {error.message}", hint=error.hint) from error
    except TencentCIError as error:
        raise CredentialsError(
            f"STS does not respond to {action}: {error.message}",
            transient=True,
            hint="Check the network, the proxy settings, and sts_endpoint_url of the connection",
        ) from error


def _parse(response: HttpResponse, action: str) -> dict[str, Any]:
    document = parse_json(response.body)
    result = document.get("Response") if isinstance(document, dict) else None
    if not isinstance(result, dict) or not isinstance(result.get("Error", {}), dict):
        raise CredentialsError(
            f"The response to {action} is not from STS",
            status=response.status,
            transient=response.status >= 500 or response.status == 429,
            hint="Check the proxy settings, and sts_endpoint_url of the connection",
        )
    return result


def _service_error(action: str, result: dict[str, Any]) -> CredentialsError:
    code = _error_code(result)
    hints = [hint for prefix, hint in _HINTS.items() if _is_within(code, prefix)]
    return CredentialsError(
        f"STS refused {action}",
        code=code,
        service_message=_string_or_none(result["Error"].get("Message")),
        request_id=_string_or_none(result.get("RequestId")),
        transient=any(_is_within(code, prefix) for prefix in _TRANSIENT_CODES),
        hint=hints[-1] if hints else _DEFAULT_HINT,
    )


def _error_code(result: dict[str, Any]) -> str:
    return _string_or_none((result.get("Error") or {}).get("Code")) or ""


def _is_within(code: str, prefix: str) -> bool:
    """Return whether a code is ``prefix`` itself or below it: ``AuthFailure.X`` is below ``AuthFailure``."""
    return f"{code}.".startswith(f"{prefix}.")


def _string_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
