"""An Airflow connection of type ``tencent_ci``, read and checked."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.get_provider_info import CONN_FIELDS
from airflow_provider_ci.hooks.callback_settings import CallbackSettings
from airflow_provider_ci.hooks.clock import ServiceClock, service_clock
from airflow_provider_ci.hooks.credentials import RefreshableCredentials, shared_credentials
from airflow_provider_ci.hooks.credentials_fields import read_provider
from airflow_provider_ci.hooks.credentials_providers import CredentialsProvider
from airflow_provider_ci.hooks.extra import Extra, to_string
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
_HOST_FORM = "a host name of Tencent Cloud without the bucket, for instance cos.{region}.tencentcos.cn"
_TIMEOUT_FORM = "a number of seconds above 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """What a connection says: credentials, defaults for bucket and region, hosts, timeouts and retries.

    Timeouts are in seconds. ``secrets`` are those that the connection itself holds, to be masked.
    ``credentials`` and ``clock`` are shared by all connections of a process with the same credentials
    provider or service.
    """

    conn_id: str
    credentials_provider: CredentialsProvider
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
    callbacks: CallbackSettings | None
    credentials: RefreshableCredentials = field(compare=False, repr=False)
    clock: ServiceClock = field(compare=False, repr=False)

    @classmethod
    def from_connection(cls, connection: Connection, extra: Any = None) -> ConnectionSettings:
        """Read an Airflow connection.

        :param extra: its extra, if the caller had to decode it without blocking an event loop.
        :raises ConfigurationError: a field is missing or has a value that is not allowed.
        """
        conn_id = str(connection.conn_id)
        if getattr(connection, "conn_type", None) == "":
            raise ConfigurationError(
                f"Connection {conn_id!r} has no type",
                hint="Set it to tencent_ci. Let a URI begin with tencent-ci://, with a hyphen, because an"
                " underscore makes it no scheme",
            )
        fields = _read_extra(conn_id, connection.extra_dejson if extra is None else extra)
        # a connection in JSON may have numbers as login and password
        login, password = (to_string(value) or value for value in (connection.login, connection.password))
        provider = read_provider(fields, login, password)
        endpoint_url, allow_http = fields.string("endpoint_url"), fields.flag("allow_http")
        if endpoint_url is not None:
            check_origin("endpoint_url", endpoint_url, allow_http=allow_http)
        callbacks = CallbackSettings.read(fields, allow_http=allow_http)
        secrets = (password, fields.token("security_token"), callbacks and callbacks.secret)
        return cls(
            conn_id=conn_id,
            credentials_provider=provider,
            secrets=tuple(secret for secret in secrets if secret),
            credentials=shared_credentials(provider),
            clock=service_clock(endpoint_url),
            bucket=fields.matching("bucket", BUCKET, "<name>-<appid>, for instance media-1250000001"),
            region=fields.matching("region", REGION, "a region, for instance ap-guangzhou"),
            ci_host=fields.matching("ci_host", HOSTS[Service.CI], _HOST_FORM) or CI_HOST,
            cos_host=fields.matching("cos_host", HOSTS[Service.COS], _HOST_FORM) or COS_HOST,
            endpoint_url=endpoint_url,
            allow_http=allow_http,
            deployment=fields.string("deployment"),
            connect_timeout=fields.number("connect_timeout", CONNECT_TIMEOUT, _TIMEOUT_FORM),
            read_timeout=fields.number("read_timeout", READ_TIMEOUT, _TIMEOUT_FORM),
            retry=RetryPolicy(max_attempts=fields.integer("max_attempts", RetryPolicy().max_attempts, 1, 10)),
            callbacks=callbacks,
        )

    @property
    def timeouts(self) -> tuple[float, float]:
        """Seconds to wait for a connection, and for each chunk of a response."""
        return self.connect_timeout, self.read_timeout

    @property
    def is_loopback(self) -> bool:
        """Whether all calls stay on this machine."""
        return is_loopback_url(self.endpoint_url)

    def endpoint(self, bucket: str | None = None, region: str | None = None) -> Endpoint:
        """Return the address of a bucket. The connection's bucket and region are the defaults.

        :raises ConfigurationError: bucket or region is missing, or malformed.
        """
        return Endpoint(
            bucket=self._require("bucket", bucket or self.bucket),
            region=self._require("region", region or self.region),
            ci_host=self.ci_host,
            cos_host=self.cos_host,
            base_url=self.endpoint_url,
            allow_http=self.allow_http,
        )

    def _require(self, name: str, value: str | None) -> str:
        if not value:
            raise ConfigurationError(
                f"No {name}: give it as an argument, or in the extra of connection {self.conn_id!r}"
            )
        if not isinstance(value, str):  # a template that Airflow rendered as a native object
            raise ConfigurationError(f"{name} is {value!r}, allowed: a string")
        return value


def _read_extra(conn_id: str, extra: Any) -> Extra:
    if not isinstance(extra, dict):
        raise ConfigurationError(
            f"Connection {conn_id!r}: extra is not a JSON object",
            hint='Write it as one, for instance {"region": "ap-guangzhou"}',
        )
    if unknown := sorted(set(extra) - set(CONN_FIELDS)):
        known = ", ".join(CONN_FIELDS)
        log.warning("Connection %r: extra fields %s are not used, allowed: %s", conn_id, unknown, known)
    return Extra(conn_id, extra)
