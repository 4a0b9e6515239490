"""Temporary credentials of a role, from the Security Token Service (STS version 2018-08-13,
1312/48197 and 1312/73070).

A client of its own, because Tencent's SDK has no timeouts of use, renews a role's keys after a tenth of their
life, and cannot repeat a call whose signature was refused for this machine's clock.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_ci.exceptions import ConfigurationError, CredentialsError, TencentCIError
from airflow_provider_ci.hooks.clock import service_clock
from airflow_provider_ci.hooks.metadata import expiry, parsed
from airflow_provider_ci.hooks.sources import checked
from airflow_provider_ci.hooks.transport import exchange, new_session
from airflow_provider_ci.protocol import tc3
from airflow_provider_ci.protocol.errors import server_time
from airflow_provider_ci.protocol.wire import Credentials, HttpResponse, SignedRequest, is_loopback_url

#: Seconds to connect, and to wait for each piece of an answer.
TIMEOUTS = (5.0, 10.0)
#: Lifetime that is asked for, seconds: the documented default and maximum.
DURATION, MAX_DURATION = 7200, 43200
#: Session name, which the audit log (CloudAudit) shows.
SESSION_NAME = "airflow-provider-ci"
#: What the platform gives a container (TKE): region, provider, file of the token, role.
TKE_VARIABLES = ("TKE_REGION", "TKE_PROVIDER_ID", "TKE_WEB_IDENTITY_TOKEN_FILE", "TKE_ROLE_ARN")

_URL = "https://sts.tencentcloudapi.com"
_VERSION = "2018-08-13"
# Any of its regions serves all roles; this is what Tencent's SDK asks
_REGION = "ap-guangzhou"
_TRANSIENT = ("InternalError", "RequestLimitExceeded", "InvalidParameter.OverLimit")
_CLOCK = "AuthFailure.SignatureExpire"
_HINTS = {
    "AuthFailure": "Check login, password and security_token of the connection: they sign the request to STS",
    "ResourceNotFound": "Check role_arn",
    "UnauthorizedOperation": "Permit sts:AssumeRole on the role, and let its trust policy name who asks",
    "InvalidParameter.WebIdentityTokenError": "Check the cluster's OIDC provider and the role's trust",
    _CLOCK: "Synchronise this machine's clock",
}
_ELSE = "Check role_arn, role_session_name, duration_seconds, external_id and the role's trust policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumeRole:
    """A role, assumed with permanent keys or with those of another role.

    :param base: what signs the request.
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
        return _ask("AssumeRole", body, url=self.endpoint_url, region=_REGION, base=self.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebIdentity:
    """A role, assumed with the token that Kubernetes (TKE) gives a container in a file and keeps fresh there.

    :param role_arn: if not the one of the environment.
    :param endpoint_url: ``scheme://host[:port]`` of STS, if not the public one.
    """

    role_arn: str | None = None
    role_session_name: str = SESSION_NAME
    duration_seconds: int = DURATION
    endpoint_url: str | None = None
    name: str = field(default="web_identity", init=False)

    def fetch(self) -> Credentials:
        """Read environment and token anew, and assume the role."""
        region, provider, file, role = map(os.environ.get, TKE_VARIABLES)
        role = self.role_arn or role
        values = zip(TKE_VARIABLES, (region, provider, file, role), strict=True)
        if missing := [name for name, value in values if not value]:
            raise CredentialsError(
                f"No credentials from web_identity: the environment lacks {', '.join(missing)}",
                hint="It works in containers of TKE whose service account is bound to a CAM role",
            )
        body = {
            "ProviderId": provider,
            "WebIdentityToken": _identity(str(file)),
            "RoleArn": role,
            "RoleSessionName": self.role_session_name,
            "DurationSeconds": self.duration_seconds,
        }
        return _ask("AssumeRoleWithWebIdentity", body, url=self.endpoint_url, region=str(region), base=None)


def _identity(path: str) -> str:
    try:
        token = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise CredentialsError(
            f"The token file {path} of TKE_WEB_IDENTITY_TOKEN_FILE cannot be read: {type(error).__name__}",
            transient=True,  # the platform replaces it from time to time
        ) from None
    if not token:
        raise CredentialsError(
            f"The token file {path} of TKE_WEB_IDENTITY_TOKEN_FILE is empty", transient=True
        )
    return token


def _ask(
    action: str, body: dict[str, Any], *, url: str | None, region: str, base: Credentials | None
) -> Credentials:
    """Post ``body``, once more if the refusal taught the service's time."""
    clock = service_clock(url)
    for last in (False, True):
        offset = clock.offset
        answer = _exchange(_request(action, body, url or _URL, region, base, time.time() + offset), action)
        said = _said(answer, action)
        code = _text((said.get("Error") or {}).get("Code")) or ""
        if not last and code == _CLOCK and clock.learn(server_time(answer), time.time(), offset):
            continue
        break
    if "Error" in said:
        raise _refusal(action, code, said)
    return checked(
        f"STS ({action})",
        said.get("Credentials"),
        ("TmpSecretId", "TmpSecretKey", "Token"),
        "Check sts_endpoint_url of the connection, if it is set",
        token_needed=True,
        expires_at=expiry(said.get("ExpiredTime")),
    )


def _request(
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
        "Authorization": "SKIP",  # what the service wants where the token in the body says who asks
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


def _exchange(request: SignedRequest, action: str) -> HttpResponse:
    try:
        with new_session(loopback=is_loopback_url(request.url)) as session:
            return exchange(session, request, TIMEOUTS)
    except ConfigurationError as error:
        raise CredentialsError(f"STS cannot be asked: {error.message}", hint=error.hint) from error
    except TencentCIError as error:
        raise CredentialsError(
            f"STS does not answer to {action}: {error.message}",
            transient=True,
            hint="Check the network, the proxy settings, and sts_endpoint_url of the connection",
        ) from error


def _said(answer: HttpResponse, action: str) -> dict[str, Any]:
    whole = parsed(answer.body)
    said = whole.get("Response") if isinstance(whole, dict) else None
    if not isinstance(said, dict) or not isinstance(said.get("Error", {}), dict):
        raise CredentialsError(
            f"What answers to {action} is not STS",
            status=answer.status,
            transient=answer.status >= 500 or answer.status == 429,
            hint="Check the proxy settings, and sts_endpoint_url of the connection",
        )
    return said


def _refusal(action: str, code: str, said: dict[str, Any]) -> CredentialsError:
    # the last one that fits says most
    fitting = [hint for name, hint in _HINTS.items() if f"{code}.".startswith(f"{name}.")]
    return CredentialsError(
        f"STS refused {action}",
        code=code,
        service_message=_text(said["Error"].get("Message")),
        request_id=_text(said.get("RequestId")),
        transient=any(f"{code}.".startswith(f"{name}.") for name in _TRANSIENT),
        hint=fitting[-1] if fitting else _ELSE,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
