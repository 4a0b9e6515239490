"""Opening services for a bucket, and the lists of buckets.

Smart audio: 460/95754 (open), 436/98018 (close), 1045/49551 (list). Media processing: 436/115298, 1045/49940;
that it can be closed is known from the CAM action ``ci:DeleteMediaBucket``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import UNBOUND_CODES, EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Answer, Call, Handler, Page, answer, comma_list
from tencent_ci_emulator.http.service_errors import ServiceFault
from tencent_ci_emulator.http.xml import service_time

# A service that was closed keeps its row, so that the next start does not open it again
_SCHEMA = """
CREATE TABLE IF NOT EXISTS services (
    bucket TEXT NOT NULL, service TEXT NOT NULL, opened REAL, PRIMARY KEY (bucket, service)
)
"""


class CIFeature(Enum):
    """What has to be opened for a bucket."""

    MEDIA = "media"
    SMART_AUDIO = "asr"

    @property
    def path(self) -> str:
        """Where it is opened and listed."""
        return f"/{self.value}bucket"

    @property
    def bucket_element(self) -> str:
        """The element that describes a bucket for which it is open."""
        return "AsrBucket" if self is CIFeature.SMART_AUDIO else "MediaBucket"


class BucketStore:
    """Which service is open for which bucket, since when (Unix seconds)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as connection:
            connection.execute(_SCHEMA)

    def begin(self, buckets: Iterable[str], opened: float | None) -> None:
        """Note buckets that are new here: with all services opened at a time, or with none."""
        rows = [(bucket, feature.value, opened) for bucket in buckets for feature in CIFeature]
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO services VALUES (?, ?, ?)", rows)

    def opened(self, bucket: str, feature: CIFeature) -> float | None:
        """Return since when a service is open, ``None`` if it is not."""
        row = self._database.row(
            "SELECT opened FROM services WHERE bucket = ? AND service = ?", (bucket, feature.value)
        )
        return row["opened"] if row else None

    def set(self, bucket: str, feature: CIFeature, opened: float | None) -> None:
        """Open a service, or close it."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO services VALUES (?, ?, ?)", (bucket, feature.value, opened)
            )


class BucketCalls:
    """Answers the calls that open, close and list."""

    def __init__(self, config: EmulatorConfig, store: BucketStore, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock

    def routes(self) -> dict[str, Handler]:
        """Return the handler of each call."""
        return {
            "POST /asrbucket": lambda call: self._open(call, CIFeature.SMART_AUDIO),
            "DELETE /asrbucket": lambda call: self._close(call, CIFeature.SMART_AUDIO),
            "GET /asrbucket": lambda call: self._list(call, CIFeature.SMART_AUDIO),
            "DELETE /mediabucket": lambda call: self._close(call, CIFeature.MEDIA),
            "POST /mediabucket": lambda call: self._open(call, CIFeature.MEDIA),
            "GET /mediabucket": lambda call: self._list(call, CIFeature.MEDIA),
        }

    def demand(self, bucket: str, feature: CIFeature) -> None:
        """Refuse a call that needs a service.

        :raises ServiceFault: it is not open; the documents leave the code to be guessed, so it is a setting.
        """
        if self._store.opened(bucket, feature) is None:
            name = "smart audio" if feature is CIFeature.SMART_AUDIO else "media processing"
            code = self._config.unbound or "MediaBucketUnBinded"
            raise ServiceFault(
                UNBOUND_CODES[code],
                code,
                f"{name} is not open for bucket {bucket}: POST {feature.path} opens it",
            )

    def _open(self, call: Call, feature: CIFeature) -> Answer:
        if self._store.opened(call.bucket, feature) is not None:
            # A service that calls its lack AsrBucketUnBinded calls this AsrBucketAlreadyBinded
            service = (self._config.unbound or "").partition("Bucket")[0]
            code = f"{'Media' if service in ('', 'AccessDenied') else service}BucketAlreadyBinded"
            raise ServiceFault(403, code, f"the service is open for bucket {call.bucket} already")
        self._store.set(call.bucket, feature, self._clock.now())
        bound = self._binding(call.bucket, feature)
        return answer({"RequestId": call.request_id, feature.bucket_element: bound})

    def _close(self, call: Call, feature: CIFeature) -> Answer:
        self.demand(call.bucket, feature)
        self._store.set(call.bucket, feature, None)
        return answer({"RequestId": call.request_id, "BucketName": call.bucket})

    def _list(self, call: Call, feature: CIFeature) -> Answer:
        page = Page.of(call.params)
        bound = [
            self._binding(bucket, feature)
            for bucket in sorted(self._config.buckets)
            if self._is_wanted(bucket, call.params) and self._store.opened(bucket, feature) is not None
        ]
        return answer(
            {
                "RequestId": call.request_id,
                **page.describe(len(bound)),
                f"{feature.bucket_element}List": page.cut(bound),
            }
        )

    def _is_wanted(self, bucket: str, params: Mapping[str, str]) -> bool:
        regions = comma_list(params.get("regions"))
        names = comma_list(params.get("bucketnames"))
        return (
            (not regions or "All" in regions or self._config.region in regions)
            and (not names or bucket in names)
            and bucket.startswith(params.get("bucketname", ""))
        )

    def _binding(self, bucket: str, feature: CIFeature) -> dict[str, str | None]:
        """Return a bucket as the lists describe it; ``Name`` repeats ``BucketId`` (1045/49940)."""
        return {
            "BucketId": bucket,
            "Name": bucket,
            "Region": self._config.region,
            "CreateTime": service_time(self._store.opened(bucket, feature)),
            "AliasBucketId": "",
        }
