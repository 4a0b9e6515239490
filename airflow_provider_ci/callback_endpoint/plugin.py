"""The plugin that puts the callback endpoint on Airflow's API server.

Every Airflow process may load it: it imports next to nothing, and never raises, because that would keep the
API server from starting.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from airflow_provider_ci.get_provider_info import CALLBACK_CONN_IDS, CONFIG_SECTION
from airflow_provider_ci.version_compat import AIRFLOW_MINOR, AIRFLOW_VERSION

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)


class CallbackEndpoint:
    """The ASGI application, which is loaded with the first request.

    :param conn_ids: the connections of which callbacks are accepted.
    :param url_prefix: where it is.
    """

    def __init__(self, conn_ids: frozenset[str], url_prefix: str) -> None:
        self._conn_ids = conn_ids
        self._url_prefix = url_prefix
        self._application: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request. Its path, which has the secret, is not left for Airflow's access log."""
        try:
            if self._application is None:
                from airflow_provider_ci.callback_endpoint.application import make_application

                self._application = make_application(self._conn_ids)
            await self._application(scope, receive, send)
        finally:
            scope["path"] = f"{self._url_prefix}/…"


def configured_apps() -> list[dict[str, Any]]:
    """Return the endpoint in the form of Airflow's plugins, or nothing if it is not configured."""
    try:
        names = conf.get(CONFIG_SECTION, CALLBACK_CONN_IDS, fallback="") or ""
        conn_ids = frozenset(name for each in names.split(",") if (name := each.strip()))
        if not conn_ids:
            return []
        from airflow_provider_ci.hooks.callback_settings import NEEDED_AIRFLOW, URL_PREFIX

        if AIRFLOW_MINOR < NEEDED_AIRFLOW:
            log.warning(
                "[%s] %s is set, but the callback endpoint needs Airflow 3.3 or newer; this is %s. Remove it",
                CONFIG_SECTION,
                CALLBACK_CONN_IDS,
                AIRFLOW_VERSION,
            )
            return []
        app = CallbackEndpoint(conn_ids, URL_PREFIX)
        return [{"name": "Tencent CI callbacks", "url_prefix": URL_PREFIX, "app": app}]
    except Exception as error:
        log.warning("The callback endpoint is not available: %s: %s", type(error).__name__, error)
        return []


class TencentCICallbacksPlugin(AirflowPlugin):
    """The callback endpoint."""

    name = "tencent_ci_callbacks"
    fastapi_apps = configured_apps()
