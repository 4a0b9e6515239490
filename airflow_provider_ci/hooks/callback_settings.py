"""What a connection says of callbacks: the address of this Airflow's endpoint, and its secret."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.protocol.wire import check_origin

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.extra import Extra

#: Where Airflow's API server has the endpoint.
URL_PREFIX = "/tencent-ci/callbacks"
#: The first version of Airflow that has it.
NEEDED_AIRFLOW = (3, 3)
#: Default of ``callback_poll_interval``, seconds. A callback may be lost, so the triggerer still polls.
POLL_INTERVAL = 900.0

_SECRET = re.compile(r"[A-Za-z0-9_-]{32,128}")
_BASE_URL = re.compile(r"https?://[^/?#\s\[\]]+(/[A-Za-z0-9._~-]+)*/?")
_BASE_URL_FORM = "scheme://host[:port], perhaps with a path"
_INTERVAL_FORM = "a number of seconds above 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """The callbacks of a connection's jobs.

    :param base_url: the address of the API server as the service reaches it.
    :param secret: the last part of the path, by which the endpoint recognises the service.
    :param poll_interval: seconds between two polls of a deferred task that expects a callback.
    :param asset: name of the asset that gets an event for each job.
    """

    base_url: str = field(repr=False)
    secret: str = field(repr=False)
    poll_interval: float
    asset: str | None

    @classmethod
    def read(cls, fields: Extra, *, allow_http: bool) -> CallbackSettings | None:
        """Return the settings in a connection's extra; ``None`` if it has no ``callback_base_url``.

        :raises ConfigurationError: a field is missing or has a value that is not allowed.
        """
        base_url = fields.matching("callback_base_url", _BASE_URL, _BASE_URL_FORM)
        secret = fields.matching("callback_secret", _SECRET, "32 to 128 letters, digits, - or _")
        poll_interval = fields.number("callback_poll_interval", POLL_INTERVAL, _INTERVAL_FORM)
        asset = fields.string("callback_asset")
        if base_url is None and secret is None:
            return None
        if base_url is None or secret is None:
            missing = "callback_base_url" if base_url is None else "callback_secret"
            raise ConfigurationError(
                f"Connection {fields.conn_id!r}: extra {missing} is missing, allowed: callback_base_url and"
                " callback_secret together"
            )
        if asset is not None and not (fields.string("bucket") and fields.string("region")):
            raise ConfigurationError(
                f"Connection {fields.conn_id!r}: extra callback_asset is set, allowed: together with bucket"
                " and region, in which its jobs are looked for"
            )
        parts = urlsplit(base_url)
        check_origin("callback_base_url", f"{parts.scheme}://{parts.netloc}", allow_http=allow_http)
        return cls(base_url=base_url.rstrip("/"), secret=secret, poll_interval=poll_interval, asset=asset)

    def address(self, conn_id: str) -> str:
        """Return the address to which the service posts. It holds the secret."""
        return f"{self.base_url}{URL_PREFIX}/{quote(conn_id, safe='')}/{self.secret}"

    def is_secret(self, text: str) -> bool:
        """Tell whether ``text`` is the secret, in a time that does not depend on it."""
        return hmac.compare_digest(text.encode("utf-8", "surrogatepass"), self.secret.encode())
