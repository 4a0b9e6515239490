"""Opening services for a bucket, and the lists of buckets.

Smart audio: 460/95754 (open), 436/98018 (close), 1045/49551 (list). Media processing: 436/115298,
1045/49940; that it can be closed is known from the CAM action ``ci:DeleteMediaBucket``. The others from
Tencent's SDKs.

Not documented, and so decided here. All services are open at first. A job needs the service of its type, or
that of the queue that it names; without it 400 ``MediaBucketUnBinded``, also for closing twice. ``DELETE
/mediabucket`` answers as ``DELETE /asrbucket``. Opening an open service is 403
``MediaBucketAlreadyBinded``, or with another code for unbound buckets, for instance
``AsrBucketAlreadyBinded``. Queues of a closed service are not listed, but its jobs continue. Lists leave
out buckets that are not open and are ordered by name; ``AliasBucketId`` is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call, Content, Handler
from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.http.operations import CI_CALLS
from tencent_ci_emulator.http.xml import service_time
from tencent_ci_emulator.objects.buckets import Buckets
from tencent_ci_emulator.observed import Refusal

# A closed service keeps its row, so that the next start does not open it again
_SCHEMA = """
CREATE TABLE IF NOT EXISTS services (
    bucket TEXT NOT NULL, service TEXT NOT NULL, opened REAL, PRIMARY KEY (bucket, service)
)
"""


class BucketService(Enum):
    """A service that has to be opened for a bucket; the value is part of the names of its calls."""

    MEDIA = "media"
    SMART_AUDIO = "asr"
    PICTURE = "pic"
    AI = "ai"
    FILE = "file"

    @property
    def element(self) -> str:
        """The element that describes a bucket for which the service is open."""
        return f"{self.value.capitalize()}Bucket"

    @property
    def title(self) -> str:
        """The name of the service in messages."""
        return _TITLES[self]


_TITLES = {
    BucketService.MEDIA: "media processing",
    BucketService.SMART_AUDIO: "smart audio",
    BucketService.PICTURE: "picture processing",
    BucketService.AI: "AI content recognition",
    BucketService.FILE: "file processing",
}


@dataclass(frozen=True, slots=True)
class _Row:
    bucket: str
    opened: float | None


@dataclass(frozen=True, slots=True)
class BucketServices:
    """The services of all buckets, with the times at which they were opened."""

    config: EmulatorConfig
    database: Database
    clock: Clock
    buckets: Buckets

    def __post_init__(self) -> None:
        """Open the services of the settings' new buckets, unless the configuration leaves that to the client.

        Those of buckets that clients make are closed at first.
        """
        self.database.create(_SCHEMA)
        opened = None if self.config.unbound else self.clock.now()
        for bucket in self.config.buckets:
            for service in BucketService:
                self._set(bucket, service, opened, conflict="IGNORE")
        self.buckets.on_create(self._close_all)

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each call by the operation's name."""
        handlers: dict[str, Handler] = {}
        for service in BucketService:
            handlers[f"open_{service.value}"] = partial(self._open, service)
            handlers[f"close_{service.value}"] = partial(self._close, service)
            handlers[f"list_{service.value}_buckets"] = partial(self._list, service)
        return handlers

    def opened(self, bucket: str, service: BucketService) -> float | None:
        """Return the time at which a service was opened, ``None`` if it is not open."""
        row = self.database.first(_Row, "services", {"bucket": bucket, "service": service.value})
        return row.opened if row else None

    def require_open(self, bucket: str, service: BucketService) -> None:
        """Refuse a job that needs a service.

        :raises ServiceError: it is not open.
        """
        refusal = self.config.observed.unbound_bucket
        if isinstance(refusal, Refusal) and self.opened(bucket, service) is None:
            opens = CI_CALLS[f"open_{service.value}"]
            message = f"{service.title} is not open for bucket {bucket}: {opens} opens it"
            raise ServiceError(refusal.status, refusal.code, message)

    def _open(self, service: BucketService, call: Call) -> Content:
        if self.opened(call.bucket, service) is not None:
            # AsrBucketUnBinded, if that is the error for a closed service, has this counterpart
            refusal = self.config.observed.unbound_bucket
            code = refusal.code if isinstance(refusal, Refusal) else ""
            kind, has_counterpart, _ = code.partition("Bucket")
            code = f"{kind if has_counterpart else 'Media'}BucketAlreadyBinded"
            raise ServiceError(403, code, f"the service is open for bucket {call.bucket} already")
        self._set(call.bucket, service, self.clock.now())
        return {service.element: self._describe(call.bucket, service)}

    def _close(self, service: BucketService, call: Call) -> Content:
        self.require_open(call.bucket, service)
        self._set(call.bucket, service, None)
        return {"BucketName": call.bucket}

    def _close_all(self, bucket: str) -> None:
        for service in BucketService:
            self._set(bucket, service, None)

    def _list(self, service: BucketService, call: Call) -> Content:
        page, regions, names = call.page(), call.listed("regions"), call.listed("bucketNames")
        buckets = [bucket for bucket in sorted(self.buckets.names()) if self.opened(bucket, service)]
        if regions and not {"All", self.config.region} & set(regions):
            buckets = []
        if names:
            buckets = [bucket for bucket in buckets if bucket in names]
        prefix = call.params.get("bucketname", "")
        found = [self._describe(bucket, service) for bucket in buckets if bucket.startswith(prefix)]
        return {**page.describe(len(found)), f"{service.element}List": page.cut(found)}

    def _describe(self, bucket: str, service: BucketService) -> dict[str, str | None]:
        """Return a bucket as the lists describe it; ``Name`` repeats ``BucketId`` (1045/49940)."""
        return {
            "BucketId": bucket,
            "Name": bucket,
            "Region": self.config.region,
            "CreateTime": service_time(self.opened(bucket, service)),
            "AliasBucketId": "",
        }

    def _set(
        self, bucket: str, service: BucketService, opened: float | None, conflict: str = "REPLACE"
    ) -> None:
        row = {"bucket": bucket, "service": service.value, "opened": opened}
        self.database.insert("services", row, conflict=conflict)
