"""Queues: list (436/54045, 460/46234), update (460/42324, 460/46235), and which one a job waits in."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from lxml import etree

from airflow_provider_ci.emulator.buckets import BucketCalls, BucketStore, CIFeature
from airflow_provider_ci.emulator.calls import (
    Answer,
    Call,
    Handler,
    Page,
    answer,
    check_name,
    comma_list,
    document,
    once,
    require,
    shown,
    strictly,
)
from airflow_provider_ci.emulator.clock import Clock
from airflow_provider_ci.emulator.config import EmulatorConfig
from airflow_provider_ci.emulator.database import Database
from airflow_provider_ci.emulator.engine import JobEngine
from airflow_provider_ci.emulator.errors import ServiceFault, invalid_argument
from airflow_provider_ci.emulator.jobs import JobStore
from airflow_provider_ci.emulator.lanes import Rule
from airflow_provider_ci.protocol.admin_models import (
    ACTIVE,
    PAUSED,
    NotifyConfig,
    Queue,
    QueueAnswer,
    QueueRequest,
    QueuesAnswer,
)
from airflow_provider_ci.protocol.xml import parse_document, read, to_bytes, to_element

NAME_MAX = 128
MAX_IDS = 10

# The last is TaskFinish as older queues name it
_EVENTS = ("TaskFinish", "WorkflowFinish", "TransCodingFinish")
_TYPES = ("Url", "TDMQ", "Kafka")
_FORMATS = ("XML", "JSON")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS queues (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, feature TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
    notify BLOB NOT NULL, created REAL NOT NULL, updated REAL NOT NULL
)
"""
_HOST_NAME = re.compile(r"[^\s/]+")
# 436/53970
_DEFAULT_NAMES = {CIFeature.MEDIA: "queue-1", CIFeature.SMART_AUDIO: "queue-smart-audio-1"}
_CATEGORIES = {CIFeature.MEDIA: "Transcoding", CIFeature.SMART_AUDIO: "Speeching"}


def with_scheme(url: str) -> str:
    """Return a callback's address as a whole URL: without a scheme, plain http is meant."""
    return url if "://" in url else f"http://{url}"


def queue_id_of(bucket: str, feature: CIFeature = CIFeature.SMART_AUDIO) -> str:
    """Return the id of a bucket's own queue for a service: always the same, as with the real service."""
    named = bucket if feature is CIFeature.SMART_AUDIO else f"{bucket}/{feature.value}"
    return "p" + hashlib.md5(named.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class StoredQueue:
    """One row: times in Unix seconds."""

    id: str
    bucket: str
    feature: CIFeature
    name: str
    state: str
    notify: NotifyConfig
    created: float
    updated: float


class QueueStore:
    """The queues of all buckets, one for each service. Safe to use from several threads."""

    def __init__(self, database: Database, max_concurrent: int) -> None:
        self._database = database
        self._max_concurrent = max_concurrent
        with database.transaction() as connection:
            connection.execute(_SCHEMA)

    def begin(self, bucket: str, now: float) -> None:
        """Note a bucket's queues, unless they are there."""
        notify = _bytes(NotifyConfig(state="Off", result_format="XML"))
        rows = [
            (queue_id_of(bucket, feature), bucket, feature.value, name, ACTIVE, notify, now, now)
            for feature, name in _DEFAULT_NAMES.items()
        ]
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO queues VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def get(self, queue_id: str) -> StoredQueue | None:
        """Return a queue, or ``None``."""
        row = self._database.row("SELECT * FROM queues WHERE id = ?", (queue_id,))
        return _queue(row) if row else None

    def update(self, queue_id: str, name: str, state: str, notify: NotifyConfig, now: float) -> None:
        """Give a queue another definition."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE queues SET name = ?, state = ?, notify = ?, updated = ? WHERE id = ?",
                (name, state, _bytes(notify), now, queue_id),
            )

    def rule(self, queue_id: str) -> Rule:
        """Return what a queue allows now; a queue that is not known allows all."""
        row = self._database.row("SELECT state FROM queues WHERE id = ?", (queue_id,))
        return Rule(active=row is None or row["state"] == ACTIVE, max_concurrent=self._max_concurrent)

    def notify_config(self, queue_id: str) -> NotifyConfig | None:
        """Return a queue's callbacks, ``None`` if they are off."""
        queue = self.get(queue_id)
        return queue.notify if queue and queue.notify.state == "On" else None


class QueueCalls:
    """Answers the calls about queues, and tells jobs where to wait."""

    def __init__(
        self,
        config: EmulatorConfig,
        database: Database,
        store: QueueStore,
        opened: BucketStore,
        buckets: BucketCalls,
        jobs: JobStore,
        engine: JobEngine,
        clock: Clock,
    ) -> None:
        self._config = config
        self._database = database
        self._store = store
        self._opened = opened
        self._buckets = buckets
        self._jobs = jobs
        self._engine = engine
        self._clock = clock

    def routes(self) -> dict[str, Handler]:
        """Return the handler of each call."""
        return {
            "GET /queue": lambda call: self._list(call, CIFeature.MEDIA),
            "PUT /queue/": lambda call: self._update(call, CIFeature.MEDIA),
            "GET /asrqueue": lambda call: self._list(call, CIFeature.SMART_AUDIO),
            "PUT /asrqueue/": lambda call: self._update(call, CIFeature.SMART_AUDIO),
        }

    def choose(self, bucket: str, queue_id: str | None) -> StoredQueue:
        """Return the queue for a new job: the one it names, or the bucket's smart-audio queue.

        :raises ServiceFault: there is no such queue, or its service is not open.
        """
        queue = self._store.get(queue_id or queue_id_of(bucket))
        if queue is None or queue.bucket != bucket:
            raise _not_found(queue_id or "")
        self._buckets.demand(bucket, queue.feature)
        return queue

    def room(self, queue_id: str) -> int:
        """Return how many more jobs may wait in a queue."""
        return max(0, self._config.queue_max_size - self._jobs.waiting(queue_id))

    def category(self, queue_id: str) -> str | None:
        """Return which kind of jobs a queue is for, ``None`` if it is not known."""
        queue = self._store.get(queue_id)
        return _CATEGORIES[queue.feature] if queue else None

    def is_paused(self, queue_id: str) -> bool:
        """Tell whether a queue begins no jobs."""
        return not self._store.rule(queue_id).active

    def _queue(self, bucket: str, queue_id: str, feature: CIFeature) -> StoredQueue | None:
        queue = self._store.get(queue_id)
        belongs = queue is not None and (queue.bucket, queue.feature) == (bucket, feature)
        return queue if belongs and self._opened.opened(bucket, feature) is not None else None

    def _list(self, call: Call, feature: CIFeature) -> Answer:
        page, asked = Page.of(call.params), comma_list(call.params.get("queueids"))
        if len(asked) > MAX_IDS:
            raise invalid_argument(f"{len(asked)} queueIds are given, at most {MAX_IDS} are allowed")
        state = call.params.get("state", "All")
        require("state", state, (ACTIVE, PAUSED, "All"))  # Tencent's Python SDK sends All
        known = self._queue(call.bucket, queue_id_of(call.bucket, feature), feature)
        found = [
            self._shown(queue)
            for queue in (known,)
            if queue is not None and state in (queue.state, "All") and _is_of_category(call, feature)
            if not asked or queue.id in asked
        ]
        if asked:
            missing = tuple(one for one in asked if known is None or one != known.id)
            return answer(
                QueuesAnswer(request_id=call.request_id, queue_list=tuple(found), non_exist_pids=missing)
            )
        return answer(
            QueuesAnswer(
                request_id=call.request_id,
                total_count=len(found),
                page_number=page.number,
                page_size=page.size,
                queue_list=page.cut(found),
            )
        )

    def _update(self, call: Call, feature: CIFeature) -> Answer:
        queue = self._queue(call.bucket, call.id, feature)
        if queue is None:
            raise _not_found(call.id)
        name, state, notify = _definition(document(call))
        # Together, so that no job is held in an active queue or waits unheld in a paused one
        with self._database.transaction():
            self._store.update(queue.id, name, state, notify, self._clock.now())
            self._jobs.hold(queue.id, state == PAUSED)
        self._engine.wake()
        changed = self._store.get(queue.id) or queue
        return answer(QueueAnswer(request_id=call.request_id, queue=self._shown(changed)))

    def _shown(self, queue: StoredQueue) -> Queue:
        return Queue(
            queue_id=queue.id,
            name=queue.name,
            state=queue.state,
            notify_config=_shown_notify(queue.notify),
            max_size=self._config.queue_max_size,
            max_concurrent=self._config.queue_max_concurrent,
            bucket_id=queue.bucket,
            category=_CATEGORIES[queue.feature],
            create_time=shown(queue.created),
            update_time=shown(queue.updated),
        )


def _not_found(queue_id: str) -> ServiceFault:
    return ServiceFault(400, "QueueNotFound", f"queue {queue_id} does not exist")


def _is_of_category(call: Call, feature: CIFeature) -> bool:
    if feature is not CIFeature.MEDIA:
        return True
    category = call.params.get("category", "Transcoding")
    require("category", category, ("Transcoding", "SpeedTranscoding", "CateAll"))
    return category != "SpeedTranscoding"  # no such queue here: it is for transcoding jobs only


def _definition(root: etree._Element) -> tuple[str, str, NotifyConfig]:
    once(root, ("Name", "State", "NotifyConfig"))
    given = strictly(QueueRequest, root)
    name = check_name(given.name, NAME_MAX)
    require("State", given.state, (ACTIVE, PAUSED))
    if root.find("NotifyConfig") is None:
        raise invalid_argument("NotifyConfig is missing")
    notify = given.notify_config or NotifyConfig()
    broken = list(_broken_rules(notify))
    if broken:
        raise invalid_argument("; ".join(broken))
    return name, given.state or ACTIVE, notify


def _broken_rules(notify: NotifyConfig) -> Iterator[str]:
    at = "NotifyConfig"
    events = comma_list(notify.event)
    is_on = notify.state == "On"
    if notify.state not in (None, "On", "Off"):
        yield f"{at}.State is {notify.state!r}, allowed: On, Off"
    if (is_on and not events) or not set(events) <= set(_EVENTS):
        yield f"{at}.Event is {notify.event!r}, allowed: a comma list of {', '.join(_EVENTS)}"
    if notify.type not in _TYPES and (is_on or notify.type is not None):
        yield f"{at}.Type is {notify.type!r}, allowed: {', '.join(_TYPES)}"
    if notify.result_format not in (None, *_FORMATS):
        yield f"{at}.ResultFormat is {notify.result_format!r}, allowed: {', '.join(_FORMATS)}"
    if is_on:
        yield from _broken_target(at, notify)


def _broken_target(at: str, notify: NotifyConfig) -> Iterator[str]:
    if notify.type == "Url" and not _is_web_address(notify.url):
        # Not shown, because it may hold a secret
        yield f"{at}.Url is neither an http or https URL nor one without its scheme"
    if notify.type == "TDMQ" and not (notify.mq_mode and notify.mq_region and notify.mq_name):
        yield f"{at}.MqMode, MqRegion and MqName are needed with Type TDMQ"
    if notify.type == "Kafka" and notify.kafka_config is None:
        yield f"{at}.KafkaConfig is needed with Type Kafka"


def _is_web_address(url: str | None) -> bool:
    """Tell whether callbacks can be sent there; queues on record have addresses without scheme, too."""
    try:
        parts = urlsplit(with_scheme(url or ""))
        return parts.scheme in ("http", "https") and _HOST_NAME.fullmatch(parts.hostname or "") is not None
    except ValueError:
        return False


def _shown_notify(notify: NotifyConfig) -> NotifyConfig:
    """The documents' samples have these elements even when they are empty."""
    return NotifyConfig(
        state=notify.state or "Off",
        url=notify.url or "",
        event=notify.event or "",
        type=notify.type or "",
        result_format=notify.result_format or "XML",
        mq_mode=notify.mq_mode,
        mq_region=notify.mq_region,
        mq_name=notify.mq_name,
        kafka_config=notify.kafka_config,
    )


def _bytes(notify: NotifyConfig) -> bytes:
    return to_bytes(to_element(notify, "NotifyConfig"))


def _queue(row: sqlite3.Row) -> StoredQueue:
    return StoredQueue(
        id=row["id"],
        bucket=row["bucket"],
        feature=CIFeature(row["feature"]),
        name=row["name"],
        state=row["state"],
        notify=read(NotifyConfig, parse_document(row["notify"])),
        created=row["created"],
        updated=row["updated"],
    )
