"""Reading an Airflow connection: every field, good and bad, and no secret in any error."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.hooks.credentials_providers import StaticKeys
from airflow_provider_ci.protocol.wire import Credentials
from tests.conftest import BUCKET, CREDENTIALS, REGION, Logs

ID, KEY, TOKEN = CREDENTIALS.secret_id, CREDENTIALS.secret_key, CREDENTIALS.token


def settings(*, login: str | None = ID, password: str | None = KEY, **extra: Any) -> ConnectionSettings:
    connection = Connection(
        conn_id="ci", conn_type="tencent_ci", login=login, password=password, extra=json.dumps(extra)
    )
    return ConnectionSettings.from_connection(connection)


def test_login_and_password_are_enough() -> None:
    read = settings()
    assert read.conn_id == "ci"
    assert read.credentials_provider == StaticKeys(Credentials(ID, KEY))
    assert read.credentials.get() == Credentials(ID, KEY)
    assert (read.bucket, read.region, read.endpoint_url, read.allow_http) == (None, None, None, False)
    assert (read.connect_timeout, read.read_timeout, read.retry.max_attempts) == (5, 30, 6)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("region", REGION, REGION),
        ("region", "", None),
        ("region", None, None),
        ("bucket", BUCKET, BUCKET),
        ("endpoint_url", "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("endpoint_url", "", None),
        ("ci_host", None, "ci.{region}.myqcloud.com"),
        ("cos_host", "", "cos.{region}.myqcloud.com"),
        ("cos_host", "cos-internal.{region}.tencentcos.cn", "cos-internal.{region}.tencentcos.cn"),
        ("allow_http", True, True),
        ("allow_http", False, False),
        ("allow_http", None, False),
        ("allow_http", "true", True),
        ("allow_http", " On ", True),
        ("allow_http", "1", True),
        ("allow_http", 1, True),
        ("allow_http", "no", False),
        ("allow_http", "", False),
        ("allow_http", 0, False),
        ("connect_timeout", 2, 2.0),
        ("connect_timeout", 0.5, 0.5),
        ("connect_timeout", "2.5", 2.5),
        ("connect_timeout", None, 5.0),
        ("read_timeout", "", 30.0),
        ("read_timeout", "60", 60.0),
    ],
)
def test_a_good_field_is_read(name: str, value: object, expected: object) -> None:
    assert getattr(settings(**{name: value}), name) == expected


@pytest.mark.parametrize(("value", "expected"), [(1, 1), (10, 10), ("3", 3), (4.0, 4), ("", 6), (None, 6)])
def test_a_good_number_of_attempts_is_read(value: object, expected: int) -> None:
    assert settings(max_attempts=value).retry.max_attempts == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", 5),
        ("region", " ap-guangzhou"),
        ("region", "ap-guangzhou\n"),
        ("bucket", ["media-1250000001"]),
        ("bucket", "media-1250000001 "),
        ("ci_host", "ci.example.com"),
        ("ci_host", "cos.{region}.myqcloud.com"),
        ("cos_host", 5),
        ("allow_http", "maybe"),
        ("allow_http", 2),
        ("allow_http", []),
        ("connect_timeout", 0),
        ("connect_timeout", -1),
        ("connect_timeout", "soon"),
        ("connect_timeout", True),
        ("connect_timeout", [5]),
        pytest.param("connect_timeout", 10**400, id="huge"),
        ("read_timeout", "nan"),
        ("read_timeout", "inf"),
        ("read_timeout", {}),
        ("max_attempts", 0),
        ("max_attempts", 11),
        ("max_attempts", 1.5),
        ("max_attempts", "many"),
        ("max_attempts", False),
    ],
)
def test_a_bad_field_is_named_with_what_is_allowed(name: str, value: object) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"Connection 'ci': extra {name} is .*, allowed: "
    ) as caught:
        settings(**{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("field", ["login", "password"])
@pytest.mark.parametrize("pattern", [" {}", "{}\n", "{}\x00", "клю{}"])
def test_a_malformed_credential_is_not_shown(field: str, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=field) as caught:
        settings(**{field: pattern.format(KEY)})
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize("pattern", [" {}", "{}\n", "{}\x00", "токен{}"])
def test_a_malformed_token_is_not_shown(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="extra security_token is a value not shown") as caught:
        settings(security_token=pattern.format(TOKEN))
    assert str(TOKEN) not in str(caught.value)


@pytest.mark.parametrize("value", ["https://user:hunter2@gateway ", "http://hunter2\x00", ["hunter2"]])
@pytest.mark.parametrize("field", ["endpoint_url", "sts_endpoint_url"])
def test_an_address_which_may_hold_a_password_is_not_shown(field: str, value: object) -> None:
    given: dict[str, object] = {field: value}
    if field.startswith("sts"):
        given |= {"credential_source": "assume_role", "role_arn": "qcs::cam::uin/1:roleName/r"}
    with pytest.raises(ConfigurationError, match=f"extra {field} is a value not shown") as caught:
        settings(**given)
    assert "hunter2" not in str(caught.value)


def test_a_token_of_another_type_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="extra security_token is a value not shown") as caught:
        settings(security_token=[TOKEN])
    assert str(TOKEN) not in str(caught.value)


@pytest.mark.parametrize("url", [f"https://me:{KEY}@gateway.example", f"https://gateway.example/?key={KEY}"])
def test_settings_hold_no_address_with_a_secret(url: str) -> None:
    with pytest.raises(ConfigurationError, match="endpoint_url does not have the allowed form") as caught:
        settings(endpoint_url=url)
    assert KEY not in str(caught.value)


def test_unknown_extra_fields_are_warned_about(logs: Logs) -> None:
    settings(regoin=REGION, token="x")
    (line,) = logs.at("warning")
    assert "['regoin', 'token']" in line
    assert "security_token" in line


def test_known_extra_fields_cause_no_warning(logs: Logs) -> None:
    settings(region=REGION, security_token=TOKEN)
    assert logs.at("warning") == []


@pytest.mark.parametrize("extra", ["[1]", '"text"', "5"])
def test_an_extra_must_be_an_object(extra: str) -> None:
    connection = Connection(conn_id="ci", conn_type="tencent_ci", login=ID, password=KEY)
    connection.extra = extra
    with pytest.raises(ConfigurationError, match="Connection 'ci': extra is not a JSON object"):
        ConnectionSettings.from_connection(connection)


class TestEndpoint:
    def test_the_connection_has_the_defaults(self) -> None:
        endpoint = settings(bucket=BUCKET, region=REGION).endpoint()
        assert (endpoint.bucket, endpoint.region, endpoint.base_url) == (BUCKET, REGION, None)

    def test_arguments_override_the_connection(self) -> None:
        endpoint = settings(bucket=BUCKET, region=REGION).endpoint("other-1250000002", "ap-beijing")
        assert (endpoint.bucket, endpoint.region) == ("other-1250000002", "ap-beijing")

    @pytest.mark.parametrize(("given", "missing"), [("bucket", "region"), ("region", "bucket")])
    def test_a_missing_part_is_named(self, given: str, missing: str) -> None:
        value = {"bucket": BUCKET, "region": REGION}[given]
        with pytest.raises(ConfigurationError, match=f"No {missing}: .* connection 'ci'"):
            settings(**{given: value}).endpoint()

    @pytest.mark.parametrize(
        ("part", "value"),
        [
            ("bucket", "media"),
            ("bucket", "media-1250000001.evil.example"),
            ("bucket", "Media-1250000001"),
            ("bucket", 1250000001),
            ("region", "guangzhou"),
            ("region", "ap-guangzhou/"),
            ("region", 5),
        ],
    )
    def test_a_malformed_part_is_named(self, part: str, value: Any) -> None:
        with pytest.raises(ConfigurationError, match=part) as caught:
            settings(bucket=BUCKET, region=REGION).endpoint(**{part: value})
        assert repr(value) in str(caught.value)

    def test_plain_http_needs_permission(self) -> None:
        url = "http://gateway.example:8080"
        with pytest.raises(ConfigurationError, match="endpoint_url is plain http"):
            settings(bucket=BUCKET, region=REGION, endpoint_url=url).endpoint()
        allowed = settings(bucket=BUCKET, region=REGION, endpoint_url=url, allow_http="true").endpoint()
        assert not allowed.is_loopback


class TestFromTheEnvironment:
    EXTRA: dict[str, str] = {  # noqa: RUF012
        "bucket": BUCKET,
        "region": REGION,
        "security_token": "tok/en+=&?",
        "endpoint_url": "http://127.0.0.1:8080",
        "allow_http": "true",
        "connect_timeout": "1.5",
        "read_timeout": "7",
        "max_attempts": "3",
    }

    def check(self) -> None:
        read = TencentCIHook("ci").settings
        assert read.credentials_provider == StaticKeys(Credentials(ID, "k/e+y=&@:", "tok/en+=&?"))
        assert (read.bucket, read.region) == (BUCKET, REGION)
        assert (read.endpoint_url, read.allow_http) == ("http://127.0.0.1:8080", True)
        assert (read.connect_timeout, read.read_timeout, read.retry.max_attempts) == (1.5, 7, 3)

    def test_a_connection_in_json_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(
            "AIRFLOW_CONN_CI",
            json.dumps(
                {"conn_type": "tencent_ci", "login": ID, "password": "k/e+y=&@:", "extra": self.EXTRA}
            ),
        )
        self.check()

    def test_a_connection_as_uri_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        uri = f"tencent-ci://{quote(ID, safe='')}:{quote('k/e+y=&@:', safe='')}@/?{urlencode(self.EXTRA)}"
        monkeypatch.setenv("AIRFLOW_CONN_CI", uri)
        self.check()


def test_the_connection_is_read_once_and_not_before_it_is_needed(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = TencentCIHook("not_there_yet")
    connection("http://127.0.0.1:1", conn_id="not_there_yet")
    first = hook.settings
    monkeypatch.delenv("AIRFLOW_CONN_NOT_THERE_YET")
    assert hook.settings is first


def test_a_uri_with_an_underscore_in_its_scheme_says_what_to_write(
    monkeypatch: pytest.MonkeyPatch, logs: Logs
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CI", f"tencent_ci://{ID}:{KEY}@/?region={REGION}&bucket={BUCKET}")
    with pytest.raises(ConfigurationError, match="begin with tencent-ci://, with a hyphen") as caught:
        _ = TencentCIHook("ci").settings
    assert ID not in str(caught.value)
    assert KEY not in str(caught.value)
    monkeypatch.setenv("AIRFLOW_CONN_CI", f"tencent-ci://{ID}:{quote(KEY, safe='')}@/?region={REGION}")
    assert TencentCIHook("ci").settings.region == REGION
