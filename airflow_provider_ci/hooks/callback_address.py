"""Puts the address of this Airflow's callback endpoint into requests, and keeps its secret out of errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_ci.exceptions import ConfigurationError, TencentCIError
from airflow_provider_ci.hooks.callback_settings import NEEDED_AIRFLOW
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.protocol.job_rules import AUTO
from airflow_provider_ci.protocol.tree import Tree, find, with_value
from airflow_provider_ci.version_compat import AIRFLOW_MINOR, AIRFLOW_VERSION

# Where a job and a batch job have the address
_ELEMENTS = ("CallBack", "Operation.CallBack")
_HIDDEN = "…"


def expects_callback(request: Tree) -> bool:
    """Tell whether a job or batch job is to have the address of its connection's endpoint."""
    return any(find(request, element) == AUTO for element in _ELEMENTS)


def with_callback_address(request: Tree, settings: ConnectionSettings) -> Tree:
    """Return the request with the endpoint's address for ``auto``, or unchanged if it does not say that.

    :raises ConfigurationError: the connection or this version of Airflow has no endpoint.
    """
    if not expects_callback(request):
        return request
    if AIRFLOW_MINOR < NEEDED_AIRFLOW:
        raise ConfigurationError(
            f"callback_url is 'auto', which needs Airflow 3.3 or newer; this is {AIRFLOW_VERSION}",
            hint="Leave it out: the task polls",
        )
    if settings.callbacks is None:
        raise ConfigurationError(
            f"callback_url is 'auto', but connection {settings.conn_id!r} has no callback_base_url",
            hint="Set callback_base_url and callback_secret in its extra (docs/events.md)",
        )
    address = settings.callbacks.address(settings.conn_id)
    for element in _ELEMENTS:
        if find(request, element) == AUTO:
            request = with_value(request, element, address)
    return request


@contextmanager
def hide_callback_secret(settings: ConnectionSettings) -> Iterator[None]:
    """Remove the secret from errors that the block raises: the service may quote the address."""
    try:
        yield
    except TencentCIError as error:
        if settings.callbacks is not None:
            _hide(error, settings.callbacks.secret)
        raise


def _hide(error: BaseException | None, secret: str) -> None:
    while isinstance(error, TencentCIError):
        for name in ("message", "code", "service_message", "hint"):
            text = getattr(error, name)
            if text and secret in text:
                setattr(error, name, text.replace(secret, _HIDDEN))
        error.args = (error.message, *error.args[1:])
        error = error.__cause__
