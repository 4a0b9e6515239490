"""An Airflow connection of type ``tencent_ci``, read and checked."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.get_provider_info import CONN_FIELDS
from airflow_provider_ci.protocol.retry import RetryPolicy
from airflow_provider_ci.protocol.wire import Credentials, Endpoint, is_loopback_url

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """What a connection says: credentials, defaults for bucket and region, where to connect, and for how
    long.

    Timeouts are in seconds.
    """

    conn_id: str
    credentials: Credentials
    bucket: str | None
    region: str | None
    endpoint_url: str | None
    allow_http: bool
    connect_timeout: float
    read_timeout: float
    retry: RetryPolicy

    @classmethod
    def from_connection(cls, connection: Connection, extra: Any = None) -> ConnectionSettings:
        """Read an Airflow connection.

        :param extra: its extra, if the caller had to read it in a way of its own (on an event loop).
        :raises ConfigurationError: a field is missing or has a value that is not allowed.
        """
        conn_id = str(connection.conn_id)
        if extra is None:
            extra = connection.extra_dejson
        if not isinstance(extra, dict):
            raise ConfigurationError(f"Connection {conn_id!r}: extra is not a JSON object")
        if unknown := sorted(set(extra) - set(CONN_FIELDS)):
            known = ", ".join(CONN_FIELDS)
            log.warning("Connection %r: extra fields %s are not known; known: %s", conn_id, unknown, known)
        read = _Extra(conn_id, extra)
        return cls(
            conn_id=conn_id,
            credentials=Credentials(
                _credential(conn_id, "login (SecretId)", connection.login),
                _credential(conn_id, "password (SecretKey)", connection.password),
                read.token("security_token"),
            ),
            bucket=read.text("bucket"),
            region=read.text("region"),
            endpoint_url=read.text("endpoint_url"),
            allow_http=read.flag("allow_http"),
            connect_timeout=read.number("connect_timeout", CONNECT_TIMEOUT, "a number of seconds above 0"),
            read_timeout=read.number("read_timeout", READ_TIMEOUT, "a number of seconds above 0"),
            retry=RetryPolicy(max_attempts=read.count("max_attempts", RetryPolicy().max_attempts, 1, 10)),
        )

    @property
    def timeouts(self) -> tuple[float, float]:
        """Seconds to wait for a connection, and for each piece of an answer."""
        return self.connect_timeout, self.read_timeout

    @property
    def is_loopback(self) -> bool:
        """Whether all calls stay on this machine."""
        return is_loopback_url(self.endpoint_url)

    def endpoint(
        self, bucket: str | None = None, region: str | None = None, *, regional: bool = False
    ) -> Endpoint:
        """Return where calls for a bucket go; the connection's bucket and region are the defaults.

        :param regional: for calls that go to the region's own host, and name no bucket.
        :raises ConfigurationError: neither names one, or it has not the documented form.
        """
        chosen = {"bucket": bucket or self.bucket, "region": region or self.region}
        if regional:
            del chosen["bucket"]
        for name, value in chosen.items():
            if not value:
                raise ConfigurationError(
                    f"No {name}: give it as an argument, or in the extra of connection {self.conn_id!r}"
                )
            if not isinstance(value, str):  # natively rendered templates
                raise ConfigurationError(f"{name} is {value!r}, allowed: a text")
        return Endpoint(
            bucket=chosen.get("bucket"),
            region=chosen["region"] or "",
            base_url=self.endpoint_url,
            allow_http=self.allow_http,
        )


def _credential(conn_id: str, field: str, value: str | None) -> str:
    # the value itself must not be shown
    if not value:
        raise ConfigurationError(f"Connection {conn_id!r}: {field} is empty")
    if value != value.strip() or not (value.isascii() and value.isprintable()):
        raise ConfigurationError(
            f"Connection {conn_id!r}: {field} has blanks around it or characters that no key has"
        )
    return value


@dataclass(frozen=True, slots=True)
class _Extra:
    conn_id: str
    values: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or value != value.strip() or not value.isprintable():
            raise self._refused(name, value, "a text without blanks around it")
        return value

    def token(self, name: str) -> str | None:
        value = self.text(name)
        if value is not None and not value.isascii():  # no header can carry it
            raise self._refused(name, value, "a text of ASCII characters")
        return value

    def flag(self, name: str) -> bool:
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        word = str(value).strip().lower()
        if word not in (*_TRUE, *_FALSE):
            raise self._refused(name, value, "true, false")
        return word in _TRUE

    def number(self, name: str, default: float, allowed: str) -> float:
        value = self.values.get(name)
        if value is None or value == "":
            return default
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(value, bool) or not (math.isfinite(number) and number > 0):
            raise self._refused(name, value, allowed)
        return number

    def count(self, name: str, default: int, least: int, most: int) -> int:
        allowed = f"a whole number from {least} to {most}"
        number = self.number(name, default, allowed)
        if number != int(number) or not least <= number <= most:
            raise self._refused(name, self.values.get(name), allowed)
        return int(number)

    def _refused(self, name: str, value: object, allowed: str) -> ConfigurationError:
        given = "a value not shown" if name == "security_token" else repr(value)
        return ConfigurationError(f"Connection {self.conn_id!r}: extra {name} is {given}, allowed: {allowed}")
