"""An Airflow connection of type ``tencent_ci``, read and checked."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.get_provider_info import CONN_FIELDS
from airflow_provider_ci.hooks.clock import ServiceClock, service_clock
from airflow_provider_ci.hooks.credentials import RefreshableCredentials, provider_of
from airflow_provider_ci.hooks.extra import Extra, as_text
from airflow_provider_ci.hooks.source_fields import read_source
from airflow_provider_ci.hooks.sources import Source
from airflow_provider_ci.protocol.names import BUCKET, REGION
from airflow_provider_ci.protocol.retry import RetryPolicy
from airflow_provider_ci.protocol.wire import (
    CI_HOST,
    COS_HOST,
    HOSTS,
    Endpoint,
    Service,
    check_origin,
    is_loopback_url,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
_A_HOST = "a host name of Tencent Cloud without the bucket, for instance cos.{region}.tencentcos.cn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """What a connection says: where credentials come from, defaults for bucket and region, where to connect,
    and for how long.

    Timeouts are in seconds. ``secrets`` are what the connection itself holds of them, to be masked.
    ``provider`` and ``clock`` are shared by all of a process that mean the same credentials and service.
    """

    conn_id: str
    source: Source
    secrets: tuple[str, ...] = field(repr=False)
    bucket: str | None
    region: str | None
    ci_host: str
    cos_host: str
    endpoint_url: str | None
    allow_http: bool
    deployment: str | None
    connect_timeout: float
    read_timeout: float
    retry: RetryPolicy
    provider: RefreshableCredentials = field(compare=False, repr=False)
    clock: ServiceClock = field(compare=False, repr=False)

    @classmethod
    def from_connection(cls, connection: Connection, extra: Any = None) -> ConnectionSettings:
        """Read an Airflow connection.

        :param extra: its extra, if the caller had to read it in a way of its own (on an event loop).
        :raises ConfigurationError: a field is missing or has a value that is not allowed.
        """
        conn_id = str(connection.conn_id)
        if getattr(connection, "conn_type", None) == "":
            raise ConfigurationError(
                f"Connection {conn_id!r} has no type",
                hint="Its type is tencent_ci; a URI begins with tencent-ci://, with a hyphen, because an"
                " underscore makes it no scheme",
            )
        if extra is None:
            extra = connection.extra_dejson
        if not isinstance(extra, dict):
            raise ConfigurationError(f"Connection {conn_id!r}: extra is not a JSON object")
        if unknown := sorted(set(extra) - set(CONN_FIELDS)):
            known = ", ".join(CONN_FIELDS)
            log.warning("Connection %r: extra fields %s are not known; known: %s", conn_id, unknown, known)
        read = Extra(conn_id, extra)
        # JSON may hold numbers there too
        login, password = (as_text(value) or value for value in (connection.login, connection.password))
        source = read_source(read, login, password)
        endpoint_url, allow_http = read.text("endpoint_url"), read.flag("allow_http")
        if endpoint_url is not None:  # one with a password must not get into a repr
            check_origin("endpoint_url", endpoint_url, allow_http=allow_http)
        return cls(
            conn_id=conn_id,
            source=source,
            secrets=tuple(secret for secret in (password, read.token("security_token")) if secret),
            provider=provider_of(source),
            clock=service_clock(endpoint_url),
            bucket=read.matching("bucket", BUCKET, "<name>-<appid>, for instance media-1250000001"),
            region=read.matching("region", REGION, "a region, for instance ap-guangzhou"),
            ci_host=read.matching("ci_host", HOSTS[Service.CI], _A_HOST) or CI_HOST,
            cos_host=read.matching("cos_host", HOSTS[Service.COS], _A_HOST) or COS_HOST,
            endpoint_url=endpoint_url,
            allow_http=allow_http,
            deployment=read.text("deployment"),
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
            ci_host=self.ci_host,
            cos_host=self.cos_host,
            base_url=self.endpoint_url,
            allow_http=self.allow_http,
        )
