"""Sends signed requests with ``requests``: bounded in time and size; no redirects, cookies or ``.netrc``."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import IO, Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy

from airflow_provider_ci import __version__
from airflow_provider_ci.exceptions import ConfigurationError, ResponseTooLargeError, TransportError
from airflow_provider_ci.hooks.read_timeout import ReadTimeoutAdapter
from airflow_provider_ci.protocol.wire import HttpResponse, SignedRequest
from airflow_provider_ci.protocol.xml import MAX_BYTES
from airflow_provider_ci.version_compat import AIRFLOW_VERSION

#: What every request carries besides its own headers.
HEADERS = {
    "User-Agent": f"airflow-provider-ci/{__version__} (Airflow {AIRFLOW_VERSION})",
    # a compressed response could unpack to any size
    "Accept-Encoding": "identity",
}
CHUNK_SIZE = 64 * 1024
# The SecretId of the emulator's example begins so; no SecretId of Tencent Cloud has a hyphen
_DEMO_KEY = "q-ak=AKIDdemo-"
# Threads that use a session at once: those that submit the jobs of a bulk task
_THREADS = 16
# For each host: a bulk task has 16 threads that submit, beside its own. If fewer were kept, urllib3 would log
# a warning for each request, and connect again
_CONNECTIONS_KEPT = 20
# ProxyError: urllib3 raises it only until the connection through the proxy is established
_ERRORS_BEFORE_SENDING = (
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ProxyError,
    ssl.SSLCertVerificationError,
)


class Session(requests.Session):
    """A session that follows no redirects, and reads the environment once for each host.

    Plain requests reads it for each request, which takes a quarter of a call's time.
    """

    __attrs__ = (*requests.Session.__attrs__, "_settings")

    def __init__(self) -> None:
        super().__init__()
        self._settings: dict[tuple[str, str], dict[str, Any]] = {}

    def settings_for(self, url: str) -> dict[str, Any]:
        """Return the arguments of ``send`` for ``url``: proxies chosen as by requests, and certificates."""
        scheme, host, *_ = urlsplit(url)
        settings = self._settings.get((scheme, host))
        if settings is None:
            settings = {**self.merge_environment_settings(url, {}, True, certificate_bundle(), None)}
            self._settings[scheme, host] = settings
        return settings

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return no target: requests would prepare the next request even if it must not send it."""


def new_session(*, loopback: bool) -> Session:
    """Return a pooled session.

    :param loopback: calls stay on this machine, so that the environment's proxies are not used.
    """
    session = Session()
    session.trust_env = not loopback
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers = requests.structures.CaseInsensitiveDict(HEADERS)
    adapter = ReadTimeoutAdapter(pool_connections=10, pool_maxsize=_CONNECTIONS_KEPT, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def environment_proxy(url: str) -> str | None:
    """Return the environment's proxy for ``url``, as requests itself would choose it."""
    return select_proxy(url, get_environ_proxies(url))


def certificate_bundle() -> str:
    """Return the path of the trusted certificates, for both transports: the environment's, else certifi's."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH


def trusted_certificates() -> ssl.SSLContext:
    """Return a context that trusts the certificates of :func:`certificate_bundle`.

    :raises ConfigurationError: the bundle cannot be used.
    """
    return _load_bundle(certificate_bundle())


def _load_bundle(bundle: str) -> ssl.SSLContext:
    try:
        return _make_context(bundle)
    except OSError as error:  # does not say which file could not be read
        raise _bundle_error(bundle, error) from error


@lru_cache
def _make_context(bundle: str) -> ssl.SSLContext:
    is_folder = os.path.isdir(bundle)
    return ssl.create_default_context(
        cafile=None if is_folder else bundle, capath=bundle if is_folder else None
    )


def _bundle_error(bundle: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"The bundle of certificates {bundle} cannot be read: {type(error).__name__}",
        hint="Check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE in the environment of this process: allowed is a"
        " file of certificates in PEM form, or a folder of them under OpenSSL's hashed names",
    )


def send(
    session: Session,
    request: SignedRequest,
    timeouts: tuple[float, float],
    *,
    data: IO[bytes] | None = None,
) -> HttpResponse:
    """Send ``request`` and return the complete response.

    :param timeouts: seconds to wait for the connection, and for each chunk of the response. The body as a
        whole must also arrive within the second, so that a server that drips bytes cannot hold a worker.
    :param data: body to stream instead of the request's own.
    :raises TransportError: no complete response; ``sent`` says whether the request may have arrived.
    :raises ConfigurationError: the bundle of certificates cannot be used.
    :raises ResponseTooLargeError: the response is larger than ``MAX_BYTES``.
    """
    with open_response(session, request, timeouts, data=data) as response:
        return read_response(response, request, timeouts[1])


@contextmanager
def open_response(
    session: Session,
    request: SignedRequest,
    timeouts: tuple[float, float],
    *,
    data: IO[bytes] | None = None,
) -> Iterator[requests.Response]:
    """Send ``request`` and yield the response with its body unread. Raises what :func:`send` raises, also for
    errors inside the block.
    """
    try:
        with _send_unread(session, request, timeouts, data) as response:
            yield response
        return
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        failure = _transport_error(error, request)
        cause = None if _may_quote_url(error) else error
    # Outside of the block, so that __context__ does not hold an error that may quote the URL
    raise failure from cause


def _send_unread(
    session: Session, request: SignedRequest, timeouts: tuple[float, float], data: IO[bytes] | None
) -> requests.Response:
    prepared = _prepare(request, data if data is not None else request.body)
    settings = session.settings_for(request.url)
    if request.url.startswith("https:"):
        _load_bundle(settings["verify"])  # requests would not say which file is wrong
    try:
        return session.send(prepared, timeout=timeouts, allow_redirects=False, **settings)
    except requests.RequestException:
        raise
    except OSError as error:  # requests raises it if the bundle has disappeared since it was loaded
        raise _bundle_error(settings["verify"], error) from error


def _prepare(request: SignedRequest, body: IO[bytes] | bytes) -> requests.PreparedRequest:
    """Return the request unchanged: nothing that is signed may be encoded again. A session's own preparation
    would also replace ``Authorization`` by a login from ``~/.netrc``.
    """
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url = request.method, request.url
    prepared.prepare_headers(HEADERS | request.headers)
    prepared.prepare_body(body, None)
    return prepared


def read_chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives, without decoding it."""
    while chunk := response.raw.read1(CHUNK_SIZE):
        yield chunk


def read_response(response: requests.Response, request: SignedRequest, seconds: float) -> HttpResponse:
    """Return the response to ``request`` with its body, which must arrive within ``seconds``."""
    deadline = time.monotonic() + seconds
    body = bytearray()
    for chunk in read_chunks(response):
        body += chunk
        if len(body) > MAX_BYTES:
            raise too_large_error(response.status_code, response.headers.get("x-ci-request-id"))
        if time.monotonic() > deadline:
            raise requests.ReadTimeout("the response did not end in time")
    return HttpResponse(response.status_code, response.headers, bytes(body), request.validity)


def too_large_error(status: int, request_id: str | None) -> ResponseTooLargeError:
    """Return the error for a response of more than ``MAX_BYTES``."""
    return ResponseTooLargeError(
        f"The response is larger than {MAX_BYTES} bytes",
        status=status,
        request_id=request_id,
        hint="Look at the job or the list in the console: no result should be so large",
    )


def no_response_error(request: SignedRequest, reason: str, *, sent: bool) -> TransportError:
    """Return the error for a request without a complete response."""
    hint = "Check the network, the proxy settings, and bucket, region and endpoint_url of the connection"
    host = request.headers["Host"]
    if urlsplit(request.url).netloc == host and _DEMO_KEY in request.headers.get("Authorization", ""):
        hint = (
            "The SecretId is that of the emulator's example, but the connection has no endpoint_url: set it"
            " to the emulator's address, for instance http://127.0.0.1:8180"
        )
    return TransportError(f"No response from {host} to {request.method}: {reason}", sent=sent, hint=hint)


def _transport_error(error: Exception, request: SignedRequest) -> TransportError:
    if _may_quote_url(error):  # raised before connecting
        reason = f"{type(error).__name__}: the address, or that of the proxy, cannot be used"
        return no_response_error(request, reason, sent=False)
    causes = _causes(error)
    was_connected = not any(isinstance(cause, _ERRORS_BEFORE_SENDING) for cause in causes)
    return no_response_error(request, f"{type(causes[-1]).__name__}: {causes[-1]}"[:300], sent=was_connected)


def _may_quote_url(error: Exception) -> bool:
    """Return whether an error's text may quote a URL, which may be a proxy's with a login."""
    return isinstance(error, ValueError)


def _causes(error: Exception) -> list[Exception]:
    """Return the error and those nested in it, outermost first."""
    causes = [error]
    while (nested := _nested_error(causes[-1])) is not None:
        causes.append(nested)
    return causes


def _nested_error(error: Any) -> Exception | None:
    """Return the error inside an error of requests or urllib3, which keep it in different attributes."""
    nested = (
        getattr(error, "original_error", None)
        or getattr(error, "reason", None)
        or (error.args[0] if error.args else None)
    )
    return nested if isinstance(nested, Exception) else None
