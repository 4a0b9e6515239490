"""Credentials of the role that is bound to the machine, from its metadata service (598/85616).

The service answers without authentication to whoever is on the machine. It is never asked through a proxy.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_ci.exceptions import CredentialsError, TencentCIError
from airflow_provider_ci.hooks.sources import checked
from airflow_provider_ci.hooks.transport import exchange, new_session
from airflow_provider_ci.protocol.wire import Credentials, HttpResponse, SignedRequest

#: Where the machine's roles are listed, and each role's credentials lie beneath.
METADATA_URL = "http://metadata.tencentyun.com/latest/meta-data/cam/security-credentials/"
#: Seconds to connect, and to wait for each piece of an answer: the service is on the same host.
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
        role = next(iter(self._ask("").split()), "")
        if not _ROLE.fullmatch(role):
            raise CredentialsError("The metadata service names no role", hint=_HINT)
        said = parsed(self._ask(role))
        if not isinstance(said, dict) or said.get("Code") != "Success":
            code = said.get("Code") if isinstance(said, dict) else "no JSON object"
            why = code[:100] if isinstance(code, str) else "no Code"
            raise CredentialsError(
                f"The metadata service gives no credentials of role {role}: {why}",
                transient=True,
                hint=_HINT,
            )
        return checked(
            f"role {role}",
            said,
            ("TmpSecretId", "TmpSecretKey", "Token"),
            _HINT,
            token_needed=True,
            expires_at=expiry(said.get("ExpiredTime")),
        )

    def _ask(self, path: str) -> str:
        url = METADATA_URL + path
        request = SignedRequest("GET", url, {"Host": url.split("/")[2]})
        try:
            with new_session(loopback=True) as session:
                answer = exchange(session, request, TIMEOUTS)
        except TencentCIError as error:
            raise CredentialsError(
                f"The metadata service does not answer: {error.message}", transient=True, hint=_HINT
            ) from error
        return _text(answer)


def _text(answer: HttpResponse) -> str:
    if answer.status == 404:
        raise CredentialsError("No role is bound to this machine", status=404, hint=_HINT)
    if answer.status != 200:
        raise CredentialsError(
            "The metadata service failed",
            status=answer.status,
            transient=answer.status == 429 or answer.status >= 500,
            hint=_HINT,
        )
    return answer.body.decode(errors="replace")


def expiry(value: Any) -> float | None:
    """Return the Unix time that an answer names; ``None`` if it names none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        moment = float(value)
    except OverflowError:
        return None
    return moment if math.isfinite(moment) else None


def parsed(text: str | bytes) -> Any:
    """Return what JSON from outside says; ``None`` if it is none, or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
