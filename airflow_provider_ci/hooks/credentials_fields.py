"""The fields of a connection that determine its credentials provider."""

from __future__ import annotations

import re

from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.get_provider_info import CREDENTIAL_SOURCES
from airflow_provider_ci.hooks.credentials_providers import (
    CredentialsProvider,
    EnvironmentKeys,
    FileKeys,
    StaticKeys,
    is_header_value,
)
from airflow_provider_ci.hooks.extra import Extra
from airflow_provider_ci.hooks.instance_role import InstanceRole
from airflow_provider_ci.hooks.sts import DURATION, MAX_DURATION, SESSION_NAME, AssumeRole, WebIdentity
from airflow_provider_ci.protocol.wire import Credentials, check_origin

#: Shortest lifetime of a role's credentials that may be asked for, seconds; Tencent documents none.
MIN_DURATION = 60

_LOGIN, _PASSWORD = "login (SecretId)", "password (SecretKey)"
_KEYS = (_LOGIN, _PASSWORD, "security_token")
_ROLE = ("role_arn", "role_session_name", "duration_seconds", "sts_endpoint_url")
_FILE = ("credentials_file", "profile")
_FIELDS = (*_KEYS, *_ROLE, "external_id", *_FILE)
_USED_FIELDS: dict[str, tuple[str, ...]] = {
    "static": _KEYS,
    "environment": (),
    "file": _FILE,
    "instance_role": (),
    "assume_role": (*_KEYS, *_ROLE, "external_id"),
    "web_identity": _ROLE,
}
_REQUIRED_FIELDS: dict[str, tuple[str, ...]] = {
    "static": (_LOGIN, _PASSWORD),
    "assume_role": (_LOGIN, _PASSWORD, "role_arn"),
}
# 1312/48197
_ROLE_ARN = re.compile(r"qcs::cam::uin/[0-9]+:(role|roleName)/[^\s]{1,256}", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,128}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,128}", re.ASCII)


def read_provider(extra: Extra, login: str | None, password: str | None) -> CredentialsProvider:
    """Return the credentials provider of a connection.

    :raises ConfigurationError: a field is malformed, missing, or not used by the chosen source.
    """
    source = extra.choice("credential_source", CREDENTIAL_SOURCES) or "static"
    _check_fields(extra, source, login, password)
    if source == "environment":
        return EnvironmentKeys()
    if source == "instance_role":
        return InstanceRole()
    if source == "file":
        return FileKeys(extra.string("credentials_file"), extra.string("profile") or "default")
    if source == "web_identity":
        return WebIdentity(
            role_arn=_role_arn(extra),
            role_session_name=_session_name(extra),
            duration_seconds=_duration(extra),
            endpoint_url=_sts_url(extra),
        )
    keys = Credentials(
        _key(extra, _LOGIN, login), _key(extra, _PASSWORD, password), extra.token("security_token")
    )
    if source == "static":
        return StaticKeys(keys)
    return AssumeRole(
        base=keys,
        role_arn=_role_arn(extra) or "",
        role_session_name=_session_name(extra),
        duration_seconds=_duration(extra),
        external_id=extra.matching(
            "external_id", _EXTERNAL_ID, "2 to 128 letters, digits and any of _ + = , . @ : / -"
        ),
        endpoint_url=_sts_url(extra),
    )


def _check_fields(extra: Extra, source: str, login: str | None, password: str | None) -> None:
    values = {**extra.values, _LOGIN: login, _PASSWORD: password}
    filled = {name for name, value in values.items() if value not in (None, "")}
    problems = [f"{field} is empty" for field in _REQUIRED_FIELDS.get(source, ()) if field not in filled]
    problems += [
        f"{field} is set, which it does not use"
        for field in _FIELDS
        if field in filled and field not in _USED_FIELDS[source]
    ]
    if problems:
        raise ConfigurationError(
            f"Connection {extra.conn_id!r}: with credential_source {source}, {'; '.join(problems)}",
            hint=f"Correct these fields, or set another source: {', '.join(CREDENTIAL_SOURCES)}",
        )


def _key(extra: Extra, field: str, value: str | None) -> str:
    # the error must not show the value
    if not (isinstance(value, str) and is_header_value(value)):
        raise ConfigurationError(
            f"Connection {extra.conn_id!r}: {field} has whitespace around it or characters that no key has",
            hint="Enter it again",
        )
    return value


def _role_arn(extra: Extra) -> str | None:
    return extra.matching("role_arn", _ROLE_ARN, "qcs::cam::uin/<account>:roleName/<role>")


def _session_name(extra: Extra) -> str:
    allowed = "2 to 128 letters, digits and any of _ + = , . @ -"
    return extra.matching("role_session_name", _SESSION_NAME, allowed) or SESSION_NAME


def _duration(extra: Extra) -> int:
    return extra.integer("duration_seconds", DURATION, MIN_DURATION, MAX_DURATION)


def _sts_url(extra: Extra) -> str | None:
    url = extra.string("sts_endpoint_url")
    if url is not None:
        check_origin("sts_endpoint_url", url, allow_http=extra.flag("allow_http"))
    return url
