"""A request as the services see it: service, bucket, path, and headers and parameters in the order sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import unquote, unquote_plus, urlsplit

from tencent_ci_emulator.http.operations import (
    BUCKET_CALLS,
    CANCELLATIONS,
    OBJECT_CALLS,
    OTHER,
    ci_call,
    unserved_parameter,
)

# With COS's internal and accelerated domains, and service.cos.myqcloud.com, which lists buckets
_SERVICE_HOST = re.compile(
    r"(?:(?P<bucket>(?!service\.)[a-z0-9-]+)\.)?(?P<service>ci|cos)(?:-internal)?\.(?P<region>[a-z0-9-]+)"
    r"\.(?:myqcloud\.com|tencentci\.cn|tencentcos\.cn)"
    r"|service\.cos\.(?:[a-z0-9-]+\.)?(?:myqcloud\.com|tencentcos\.cn)"
)
_PATH_OF_CANCELLATION = re.compile(r"/(?:jobs|inventorytriggerjob)/[A-Za-z0-9_,-]+")
_PATH_WITH_ONE_ID = re.compile(r"/[a-z_]+/[A-Za-z0-9_-]+")
_PATH_WITH_IDS_OF_THE_SERVICE = re.compile(r"/[a-z_]+/[a-z][0-9a-f]{8,127}(?:,[a-z][0-9a-f]{8,127})*")
# None of them is a parameter of COS's object calls
_PARAMETERS_OF_CI_LISTS = frozenset(
    (
        *("bucketname", "bucketnames", "category", "ids", "name", "nexttoken", "orderbytime", "pagenumber"),
        *("pagesize", "queueids", "regions", "size", "state", "states", "tag", "type"),
    )
)
# A signature among the parameters makes a presigned URL
_PARAMETERS_OF_COS_ONLY = frozenset(("ci-process", "partnumber", "q-signature", "uploadid", "uploads"))


class Service(Enum):
    """The service that a request is for."""

    CI = "ci"
    COS = "cos"


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """One request.

    :param path: decoded; undecodable bytes as surrogates.
    :param params: decoded query parameters in order, ``""`` where there is no value.
    :param headers: names and values as received.
    :param bucket: from the Host, ``None`` where it names none.
    :param region: from the Host: ``""`` in ``service.cos.…``, ``None`` if it is none of the service's.
    :param hosts: the values of all Host headers, and the host of a request line that is a URL.
    """

    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    service: Service
    bucket: str | None
    region: str | None
    hosts: tuple[str, ...] = ()

    @classmethod
    def read(cls, method: str, target: str, headers: Iterable[tuple[str, str]]) -> ServiceRequest:
        """Read a request line and headers. ``target`` may be a URL, as a proxy receives it."""
        pairs = tuple(headers)
        url_hosts, path, query = _split_target(target)
        hosts = [value.strip() for name, value in pairs if name.lower() == "host"] + url_hosts
        match = match_service_host(_without_port(hosts[0])) if hosts else None
        params = tuple(_decode_query(query))
        names = {name.lower() for name, _ in params}
        if any(name.lower() == "authorization" for name, _ in pairs):  # so it is no presigned URL
            names.discard("q-signature")
        return cls(
            method=method,
            path=path,
            params=params,
            headers=pairs,
            service=_find_service(match, method, path, names),
            bucket=match["bucket"] if match else None,
            region=(match["region"] or "") if match else None,
            hosts=tuple(hosts),
        )

    @property
    def names_no_bucket(self) -> bool:
        """Whether the Host is one of the service's that names no bucket."""
        return self.region is not None and self.bucket is None

    @property
    def operation(self) -> str:
        """The name of the call that the request makes, ``other`` if none."""
        if self.service is Service.CI:
            return ci_call(self.method, self.path) or OTHER
        if unserved_parameter(self.method, self.path, self.params) is not None:
            return OTHER
        if self.path in ("", "/"):
            is_other = self.has_param("location", "versioning")
            is_other |= self.method == "POST" and not self.has_param("delete")
            return OTHER if is_other else BUCKET_CALLS.get(self.method, OTHER)
        if self.method == "GET" and self.nonempty_params.get("ci-process") == "videoinfo":
            return "media_info"
        if self.has_param("uploads", "uploadid", "partnumber"):
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

    @property
    def may_be_ci_call(self) -> bool:
        """Whether this is a CI call, provided that its ids exist and no object has its path as key.

        Tencent's Python SDK with ``IP=`` sends such calls to a COS host.
        """
        return (
            self.service is Service.COS
            and self.bucket is not None
            and _PATH_WITH_IDS_OF_THE_SERVICE.fullmatch(self.path) is not None
            and ci_call(self.method, self.path) not in (None, *CANCELLATIONS)
            and not self.has_param(*_PARAMETERS_OF_COS_ONLY)
        )

    def as_ci_call(self) -> ServiceRequest:
        """Return the same request as one for CI."""
        return replace(self, service=Service.CI)

    def header(self, name: str) -> str | None:
        """Return a header's value; ``name`` in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def nonempty_params(self) -> dict[str, str]:
        """The parameters that have a value, names in lower case: the Python SDK sends absent ones empty."""
        return {name.lower(): value for name, value in self.params if value}

    def has_param(self, *names: str) -> bool:
        """Return whether one of some parameters is there, with or without value; ``names`` in lower case."""
        return any(key.lower() in names for key, _ in self.params)


def match_service_host(name: str) -> re.Match[str] | None:
    """Return bucket, service and region of one of the service's own host names, ``None`` for any other."""
    return _SERVICE_HOST.fullmatch(name.lower())


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name.rstrip(".") if port.isdigit() else host.rstrip(".")


def _split_target(target: str) -> tuple[list[str], str, str]:
    """Return the host that a request line names, if any, its decoded path and its query."""
    if target.startswith("/"):
        path, _, query = target.partition("?")
        hosts = []
    else:
        parts = urlsplit(target)
        hosts, path, query = [parts.netloc], parts.path or "/", parts.query
    return hosts, unquote(path, errors="surrogateescape"), query


def _decode_query(query: str) -> Iterable[tuple[str, str]]:
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            yield unquote_plus(name, errors="surrogateescape"), unquote_plus(value, errors="surrogateescape")


def _find_service(host: re.Match[str] | None, method: str, path: str, params: set[str]) -> Service:
    """Return the service that a request is for, by its Host or else by its path.

    A COS host serves objects, whatever their keys. Only a request that is no call about an object is for CI
    there, because Tencent's Python SDK with ``IP=`` sends CI calls under the bucket's COS host.
    """
    if host is not None and host["service"] == "ci":
        return Service.CI
    if params & _PARAMETERS_OF_COS_ONLY:
        return Service.COS
    is_call = ci_call(method, path) is not None
    is_call_without_id = is_call and "/" not in path.removeprefix("/")
    if host is None:
        has_id = is_call and _PATH_WITH_ONE_ID.fullmatch(path) is not None
        return Service.CI if is_call_without_id or has_id or path.startswith("/jobs/") else Service.COS
    if method == "PUT" and "cancel" in params and _PATH_OF_CANCELLATION.fullmatch(path):
        return Service.CI
    is_creation = is_call_without_id and method == "POST" and not params
    is_list = is_call_without_id and method == "GET" and bool(params & _PARAMETERS_OF_CI_LISTS)
    return Service.CI if is_creation or is_list else Service.COS
