"""Credentials that are fetched when they are needed and replaced before they expire.

One provider serves all that use the same source in a process. What it hands out is always one generation: id,
key and token that belong together.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from airflow_provider_ci.exceptions import CredentialsError
from airflow_provider_ci.hooks.clock import service_clock
from airflow_provider_ci.hooks.sources import Source, StaticKeys
from airflow_provider_ci.protocol.wire import Credentials

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds before their end at which credentials are replaced (Tencent's Go SDK: the same), but not before
#: three quarters of what was left of their life when they came.
MARGIN = 600.0
#: Longest pause, seconds, until a replacement that failed is tried again while the old ones work.
PAUSE = 60.0
#: Sources whose credentials one process keeps; of more, those that were asked for last.
KEPT = 32
_THREADS = 4


@dataclass(frozen=True, slots=True)
class _Generation:
    """Credentials, the Unix time from which newer ones are asked for, and that from which they are not
    used.
    """

    credentials: Credentials
    due: float
    end: float


class RefreshableCredentials:
    """Hands out the credentials of one source; may be used by many threads and event loops.

    While the present ones work, one thread at most asks for newer ones and nobody waits for it; when none
    work, all wait for one attempt and share its outcome.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._clock = service_clock(source.endpoint_url)
        # held while the source is asked; reentrant: a signal may end that by a call, in the very thread
        self._lock = threading.RLock()
        self._present: _Generation | None = None
        self._attempts = 0
        self._failure: CredentialsError | None = None
        self._useless_until = float("-inf")
        if isinstance(source, StaticKeys):  # needs no asking, which on an event loop would take a thread
            self._present = self._generation(source.credentials)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is the provider that the process has of this source."""
        return provider_of, (self.source,)

    def held(self) -> Credentials | None:
        """Return the present credentials if they have not expired. Never blocks."""
        present = self._present
        return present.credentials if present is not None and self._now() < present.end else None

    def get(self) -> Credentials:
        """Return credentials that work, newer ones if the present ones expire soon.

        :raises CredentialsError: there are none.
        """
        held = self._ready()
        if held is not None:
            return held
        held, before = self.held(), self._attempts
        if held is None:
            self._lock.acquire()
        elif not self._lock.acquire(blocking=False):
            return held  # another thread is asking the source
        try:
            return self._ready() or self._fetched(before)
        finally:
            self._lock.release()

    def refresh(self, refused: Credentials) -> Credentials:
        """Return credentials after the service refused ``refused``: asks the source, unless another thread
        has done so since. Equal ones mean that the source has no others.

        :raises CredentialsError: the source cannot be asked.
        """
        before = self._attempts
        with self._lock:
            present = self._present
            if present is not None and present.credentials is not refused:
                return present.credentials
            self._present = None
            return self._fetched(before)

    def may_refresh_on_suspicion(self) -> bool:
        """Tell whether to ask for newer credentials after a refusal that does not say what was wrong."""
        return time.monotonic() >= self._useless_until

    def note_useless_refresh(self) -> None:
        """Note that newer credentials were refused alike, so that the source is not asked at each such
        refusal: it may be a permission that is missing.
        """
        self._useless_until = time.monotonic() + PAUSE

    async def aget(self) -> Credentials:
        """Do what :meth:`get` does without blocking the event loop."""
        ready = self._ready()
        return await _in_thread(self.get) if ready is None else ready

    async def arefresh(self, refused: Credentials) -> Credentials:
        """Do what :meth:`refresh` does without blocking the event loop."""
        return await _in_thread(lambda: self.refresh(refused))

    def _ready(self) -> Credentials | None:
        """Return the present credentials if newer ones need not be asked for."""
        present = self._present
        return present.credentials if present is not None and self._now() < present.due else None

    def _fetched(self, before: int) -> Credentials:
        """Ask the source; the caller holds the lock. ``before`` counts the attempts when the caller came."""
        if self._attempts != before and self._failure is not None and self.held() is None:
            raise copy.copy(self._failure)  # of the attempt that the caller waited for
        try:
            credentials = self.source.fetch()
        except CredentialsError as error:
            return self._old_ones(error)
        finally:
            self._attempts += 1
        _mask(credentials)
        self._present, self._failure = self._generation(credentials), None
        return credentials

    def _old_ones(self, error: CredentialsError) -> Credentials:
        present, now = self._present, self._now()
        known, self._failure = self._failure, error
        if present is None or now >= present.end:
            raise error
        if known is None:
            log.warning(
                "Credentials of source %s could not be replaced; the old ones are used for %.0f s more: %s",
                *(self.source.name, present.end - now, error),
            )
        self._present = replace(present, due=now + max(1.0, min(PAUSE, (present.end - now) / 4)))
        return present.credentials

    def _generation(self, credentials: Credentials) -> _Generation:
        if credentials.expires_at is None:
            return _Generation(credentials, float("inf"), float("inf"))
        now = self._now()
        # this machine's clock may be ahead, so that new ones seem to have expired: the service decides
        left = max(credentials.expires_at - now, PAUSE)
        return _Generation(credentials, now + left - min(MARGIN, left / 4), now + left)

    def _now(self) -> float:
        return time.time() + self._clock.offset


def provider_of(source: Source) -> RefreshableCredentials:
    """Return the provider of ``source``, the same for equal sources of a process."""
    if isinstance(source, StaticKeys):
        return RefreshableCredentials(source)  # has nothing to share
    with _process.lock:
        provider = _process.providers.pop(source, None) or RefreshableCredentials(source)
        _process.providers[source] = provider
        if len(_process.providers) > KEPT:
            _process.providers.popitem(last=False)
        return provider


class _Process:
    """What all users of a process share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.providers: OrderedDict[Source, RefreshableCredentials] = OrderedDict()
        # not the loop's own threads: Airflow needs those to mask a secret, which happens in these
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ci-credentials")


_process = _Process()


def _after_fork() -> None:
    """Begin anew: threads do not live on in a forked process, and a lock may be held by one that did not."""
    global _process
    _process = _Process()


os.register_at_fork(after_in_child=_after_fork)


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_process.threads, work)


def _mask(credentials: Credentials) -> None:
    from airflow.providers.common.compat.sdk import mask_secret

    mask_secret(credentials.secret_key)
    if credentials.token:
        mask_secret(credentials.token)
