"""Sends signed requests with ``requests``: bounded in time and size, no redirects, no cookies, no
``.netrc``.
"""

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
from airflow_provider_ci.exceptions import ConfigurationError, InvalidResponseError, TransportError
from airflow_provider_ci.hooks.bounded import BoundedAdapter
from airflow_provider_ci.protocol.wire import HttpResponse, SignedRequest
from airflow_provider_ci.protocol.xml import MAX_BYTES
from airflow_provider_ci.version_compat import AIRFLOW_VERSION

#: What every request carries besides its own headers.
HEADERS = {
    "User-Agent": f"airflow-provider-ci/{__version__} (Airflow {AIRFLOW_VERSION})",
    # a compressed answer could unpack to any size
    "Accept-Encoding": "identity",
}
_PIECE = 64 * 1024
# ProxyError: urllib3 raises it only until the connection through the proxy stands
_BEFORE_SENDING = (
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ProxyError,
    ssl.SSLCertVerificationError,
)


class Session(requests.Session):
    """A session that knows no redirects, and looks into the environment once for each host: requests does it
    for each request, which takes a quarter of a call's time.
    """

    __attrs__ = (*requests.Session.__attrs__, "_settings")

    def __init__(self) -> None:
        super().__init__()
        self._settings: dict[tuple[str, str], dict[str, Any]] = {}

    def settings_for(self, url: str) -> dict[str, Any]:
        """Return proxies and certificates for ``url``, as requests itself would choose them."""
        scheme, host, *_ = urlsplit(url)
        settings = self._settings.get((scheme, host))
        if settings is None:
            settings = {**self.merge_environment_settings(url, {}, True, None, None)}
            self._settings[scheme, host] = settings
        return settings

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return nothing: a redirect is an answer like others. requests would prepare the next request even
        when it must not send it.
        """


def new_session(*, loopback: bool) -> Session:
    """Return a pooled session.

    :param loopback: calls stay on this machine, so the environment's proxies are not for them.
    """
    session = Session()
    session.trust_env = not loopback
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers = requests.structures.CaseInsensitiveDict(HEADERS)
    adapter = BoundedAdapter(pool_connections=10, pool_maxsize=10, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for ``url``, as requests itself would choose it."""
    return select_proxy(url, get_environ_proxies(url))


def trusted_certificates() -> ssl.SSLContext:
    """Return a context that trusts whom the environment names, else those of certifi: as requests itself
    would choose.

    :raises ConfigurationError: the environment's bundle cannot be used.
    """
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return _trust_in(named or DEFAULT_CA_BUNDLE_PATH)


def _trust_in(bundle: str) -> ssl.SSLContext:
    try:
        return _context(bundle)
    except OSError as error:  # which does not say what it could not read
        raise _unusable_bundle(bundle, error) from error


@lru_cache
def _context(bundle: str) -> ssl.SSLContext:
    is_folder = os.path.isdir(bundle)
    return ssl.create_default_context(
        cafile=None if is_folder else bundle, capath=bundle if is_folder else None
    )


def _unusable_bundle(bundle: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"The bundle of certificates {bundle} cannot be read: {type(error).__name__}",
        hint="Check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE in the environment of this process: allowed is a"
        " file of certificates in PEM form, or a folder of them under OpenSSL's hashed names",
    )


def exchange(
    session: Session,
    request: SignedRequest,
    timeout: tuple[float, float],
    *,
    data: IO[bytes] | None = None,
) -> HttpResponse:
    """Send ``request`` and return the whole answer.

    :param timeout: seconds to wait for the connection, and for each piece of the answer. Reading the whole
        body may take the latter once more, so that a server that drips bytes cannot hold a worker.
    :param data: body to stream instead of the request's own.
    :raises TransportError: no complete answer; ``sent`` tells whether the request may have arrived.
    :raises ConfigurationError: the environment's bundle of certificates cannot be used.
    :raises InvalidResponseError: the answer is larger than any of this service.
    """
    with open_answer(session, request, timeout, data=data) as answer:
        return whole(answer, request, timeout[1])


@contextmanager
def open_answer(
    session: Session,
    request: SignedRequest,
    timeout: tuple[float, float],
    *,
    data: IO[bytes] | None = None,
) -> Iterator[requests.Response]:
    """Send ``request`` and yield the answer with its body unread; errors as of :func:`exchange`, also while
    reading.
    """
    try:
        with _send(session, request, timeout, data) as answer:
            yield answer
        return
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        failure, cause = _transport_error(error, request), None if _is_of_an_address(error) else error
    raise failure from cause


def _send(
    session: Session, request: SignedRequest, timeout: tuple[float, float], data: IO[bytes] | None
) -> requests.Response:
    prepared = _prepared(request, data if data is not None else request.body)
    settings = session.settings_for(request.url)
    bundle = settings["verify"]
    if isinstance(bundle, str) and request.url.startswith("https:"):
        _trust_in(bundle)  # requests would find its fault too, and not say what it is
    try:
        return session.send(prepared, timeout=timeout, allow_redirects=False, **settings)
    except requests.RequestException:
        raise
    except OSError as error:  # requests' own, for a bundle that has gone since it was read
        raise _unusable_bundle(bundle, error) from error


def _prepared(request: SignedRequest, body: IO[bytes] | bytes) -> requests.PreparedRequest:
    """Return the request as it is: the URL was encoded when it was signed, and nothing of it may change. A
    session's own preparation would also replace the ``Authorization`` with a login from ``~/.netrc``.
    """
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url = request.method, request.url
    prepared.prepare_headers(HEADERS | request.headers)
    prepared.prepare_body(body, None)
    return prepared


def pieces(answer: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives, in the bytes of the wire."""
    while piece := answer.raw.read1(_PIECE):
        yield piece


def whole(answer: requests.Response, request: SignedRequest, seconds: float) -> HttpResponse:
    """Return the answer to ``request`` with its body, which must be read within ``seconds``."""
    body = _read_bounded(answer, time.monotonic() + seconds)
    return HttpResponse(answer.status_code, answer.headers, body, request.validity)


def _read_bounded(answer: requests.Response, deadline: float) -> bytes:
    body = bytearray()
    for piece in pieces(answer):
        body += piece
        if len(body) > MAX_BYTES:
            raise InvalidResponseError(
                f"The answer is larger than {MAX_BYTES} bytes",
                status=answer.status_code,
                request_id=answer.headers.get("x-ci-request-id"),
            )
        if time.monotonic() > deadline:
            raise requests.ReadTimeout("the answer did not end in time")
    return bytes(body)


def _transport_error(error: Exception, request: SignedRequest) -> TransportError:
    host = request.headers["Host"]
    return TransportError(
        f"No answer from {host} to {request.method}: {_reason(error)}",
        sent=not _never_sent(error),
        hint="Check the network, the proxy settings, and bucket, region and endpoint_url of the connection",
    )


def _is_of_an_address(error: Exception) -> bool:
    """Tell whether a text of the error may quote a URL, which may be a proxy's with a login."""
    return isinstance(error, ValueError)


def _reason(error: Exception) -> str:
    if _is_of_an_address(error):
        return f"{type(error).__name__}: the address, or that of the proxy, cannot be used"
    cause: Any = error
    while nested := _nested(cause):
        cause = nested
    return f"{type(cause).__name__}: {cause}"[:300]


def _nested(error: Any) -> Exception | None:
    """Return the error inside an error of requests or urllib3, which they hold in different places."""
    inner = (
        getattr(error, "original_error", None)
        or getattr(error, "reason", None)
        or (error.args[0] if error.args else None)
    )
    return inner if isinstance(inner, Exception) else None


def _never_sent(error: Exception) -> bool:
    """Tell whether the connection was not even established: only then can the request not have arrived."""
    if _is_of_an_address(error):  # before connecting
        return True
    cause: Any = error
    while cause is not None:
        if isinstance(cause, _BEFORE_SENDING):
            return True
        cause = _nested(cause)
    return False
