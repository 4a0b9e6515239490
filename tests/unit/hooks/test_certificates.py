"""Whose certificates hook and asynchronous client trust: those that the environment names, and no others."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import ConfigurationError, CredentialsError, TransportError
from airflow_provider_ci.hooks import transport
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.jobs import DescribeJobs
from tests.scripted_server import job_xml
from tests.unit.hooks.transports import Send

DESCRIBE = DescribeJobs(("j1",))


def certificate(host: str) -> bytes:
    """Return a key, and a certificate for ``host`` that only itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
    ) + made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def host() -> str:
    return "gateway.example"


@pytest.fixture
def gateway(host: str, tmp_path: Path, mocker: MockerFixture) -> Iterator[tuple[str, Path]]:
    """A company's gateway, which describes one job: its address, and the bundle with its certificate."""
    pem = tmp_path / "company.pem"
    pem.write_bytes(certificate(host))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<Response>{job_xml('j1', 'Success')}</Response>".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    resolve = socket.getaddrinfo

    def resolve_to_loopback(name: Any, *args: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if name == host else name, *args, **options)

    mocker.patch.object(socket, "getaddrinfo", resolve_to_loopback)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *args: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://{host}:{server.server_port}", pem
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["gateway.example", "localhost"])
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_both_transports_trust_the_environments_bundle(
    gateway: tuple[str, Path],
    connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    send: Send,
) -> None:
    url, bundle = gateway
    connection(url, max_attempts=1)
    monkeypatch.setenv(variable, str(bundle))
    assert send("tencent_ci_default", DESCRIBE)[0].jobs_detail[0].state == "Success"


@pytest.mark.parametrize("host", ["gateway.example", "localhost"])
def test_both_transports_trust_certifi_otherwise(
    gateway: tuple[str, Path], connection: Callable[..., str], mocker: MockerFixture, send: Send
) -> None:
    url, bundle = gateway
    connection(url, max_attempts=1)
    assert transport.certificate_bundle() == certifi.where()
    with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        send("tencent_ci_default", DESCRIBE)
    assert not caught.value.sent
    mocker.patch.object(transport, "DEFAULT_CA_BUNDLE_PATH", str(bundle))
    assert send("tencent_ci_default", DESCRIBE)[0].jobs_detail[0].state == "Success"


BROKEN = {
    "missing": None,
    "empty": "",
    "no PEM": "no certificate",
    "broken PEM": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "below a file": "",
}


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=BROKEN)
def broken_bundle(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    bundle, content = tmp_path / "company.pem", BROKEN[request.param]
    if content is not None:
        bundle.write_text(content)
    return bundle / "company.pem" if request.param == "below a file" else bundle


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_that_cannot_be_read_is_named(
    broken_bundle: Path,
    connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    send: Send,
) -> None:
    monkeypatch.setenv(variable, str(broken_bundle))
    connection()
    with pytest.raises(ConfigurationError, match=rf"company\.pem cannot be read: .*Check .*{variable}"):
        send("tencent_ci_default", DESCRIBE)


def test_the_test_button_names_an_unusable_bundle(
    broken_bundle: Path, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(broken_bundle))
    ok, message = TencentCIHook(connection()).test_connection()
    assert not ok
    assert message.startswith("The environment of this process is wrong: The bundle of certificates ")
    assert str(broken_bundle) in message


def test_a_bundle_that_disappears_is_named(
    gateway: tuple[str, Path],
    connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, bundle = gateway
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    hook = TencentCIHook(connection(url, max_attempts=1))
    hook.describe_jobs(["j1"])
    bundle.unlink()
    with pytest.raises(ConfigurationError, match=r"company\.pem cannot be read: OSError\. Check REQUESTS_CA"):
        hook.describe_jobs(["j1"])
    hook.close()


def test_an_empty_folder_trusts_nobody(
    gateway: tuple[str, Path],
    connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    send: Send,
) -> None:
    (tmp_path / "certificates").mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificates"))
    connection(gateway[0], max_attempts=1)
    with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
        send("tencent_ci_default", DESCRIBE)


def test_openssls_variables_are_ignored(
    gateway: tuple[str, Path],
    connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    send: Send,
) -> None:
    """Both trust the same: what the worker may send, the triggerer may wait for."""
    url, bundle = gateway
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    connection(url, max_attempts=1)
    with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
        send("tencent_ci_default", DESCRIBE)


def test_sts_is_not_asked_without_a_usable_bundle(
    broken_bundle: Path, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(broken_bundle))
    role = "qcs::cam::uin/100000000001:roleName/airflow"
    hook = TencentCIHook(connection(credential_source="assume_role", role_arn=role))
    with pytest.raises(CredentialsError, match=r"STS cannot be asked: The bundle .*Check REQ") as caught:
        hook.describe_jobs(["j1"])
    assert not caught.value.transient
