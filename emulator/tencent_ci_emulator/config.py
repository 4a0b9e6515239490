"""The settings of an emulator, which are arguments of ``Emulator`` and options of the command."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tencent_ci_emulator.objects.names import BUCKET_NAME, REGION_NAME
from tencent_ci_emulator.observed import CancelOutcome, ObservedBehaviour, Refusal

# Invented, and refused by the real service
DEMO_BUCKET = "demo-1250000000"
DEMO_REGION = "ap-guangzhou"
DEMO_SECRET_ID = "AKIDdemo-not-a-real-id"  # noqa: S105 - a documented example, no secret
DEMO_SECRET_KEY = "demo-not-a-real-key"  # noqa: S105 - a documented example, no secret

#: Environment variables that keep secrets out of the process list, by the name of the setting
ENVIRONMENT = {
    name: f"AIRFLOW_CI_EMULATOR_{name.upper()}"
    for name in ("secret_id", "secret_key", "security_token", "admin_token")
}

#: Codes for a job on a bucket whose service is not open, with their statuses. The first is on record from
#: the real service; the others are those of other services, and ``AsrBucketUnBinded`` would be smart audio's
UNBOUND_CODES = {
    "MediaBucketUnBinded": 400,
    "AsrBucketUnBinded": 400,
    "PicBucketUnBinded": 400,
    "AIBucketUnBinded": 400,
    "AccessDenied": 403,
}

_GIGABYTE = 1024**3


def _setting(
    default: Any,
    description: str,
    *,
    metavar: str | None = None,
    shown: str | None = None,
    secret: bool = False,
) -> Any:
    """Return a field of the configuration that is an option of the command, too.

    :param shown: replaces the default in the option's description.
    """
    metadata = {"help": description, "metavar": metavar, "shown": shown}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """The settings of one emulator. The help of the command describes those that are options.

    :param data_dir: folder for objects and jobs; made if absent; only one running emulator may use it.
    :param observed: how the emulator behaves where the documents are silent. ``lenient_cancel`` and
        ``unbound`` change parts of it.
    :param max_object_bytes: largest object accepted; COS takes 5 GB in one PUT.
    :param max_request_bytes: largest CI request body accepted.
    """

    data_dir: Path
    host: str = _setting("127.0.0.1", "address to listen on; only loopback, unless --allow-remote is given")
    port: int = _setting(0, "TCP port, 0 for a free one")
    buckets: tuple[str, ...] = (DEMO_BUCKET,)
    region: str = _setting(DEMO_REGION, "region of all buckets")
    secret_id: str = _setting(DEMO_SECRET_ID, "the one SecretId that is accepted", metavar="ID")
    secret_key: str = _setting(DEMO_SECRET_KEY, "its key", metavar="KEY", secret=True)
    security_token: str | None = _setting(
        None, "demand this token, as with temporary credentials", metavar="TOKEN", shown="none", secret=True
    )
    queue_seconds: float = _setting(0.0, "least time a job stays Submitted", metavar="SECONDS")
    run_seconds: float = _setting(0.0, "least time a job stays Running, its work included", metavar="SECONDS")
    workers: int = _setting(2, "recordings processed at once")
    skip_processing: bool = _setting(
        False, "let jobs end with notes in place of results, without reading their inputs: for many jobs"
    )
    lenient_cancel: bool = _setting(
        False, "respond with 200, without effect, if a job cannot be cancelled any more"
    )
    allow_remote: bool = _setting(
        False, "allow a --host that other machines can reach; --secret-id and --secret-key must be your own"
    )
    queue_max_concurrent: int = _setting(10, "jobs of one queue that are Running at once", metavar="N")
    queue_max_size: int = _setting(
        10_000, "jobs of one queue that may wait; more get 403 QueueSaturated", metavar="N"
    )
    refuse_when_paused: bool = _setting(
        False, "refuse jobs for a paused queue with 403 QueuePaused, instead of holding them in state Pause"
    )
    max_templates: int = _setting(200, "templates that a bucket may have", metavar="N")
    unbound: str | None = _setting(
        None,
        "leave the services of new buckets closed until calls such as POST /asrbucket open them;"
        f" until then jobs are refused with this code: {', '.join(UNBOUND_CODES)};"
        f" without CODE: {next(iter(UNBOUND_CODES))}",
        metavar="CODE",
        shown="open",
    )
    admin_token: str = field(
        repr=False,
        default_factory=lambda: secrets.token_urlsafe(24),
        metadata={
            "help": "token of the admin path /_emulator/, never the service's own credentials",
            "metavar": "TOKEN",
            "shown": "a random one, printed on standard error",
        },
    )
    allow_remote_callbacks: bool = _setting(
        False, "send callbacks to other machines, too, not to loopback addresses only"
    )
    max_object_bytes: int = 5 * _GIGABYTE
    max_request_bytes: int = 1024**2
    observed: ObservedBehaviour = field(default_factory=ObservedBehaviour)

    def __post_init__(self) -> None:
        """Check every setting, and let the options that say how the service behaves change ``observed``.

        :raises ValueError: naming the setting and what is allowed.
        """
        if not self.buckets:
            raise ValueError("at least one bucket is needed")
        for bucket in self.buckets:
            if not BUCKET_NAME.fullmatch(bucket):
                raise ValueError(f"bucket {bucket!r}: allowed is <name>-<appid>, for instance {DEMO_BUCKET}")
        if not REGION_NAME.fullmatch(self.region):
            raise ValueError(f"region {self.region!r}: allowed is for instance {DEMO_REGION}")
        for name in ("secret_id", "secret_key"):
            if not getattr(self, name) or getattr(self, name).strip() != getattr(self, name):
                raise ValueError(f"{name} is empty or has whitespace at an end")
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
                f"host {self.host!r} is not a loopback address: other machines could use the emulator."
                " To allow that, use allow_remote (--allow-remote)"
            )
        observed = self.observed
        if self.lenient_cancel:
            ignored = CancelOutcome(200, False)
            observed = replace(observed, cancel_running=ignored, cancel_ended=ignored)
        if self.unbound is not None:
            refusal = Refusal(UNBOUND_CODES[self.unbound], self.unbound)
            observed = replace(observed, unbound_bucket=refusal)
        object.__setattr__(self, "observed", observed)

    @property
    def default_bucket(self) -> str:
        """The bucket of requests whose Host names none."""
        return self.buckets[0]


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is ``localhost`` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
