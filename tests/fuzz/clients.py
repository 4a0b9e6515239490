"""The provider's two transports, with settings that lead to a server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

from airflow_provider_ci.hooks.aio import AsyncClient
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.protocol.api_request import ApiRequest
from tests.conftest import BUCKET, CREDENTIALS, REGION

T = TypeVar("T")
Send = Callable[[ApiRequest[Any]], Any]


def settings_for(url: str, **extra: Any) -> ConnectionSettings:
    """Return the settings of a connection to ``url``."""
    given = {
        "bucket": BUCKET,
        "region": REGION,
        "endpoint_url": url,
        "security_token": CREDENTIALS.token,
        "connect_timeout": 2,
        "read_timeout": 2,
        "max_attempts": 1,
    }
    connection = SimpleNamespace(
        conn_id="fuzzed",
        login=CREDENTIALS.secret_id,
        password=CREDENTIALS.secret_key,
        extra_dejson=given | extra,
    )
    return ConnectionSettings.from_connection(connection)  # type: ignore[arg-type]


def in_thread(settings: ConnectionSettings) -> Send:
    """Return what makes a call as operators do."""

    def send(call: ApiRequest[T]) -> T:
        hook = TencentCIHook()
        hook.__dict__["settings"] = settings  # instead of one that Airflow knows
        try:
            return hook.call(call)
        finally:
            hook.close()

    return send


def on_loop(settings: ConnectionSettings) -> Send:
    """Return what makes a call as triggers do."""

    async def call_once(call: ApiRequest[T]) -> T:
        async with AsyncClient(settings) as client:
            return await client.call(call, settings.endpoint())

    return lambda call: asyncio.run(call_once(call))


TRANSPORTS = {"thread": in_thread, "loop": on_loop}
