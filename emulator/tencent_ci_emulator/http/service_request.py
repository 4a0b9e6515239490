"""A request as the services see it: which service, which bucket, decoded path, raw pairs to verify."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import unquote, unquote_plus, urlsplit

from tencent_ci_emulator.http.operations import BUCKET_CALLS, CANCELLATIONS, OBJECT_CALLS, OTHER, ci_call
from tencent_ci_emulator.objects.cos_parameters import unserved_parameter

# Also COS's internal and accelerated domains, and service.cos.myqcloud.com, which lists buckets
_VIRTUAL_HOST = re.compile(
    r"(?:(?P<bucket>(?!service\.)[a-z0-9-]+)\.)?(?P<service>ci|cos)(?:-internal)?\.(?P<region>[a-z0-9-]+)"
    r"\.(?:myqcloud\.com|tencentci\.cn|tencentcos\.cn)"
    r"|service\.cos\.(?:[a-z0-9-]+\.)?(?:myqcloud\.com|tencentcos\.cn)"
)
_CANCELLED_IDS = re.compile(r"/(?:jobs|inventorytriggerjob)/[A-Za-z0-9_,-]+")
_ONE_ID = re.compile(r"/[a-z]+/[A-Za-z0-9_-]+")
# Ids as the service makes them
_MADE_IDS = re.compile(r"/[a-z]+/[a-z][0-9a-f]{32}(?:,[a-z][0-9a-f]{32})*")
# Parameters of CI's lists, none of which COS knows for an object
_OF_LISTS = frozenset(
    (
        *("bucketname", "bucketnames", "category", "ids", "name", "nexttoken", "orderbytime", "pagenumber"),
        *("pagesize", "queueids", "regions", "size", "state", "states", "tag", "type"),
    )
)
# Parameters that only a call of COS has; a signature in the query makes a presigned URL
_OF_OBJECTS = frozenset(("ci-process", "partnumber", "q-signature", "uploadid", "uploads"))


class Service(Enum):
    """Which of the two services a request is for."""

    CI = "ci"
    COS = "cos"


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """One request.

    :param path: decoded; undecodable bytes as surrogates.
    :param params: decoded query parameters in order, ``""`` where there is no value.
    :param headers: names and values as received.
    :param hosts: what names a host: the Host headers, and the request line if it is a whole URL.
    :param bucket: from the Host, ``None`` where it names none.
    :param region: from the Host, ``None`` where it names none.
    """

    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    service: Service
    bucket: str | None
    region: str | None
    hosts: tuple[str, ...] = ()

    @property
    def service_only(self) -> bool:
        """Whether the Host names a service and region but no bucket."""
        return self.region is not None and self.bucket is None

    @classmethod
    def read(cls, method: str, target: str, headers: Iterable[tuple[str, str]]) -> ServiceRequest:
        """Read a request line and headers. ``target`` may be absolute, as a proxy receives it."""
        pairs = tuple(headers)
        named, path, query = _split(target)
        hosts = [value.strip() for name, value in pairs if name.lower() == "host"] + named
        match = virtual_host(_without_port(hosts[0])) if hosts else None
        params = tuple(_pairs(query))
        names = {name.lower() for name, _ in params}
        if any(name.lower() == "authorization" for name, _ in pairs):
            names.discard("q-signature")
        return cls(
            method=method,
            path=path,
            params=params,
            headers=pairs,
            service=_service(match, method, path, names),
            bucket=match["bucket"] if match else None,
            region=(match["region"] or "") if match else None,
            hosts=tuple(hosts),
        )

    @property
    def operation(self) -> str:
        """The name of the call that the request makes, ``other`` if none."""
        if self.service is Service.CI:
            return ci_call(self.method, self.path) or OTHER
        if unserved_parameter(self.method, self.path, self.params) is not None:
            return OTHER
        if self.path in ("", "/"):
            is_facts = self.has_flag("location") or self.has_flag("versioning")
            return OTHER if is_facts else BUCKET_CALLS.get(self.method, OTHER)
        if self.method == "GET" and self.given_params.get("ci-process") == "videoinfo":
            return "media_info"
        if any(self.has_flag(name) for name in ("uploads", "uploadid", "partnumber")):
            return "multipart"
        if self.method == "PUT" and self.header("x-cos-copy-source"):
            return "copy_object"
        return OBJECT_CALLS.get(self.method, OTHER)

    @property
    def id(self) -> str:
        """The part of a CI call's path that names ids of jobs, a template, a queue or batch jobs."""
        return self.path.removeprefix("/").partition("/")[2] if self.service is Service.CI else ""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that the path of a CI call names."""
        return tuple(part for part in self.id.split(",") if part)

    def with_service(self, service: Service) -> ServiceRequest:
        """Return the request as one for another service."""
        return replace(self, service=service)

    @property
    def may_be_ci_call(self) -> bool:
        """Whether a path on a COS host would be a CI call if its ids were known and no object had it as key.

        Tencent's Python SDK with ``IP=`` sends such calls.
        """
        return (
            self.service is Service.COS
            and self.bucket is not None
            and _MADE_IDS.fullmatch(self.path) is not None
            and ci_call(self.method, self.path) not in (None, *CANCELLATIONS)
            and not any(name.lower() in _OF_OBJECTS for name, _ in self.params)
        )

    def header(self, name: str) -> str | None:
        """Return a header's value; ``name`` in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def given_params(self) -> dict[str, str]:
        """The parameters that have a value, names in lower case: the Python SDK sends absent ones empty."""
        return {name.lower(): value for name, value in self.params if value}

    def has_flag(self, name: str) -> bool:
        """Return whether a parameter such as ``?cancel`` is there, with or without value."""
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
    """Decide by Host, and where it does not tell, by path.

    A COS host is asked for objects, whatever their keys. Only what is no call about an object goes to CI
    there, because Tencent's Python SDK with ``IP=`` sends CI calls under the bucket's COS host.
    """
    if host is not None and host["service"] == "ci":
        return Service.CI
    if params & _OF_OBJECTS:
        return Service.COS
    call = ci_call(method, path)
    is_call = call is not None and "/" not in path.removeprefix("/")
    if host is not None:
        is_cancel = method == "PUT" and "cancel" in params and _CANCELLED_IDS.fullmatch(path) is not None
        asks = is_call and (not params if method == "POST" else method == "GET" and bool(params & _OF_LISTS))
        return Service.CI if asks or is_cancel else Service.COS
    by_id = call is not None and _ONE_ID.fullmatch(path) is not None
    return Service.CI if is_call or by_id or path.startswith("/jobs/") else Service.COS
