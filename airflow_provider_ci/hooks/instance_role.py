"""Credentials of the role that is bound to the machine, from its metadata service (598/85616).

The service responds to every process on the machine, without authentication. It is never asked through a
proxy.

Tencent's SDK has a client too (``CVMRoleCredential``), which is not used: it has no timeout, goes through the
environment's proxy, follows redirects, and hides every error.
``tests/unit/hooks/test_tencent_sdk.py`` shows this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_ci.exceptions import CredentialsError, TencentCIError
from airflow_provider_ci.hooks import transport
from airflow_provider_ci.hooks.credentials_providers import parse_json, read_credentials
from airflow_provider_ci.protocol.wire import Credentials, SignedRequest

#: Lists the machine's roles; the credentials of each role are below it.
METADATA_URL = "http://metadata.tencentyun.com/latest/meta-data/cam/security-credentials/"
#: Seconds to connect, and to wait for each chunk of a response: the service is on the same host.
TIMEOUTS = (2.0, 5.0)

_ROLE = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)
_HINT = (
    "credential_source instance_role works on a CVM instance to which a CAM role is bound: bind one in the"
    " console, or choose another source"
)


@dataclass(frozen=True, slots=True)
class InstanceRole:
    """The role of the machine; of several, the first that the metadata service names."""

    name: str = field(default="instance_role", init=False)
    endpoint_url: None = field(default=None, init=False)

    def fetch(self) -> Credentials:
        """Ask the metadata service for the role, and for its credentials."""
        role = next(iter(_get("").decode(errors="replace").split()), "")
        if not _ROLE.fullmatch(role):
            raise CredentialsError("The metadata service names no role", hint=_HINT)
        response = parse_json(_get(role))
        if (problem := _find_problem(response)) is not None:
            raise CredentialsError(
                f"The metadata service gives no credentials of role {role}: {problem}",
                transient=True,
                hint=_HINT,
            )
        return read_credentials(
            response,
            ("TmpSecretId", "TmpSecretKey", "Token"),
            origin=f"role {role}",
            hint=_HINT,
            is_token_required=True,
            expires_at=response.get("ExpiredTime"),
        )


def _find_problem(response: Any) -> str | None:
    if not isinstance(response, dict):
        return "no JSON object"
    code = response.get("Code")
    if code == "Success":
        return None
    return code[:100] if isinstance(code, str) else "no Code"


def _get(path: str) -> bytes:
    url = METADATA_URL + path
    request = SignedRequest("GET", url, {"Host": url.split("/")[2]})
    try:
        with transport.new_session(loopback=True) as session:
            response = transport.send(session, request, TIMEOUTS)
    except TencentCIError as error:
        raise CredentialsError(
            f"The metadata service does not respond: {error.message}", transient=True, hint=_HINT
        ) from error
    if response.status == 404:
        raise CredentialsError("No role is bound to this machine", status=404, hint=_HINT)
    if response.status != 200:
        raise CredentialsError(
            "The metadata service failed",
            status=response.status,
            transient=response.status == 429 or response.status >= 500,
            hint=_HINT,
        )
    return response.body
