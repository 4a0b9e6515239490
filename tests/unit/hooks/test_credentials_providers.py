"""Each source of credentials, with real files, a real environment and services on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import CredentialsError
from airflow_provider_ci.hooks import instance_role
from airflow_provider_ci.hooks import sts as sts_module
from airflow_provider_ci.hooks.clock import service_clock
from airflow_provider_ci.hooks.credentials_providers import VARIABLES, EnvironmentKeys, FileKeys
from airflow_provider_ci.hooks.instance_role import InstanceRole
from airflow_provider_ci.hooks.sts import TKE_VARIABLES, AssumeRole, WebIdentity
from airflow_provider_ci.protocol.wire import Credentials
from tests.conftest import CREDENTIALS, Logs
from tests.patience import SOON, wait_until
from tests.scripted_server import ScriptedServer, drip, hang, hang_up, http
from tests.unit.hooks.fakes import PREFIX, ROLE, STS, Metadata, refused

ARN = "qcs::cam::uin/100000000001:roleName/airflow"
BASE = Credentials(CREDENTIALS.secret_id, CREDENTIALS.secret_key)


def failure(source: Any) -> CredentialsError:
    """Return why a source has no credentials; no secret may be in it."""
    with pytest.raises(CredentialsError) as caught:
        source.fetch()
    said = f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    for secret in (CREDENTIALS.secret_key, str(CREDENTIALS.token), "secret-in-a-file", "identity-token"):
        assert secret not in said
    return caught.value


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def _variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in zip(VARIABLES, ("AKIDenv", "key-env", "token-env"), strict=True):
            monkeypatch.setenv(name, value)

    def test_all_three_variables_are_read(self) -> None:
        assert EnvironmentKeys().fetch() == Credentials("AKIDenv", "key-env", "token-env")

    @pytest.mark.parametrize("empty", [True, False])
    def test_the_token_is_optional(self, monkeypatch: pytest.MonkeyPatch, empty: bool) -> None:
        monkeypatch.setenv("TENCENTCLOUD_TOKEN", "") if empty else monkeypatch.delenv("TENCENTCLOUD_TOKEN")
        assert EnvironmentKeys().fetch() == Credentials("AKIDenv", "key-env")

    @pytest.mark.parametrize("name", VARIABLES[:2])
    def test_a_missing_variable_is_named(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.delenv(name)
        error = failure(EnvironmentKeys())
        assert f"environment: {name} is missing" in str(error)
        assert not error.transient

    @pytest.mark.parametrize("name", VARIABLES)
    @pytest.mark.parametrize("pattern", [" {}", "{}\n", "ключ{}"])
    def test_a_malformed_variable_is_named_but_not_shown(
        self, monkeypatch: pytest.MonkeyPatch, name: str, pattern: str
    ) -> None:
        monkeypatch.setenv(name, pattern.format(CREDENTIALS.secret_key))
        assert f"{name} is malformed" in str(failure(EnvironmentKeys()))


class TestFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "credentials"
        path.write_text(
            "[default]\nsecret_id = AKIDfile\nsecret_key = k%y=e;y\n"
            "[other]\nsecret_id=AKIDother\nsecret_key=key-other\ntoken=token-other\n"
        )
        return path

    def test_the_default_section_is_read(self, path: Path) -> None:
        assert FileKeys(str(path)).fetch() == Credentials("AKIDfile", "k%y=e;y")

    def test_the_named_section_is_read(self, path: Path) -> None:
        assert FileKeys(str(path), "other").fetch() == Credentials("AKIDother", "key-other", "token-other")

    def test_the_file_is_read_each_time(self, path: Path) -> None:
        source = FileKeys(str(path))
        source.fetch()
        path.write_text("[default]\nsecret_id=AKIDnew\nsecret_key=key-new\n")
        assert source.fetch() == Credentials("AKIDnew", "key-new")

    @pytest.mark.parametrize("exists", [(True, True), (False, True)])
    def test_the_first_usual_file_that_exists_is_read(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        mocker: MockerFixture,
        exists: tuple[bool, bool],
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        places = ("~/first", str(tmp_path / "second"))
        mocker.patch("airflow_provider_ci.hooks.credentials_providers.FILES", places)
        for there, name in zip(exists, ("first", "second"), strict=True):
            if there:
                (tmp_path / name).write_text(f"[default]\nsecret_id={name}\nsecret_key=k\n")
        assert FileKeys().fetch().secret_id == ("first" if exists[0] else "second")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "cannot be read: FileNotFoundError"),
            (b"secret-in-a-file", "cannot be read: MissingSectionHeaderError"),
            (b"[default]\nsecret-in-a-file\n", "cannot be read: ParsingError"),
            (b"[default]\nsecret_key=\xff\n", "cannot be read: UnicodeDecodeError"),
            (b"[another]\nsecret_key=secret-in-a-file\n", "has no section default"),
            (b"[default]\nsecret_key=secret-in-a-file\n", "secret_id is missing"),
            (b"[default]\nsecret_id=x\nsecret_key=\n", "secret_key is missing"),
        ],
    )
    def test_an_unusable_file_is_named_with_its_fault(
        self, path: Path, content: bytes | None, said: str
    ) -> None:
        path.unlink() if content is None else path.write_bytes(content)
        error = failure(FileKeys(str(path)))
        assert said in str(error)
        assert str(path) in str(error)
        assert "profile" in str(error.hint)


class TestInstanceRole:
    def test_the_credentials_are_those_of_the_machines_role(self, metadata: Metadata) -> None:
        got = InstanceRole().fetch()
        assert got == Credentials("AKIDtmp1", "key-1", "token-1")
        assert got.expires_at is not None
        assert abs(got.expires_at - metadata.now() - 7200) < 10
        assert [request.path for request in metadata.requests] == [PREFIX, PREFIX + ROLE]

    def test_the_metadata_service_is_not_asked_through_a_proxy(
        self, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert InstanceRole().fetch().secret_id == "AKIDtmp1"

    @pytest.mark.parametrize(
        ("status", "body", "said", "transient"),
        [
            (404, b"", "No role is bound", False),
            (200, b"", "names no role", False),
            (200, b"<html>", "names no role", False),
            (200, b"../../x", "names no role", False),
            (403, b"", "failed", False),
            (302, b"", "failed", False),
            (500, b"", "failed", True),
            (429, b"", "failed", True),
        ],
    )
    def test_a_missing_role_is_reported(
        self, metadata: Metadata, status: int, body: bytes, said: str, transient: bool
    ) -> None:
        metadata.answer = lambda _: (status, body)
        error = failure(InstanceRole())
        assert said in str(error)
        assert "bind one in the console" in str(error)
        assert error.transient is transient

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            (b"no json", "gives no credentials of role ci-worker"),
            (b"[" * 100_000, "no JSON object"),
            ({"Code": ["InternalError"]}, "no Code"),
            ([], "no JSON object"),
            ({"Code": "InternalError"}, "InternalError"),
            ({"Code": "Success"}, "TmpSecretId is missing"),
            ({"Code": "Success", "TmpSecretId": "a", "TmpSecretKey": "b"}, "Token is missing"),
            (
                {"Code": "Success", "TmpSecretId": 5, "TmpSecretKey": "b", "Token": "c"},
                "TmpSecretId is malformed",
            ),
        ],
    )
    def test_missing_credentials_are_reported(self, metadata: Metadata, said: Any, expected: str) -> None:
        metadata.answer = lambda request: (200, said) if request.path.endswith(ROLE) else None
        assert expected in str(failure(InstanceRole()))

    @pytest.mark.parametrize("moment", [b"1e999", b"NaN", b"-Infinity", b"1" + b"0" * 400, b"true", b'"x"'])
    def test_an_invalid_expiry_counts_as_unknown(self, metadata: Metadata, moment: bytes) -> None:
        said = (
            b'{"Code": "Success", "TmpSecretId": "a", "TmpSecretKey": "b", "Token": "c", "ExpiredTime": %s}'
        )
        metadata.answer = lambda request: (200, said % moment) if request.path.endswith(ROLE) else None
        assert InstanceRole().fetch().expires_at is None

    @pytest.mark.parametrize(
        "answer", [hang(), hang_up(), drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")]
    )
    def test_a_silent_metadata_service_is_reported_in_time(
        self, server: ScriptedServer, mocker: MockerFixture, answer: Any
    ) -> None:
        mocker.patch.object(instance_role, "METADATA_URL", server.url + PREFIX)
        mocker.patch.object(instance_role, "TIMEOUTS", (SOON, SOON))
        server.play(answer)
        error = failure(InstanceRole())
        wait_until(server.methods)  # the server may read it only now
        assert "does not respond" in str(error)
        assert error.transient


class TestAssumeRole:
    def source(self, sts: Any, **more: Any) -> AssumeRole:
        return AssumeRole(**({"base": BASE, "role_arn": ARN, "endpoint_url": sts.url} | more))

    def test_the_credentials_are_those_of_the_role(self, sts: STS) -> None:
        got = self.source(sts).fetch()
        assert got == Credentials("AKIDtmp1", "key-1", "token-1")
        assert got.expires_at is not None
        assert abs(got.expires_at - sts.now() - 7200) < 10
        (request,) = sts.requests
        assert request.json == {
            "RoleArn": ARN,
            "RoleSessionName": "airflow-provider-ci",
            "DurationSeconds": 7200,
        }
        assert "x-tc-token" not in request.headers

    def test_all_settings_are_sent(self, sts: STS) -> None:
        self.source(
            sts, base=CREDENTIALS, role_session_name="nightly", duration_seconds=900, external_id="x@y"
        ).fetch()
        (request,) = sts.requests
        assert request.json == {
            "RoleArn": ARN,
            "RoleSessionName": "nightly",
            "DurationSeconds": 900,
            "ExternalId": "x@y",
        }
        assert request.headers["x-tc-token"] == CREDENTIALS.token

    @pytest.mark.parametrize(
        ("code", "hint", "transient"),
        [
            ("AuthFailure.SecretIdNotFound", "Check login, password", False),
            ("AuthFailure", "Check login, password", False),
            ("ResourceNotFound.RoleNotFound", "Check role_arn", False),
            ("UnauthorizedOperation", "Permit sts:AssumeRole", False),
            ("InvalidParameter.OverTimeError", "duration_seconds", False),
            ("InternalError.DbError", "trust policy", True),
            ("RequestLimitExceeded", "trust policy", True),
            ("RequestLimitExceeded.UinLimitExceeded", "trust policy", True),
        ],
    )
    def test_a_refusal_has_code_message_and_hint(
        self, sts: STS, code: str, hint: str, transient: bool
    ) -> None:
        sts.answer = lambda _: (200, refused(code))
        error = failure(self.source(sts))
        assert (error.code, error.service_message, error.request_id) == (code, "Said by STS.", "r-2")
        assert "STS refused AssumeRole" in str(error)
        assert hint in str(error)
        assert error.transient is transient
        assert len(sts.requests) == 1

    def test_a_wrong_key_is_refused_by_its_signature(self, sts: STS) -> None:
        error = failure(self.source(sts, base=Credentials(BASE.secret_id, "another-key")))
        assert error.code == "AuthFailure.SignatureFailure"

    @pytest.mark.parametrize("skew", [3600.0, -3600.0])
    def test_a_wrong_clock_is_corrected_once(self, sts: STS, skew: float, logs: Logs) -> None:
        sts.skew = skew
        assert self.source(sts).fetch().secret_id == "AKIDtmp1"
        assert len(sts.requests) == 2
        assert abs(service_clock(sts.url).offset - skew) < 30
        assert self.source(sts).fetch().secret_id == "AKIDtmp2"
        assert len(sts.requests) == 3
        (line,) = logs.at("warning")
        assert ("behind" if skew > 0 else "ahead of") in line

    def test_an_unknown_difference_of_the_clock_is_reported(self, sts: STS) -> None:
        sts.answer = lambda _: (200, refused("AuthFailure.SignatureExpire"))
        error = failure(self.source(sts))
        assert "Synchronise this machine's clock" in str(error)
        assert len(sts.requests) == 1

    @pytest.mark.parametrize(
        ("status", "said", "transient"),
        [
            (200, b"<html>", False),
            (200, [], False),
            (200, {"Response": []}, False),
            (200, b"[" * 100_000, False),
            (200, {"Response": {"Error": "x"}}, False),
            (502, b"Bad gateway", True),
            (403, b"", False),
        ],
    )
    def test_a_response_from_something_else_is_reported(
        self, sts: STS, status: int, said: Any, transient: bool
    ) -> None:
        sts.answer = lambda _: (status, said)
        error = failure(self.source(sts))
        assert "is not from STS" in str(error)
        assert error.transient is transient

    def test_a_response_without_credentials_is_reported(self, sts: STS) -> None:
        sts.answer = lambda _: (200, {"Response": {"RequestId": "r"}})
        assert "TmpSecretId is missing, TmpSecretKey is missing, Token is missing" in str(
            failure(self.source(sts))
        )

    @pytest.mark.parametrize("answer", [hang(), hang_up(), http("", 302, location="http://elsewhere")])
    def test_a_silent_or_redirecting_sts_is_reported(
        self, server: ScriptedServer, mocker: MockerFixture, answer: Any
    ) -> None:
        mocker.patch.object(sts_module, "TIMEOUTS", (SOON, SOON))
        server.play(answer)
        assert "sts_endpoint_url" in str(failure(self.source(server)))
        wait_until(server.methods)  # the server may read it only now


class TestWebIdentity:
    @pytest.fixture
    def token_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / "token"
        path.write_text("the-identity-token-1\n")
        values = ("ap-guangzhou", "cls-1", str(path), ARN)
        for name, value in zip(TKE_VARIABLES, values, strict=True):
            monkeypatch.setenv(name, value)
        return path

    def test_the_credentials_are_those_of_the_containers_role(self, sts: STS, token_file: Path) -> None:
        assert WebIdentity(endpoint_url=sts.url).fetch() == Credentials("AKIDtmp1", "key-1", "token-1")
        (request,) = sts.requests
        assert request.headers["x-tc-region"] == "ap-guangzhou"
        assert request.json == {
            "ProviderId": "cls-1",
            "WebIdentityToken": "the-identity-token-1",
            "RoleArn": ARN,
            "RoleSessionName": "airflow-provider-ci",
            "DurationSeconds": 7200,
        }

    def test_the_connections_role_overrides_the_containers(self, sts: STS, token_file: Path) -> None:
        WebIdentity(role_arn=ARN + "2", endpoint_url=sts.url).fetch()
        assert sts.requests[0].json["RoleArn"] == ARN + "2"

    def test_the_token_file_is_read_each_time(self, sts: STS, token_file: Path) -> None:
        source = WebIdentity(endpoint_url=sts.url)
        source.fetch()
        sts.identity = "the-identity-token-2"
        assert failure(source).code == "InvalidParameter.WebIdentityTokenError"
        token_file.write_text("the-identity-token-2")
        assert source.fetch().secret_id == "AKIDtmp2"

    @pytest.mark.parametrize("name", TKE_VARIABLES)
    def test_a_missing_variable_is_named(
        self, sts: STS, token_file: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.delenv(name)
        assert f"the environment lacks {name}" in str(failure(WebIdentity(endpoint_url=sts.url)))
        assert not sts.requests

    @pytest.mark.parametrize("content", [None, "", " \n"])
    def test_a_missing_or_empty_token_file_is_named(
        self, sts: STS, token_file: Path, content: str | None
    ) -> None:
        token_file.unlink() if content is None else token_file.write_text(content)
        error = failure(WebIdentity(endpoint_url=sts.url))
        assert str(token_file) in str(error)
        assert error.transient  # the platform replaces the file
        assert not sts.requests
