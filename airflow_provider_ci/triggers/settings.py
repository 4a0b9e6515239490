"""Looks connections up for all triggers of an event loop, seldom."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakKeyDictionary

from airflow_provider_ci.hooks import aio
from airflow_provider_ci.hooks.connection import ConnectionSettings

#: Seconds between two lookups of a connection. A thousand waiting triggers must not ask a secrets backend a
#: thousand times, which may be what fails.
LOOKUP_PAUSE = 30.0


@dataclass(eq=False, slots=True)
class _Lookup:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    at: float | None = None
    settings: ConnectionSettings | None = None
    error: Exception | None = None


_lookups: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Lookup]] = WeakKeyDictionary()


async def recent_settings(conn_id: str) -> ConnectionSettings:
    """Return the settings of a connection as they were at most ``LOOKUP_PAUSE`` seconds ago.

    :raises Exception: they could not be had now, or within that time.
    """
    loop = asyncio.get_running_loop()
    lookup = _lookups.setdefault(loop, {}).setdefault(conn_id, _Lookup())
    async with lookup.lock:
        if lookup.at is None or loop.time() - lookup.at >= LOOKUP_PAUSE:
            lookup.settings = lookup.error = None
            try:
                lookup.settings = await aio.load_settings(conn_id)
            except Exception as error:
                lookup.error = error
            lookup.at = loop.time()
    if lookup.error is not None:
        raise lookup.error.with_traceback(None)
    return cast("ConnectionSettings", lookup.settings)
