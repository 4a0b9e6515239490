"""What an emulator is told at its start."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from tencent_ci_emulator.objects.names import BUCKET, REGION

# Openly invented, and refused by the real service
DEMO_BUCKET = "demo-1250000000"
DEMO_REGION = "ap-guangzhou"
DEMO_SECRET_ID = "AKIDdemo-not-a-real-id"  # noqa: S105 - a documented example, no secret
DEMO_SECRET_KEY = "demo-not-a-real-key"  # noqa: S105 - a documented example, no secret

#: Environment variables that keep what is secret out of the process list, by the setting that they give
ENVIRONMENT = {
    name: f"AIRFLOW_CI_EMULATOR_{name.upper()}"
    for name in ("secret_id", "secret_key", "security_token", "admin_token")
}

#: What a job on a bucket without the service may be refused with, and its status. The first is on record, its
#: siblings belong to other services, and ``AsrBucketUnBinded`` is what smart audio would call it likewise
UNBOUND_CODES = {
    "MediaBucketUnBinded": 400,
    "AsrBucketUnBinded": 400,
    "PicBucketUnBinded": 400,
    "AIBucketUnBinded": 400,
    "AccessDenied": 403,
}

_GIGABYTE = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """Settings of one emulator.

    :param data_dir: folder for objects and jobs; made if absent; one running emulator to a folder.
    :param host: address to listen on; anything but loopback needs ``allow_remote``, which needs keys that are
        not the public ones.
    :param port: TCP port, 0 for a free one.
    :param buckets: the buckets that exist, ``<name>-<appid>``; the first is meant where a request names none.
    :param security_token: if set, requests must carry it as temporary credentials do.
    :param queue_seconds: least time a job stays ``Submitted``.
    :param run_seconds: least time a job stays ``Running``; the real work is done within it, or longer.
    :param workers: recordings processed at once.
    :param lenient_cancel: answer 200 to the cancellation of a job that cannot be cancelled (the documents
        allow both).
    :param queue_max_concurrent: jobs of one queue that are ``Running`` at once.
    :param queue_max_size: jobs of one queue that may wait; more are refused with ``QueueSaturated``.
    :param refuse_when_paused: refuse jobs for a paused queue with ``QueuePaused``, instead of holding them.
    :param max_templates: templates that a bucket may have; the service's number is not documented.
    :param unbound: if set, no service is open for new buckets, and jobs are refused with this code, one of
        ``UNBOUND_CODES``.
    :param admin_token: token of the admin path, ``/_emulator/``; never the service's own credentials.
    :param allow_remote_callbacks: send callbacks to other machines, too.
    :param max_object_bytes: largest object accepted; COS takes 5 GB in one PUT.
    :param max_request_bytes: largest CI request body accepted.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    buckets: tuple[str, ...] = (DEMO_BUCKET,)
    region: str = DEMO_REGION
    secret_id: str = DEMO_SECRET_ID
    secret_key: str = field(default=DEMO_SECRET_KEY, repr=False)
    security_token: str | None = field(default=None, repr=False)
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    workers: int = 2
    lenient_cancel: bool = False
    allow_remote: bool = False
    queue_max_concurrent: int = 10
    queue_max_size: int = 10_000
    refuse_when_paused: bool = False
    max_templates: int = 200
    unbound: str | None = None
    admin_token: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(24))
    allow_remote_callbacks: bool = False
    max_object_bytes: int = 5 * _GIGABYTE
    max_request_bytes: int = 1024**2

    def __post_init__(self) -> None:
        """Check every setting.

        :raises ValueError: naming the setting and what is allowed.
        """
        if not self.buckets:
            raise ValueError("at least one bucket is needed")
        for bucket in self.buckets:
            if not BUCKET.fullmatch(bucket):
                raise ValueError(f"bucket {bucket!r}: allowed is <name>-<appid>, for instance {DEMO_BUCKET}")
        if not REGION.fullmatch(self.region):
            raise ValueError(f"region {self.region!r}: allowed is for instance {DEMO_REGION}")
        for name in ("secret_id", "secret_key"):
            if not getattr(self, name) or getattr(self, name).strip() != getattr(self, name):
                raise ValueError(f"{name} is empty or has blanks at an end")
        if not self.admin_token or self.admin_token in (self.secret_id, self.secret_key):
            raise ValueError("admin_token must not be empty, nor one of the credentials that clients have")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port}: allowed is 0 to 65535")
        if self.workers < 1 or self.queue_seconds < 0 or self.run_seconds < 0:
            raise ValueError("workers must be at least 1, times at least 0")
        for name in ("queue_max_concurrent", "queue_max_size", "max_templates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: allowed is 1 or more")
        if self.unbound not in (None, *UNBOUND_CODES):
            raise ValueError(f"unbound is {self.unbound!r}: allowed is {', '.join(UNBOUND_CODES)}")
        if self.allow_remote and (self.secret_id == DEMO_SECRET_ID or self.secret_key == DEMO_SECRET_KEY):
            raise ValueError(
                "with allow_remote (--allow-remote) a secret_id and a secret_key of your own are needed, as"
                " everybody knows those of the demo."
                f" Set {ENVIRONMENT['secret_id']} and {ENVIRONMENT['secret_key']}"
            )
        if not self.allow_remote and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is not a loopback address: the emulator is no service for a network. "
                "If that is really wanted, allow it with allow_remote (--allow-remote)"
            )

    @property
    def default_bucket(self) -> str:
        """The bucket meant by requests whose Host names none."""
        return self.buckets[0]


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is ``localhost`` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
