"""What the credential classes of Tencent's SDK cannot do, so that the provider has its own.

A test that fails after an update of the SDK shows that ``hooks/instance_role.py`` or ``hooks/sts.py``
may have become superfluous.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pytest_mock import MockerFixture
from tencentcloud.common import credential
from tencentcloud.common.credential import CVMRoleCredential, STSAssumeRoleCredential
from tencentcloud.common.http import request as sdk_request

from tests.conftest import CREDENTIALS
from tests.scripted_server import ScriptedServer, http
from tests.unit.hooks.fakes import PREFIX, ROLE, STS, Metadata, refused

NO_CREDENTIALS = (None, None, None)
ARN = "qcs::cam::uin/100000000001:roleName/airflow"


class TestInstanceRole:
    @pytest.fixture(autouse=True)
    def _own_opener(self, mocker: MockerFixture) -> None:
        mocker.patch("urllib.request._opener", None)  # it remembers the proxies of an earlier test

    @pytest.fixture
    def sdk(self, metadata: Metadata, mocker: MockerFixture) -> CVMRoleCredential:
        mocker.patch.object(CVMRoleCredential, "_role_endpoint", metadata.url + PREFIX)
        return CVMRoleCredential()

    def test_the_sdk_has_no_timeout(self, sdk: CVMRoleCredential, mocker: MockerFixture) -> None:
        urlopen = mocker.spy(credential, "urlopen")
        assert sdk.get_credential_info()[0] == "AKIDtmp1"
        assert [(len(call.args), call.kwargs) for call in urlopen.call_args_list] == [(1, {})] * 2

    @pytest.mark.parametrize("status", [404, 500])
    def test_the_sdk_hides_errors(self, metadata: Metadata, sdk: CVMRoleCredential, status: int) -> None:
        metadata.answer = lambda _: (status, b"")
        assert sdk.get_credential_info() == NO_CREDENTIALS

    def test_the_sdk_sends_the_keys_through_a_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with ScriptedServer() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            proxy.play(http(ROLE.encode()), http(b"{}"))
            CVMRoleCredential().get_credential_info()
            assert proxy.requests[1].target.startswith("http://metadata.tencentyun.com/")

    def test_the_sdk_follows_redirects(
        self, metadata: Metadata, server: ScriptedServer, mocker: MockerFixture
    ) -> None:
        mocker.patch.object(CVMRoleCredential, "_role_endpoint", server.url + PREFIX)
        server.always("GET", http(b"", 302, location=f"{metadata.url}{PREFIX}{ROLE}"))
        assert CVMRoleCredential(ROLE).get_credential_info()[0] == "AKIDtmp1"


class TestAssumeRole:
    @pytest.fixture
    def connections(self, sts: STS, mocker: MockerFixture) -> list[Any]:
        """The SDK's connections, which lead to STS on loopback."""
        connections: list[Any] = []
        request = sdk_request.ProxyConnection.request

        def send(connection: Any, method: str, url: str, *args: Any, **options: Any) -> Any:
            connections.append(connection)
            return request(connection, method, sts.url, *args, **options)

        mocker.patch.object(sdk_request.ProxyConnection, "request", send)
        return connections

    @pytest.fixture
    def sdk(self, connections: list[Any]) -> STSAssumeRoleCredential:
        return STSAssumeRoleCredential(CREDENTIALS.secret_id, CREDENTIALS.secret_key, ARN, "session")

    def test_the_sdk_sends_neither_an_external_id_nor_a_token(self) -> None:
        arguments = {*inspect.signature(STSAssumeRoleCredential).parameters}
        assert not arguments & {"external_id", "token"}

    def test_the_sdk_renews_keys_after_a_tenth_of_their_lifetime(
        self, sdk: STSAssumeRoleCredential, sts: STS
    ) -> None:
        assert sdk.secret_id == "AKIDtmp1"
        assert sdk._expired_time == pytest.approx(sts.now() + 720, abs=60)

    def test_the_sdk_hides_what_sts_refused(self, sdk: STSAssumeRoleCredential, sts: STS) -> None:
        sts.answer = lambda _: (200, refused("AuthFailure.SignatureExpire"))
        with pytest.raises(KeyError, match="Credentials"):
            _ = sdk.secret_id
        assert len(sts.requests) == 1, "nor is the clock corrected"

    def test_the_sdk_does_not_trust_the_environments_certificates(
        self, sdk: STSAssumeRoleCredential, connections: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/company.pem")
        _ = sdk.secret_id
        assert connections[0].certification.endswith("cacert.pem")

    def test_the_sdk_follows_redirects(
        self, sdk: STSAssumeRoleCredential, server: ScriptedServer, sts: STS
    ) -> None:
        with ScriptedServer() as elsewhere:
            sts.url = server.url
            server.play(http(b"", 307, location=elsewhere.url))
            elsewhere.play(http(b"{}"))
            with pytest.raises(KeyError):
                _ = sdk.secret_id
            assert ARN.encode() in elsewhere.requests[0].body
