"""Which of a connection's fields say where its credentials come from."""

from __future__ import annotations

import re

from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.get_provider_info import CREDENTIAL_SOURCES
from airflow_provider_ci.hooks.extra import Extra
from airflow_provider_ci.hooks.metadata import InstanceRole
from airflow_provider_ci.hooks.sources import EnvironmentKeys, FileKeys, Source, StaticKeys, is_key
from airflow_provider_ci.hooks.sts import DURATION, MAX_DURATION, SESSION_NAME, AssumeRole, WebIdentity
from airflow_provider_ci.protocol.wire import Credentials, check_origin

#: Shortest lifetime of a role's credentials that may be asked for, seconds; Tencent documents none.
MIN_DURATION = 60

_LOGIN, _PASSWORD = "login (SecretId)", "password (SecretKey)"
_KEYS = (_LOGIN, _PASSWORD, "security_token")
_ROLE = ("role_arn", "role_session_name", "duration_seconds", "sts_endpoint_url")
_FILE = ("credentials_file", "profile")
# The fields that each source uses, and those of them that it cannot do without
_USES: dict[str, tuple[str, ...]] = {
    "static": _KEYS,
    "environment": (),
    "file": _FILE,
    "instance_role": (),
    "assume_role": (*_KEYS, *_ROLE, "external_id"),
    "web_identity": _ROLE,
}
_NEEDS: dict[str, tuple[str, ...]] = {
    "static": (_LOGIN, _PASSWORD),
    "assume_role": (_LOGIN, _PASSWORD, "role_arn"),
}
# 1312/48197
_ROLE_ARN = re.compile(r"qcs::cam::uin/[0-9]+:(role|roleName)/[^\s]{1,256}", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,128}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,128}", re.ASCII)


def read_source(extra: Extra, login: str | None, password: str | None) -> Source:
    """Return where the credentials of a connection come from.

    :raises ConfigurationError: a field is malformed, missing, or of no use with the chosen source.
    """
    name = extra.choice("credential_source", CREDENTIAL_SOURCES) or "static"
    _check_fields(extra, name, {_LOGIN: login, _PASSWORD: password})
    if name == "environment":
        return EnvironmentKeys()
    if name == "instance_role":
        return InstanceRole()
    if name == "file":
        return FileKeys(extra.text("credentials_file"), extra.text("profile") or "default")
    if name == "web_identity":
        return WebIdentity(
            role_arn=_role_arn(extra),
            role_session_name=_session_name(extra),
            duration_seconds=_duration(extra),
            endpoint_url=_sts_url(extra),
        )
    keys = Credentials(
        _key(extra, _LOGIN, login), _key(extra, _PASSWORD, password), extra.token("security_token")
    )
    if name == "static":
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


def _check_fields(extra: Extra, source: str, standard: dict[str, str | None]) -> None:
    given = {name for name, value in {**extra.values, **standard}.items() if value not in (None, "")}
    wrong = [f"{field} is empty" for field in _NEEDS.get(source, ()) if field not in given]
    wrong += [
        f"{field} is set, which it does not use"
        for field in (*_KEYS, *_ROLE, "external_id", *_FILE)
        if field in given and field not in _USES[source]
    ]
    if wrong:
        raise ConfigurationError(
            f"Connection {extra.conn_id!r}: with credential_source {source}, {'; '.join(wrong)}",
            hint=f"Sources are {', '.join(CREDENTIAL_SOURCES)}",
        )


def _key(extra: Extra, field: str, value: str | None) -> str:
    # the value itself must not be shown
    if not (isinstance(value, str) and is_key(value)):
        raise ConfigurationError(
            f"Connection {extra.conn_id!r}: {field} has blanks around it or characters that no key has"
        )
    return value


def _role_arn(extra: Extra) -> str | None:
    return extra.matching("role_arn", _ROLE_ARN, "qcs::cam::uin/<account>:roleName/<role>")


def _session_name(extra: Extra) -> str:
    allowed = "2 to 128 letters, digits and any of _ + = , . @ -"
    return extra.matching("role_session_name", _SESSION_NAME, allowed) or SESSION_NAME


def _duration(extra: Extra) -> int:
    return extra.count("duration_seconds", DURATION, MIN_DURATION, MAX_DURATION)


def _sts_url(extra: Extra) -> str | None:
    url = extra.text("sts_endpoint_url")
    if url is not None:
        check_origin("sts_endpoint_url", url, allow_http=extra.flag("allow_http"))
    return url
