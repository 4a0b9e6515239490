"""The same calls on an event loop, with ``aiohttp``: for triggers. Requests are the same bytes as the
hook's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from yarl import URL

from airflow_provider_ci.exceptions import (
    ConfigurationError,
    InvalidResponseError,
    TencentCIError,
    TransportError,
)
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.hooks.recovery import Recovery
from airflow_provider_ci.hooks.transport import HEADERS, environment_proxy, trusted_certificates
from airflow_provider_ci.protocol.wire import (
    Credentials,
    Endpoint,
    HttpResponse,
    SignedRequest,
    is_loopback_url,
    sign_request,
)
from airflow_provider_ci.protocol.xml import MAX_BYTES

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_ci.protocol.api_request import ApiRequest
    from airflow_provider_ci.protocol.lists import PagedRequest

T = TypeVar("T")
Item = TypeVar("Item")

_PIECE = 64 * 1024
# Parsing more than this takes milliseconds, in which no other trigger would run
_PARSE_IN_LOOP = 128 * 1024
# The connection, or the way through the proxy, was not even established; UnicodeError: no host's name
_BEFORE_SENDING = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    UnicodeError,
)
_OWN_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


async def load_settings(conn_id: str) -> ConnectionSettings:
    """Return the settings of a connection without blocking the loop.

    :raises ConfigurationError: a field is missing or has a value that is not allowed, or the environment's
        bundle of certificates cannot be read.
    """
    from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

    connection = await get_async_connection(conn_id)
    settings = ConnectionSettings.from_connection(connection, await get_async_extra_dejson(connection))
    if not settings.is_loopback:
        await asyncio.to_thread(trusted_certificates)  # reading them takes milliseconds, the first time
    return settings


class AsyncClient:
    """One pooled session for one connection, on one event loop. Use it in ``async with``, or close it.

    :param settings: what the connection says.
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

    async def call(self, call: ApiRequest[T], endpoint: Endpoint) -> T:
        """Send ``call`` and return what its answer says; repeated by the same rules as the hook's calls, and
        not after its ``expires_at``.

        :raises TencentCIError: as the call's ``parse``, or :class:`TransportError`.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self.once(call, endpoint)
            except TencentCIError as error:
                left = None if call.expires_at is None else int(call.expires_at) - self._now()
                pause = self.settings.retry.pause(attempt, error, idempotent=call.idempotent, time_left=left)
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def pages(self, call: PagedRequest[Any, Item], endpoint: Endpoint) -> AsyncIterator[Item]:
        """Yield what is on each page; a page is asked for when the one before has been consumed."""
        following: PagedRequest[Any, Item] | None = call
        while following is not None:
            answer = await self.call(following, endpoint)
            for item in following.items(answer):
                yield item
            following = following.next_page(answer)

    async def once(self, call: ApiRequest[T], endpoint: Endpoint) -> T:
        """Send ``call`` once, and again only if its credentials or its time were refused and can be mended.

        :raises TencentCIError: as of :meth:`call`.
        """
        recovery = Recovery(self.settings, call)
        while True:
            credentials = await recovery.abegin()
            try:
                return await self._attempt(call, endpoint, credentials)
            except TencentCIError as error:
                if not recovery.should_retry_after_refresh(error):
                    raise

    async def _attempt(self, call: ApiRequest[T], endpoint: Endpoint, credentials: Credentials) -> T:
        send = sign_request(
            call.http_request(),
            endpoint,
            credentials,
            now=self._now(),
            expires_at=call.expires_at,
        )
        response = await self._exchange(send)
        if len(response.body) > _PARSE_IN_LOOP:
            return await asyncio.to_thread(call.parse, response)
        return call.parse(response)

    def _now(self) -> float:
        """Return the Unix time by the service's clock."""
        return time.time() + self.settings.clock.offset

    def _proxy(self, url: str) -> str | None:
        """Return the environment's proxy for ``url``. aiohttp's ``trust_env`` would also take logins from
        ``.netrc``, and read that file for each request.

        :raises ConfigurationError: it is a SOCKS proxy, which aiohttp would take for one of HTTP.
        """
        origin = "/".join(url.split("/", 3)[:3])
        if origin not in self._proxies:
            proxy = None if is_loopback_url(origin) else environment_proxy(origin)
            if (proxy or "").lower().startswith("socks"):
                raise ConfigurationError(
                    "The environment names a SOCKS proxy, which the triggerer cannot use",
                    hint="Name an http proxy in the triggerer's HTTPS_PROXY, or wait on the worker",
                )
            # aiohttp wants a URL where requests is content with host:port
            proxy = f"http://{proxy}" if proxy and "://" not in proxy else proxy
            if proxy and not proxy.lower().startswith(("http://", "https://")):
                raise aiohttp.InvalidURL(proxy)
            self._proxies[origin] = proxy
        return self._proxies[origin]

    async def _exchange(self, request: SignedRequest) -> HttpResponse:
        connect, read = self.settings.timeouts
        limits = aiohttp.ClientTimeout(total=connect + 2 * read, sock_connect=connect, sock_read=read)
        try:
            async with self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body or None,
                timeout=limits,
                allow_redirects=False,
                proxy=self._proxy(request.url),
                ssl=self.settings.is_loopback or trusted_certificates(),
            ) as answer:
                body = bytearray()
                async for piece in answer.content.iter_chunked(_PIECE):
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise InvalidResponseError(
                            f"The answer is larger than {MAX_BYTES} bytes",
                            status=answer.status,
                            request_id=answer.headers.get("x-ci-request-id"),
                        )
                return HttpResponse(answer.status, answer.headers, bytes(body), request.validity)
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            failure, cause = _transport_error(error, request), _showable(error)
        raise failure from cause


def _transport_error(error: Exception, request: SignedRequest) -> TransportError:
    return TransportError(
        f"No answer from {request.headers['Host']} to {request.method}: {_reason(error)}",
        sent=not isinstance(error, _BEFORE_SENDING),
        hint="Check the network, the proxy settings, and bucket, region and endpoint_url of the connection",
    )


def _showable(error: Exception) -> Exception | None:
    """Return what may be chained to our error and so be shown. The text or ``repr`` of these two has the
    request's headers, or a URL that may be a proxy's with a login.
    """
    return None if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL) else error


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{type(error).__name__}: {error.status} {error.message}"[:300]
    if isinstance(error, aiohttp.InvalidURL):
        return "the address, or that of the proxy, is not a URL"
    return f"{type(error).__name__}: {error}"[:300]
