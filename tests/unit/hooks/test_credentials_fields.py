"""Which credentials the fields of a connection mean, in each form that a connection may have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from airflow.exceptions import AirflowNotFoundException
from airflow.models import Connection as StoredConnection
from airflow.providers.common.compat.sdk import Connection
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.get_provider_info import CONN_FIELDS, CREDENTIAL_SOURCES
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.hooks.credentials_providers import (
    CredentialsProvider,
    EnvironmentKeys,
    FileKeys,
    StaticKeys,
)
from airflow_provider_ci.hooks.instance_role import InstanceRole
from airflow_provider_ci.hooks.sts import AssumeRole, WebIdentity
from airflow_provider_ci.protocol.wire import Credentials
from tests.airflow_version import IS_AIRFLOW_2
from tests.conftest import CREDENTIALS, Logs

encrypts_texts_only = pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2.11 itself takes only text for a key")

ID, KEY, TOKEN = CREDENTIALS.secret_id, CREDENTIALS.secret_key, str(CREDENTIALS.token)
ARN = "qcs::cam::uin/100000000001:roleName/airflow"
STS_URL = "https://sts.internal.example"
KEYS = {"login": ID, "password": KEY}
# login and password, extra, what they mean
CASES: dict[str, tuple[dict[str, str], dict[str, Any], CredentialsProvider]] = {
    "default": (KEYS, {}, StaticKeys(Credentials(ID, KEY))),
    "static": (KEYS, {"credential_source": "static", "security_token": TOKEN}, StaticKeys(CREDENTIALS)),
    "environment": ({}, {"credential_source": "environment"}, EnvironmentKeys()),
    "file": ({}, {"credential_source": "file"}, FileKeys()),
    "file-all": (
        {},
        {"credential_source": "file", "credentials_file": "/run/x y", "profile": "other"},
        FileKeys("/run/x y", "other"),
    ),
    "instance_role": ({}, {"credential_source": "instance_role"}, InstanceRole()),
    "assume_role": (
        KEYS,
        {"credential_source": "assume_role", "role_arn": ARN},
        AssumeRole(base=Credentials(ID, KEY), role_arn=ARN),
    ),
    "assume_role-all": (
        KEYS,
        {
            "credential_source": "assume_role",
            "role_arn": ARN,
            "security_token": TOKEN,
            "role_session_name": "night=ly@x",
            "duration_seconds": "43200",
            "external_id": "a:b/c",
            "sts_endpoint_url": STS_URL,
        },
        AssumeRole(
            base=CREDENTIALS,
            role_arn=ARN,
            role_session_name="night=ly@x",
            duration_seconds=43200,
            external_id="a:b/c",
            endpoint_url=STS_URL,
        ),
    ),
    "web_identity": ({}, {"credential_source": "web_identity"}, WebIdentity()),
    "web_identity-all": (
        {},
        {
            "credential_source": "web_identity",
            "role_arn": ARN,
            "role_session_name": "s2",
            "duration_seconds": 60,
            "sts_endpoint_url": STS_URL,
        },
        WebIdentity(role_arn=ARN, role_session_name="s2", duration_seconds=60, endpoint_url=STS_URL),
    ),
}
every_case = pytest.mark.parametrize(("keys", "extra", "expected"), CASES.values(), ids=CASES)


def settings(keys: dict[str, str], extra: dict[str, Any]) -> ConnectionSettings:
    connection = Connection(conn_id="ci", conn_type="tencent_ci", extra=json.dumps(extra), **keys)
    return ConnectionSettings.from_connection(connection)


class TestForms:
    @every_case
    def test_a_connection_object_is_read(
        self, keys: dict[str, str], extra: dict[str, Any], expected: CredentialsProvider
    ) -> None:
        assert settings(keys, extra).credentials_provider == expected

    @every_case
    def test_a_connection_in_json_is_read(
        self,
        keys: dict[str, str],
        extra: dict[str, Any],
        expected: CredentialsProvider,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        value = json.dumps({"conn_type": "tencent_ci", **keys, "extra": extra})
        monkeypatch.setenv("AIRFLOW_CONN_CI", value)
        assert TencentCIHook("ci").settings.credentials_provider == expected

    @every_case
    def test_a_connection_as_uri_is_read(
        self,
        keys: dict[str, str],
        extra: dict[str, Any],
        expected: CredentialsProvider,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        login = ":".join(quote(value, safe="") for value in keys.values())
        monkeypatch.setenv("AIRFLOW_CONN_CI", f"tencent-ci://{login}@/?{urlencode(extra)}")
        assert TencentCIHook("ci").settings.credentials_provider == expected

    @every_case
    def test_what_the_form_stores_is_read(
        self, keys: dict[str, str], extra: dict[str, Any], expected: CredentialsProvider
    ) -> None:
        """Every field of the form, empty ones as null or as an empty text."""
        for empty in (None, ""):
            assert settings(keys, dict.fromkeys(CONN_FIELDS, empty) | extra).credentials_provider == expected

    def test_every_example_of_the_documentation_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        page = (Path(__file__).parents[3] / "docs" / "connections.md").read_text("utf-8")
        values = re.findall(r"export AIRFLOW_CONN_TENCENT_CI_DEFAULT='([^']*)'", page)
        found = []
        for value in values:
            filled = value.replace("<SecretId>", ID).replace("<SecretKey>", KEY)
            monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", filled)
            read = TencentCIHook().settings
            read.endpoint()
            found.append(read.credentials_provider.name)
        assert found == ["static", *CREDENTIAL_SOURCES]


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("source", "needed"),
        [
            ("static", ("login (SecretId)", "password (SecretKey)")),
            ("assume_role", ("login (SecretId)", "password (SecretKey)", "role_arn")),
        ],
    )
    def test_all_that_is_missing_is_named(self, source: str, needed: tuple[str, ...]) -> None:
        said = "; ".join(f"{name} is empty" for name in needed)
        with pytest.raises(
            ConfigurationError, match=re.escape(f"'ci': with credential_source {source}, {said}")
        ):
            settings({}, {"credential_source": source})

    @pytest.mark.parametrize("source", CREDENTIAL_SOURCES)
    def test_what_a_source_does_not_use_is_named_and_not_shown(self, source: str) -> None:
        values = {
            "security_token": TOKEN,
            "role_arn": ARN,
            "role_session_name": "nightly",
            "duration_seconds": 900,
            "external_id": "ext",
            "sts_endpoint_url": STS_URL,
            "credentials_file": "/run/x",
            "profile": "p",
        }
        used = {
            "static": {"security_token"},
            "assume_role": {*values} - {"credentials_file", "profile"},
            "file": {"credentials_file", "profile"},
            "web_identity": {"role_arn", "role_session_name", "duration_seconds", "sts_endpoint_url"},
        }.get(source, set())
        keys = {"login (SecretId)", "password (SecretKey)"}
        with pytest.raises(ConfigurationError) as caught:
            settings(KEYS, {"credential_source": source} | values)
        named = {*re.findall(r"([a-z_]+(?: \(\w+\))?) is set, which it does not use", str(caught.value))}
        assert named == ({*values} - used) | (set() if source in ("static", "assume_role") else keys)
        assert KEY not in str(caught.value)
        assert TOKEN not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("credential_source", "magic"),
            ("credential_source", "Static"),
            ("credential_source", 1),
            ("role_arn", "airflow"),
            ("role_arn", "qcs::cam::uin/x:roleName/airflow"),
            ("role_arn", ARN + " x"),
            ("role_session_name", "x"),
            ("role_session_name", "a b"),
            ("role_session_name", "x" * 129),
            ("role_session_name", "имя"),
            ("duration_seconds", 59),
            ("duration_seconds", 43201),
            ("duration_seconds", "long"),
            ("external_id", "x"),
            ("external_id", "a b"),
        ],
    )
    def test_a_malformed_field_is_named_with_what_is_allowed(self, name: str, value: object) -> None:
        extra = {"credential_source": "assume_role", "role_arn": ARN} | {name: value}
        with pytest.raises(ConfigurationError, match=rf"extra {name} is .*, allowed: ") as caught:
            settings(KEYS, extra)
        assert repr(value) in str(caught.value)

    @pytest.mark.parametrize(
        "url", ["http://sts.example", "sts.example", "https://u:p@sts.example", "https://x/y"]
    )
    def test_a_bad_address_of_sts_is_refused(self, url: str) -> None:
        extra = {"credential_source": "assume_role", "role_arn": ARN, "sts_endpoint_url": url}
        with pytest.raises(ConfigurationError, match="sts_endpoint_url"):
            settings(KEYS, extra)
        if url.startswith("http:"):
            assert settings(KEYS, extra | {"allow_http": True}).credentials_provider.endpoint_url == url


@every_case
def test_no_secret_is_in_a_repr(
    keys: dict[str, str], extra: dict[str, Any], expected: CredentialsProvider
) -> None:
    read = settings(keys, extra)
    shown = repr(read) + repr(read.credentials_provider)
    assert KEY not in shown
    assert TOKEN not in shown


def test_the_connections_own_secrets_are_masked(
    monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture, logs: Logs
) -> None:
    masked: list[str] = []
    mocker.patch("airflow.providers.common.compat.sdk.mask_secret", masked.append)
    keys, extra, _ = CASES["assume_role-all"]
    monkeypatch.setenv("AIRFLOW_CONN_CI", json.dumps({"conn_type": "tencent_ci", **keys, "extra": extra}))
    TencentCIHook("ci").settings  # noqa: B018
    assert masked == [KEY, TOKEN]


# As in a URI, and what it means: the database model of newer Airflow reads each value as JSON if it can
LIKE_JSON = {
    "20260101": "20260101",
    "0": "0",
    "-5": "-5",
    "007": "007",
    "123456789012345678901234567890": "123456789012345678901234567890",
    "1.5": "1.5",
    "true": "true",
    "false": "false",
    "True": "True",
}


@pytest.mark.parametrize("written", LIKE_JSON)
@pytest.mark.parametrize("field", ["role_session_name", "external_id", "security_token", "profile"])
def test_a_string_that_looks_like_json_in_a_uri_stays_a_string(field: str, written: str) -> None:
    means = LIKE_JSON[written]
    if field in ("role_session_name", "external_id") and len(means) < 2:
        means = written = "20"
    fields = {
        "role_session_name": {"credential_source": "assume_role", "role_arn": ARN},
        "external_id": {"credential_source": "assume_role", "role_arn": ARN},
        "security_token": {},
        "profile": {"credential_source": "file"},
    }[field]
    keys = "" if field == "profile" else f"{ID}:{KEY}@"
    uri = f"tencent-ci://{keys}/?{urlencode({**fields, field: written})}"
    source: Any = ConnectionSettings.from_connection(
        StoredConnection(conn_id="ci", uri=uri)
    ).credentials_provider
    read = source.credentials.token if field == "security_token" else getattr(source, field)
    assert read == means


@pytest.mark.parametrize("value", [1e30, [1], {}, float("inf"), float("nan")])
def test_a_value_of_another_type_is_refused_by_its_field(value: object) -> None:
    extra = json.dumps({"credential_source": "file", "profile": value})
    with pytest.raises(ConfigurationError, match=r"extra profile is .*, allowed: a string"):
        ConnectionSettings.from_connection(Connection(conn_id="ci", conn_type="tencent_ci", extra=extra))


@pytest.mark.parametrize("name", ["region", "bucket", "credential_source", "role_arn", "endpoint_url"])
@pytest.mark.parametrize("value", ["20260101", "true", "1.5"])
def test_a_value_that_looks_like_json_is_refused_if_the_field_does_not_allow_it(
    name: str, value: str
) -> None:
    given = {"credential_source": "assume_role", "role_arn": ARN, name: value}
    uri = f"tencent-ci://{ID}:{KEY}@/?{urlencode(given)}"

    def read() -> None:
        stored = StoredConnection(conn_id="ci", uri=uri)
        ConnectionSettings.from_connection(stored).endpoint("media-1250000001", "ap-guangzhou")

    said = rf"{name} (is '{value}', allowed: |does not have the allowed form: )"
    with pytest.raises(ConfigurationError, match=said):
        read()


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize(
    "query", ["endpoint_url=http://127.0.0.1:9000", "region=ap-guangzhou"], ids=["endpoint", "slash"]
)
def test_airflow_does_not_know_a_connection_whose_uri_it_cannot_read(
    monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """As the pages say; a connection in JSON has no such traps."""
    key = "a/b" if query.startswith("region") else KEY
    monkeypatch.setenv("AIRFLOW_CONN_CI", f"tencent-ci://{ID}:{key}@/?{query}")
    with pytest.raises(AirflowNotFoundException, match="conn_id `ci` isn't defined"):
        TencentCIHook("ci").settings  # noqa: B018


@encrypts_texts_only
def test_keys_may_be_numbers_in_json() -> None:
    connection: Any = Connection(conn_id="ci", conn_type="tencent_ci")
    connection.login, connection.password = 12345678, 987654321
    read = ConnectionSettings.from_connection(connection)
    assert read.credentials_provider == StaticKeys(Credentials("12345678", "987654321"))
    assert read.secrets == ("987654321",)


@encrypts_texts_only
@pytest.mark.parametrize("value", [["AKID"], {"id": 1}, 1e30])
def test_keys_of_another_type_are_refused_and_not_shown(value: Any) -> None:
    connection: Any = Connection(conn_id="ci", conn_type="tencent_ci", login=ID)
    connection.password = value
    with pytest.raises(ConfigurationError, match=r"password \(SecretKey\) has whitespace") as caught:
        ConnectionSettings.from_connection(connection)
    assert repr(value) not in str(caught.value)
