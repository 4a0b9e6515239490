"""Whose certificates hook and asynchronous client trust: those that the environment names, and no others."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_ci.exceptions import ConfigurationError, TransportError
from airflow_provider_ci.hooks.aio import AsyncClient, load_settings
from airflow_provider_ci.hooks.ci import CIHook
from airflow_provider_ci.protocol.operations import DescribeJobs
from tests.scripted_server import job_xml


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
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A company's gateway: its address, and the bundle that vouches for it. It describes one job to each."""
    pem = tmp_path / "company.pem"
    pem.write_bytes(certificate("gateway.example"))
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

    def resolved(host: Any, *args: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host == "gateway.example" else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *args: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://gateway.example:{server.server_port}", pem
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", None])
def test_both_trust_whom_the_environments_bundle_vouches_for(
    gateway: tuple[str, Path],
    connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
) -> None:
    url, bundle = gateway
    connection(url, max_attempts=1)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(bundle))
    hook = CIHook()

    async def described() -> Any:
        settings = await load_settings("tencent_ci_default")
        async with AsyncClient(settings) as client:
            return await client.call(DescribeJobs(("j1",)), settings.endpoint())

    for ask in (lambda: hook.describe_jobs(["j1"]), lambda: asyncio.run(described())):
        if variable:
            assert ask().jobs_detail[0].state == "Success"
        else:
            with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                ask()
            assert not caught.value.sent
    hook.close()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bundle_that_cannot_be_read_is_named(
    tmp_path: Path,
    connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
) -> None:
    bundle = tmp_path / "company.pem"
    if content:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    connection()
    with pytest.raises(ConfigurationError, match=r"company\.pem cannot be read: .*Check REQUESTS_CA_BUNDLE"):
        asyncio.run(load_settings("tencent_ci_default"))
