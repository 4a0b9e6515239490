"""The host names that the emulator serves: its own and the service's, no others.

``<bucket>.ci.<region>.myqcloud.com`` and ``<bucket>.cos.<region>.myqcloud.com`` name the bucket (under
``tencentci.cn`` and ``tencentcos.cn`` too, as do COS's internal and accelerated domains). ``localhost`` and
loopback addresses mean the first bucket; if remote clients are allowed, so do the machine's addresses, its
host name and the address to listen on. A bucket or region that is not configured gives 404 ``NoSuchBucket``
from COS and 400 ``InvalidHost`` from CI. Every other host gets 400 ``InvalidHost``, signed or not; so do a
request without a ``Host`` and one that names two hosts.

On a COS host a path is an object's key, ``jobs/x`` and ``queue`` too. On hosts that name no bucket, the
paths of CI's calls and all under ``/jobs/`` are CI calls, but with ``ci-process``, an upload's parameters
or a presigned URL; objects of such keys need the COS host, which the provider always names. Tencent's
Python SDK with ``IP=`` sends CI calls to the COS host, so there these go to CI: ``POST`` of a call of CI,
its lists with one of their parameters, ``?cancel``, and paths with the id of a job, template, queue or
batch job that exists, unless an object has that key.

The demo keys are public. A page in a developer's browser could let its own host name point to 127.0.0.1
(DNS rebinding), sign requests with them and read the emulator's objects, if the emulator served any name.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from tencent_ci_emulator.config import EmulatorConfig, is_loopback
from tencent_ci_emulator.http.service_request import ServiceRequest, match_service_host

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9_.-]+?)\.?(?::[0-9]{1,5})?", re.IGNORECASE)


def find_host_problem(request: ServiceRequest, config: EmulatorConfig) -> str | None:
    """Return what is wrong with the host that a request names, ``None`` if it is served.

    Each ``Host`` header counts, and the host of a request line that is a URL; ``X-Forwarded-Host`` does not.
    Ports may differ, because a port may be forwarded.
    """
    names = {_name(host) for host in request.hosts}
    if not names:
        return "the request has no Host header"
    if len(names) > 1:
        return f"the request names several hosts: {', '.join(map(repr, request.hosts))}"
    name = names.pop()
    if name is None or not _is_served(name, config):
        return (
            f"the emulator does not answer to the host {request.hosts[0]!r}, only to localhost, to the"
            " address that it listens on, and to the service's names such as"
            f" {config.default_bucket}.cos.{config.region}.myqcloud.com"
        )
    return None


def names_this_machine(request: ServiceRequest) -> bool:
    """Return whether the one host that a request names is ``localhost`` or a loopback address."""
    names = {_name(host) for host in request.hosts}
    return len(names) == 1 and all(name is not None and _is_local(name) for name in names)


def _name(host: str) -> str | None:
    """Return a host's name in lower case, without port and final dot; ``None`` if it is malformed."""
    match = _HOST.fullmatch(host)
    return match["name"].lower() if match else None


def _is_local(name: str) -> bool:
    return is_loopback(name) or name.endswith(".localhost")


def _is_served(name: str, config: EmulatorConfig) -> bool:
    if _is_local(name) or match_service_host(name) is not None:
        return True
    if not config.allow_remote:  # with it, the keys are not the public ones
        return False
    return name in (config.host.lower(), socket.gethostname().lower()) or _is_address(name)


def _is_address(name: str) -> bool:
    """Return whether a name is an IP address, which nobody can let point elsewhere."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
