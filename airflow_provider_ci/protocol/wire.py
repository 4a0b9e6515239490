"""From a call's request to the signed bytes on the wire, the same for every transport.

Sources: 460/42865 and 460/42866 (common headers), 436/7778 (signature), 1045/43609 (token header on CI
hosts).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from airflow_provider_ci.exceptions import ConfigurationError, RequestValidationError
from airflow_provider_ci.protocol.names import BUCKET, REGION, redact_address
from airflow_provider_ci.protocol.rules import Problem, raise_if_any
from airflow_provider_ci.protocol.signing import sign

#: Seconds that a signature is valid before it was made, because clocks differ, and after it was made.
CLOCK_SKEW_TOLERANCE = 60
SIGNATURE_TTL = 900

_QUOTED_MAX = 100  # characters of an address that an error quotes
_SURROGATE = re.compile("[\ud800-\udfff]")  # UTF-8 cannot encode it
_DOT_SEGMENT_AT_END = re.compile(r"(^|/)\.{1,2}\Z")
# A user, a query, a fragment, an escape, or a character about which URL parsers disagree
_NOT_IN_ORIGIN = re.compile(r"[^!-~]|[@?#%\\]")


class Service(Enum):
    """The host that serves a call. The value is part of its name."""

    CI = "ci"
    COS = "cos"


_REGION_PLACEHOLDER = "{region}"
#: The default host names of the two services, without the bucket.
CI_HOST, COS_HOST = (f"{service.value}.{_REGION_PLACEHOLDER}.myqcloud.com" for service in Service)
_DOMAINS = ("myqcloud.com", "tencentci.cn", "tencentcos.cn")
#: The host names that each service may have at Tencent Cloud, without the bucket: public, internal,
#: accelerated (436/6224). Any other address belongs in ``endpoint_url``.
HOSTS = {
    service: re.compile(
        rf"{service.value}(-[a-z0-9-]{{1,30}})?\.([a-z0-9-]{{1,63}}|{re.escape(_REGION_PLACEHOLDER)})"
        rf"\.({'|'.join(map(re.escape, _DOMAINS))})"
    )
    for service in Service
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair, and its session token if it is temporary.

    ``expires_at`` is the Unix time at which it expires; ``None``: unknown or never. It does not count when
    two are compared.
    """

    secret_id: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a bucket's calls go: to its virtual hosts, or to ``base_url`` (an emulator, a gateway).

    :param bucket: ``<name>-<appid>``.
    :param region: for instance ``ap-guangzhou``.
    :param ci_host: host name of CI without the bucket, where ``{region}`` stands for the region.
    :param cos_host: the same of COS, for instance ``cos-internal.{region}.tencentcos.cn``.
    :param base_url: ``scheme://host[:port]`` to connect to instead; the ``Host`` header and the signature
        have the virtual host name all the same, from which the server knows bucket and region.
    :param allow_http: accept plain ``http`` for a ``base_url`` that is not a loopback address.
    :raises ConfigurationError: a part does not have the documented form, or plain http is not allowed.
    """

    bucket: str
    region: str
    ci_host: str = CI_HOST
    cos_host: str = COS_HOST
    base_url: str | None = None
    allow_http: bool = False

    def __post_init__(self) -> None:
        if not BUCKET.fullmatch(self.bucket):
            raise ConfigurationError(
                f"bucket is {self.bucket!r}, allowed: <name>-<appid>, for instance media-1250000001"
            )
        if not REGION.fullmatch(self.region or ""):
            raise ConfigurationError(
                f"region is {self.region!r}, allowed: a region, for instance ap-guangzhou"
            )
        for service in Service:
            name, host = f"{service.value}_host", self._host(service)
            if not HOSTS[service].fullmatch(host):
                raise ConfigurationError(
                    f"{name} is {host!r}, allowed: a host name of Tencent Cloud without the bucket, for"
                    f" instance {service.value}.{_REGION_PLACEHOLDER}.{_DOMAINS[0]}"
                )
        if self.base_url is not None:
            check_origin("endpoint_url", self.base_url, allow_http=self.allow_http)

    def host(self, service: Service) -> str:
        """Return the virtual host name of ``service``."""
        return f"{self.bucket}.{self._host(service).replace(_REGION_PLACEHOLDER, self.region)}"

    def _host(self, service: Service) -> str:
        return self.ci_host if service is Service.CI else self.cos_host

    def origin(self, service: Service) -> str:
        """Return ``scheme://host[:port]`` to connect to."""
        return self.base_url.rstrip("/") if self.base_url else f"https://{self.host(service)}"

    @property
    def is_loopback(self) -> bool:
        """Whether calls stay on this machine."""
        return is_loopback_url(self.base_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """An unsigned request. ``path`` is decoded. A parameter with the value ``""`` is sent without ``=``. A
    body is XML unless there is a ``content_type``.
    """

    method: str
    service: Service
    path: str
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str | None = None
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Check that a query can carry all parameters.

        :raises RequestValidationError: naming each that it cannot carry.
        """
        raise_if_any(
            Problem(name, value, "a string")
            for name, value in self.params
            if not isinstance(value, str) or _SURROGATE.search(value)
        )


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response. ``headers`` must be case-insensitive or have lower-case names.

    ``validity`` is that of its request.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    validity: tuple[int, int] | None = None

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def request_id(self) -> str | None:
        """The id to give to Tencent's support."""
        return self.headers.get("x-ci-request-id") or self.headers.get("x-cos-request-id")


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it is sent: ``url`` is percent-encoded, ``headers`` include ``Authorization``.

    ``validity`` is the first and the last second in which the signature is valid, Unix time. Headers and body
    are not in the ``repr``: the body may have a callback's secret.
    """

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    validity: tuple[int, int] | None = None


def sign_request(
    request: HttpRequest,
    endpoint: Endpoint,
    credentials: Credentials,
    *,
    now: float,
    expires_at: float | None = None,
) -> SignedRequest:
    """Sign ``request`` at ``now``, so that it is valid until ``expires_at`` (both Unix seconds).

    Without ``expires_at`` it is valid for ``SIGNATURE_TTL`` seconds.

    ``Host``, the token, ``Content-MD5`` (which binds the body) and every parameter are signed, as are all
    ``x-cos-`` headers; ``Content-Type`` and ``Content-Length`` are not, because HTTP libraries may rewrite
    them.
    """
    headers = {"Host": endpoint.host(request.service), **dict(request.headers)}
    if credentials.token:
        headers[f"x-{request.service.value}-security-token"] = credentials.token
    unsigned = {"Content-Type": request.content_type} if request.content_type else {}
    if request.body:
        unsigned.setdefault("Content-Type", "application/xml")
        headers["Content-MD5"] = content_md5(request.body)
    validity = (
        int(now) - CLOCK_SKEW_TOLERANCE,
        int(now + SIGNATURE_TTL if expires_at is None else expires_at),
    )
    headers["Authorization"] = sign(
        request.method,
        request.path,
        request.params,
        headers.items(),
        secret_id=credentials.secret_id,
        secret_key=credentials.secret_key,
        key_time=validity,
    )
    url = endpoint.origin(request.service) + _escaped_path(request.path) + _query(request.params)
    return SignedRequest(request.method, url, headers | unsigned, request.body, validity)


@lru_cache  # each request has one of the same few addresses
def check_origin(name: str, url: str, *, allow_http: bool) -> None:
    """Check the address of a server to connect to, which is the value of the field ``name``.

    :raises ConfigurationError: it is not ``scheme://host[:port]``, or plain http to another machine without
        ``allow_http``.
    """
    allowed = "scheme://host[:port] with https (http only for a loopback address or with allow_http)"
    host = _host_of_origin(url)
    if not host:
        shown = redact_address(url, with_path=False)[:_QUOTED_MAX]
        raise ConfigurationError(
            f"{name} does not have the allowed form: it is {shown!r}, allowed: {allowed}"
        )
    if urlsplit(url).scheme == "http" and not allow_http and not _is_loopback(host):
        raise ConfigurationError(f"{name} is plain http to {host}, allowed: {allowed}")


def _host_of_origin(url: str) -> str | None:
    """Return the host of ``scheme://host[:port]``; ``None`` if ``url`` has another form."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises an error if it is not a number
    except ValueError:
        return None
    if parts.scheme not in ("https", "http") or parts.path.strip("/") or _NOT_IN_ORIGIN.search(url):
        return None
    return parts.hostname


def is_loopback_url(url: str | None) -> bool:
    """Tell whether ``url`` is on this machine. ``None`` means the service, which is not."""
    return url is not None and _is_loopback(urlsplit(url).hostname or "")


def content_md5(body: bytes) -> str:
    """Return the value of ``Content-MD5``: base64 of the 16 bytes."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _escaped_path(path: str) -> str:
    if _DOT_SEGMENT_AT_END.search(path):
        raise RequestValidationError(
            [f"object key is {path[1:]!r}, allowed: a key that does not end in /. or /.."]
        )
    # HTTP libraries remove dot segments, and would then request another object than the signed one
    return quote(path, safe="/-_.~").replace("./", ".%2F")


def _query(params: tuple[tuple[str, str], ...]) -> str:
    if not params:
        return ""
    pairs = (f"{_escaped(name)}={_escaped(value)}" if value else _escaped(name) for name, value in params)
    return "?" + "&".join(pairs)


def _escaped(text: str) -> str:
    return quote(text, safe="-_.~")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
