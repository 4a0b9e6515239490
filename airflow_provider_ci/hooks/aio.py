"""The hook's calls on an event loop, with ``aiohttp``: for triggers. Both send the same bytes."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, TypeVar

import aiohttp
from yarl import URL

from airflow_provider_ci.exceptions import ConfigurationError, TencentCIError, TransportError
from airflow_provider_ci.hooks.attempts import Attempts
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.hooks.transport import (
    CHUNK_SIZE,
    HEADERS,
    environment_proxy,
    no_response_error,
    too_large_error,
    trusted_certificates,
)
from airflow_provider_ci.protocol.wire import Endpoint, HttpResponse, SignedRequest, is_loopback_url
from airflow_provider_ci.protocol.xml import MAX_BYTES

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_ci.protocol.api_request import ApiRequest

T = TypeVar("T")

# Parsing more than this takes milliseconds, in which no other trigger would run
_MAX_BYTES_PARSED_IN_LOOP = 128 * 1024
# The connection was not even established, or the one through the proxy; UnicodeError: not a host name
_ERRORS_BEFORE_SENDING = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    UnicodeError,
)
_OWN_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


async def load_settings(conn_id: str) -> ConnectionSettings:
    """Return the settings of a connection without blocking the loop.

    :raises ConfigurationError: a field is missing or has a value that is not allowed, or the bundle of
        certificates cannot be read.
    """
    from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

    connection = await get_async_connection(conn_id)
    settings = ConnectionSettings.from_connection(connection, await get_async_extra_dejson(connection))
    if _needs_certificates(settings):
        await asyncio.to_thread(trusted_certificates)  # loading them the first time takes milliseconds
    return settings


class AsyncClient:
    """Makes the calls of one connection on one event loop, in one pooled session.

    Use it in ``async with``, or close it.

    :param connections: sockets at most.
    """

    def __init__(self, settings: ConnectionSettings, *, connections: int = 10) -> None:
        self.settings = settings
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=HEADERS,
            skip_auto_headers=_OWN_HEADERS,
            auto_decompress=False,
        )
        self._proxies: dict[str, str | None] = {}

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session and its sockets."""
        await self._session.close()

    async def call(self, request: ApiRequest[T], endpoint: Endpoint, *, max_attempts: float = math.inf) -> T:
        """Send ``request`` and return its parsed response. A failed call is repeated as by the hook, and not
        after its ``expires_at``.

        :param max_attempts: how often it is tried at most; never more often than the connection says.
        :raises TencentCIError: as from the request's ``parse``, or :class:`TransportError`.
        """
        settings = self.settings
        attempts = Attempts(request, endpoint, settings, max_attempts=max_attempts)
        while True:
            try:
                credentials = await settings.credentials.aget(newer_than=attempts.refused_credentials)
                response = await self._send(attempts.sign(credentials))
                return await _parse(request, response)
            except TencentCIError as error:
                pause = attempts.recover_from(error)  # raises the error if there is no further attempt
            await asyncio.sleep(pause)

    def _proxy(self, url: str) -> str | None:
        """Return the environment's proxy for ``url``. aiohttp's ``trust_env`` would also take logins from
        ``.netrc``, and read that file for each request.

        :raises ConfigurationError: it is a SOCKS proxy, which aiohttp would mistake for an HTTP proxy.
        """
        origin = "/".join(url.split("/", 3)[:3])
        if origin not in self._proxies:
            proxy = None if is_loopback_url(origin) else environment_proxy(origin)
            self._proxies[origin] = _check_proxy(proxy) if proxy else None
        return self._proxies[origin]

    async def _send(self, request: SignedRequest) -> HttpResponse:
        connect, read = self.settings.timeouts
        timeouts = aiohttp.ClientTimeout(total=connect + 2 * read, sock_connect=connect, sock_read=read)
        try:
            async with self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body or None,
                timeout=timeouts,
                allow_redirects=False,
                proxy=self._proxy(request.url),
                ssl=trusted_certificates() if _needs_certificates(self.settings) else True,
            ) as response:
                body = bytearray()
                async for chunk in response.content.iter_chunked(CHUNK_SIZE):
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise too_large_error(response.status, response.headers.get("x-ci-request-id"))
                return HttpResponse(response.status, response.headers, bytes(body), request.validity)
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            failure, cause = _transport_error(error, request), _cause_to_show(error)
        raise failure from cause


def _needs_certificates(settings: ConnectionSettings) -> bool:
    """Return whether a call may use TLS: everywhere but on a plain loopback address."""
    return not (settings.is_loopback and str(settings.endpoint_url).lower().startswith("http:"))


def _check_proxy(proxy: str) -> str:
    if proxy.lower().startswith("socks"):
        raise ConfigurationError(
            "The environment names a SOCKS proxy, which the triggerer cannot use",
            hint="Name an http proxy in the triggerer's HTTPS_PROXY, or wait on the worker",
        )
    # aiohttp needs a URL; requests accepts host:port as well
    url = proxy if "://" in proxy else f"http://{proxy}"
    if not url.lower().startswith(("http://", "https://")):
        raise aiohttp.InvalidURL(url)
    return url


async def _parse(request: ApiRequest[T], response: HttpResponse) -> T:
    if len(response.body) > _MAX_BYTES_PARSED_IN_LOOP:
        return await asyncio.to_thread(request.parse, response)
    return request.parse(response)


def _transport_error(error: Exception, request: SignedRequest) -> TransportError:
    if isinstance(error, aiohttp.ClientResponseError):
        reason = f"{type(error).__name__}: {error.status} {error.message}"
    elif isinstance(error, aiohttp.InvalidURL):
        reason = "the address, or that of the proxy, is not a URL"
    else:
        reason = f"{type(error).__name__}: {error}"
    return no_response_error(request, reason[:300], sent=not isinstance(error, _ERRORS_BEFORE_SENDING))


def _cause_to_show(error: Exception) -> Exception | None:
    """Return the error to chain, which a traceback shows.

    ``None`` if its text may hold a secret: the request's headers, or the login in a proxy's URL.
    """
    return None if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL) else error
