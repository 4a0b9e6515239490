"""Opening services for a bucket, and the lists of buckets.

Smart audio: 460/95754 (open), 436/98018 (close), 1045/49551 (list). Media processing: 436/115298, 1045/49940;
that it can be closed is known from the CAM action ``ci:DeleteMediaBucket``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import UNBOUND_CODES, EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call, Content, Handler
from tencent_ci_emulator.http.service_errors import ServiceError
from tencent_ci_emulator.http.xml import service_time

# A service that was closed keeps its row, so that the next start does not open it again
_SCHEMA = """
CREATE TABLE IF NOT EXISTS services (
    bucket TEXT NOT NULL, service TEXT NOT NULL, opened REAL, PRIMARY KEY (bucket, service)
)
"""


class BucketService(Enum):
    """What has to be opened for a bucket; the value is part of its path."""

    MEDIA = "media"
    SMART_AUDIO = "asr"

    @property
    def element(self) -> str:
        """The element that describes a bucket for which it is open."""
        return f"{self.value.capitalize()}Bucket"


@dataclass(frozen=True, slots=True)
class _Row:
    bucket: str
    opened: float | None


class BucketServices:
    """Which service is open for which bucket, since when. New buckets begin as the config says."""

    def __init__(self, config: EmulatorConfig, database: Database, clock: Clock) -> None:
        self._config = config
        self._database = database
        self._clock = clock
        database.create(_SCHEMA)
        for bucket in config.buckets:
            for service in BucketService:
                self._set(bucket, service, None if config.unbound else clock.now(), conflict="IGNORE")

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each call by the operation's name."""
        handlers: dict[str, Handler] = {}
        for service in BucketService:
            handlers[f"open_{service.value}"] = partial(self._open, service)
            handlers[f"close_{service.value}"] = partial(self._close, service)
            handlers[f"list_{service.value}_buckets"] = partial(self._list, service)
        return handlers

    def opened(self, bucket: str, service: BucketService) -> float | None:
        """Return since when a service is open, ``None`` if it is not."""
        row = self._database.first(_Row, "services", {"bucket": bucket, "service": service.value})
        return row.opened if row else None

    def require_open(self, bucket: str, service: BucketService) -> None:
        """Refuse a call that needs a service.

        :raises ServiceError: it is not open; the documents leave the code to be guessed, so it is a setting.
        """
        if self.opened(bucket, service) is None:
            name = "smart audio" if service is BucketService.SMART_AUDIO else "media processing"
            code = self._config.unbound or "MediaBucketUnBinded"
            message = f"{name} is not open for bucket {bucket}: POST /{service.value}bucket opens it"
            raise ServiceError(UNBOUND_CODES[code], code, message)

    def _open(self, service: BucketService, call: Call) -> Content:
        if self.opened(call.bucket, service) is not None:
            # A service that calls its lack AsrBucketUnBinded calls this AsrBucketAlreadyBinded
            kind = (self._config.unbound or "").partition("Bucket")[0]
            code = f"{'Media' if kind in ('', 'AccessDenied') else kind}BucketAlreadyBinded"
            raise ServiceError(403, code, f"the service is open for bucket {call.bucket} already")
        self._set(call.bucket, service, self._clock.now())
        return {service.element: self._describe(call.bucket, service)}

    def _close(self, service: BucketService, call: Call) -> Content:
        self.require_open(call.bucket, service)
        self._set(call.bucket, service, None)
        return {"BucketName": call.bucket}

    def _list(self, service: BucketService, call: Call) -> Content:
        page, regions, names = call.page(), call.listed("regions"), call.listed("bucketNames")
        is_wanted_region = not regions or "All" in regions or self._config.region in regions
        found = [
            self._describe(bucket, service)
            for bucket in sorted(self._config.buckets)
            if is_wanted_region and self.opened(bucket, service) is not None
            if (not names or bucket in names) and bucket.startswith(call.params.get("bucketname", ""))
        ]
        return {**page.describe(len(found)), f"{service.element}List": page.cut(found)}

    def _describe(self, bucket: str, service: BucketService) -> dict[str, str | None]:
        """Return a bucket as the lists describe it; ``Name`` repeats ``BucketId`` (1045/49940)."""
        return {
            "BucketId": bucket,
            "Name": bucket,
            "Region": self._config.region,
            "CreateTime": service_time(self.opened(bucket, service)),
            "AliasBucketId": "",
        }

    def _set(
        self, bucket: str, service: BucketService, opened: float | None, conflict: str = "REPLACE"
    ) -> None:
        row = {"bucket": bucket, "service": service.value, "opened": opened}
        self._database.insert("services", row, conflict=conflict)
