"""Looks connections up for all triggers of an event loop together, and not more often than needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.hooks import aio
from airflow_provider_ci.hooks.connection import ConnectionSettings

#: Seconds between two lookups of a connection. A thousand waiting triggers must not ask a secrets backend a
#: thousand times: it may be what fails.
LOOKUP_PAUSE = 30.0


@dataclass(eq=False, slots=True)
class _Lookup:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    looked_up_at: float | None = None
    outcome: ConnectionSettings | Exception | None = None


_lookups: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Lookup]] = WeakKeyDictionary()


async def recent_settings(conn_id: str) -> ConnectionSettings:
    """Return the settings of a connection, looked up at most ``LOOKUP_PAUSE`` seconds ago.

    :raises Exception: the lookup failed, now or within that time.
    """
    loop = asyncio.get_running_loop()
    lookup = _lookups.setdefault(loop, {}).setdefault(conn_id, _Lookup())
    async with lookup.lock:
        if lookup.looked_up_at is None or loop.time() - lookup.looked_up_at >= LOOKUP_PAUSE:
            lookup.looked_up_at = None  # should this lookup be cancelled, the next caller repeats it
            try:
                lookup.outcome = await aio.load_settings(conn_id)
            except Exception as error:
                lookup.outcome = error
            lookup.looked_up_at = loop.time()
    if isinstance(lookup.outcome, Exception):
        raise lookup.outcome.with_traceback(None)
    assert lookup.outcome is not None  # noqa: S101 - for the type checker
    return lookup.outcome


@contextmanager
def provider_errors_only() -> Iterator[None]:
    """Raise errors that are not this provider's as a ``TencentCIError``: Airflow's, for instance, when the
    connection has been deleted.
    """
    try:
        yield
    except TencentCIError:
        raise
    except Exception as error:
        raise TencentCIError(f"{type(error).__name__}: {error}") from error
