"""Credentials that are fetched when they are needed and replaced before they expire.

All connections of a process with equal credentials providers share one :class:`RefreshableCredentials`. Id,
key and token that it returns always belong together.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import os
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_ci.exceptions import CredentialsError
from airflow_provider_ci.hooks.clock import service_clock
from airflow_provider_ci.hooks.credentials_providers import CredentialsProvider, StaticKeys
from airflow_provider_ci.protocol.wire import Credentials

log = logging.getLogger(__name__)

#: Seconds before they expire at which credentials are replaced (Tencent's Go SDK: the same), but not before
#: three quarters of their remaining lifetime have passed.
REFRESH_MARGIN = 600.0
#: Longest pause, seconds, between two attempts to replace credentials that still work.
MAX_REFRESH_PAUSE = 60.0
#: How many providers' credentials one process caches; the least recently used are dropped.
MAX_CACHED = 32
_THREADS = 4


@dataclass(frozen=True, slots=True)
class _Cached:
    """Credentials, the Unix time from which newer ones are fetched, and that at which they expire."""

    credentials: Credentials
    refresh_at: float
    expires_at: float


class RefreshableCredentials:
    """Caches and refreshes the credentials of one provider; may be used by many threads and event loops.

    While the cached credentials work, at most one thread fetches newer ones, and no other thread waits for
    it. Without credentials that work, all threads wait for one fetch and share its outcome.
    """

    def __init__(self, provider: CredentialsProvider) -> None:
        self.provider = provider
        self._clock = service_clock(provider.endpoint_url)
        # Held during a fetch. Reentrant: a signal handler may interrupt the fetch with a call of its own, in
        # the same thread
        self._lock = threading.RLock()
        self._cached: _Cached | None = None
        self._fetches = 0
        self._failure: CredentialsError | None = None
        self._useless_until = -math.inf
        if isinstance(provider, StaticKeys):  # without a fetch, for which an event loop would start a thread
            self._cached = self._with_times(provider.credentials)

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle to the object that the process already has for this provider."""
        return shared_credentials, (self.provider,)

    def cached(self) -> Credentials | None:
        """Return the cached credentials unless they have expired. Never blocks."""
        cached = self._cached
        return cached.credentials if cached is not None and self._clock.now() < cached.expires_at else None

    def get(self, *, newer_than: Credentials | None = None) -> Credentials:
        """Return credentials that work, from the provider if the cached ones expire soon.

        :param newer_than: credentials that the service has refused. The provider is asked for others, unless
            another thread has done so since. Equal ones mean that the provider has no others.
        :raises CredentialsError: the provider has none, or cannot be asked.
        """
        if newer_than is not None:
            return self._replace(newer_than)
        fresh = self._fresh()
        if fresh is not None:
            return fresh
        fetches_before, cached = self._fetches, self.cached()
        if cached is None:
            self._lock.acquire()
        elif not self._lock.acquire(blocking=False):
            return cached  # another thread is fetching newer ones
        try:
            return self._fresh() or self._fetch(fetches_before)
        finally:
            self._lock.release()

    async def aget(self, *, newer_than: Credentials | None = None) -> Credentials:
        """Do what :meth:`get` does without blocking the event loop."""
        fresh = self._fresh() if newer_than is None else None
        return fresh or await _get_in_thread(self, newer_than)

    def may_refresh_on_suspicion(self) -> bool:
        """Return whether to fetch newer credentials after a refusal that does not say what was wrong."""
        return time.monotonic() >= self._useless_until

    def note_useless_refresh(self) -> None:
        """Note that the service refused newer credentials as well: a permission may be missing.

        For a while, such refusals do not make the provider be asked again.
        """
        self._useless_until = time.monotonic() + MAX_REFRESH_PAUSE

    def _fresh(self) -> Credentials | None:
        """Return the cached credentials unless it is time to fetch newer ones."""
        cached = self._cached
        return cached.credentials if cached is not None and self._clock.now() < cached.refresh_at else None

    def _replace(self, refused: Credentials) -> Credentials:
        fetches_before = self._fetches
        with self._lock:
            cached = self._cached
            if cached is not None and cached.credentials is not refused:
                return cached.credentials
            self._cached = None
            return self._fetch(fetches_before)

    def _fetch(self, fetches_before: int) -> Credentials:
        """Ask the provider. The caller holds the lock.

        :param fetches_before: how many fetches there had been before the caller waited for the lock.
        """
        has_waited_for_fetch = self._fetches != fetches_before
        if has_waited_for_fetch and self._failure is not None and self.cached() is None:
            raise copy.copy(self._failure)  # each thread adds a traceback to its own copy
        try:
            credentials = self.provider.fetch()
        except CredentialsError as error:
            return self._keep_cached(error)
        finally:
            self._fetches += 1
        _mask(credentials)
        self._cached, self._failure = self._with_times(credentials), None
        return credentials

    def _keep_cached(self, error: CredentialsError) -> Credentials:
        """Use the cached credentials until they expire, and plan the next fetch.

        :raises CredentialsError: ``error``, if there are none that work.
        """
        cached, now = self._cached, self._clock.now()
        is_first_failure = self._failure is None
        self._failure = error
        if cached is None or now >= cached.expires_at:
            raise error
        time_left = cached.expires_at - now
        if is_first_failure:
            log.warning(
                "Credentials of source %s could not be replaced; the old ones are used for %.0f s more,"
                " trying again: %s",
                self.provider.name,
                time_left,
                error,
            )
        pause = max(1.0, min(MAX_REFRESH_PAUSE, time_left / 4))
        self._cached = replace(cached, refresh_at=now + pause)
        return cached.credentials

    def _with_times(self, credentials: Credentials) -> _Cached:
        if credentials.expires_at is None:
            return _Cached(credentials, math.inf, math.inf)
        now = self._clock.now()
        # If this machine's clock is ahead, new ones seem to have expired; the service decides
        lifetime = max(credentials.expires_at - now, MAX_REFRESH_PAUSE)
        return _Cached(credentials, now + lifetime - min(REFRESH_MARGIN, lifetime / 4), now + lifetime)


def shared_credentials(provider: CredentialsProvider) -> RefreshableCredentials:
    """Return the credentials of a provider: the same object for equal providers of this process."""
    if isinstance(provider, StaticKeys):
        return RefreshableCredentials(provider)  # has nothing to share
    with _process.lock:
        shared = _process.credentials.pop(provider, None) or RefreshableCredentials(provider)
        _process.credentials[provider] = shared
        if len(_process.credentials) > MAX_CACHED:
            _process.credentials.popitem(last=False)
        return shared


class _Process:
    """What all connections of a process share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.credentials: OrderedDict[CredentialsProvider, RefreshableCredentials] = OrderedDict()
        # Not the event loop's default threads: Airflow needs one of those to mask a secret, and a fetch waits
        # for that
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ci-credentials")


_process = _Process()


def _reset_after_fork() -> None:
    """Start afresh: the parent's threads do not exist in a forked process, but a lock may be held by one."""
    global _process
    _process = _Process()


os.register_at_fork(after_in_child=_reset_after_fork)


async def _get_in_thread(credentials: RefreshableCredentials, newer_than: Credentials | None) -> Credentials:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_process.threads, lambda: credentials.get(newer_than=newer_than))


def _mask(credentials: Credentials) -> None:
    from airflow.providers.common.compat.sdk import mask_secret

    mask_secret(credentials.secret_key)
    if credentials.token:
        mask_secret(credentials.token)
