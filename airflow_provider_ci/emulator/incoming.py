"""A request as the services see it: which service, which bucket, decoded path, raw pairs to verify."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote, unquote_plus, urlsplit

from airflow_provider_ci.emulator.effects import NO_EFFECTS, Effects

# Also COS's internal and accelerated domains, and service.cos.myqcloud.com, which lists buckets
_VIRTUAL_HOST = re.compile(
    r"(?:(?P<bucket>(?!service\.)[a-z0-9-]+)\.)?(?P<service>ci|cos)(?:-internal)?\.(?P<region>[a-z0-9-]+)"
    r"\.(?:myqcloud\.com|tencentci\.cn|tencentcos\.cn)"
    r"|service\.cos\.(?:[a-z0-9-]+\.)?(?:myqcloud\.com|tencentcos\.cn)"
)
_JOB_IDS = re.compile(r"/jobs/[A-Za-z0-9_,-]+")

# CI calls by path and method, wherever they are sent
_CALLS = {
    "/jobs": ("GET", "POST"),
    "/template": ("GET", "POST"),
    "/queue": ("GET",),
    "/asrqueue": ("GET",),
    "/asrbucket": ("GET", "POST", "DELETE"),
    "/mediabucket": ("GET", "POST"),
    "/inventorytriggerjob": ("GET", "POST"),
}
_CALLS_WITH_ID = {
    "/template/": ("PUT", "DELETE"),
    "/queue/": ("PUT",),
    "/asrqueue/": ("PUT",),
    "/inventorytriggerjob/": ("GET", "PUT"),
}
_WITH_ID = re.compile(r"(/[a-z]+/)([A-Za-z0-9_-]+)")
# Ids as the service makes them: on a COS host nothing else is taken for one, as it may be an object's key
_MADE_ID = re.compile(r"[a-z][0-9a-f]{32}")


class Service(Enum):
    """Which of the two services a request is for."""

    CI = "ci"
    COS = "cos"


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request.

    :param path: decoded; undecodable bytes as surrogates.
    :param params: decoded query parameters in order, ``""`` where there is no value.
    :param headers: names and values as received.
    :param hosts: what names a host: the Host headers, and the request line if it is a whole URL.
    :param bucket: from the Host, ``None`` where it names none.
    :param region: from the Host, ``None`` where it names none.
    :param effects: what the fault plan does to the call.
    """

    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    service: Service
    bucket: str | None
    region: str | None
    hosts: tuple[str, ...] = ()
    effects: Effects = NO_EFFECTS

    @property
    def service_only(self) -> bool:
        """Whether the Host names a service and region but no bucket."""
        return self.region is not None and self.bucket is None

    @classmethod
    def read(cls, method: str, target: str, headers: Iterable[tuple[str, str]]) -> Incoming:
        """Read a request line and headers. ``target`` may be absolute, as a proxy receives it."""
        pairs = tuple(headers)
        named, path, query = _split(target)
        hosts = [value.strip() for name, value in pairs if name.lower() == "host"] + named
        match = virtual_host(_without_port(hosts[0])) if hosts else None
        params = tuple(_pairs(query))
        return cls(
            method=method,
            path=path,
            params=params,
            headers=pairs,
            service=_service(match, method, path, {name.lower() for name, _ in params}),
            bucket=match["bucket"] if match else None,
            region=(match["region"] or "") if match else None,
            hosts=tuple(hosts),
        )

    def header(self, name: str) -> str | None:
        """Return a header's value; ``name`` in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def given_params(self) -> dict[str, str]:
        """The parameters that have a value, names in lower case: the Python SDK sends absent ones empty."""
        return {name.lower(): value for name, value in self.params if value}

    def has_flag(self, name: str) -> bool:
        """Tell whether a parameter such as ``?cancel`` is there, with or without value."""
        return any(key.lower() == name for key, _ in self.params)


def virtual_host(name: str) -> re.Match[str] | None:
    """Return bucket, service and region of one of the service's own host names, ``None`` for any other."""
    return _VIRTUAL_HOST.fullmatch(name.lower())


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name.rstrip(".") if port.isdigit() else host.rstrip(".")


def _split(target: str) -> tuple[list[str], str, str]:
    """Return the host that a request line names, if any, its path and its query."""
    named: list[str] = []
    if not target.startswith("/"):
        parts = urlsplit(target)
        named, path, query = [parts.netloc], parts.path or "/", parts.query
    else:
        path, _, query = target.partition("?")
    return named, unquote(path, errors="surrogateescape"), query


def _pairs(query: str) -> Iterable[tuple[str, str]]:
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            yield _decoded(name), _decoded(value)


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="surrogateescape")


def _service(host: re.Match[str] | None, method: str, path: str, params: set[str]) -> Service:
    """Decide by path and Host: with ``IP=`` the Python SDK sends CI calls under the bucket's COS host."""
    if host is not None and host["service"] == "ci":
        return Service.CI
    if method in _CALLS.get(path, ()):
        return Service.CI
    named = _WITH_ID.fullmatch(path)
    if named is not None and method in _CALLS_WITH_ID.get(named[1], ()):
        return Service.CI if host is None or _MADE_ID.fullmatch(named[2]) else Service.COS
    if host is None:
        return Service.CI if path.startswith("/jobs/") else Service.COS
    is_call = method == "GET" or (method == "PUT" and "cancel" in params)
    return Service.CI if is_call and _JOB_IDS.fullmatch(path) else Service.COS
