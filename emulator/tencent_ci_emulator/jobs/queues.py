"""Queues: list (436/54045, 460/46234), update (460/42324, 460/46235), and which one a job waits in."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database, from_row
from tencent_ci_emulator.http.ci_call import (
    Answer,
    Call,
    Handler,
    Page,
    answer,
    check_name,
    comma_list,
    document,
    require,
)
from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.service_errors import ServiceFault, invalid_argument
from tencent_ci_emulator.http.xml import Element, build, parse, service_time, text_of, to_bytes
from tencent_ci_emulator.jobs.buckets import BucketCalls, BucketStore, CIFeature
from tencent_ci_emulator.jobs.engine import JobEngine
from tencent_ci_emulator.jobs.job_store import JobStore
from tencent_ci_emulator.jobs.job_types import SMART_AUDIO
from tencent_ci_emulator.jobs.queue_scheduler import Rule

ACTIVE = "Active"
PAUSED = "Paused"
NAME_MAX = 128
MAX_IDS = 10

# The last is TaskFinish as older queues name it
_EVENTS = ("TaskFinish", "WorkflowFinish", "TransCodingFinish")
_TYPES = ("Url", "TDMQ", "Kafka")

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
    """One row: times in Unix seconds.

    :param feature: the value of the :class:`CIFeature` that the queue belongs to.
    :param notify: the document ``NotifyConfig``, the queue's callbacks.
    """

    id: str
    bucket: str
    feature: str
    name: str
    state: str
    notify: bytes
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
        notify = to_bytes(build("NotifyConfig", {"State": "Off", "ResultFormat": "XML"}))
        rows = [
            (queue_id_of(bucket, feature), bucket, feature.value, name, ACTIVE, notify, now, now)
            for feature, name in _DEFAULT_NAMES.items()
        ]
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO queues VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def get(self, queue_id: str) -> StoredQueue | None:
        """Return a queue, or ``None``."""
        row = self._database.row("SELECT * FROM queues WHERE id = ?", (queue_id,))
        return from_row(StoredQueue, row) if row else None

    def update(self, queue_id: str, name: str, state: str, notify: bytes, now: float) -> None:
        """Give a queue another definition."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE queues SET name = ?, state = ?, notify = ?, updated = ? WHERE id = ?",
                (name, state, notify, now, queue_id),
            )

    def rule(self, queue_id: str) -> Rule:
        """Return what a queue allows now; a queue that is not known allows all."""
        row = self._database.row("SELECT state FROM queues WHERE id = ?", (queue_id,))
        return Rule(active=row is None or row["state"] == ACTIVE, max_concurrent=self._max_concurrent)

    def notify_config(self, queue_id: str) -> Element | None:
        """Return a queue's callbacks, ``None`` if they are off."""
        queue = self.get(queue_id)
        notify = parse(queue.notify) if queue else None
        return notify if text_of(notify, "State") == "On" else None


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

    def choose(self, bucket: str, tag: str, queue_id: str | None) -> StoredQueue:
        """Return the queue for a new job: the one it names, or the bucket's queue of the tag's service.

        :raises ServiceFault: there is no such queue, or its service is not open.
        """
        feature = CIFeature.SMART_AUDIO if tag in SMART_AUDIO else CIFeature.MEDIA
        queue = self._store.get(queue_id or queue_id_of(bucket, feature))
        if queue is None or queue.bucket != bucket:
            raise _not_found(queue_id or "")
        self._buckets.demand(bucket, CIFeature(queue.feature))
        return queue

    def room(self, queue_id: str) -> int:
        """Return how many more jobs may wait in a queue."""
        return max(0, self._config.queue_max_size - self._jobs.waiting(queue_id))

    def category(self, queue_id: str) -> str | None:
        """Return which kind of jobs a queue is for, ``None`` if it is not known."""
        queue = self._store.get(queue_id)
        return _CATEGORIES[CIFeature(queue.feature)] if queue else None

    def is_paused(self, queue_id: str) -> bool:
        """Tell whether a queue begins no jobs."""
        return not self._store.rule(queue_id).active

    def _queue(self, bucket: str, queue_id: str, feature: CIFeature) -> StoredQueue | None:
        queue = self._store.get(queue_id)
        belongs = queue is not None and (queue.bucket, queue.feature) == (bucket, feature.value)
        return queue if belongs and self._opened.opened(bucket, feature) is not None else None

    def _list(self, call: Call, feature: CIFeature) -> Answer:
        page, asked = Page.of(call.params), comma_list(call.params.get("queueids"))
        if len(asked) > MAX_IDS:
            raise invalid_argument(f"{len(asked)} queueIds are given, at most {MAX_IDS} are allowed")
        state = call.params.get("state", "All")
        require("state", state, (ACTIVE, PAUSED, "All"))  # Tencent's Python SDK sends All
        known = self._queue(call.bucket, queue_id_of(call.bucket, feature), feature)
        found = [
            self._describe(queue)
            for queue in (known,)
            if queue is not None and state in (queue.state, "All") and _is_of_category(call, feature)
            if not asked or queue.id in asked
        ]
        if asked:
            missing = [one for one in asked if known is None or one != known.id]
            return answer({"RequestId": call.request_id, "QueueList": found, "NonExistPIDs": missing})
        return answer(
            {"RequestId": call.request_id, **page.describe(len(found)), "QueueList": page.cut(found)}
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
        return answer({"RequestId": call.request_id, "Queue": self._describe(changed)})

    def _describe(self, queue: StoredQueue) -> dict[str, Any]:
        return {
            "QueueId": queue.id,
            "Name": queue.name,
            "State": queue.state,
            "NotifyConfig": _describe_notify(parse(queue.notify)),
            "MaxSize": self._config.queue_max_size,
            "MaxConcurrent": self._config.queue_max_concurrent,
            "BucketId": queue.bucket,
            "Category": _CATEGORIES[CIFeature(queue.feature)],
            "CreateTime": service_time(queue.created),
            "UpdateTime": service_time(queue.updated),
        }


def _not_found(queue_id: str) -> ServiceFault:
    return ServiceFault(400, "QueueNotFound", f"queue {queue_id} does not exist")


def _is_of_category(call: Call, feature: CIFeature) -> bool:
    if feature is not CIFeature.MEDIA:
        return True
    category = call.params.get("category", "Transcoding")
    require("category", category, ("Transcoding", "SpeedTranscoding", "CateAll"))
    return category != "SpeedTranscoding"  # no such queue here: it is for transcoding jobs only


def _definition(root: Element) -> tuple[str, str, bytes]:
    problems = Problems()
    problems.check_single(root, ("Name", "State", "NotifyConfig"))
    problems.refuse_if_any()
    name, state = check_name(text_of(root, "Name"), NAME_MAX), text_of(root, "State")
    require("State", state, (ACTIVE, PAUSED))
    notify = root.find("NotifyConfig")
    if notify is None:
        raise invalid_argument("NotifyConfig is missing")
    _check_notify(notify, problems)
    problems.refuse_if_any()
    return name, state or ACTIVE, to_bytes(build("NotifyConfig", notify))


def _check_notify(notify: Element, problems: Problems) -> None:
    at, is_on = "NotifyConfig", text_of(notify, "State") == "On"
    problems.check_choice(f"{at}.State", text_of(notify, "State"), ("On", "Off"))
    problems.check_choice(f"{at}.ResultFormat", text_of(notify, "ResultFormat"), ("XML", "JSON"))
    event, kind = text_of(notify, "Event"), text_of(notify, "Type")
    events = comma_list(event)
    if (is_on and not events) or not set(events) <= set(_EVENTS):
        problems.add(f"{at}.Event", event, f"a comma list of {', '.join(_EVENTS)}")
    if kind not in _TYPES and (is_on or kind is not None):
        problems.add(f"{at}.Type", kind, ", ".join(_TYPES))
    if is_on and kind == "Url" and not _is_callback_address(text_of(notify, "Url") or ""):
        # Without the value, which may hold the receiver's secret
        problems.add_sentence(f"{at}.Url is neither an http or https URL nor one without its scheme")
    if (
        is_on
        and kind == "TDMQ"
        and None in [text_of(notify, one) for one in ("MqMode", "MqRegion", "MqName")]
    ):
        problems.add_sentence(f"{at}.MqMode, MqRegion and MqName are needed with Type TDMQ")
    if is_on and kind == "Kafka" and text_of(notify, "KafkaConfig/*") is None:
        problems.add_sentence(f"{at}.KafkaConfig is needed with Type Kafka")


def _is_callback_address(url: str) -> bool:
    """Return whether callbacks can be sent there. Queues on record have addresses without scheme, too."""
    try:
        parts = urlsplit(with_scheme(url))
        return parts.scheme in ("http", "https") and _HOST_NAME.fullmatch(parts.hostname or "") is not None
    except ValueError:
        return False


def _describe_notify(notify: Element) -> dict[str, Any]:
    """Return a queue's callbacks with the elements that samples have even when they are empty."""
    always = {"State": "Off", "Url": "", "Event": "", "Type": "", "ResultFormat": "XML"}
    described: dict[str, Any] = {name: text_of(notify, name) or default for name, default in always.items()}
    others = [child for child in notify if child.tag not in always]
    return described | {child.tag: child for child in others if len(child) or child.text}
