"""Queues: list (436/54045, 460/46234), update (460/42324, 460/46235), and which one a job waits in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call, Content, Handler, comma_list, require, require_name
from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.service_errors import ServiceError, invalid_argument
from tencent_ci_emulator.http.xml import Element, build, parse, service_time, text_of, to_bytes
from tencent_ci_emulator.jobs.bucket_services import BucketService, BucketServices
from tencent_ci_emulator.jobs.job_store import JobStore
from tencent_ci_emulator.jobs.job_types import SMART_AUDIO
from tencent_ci_emulator.jobs.queue_scheduler import QueueLimits

ACTIVE = "Active"
PAUSED = "Paused"

_NAME_CHARACTERS = 128
_MAX_IDS = 10
_CATEGORIES = {BucketService.MEDIA: "Transcoding", BucketService.SMART_AUDIO: "Speeching"}
# 436/53970
_FIRST_NAMES = {BucketService.MEDIA: "queue-1", BucketService.SMART_AUDIO: "queue-smart-audio-1"}
# The last is TaskFinish as older queues name it
_EVENTS = ("TaskFinish", "WorkflowFinish", "TransCodingFinish")
_CALLBACK_TYPES = ("Url", "TDMQ", "Kafka")
_HOST_NAME = re.compile(r"[^\s/]+")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS queues (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, feature TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
    notify BLOB NOT NULL, created REAL NOT NULL, updated REAL NOT NULL
)
"""


def queue_id_of(bucket: str, service: BucketService = BucketService.SMART_AUDIO) -> str:
    """Return the id of a bucket's queue for a service: always the same, as with the real service."""
    named = bucket if service is BucketService.SMART_AUDIO else f"{bucket}/{service.value}"
    return "p" + hashlib.md5(named.encode(), usedforsecurity=False).hexdigest()


def with_scheme(url: str) -> str:
    """Return a callback's address as a whole URL: without a scheme, plain http is meant."""
    return url if "://" in url else f"http://{url}"


@dataclass(frozen=True, slots=True)
class Queue:
    """One row: times in Unix seconds.

    :param feature: the value of the :class:`BucketService` that the queue belongs to.
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

    @property
    def service(self) -> BucketService:
        """The service that the queue belongs to."""
        return BucketService(self.feature)

    @property
    def category(self) -> str:
        """The kind of jobs that the queue is for."""
        return _CATEGORIES[self.service]


class Queues:
    """The queues of all buckets, one for each service. Safe to use from several threads."""

    def __init__(
        self,
        config: EmulatorConfig,
        database: Database,
        clock: Clock,
        services: BucketServices,
        jobs: JobStore,
    ) -> None:
        self._config = config
        self._database = database
        self._clock = clock
        self._services = services
        self._jobs = jobs
        self._when_changed: list[Callable[[], None]] = []
        database.create(_SCHEMA)
        notify, now = to_bytes(build("NotifyConfig", {"State": "Off", "ResultFormat": "XML"})), clock.now()
        for bucket in config.buckets:
            for service, name in _FIRST_NAMES.items():
                queue = Queue(
                    queue_id_of(bucket, service), bucket, service.value, name, ACTIVE, notify, now, now
                )
                database.insert("queues", asdict(queue), conflict="IGNORE")

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each call by the operation's name."""
        return {
            "list_queues": partial(self._list, BucketService.MEDIA),
            "update_queue": partial(self._update, BucketService.MEDIA),
            "list_asr_queues": partial(self._list, BucketService.SMART_AUDIO),
            "update_asr_queue": partial(self._update, BucketService.SMART_AUDIO),
        }

    def when_changed(self, action: Callable[[], None]) -> None:
        """Call ``action`` after each change of a queue."""
        self._when_changed.append(action)

    def get(self, queue_id: str) -> Queue | None:
        """Return a queue, or ``None``."""
        return self._database.first(Queue, "queues", {"id": queue_id})

    def has(self, bucket: str, queue_ids: list[str]) -> bool:
        """Return whether a bucket has one of these queues."""
        return self._database.count("queues", {"bucket": bucket, "id": tuple(queue_ids)}) > 0

    def limits(self, queue_id: str) -> QueueLimits:
        """Return what a queue allows now; a queue that is not known allows all."""
        queue = self.get(queue_id)
        is_active = queue is None or queue.state == ACTIVE
        return QueueLimits(active=is_active, max_concurrent=self._config.queue_max_concurrent)

    def callbacks_of(self, queue_id: str) -> Element | None:
        """Return a queue's callbacks, ``None`` if they are off."""
        queue = self.get(queue_id)
        notify = parse(queue.notify) if queue else None
        return notify if text_of(notify, "State") == "On" else None

    def choose(self, bucket: str, tag: str, queue_id: str | None) -> Queue:
        """Return the queue for a new job: the one it names, or the bucket's queue of the tag's service.

        :raises ServiceError: there is no such queue, or its service is not open.
        """
        service = BucketService.SMART_AUDIO if tag in SMART_AUDIO else BucketService.MEDIA
        queue = self.get(queue_id or queue_id_of(bucket, service))
        if queue is None or queue.bucket != bucket:
            raise _not_found(queue_id or "")
        self._services.require_open(bucket, queue.service)
        return queue

    def room(self, queue_id: str) -> int:
        """Return how many more jobs may wait in a queue."""
        return max(0, self._config.queue_max_size - self._jobs.count_waiting(queue_id))

    def _list(self, service: BucketService, call: Call) -> Content:
        page, ids = call.page(), call.listed("queueIds", _MAX_IDS)
        state = call.choice("state", "All", (ACTIVE, PAUSED, "All"))  # Tencent's Python SDK sends All
        known = self._find(call.bucket, queue_id_of(call.bucket, service), service)
        is_wanted = (
            known is not None
            and state in (known.state, "All")
            and _is_of_category(call, service)
            and (not ids or known.id in ids)
        )
        found = [self._describe(known)] if known is not None and is_wanted else []
        if ids:
            missing = [one for one in ids if known is None or one != known.id]
            return {"QueueList": found, "NonExistPIDs": missing}
        return {**page.describe(len(found)), "QueueList": page.cut(found)}

    def _update(self, service: BucketService, call: Call) -> Content:
        if self._find(call.bucket, call.id, service) is None:
            raise _not_found(call.id)
        definition = _read_definition(call.document())
        # Together, so that no job is held in an active queue or waits unheld in a paused one
        with self._database.transaction():
            self._database.update("queues", {**definition, "updated": self._clock.now()}, {"id": call.id})
            self._jobs.hold(call.id, definition["state"] == PAUSED)
        for action in self._when_changed:
            action()
        queue = self.get(call.id)
        return {"Queue": self._describe(queue) if queue else None}

    def _find(self, bucket: str, queue_id: str, service: BucketService) -> Queue | None:
        """Return a queue if it is of this bucket and service, and the service is open."""
        where = {"id": queue_id, "bucket": bucket, "feature": service.value}
        is_open = self._services.opened(bucket, service) is not None
        return self._database.first(Queue, "queues", where) if is_open else None

    def _describe(self, queue: Queue) -> dict[str, Any]:
        return {
            "QueueId": queue.id,
            "Name": queue.name,
            "State": queue.state,
            "NotifyConfig": _describe_notify(parse(queue.notify)),
            "MaxSize": self._config.queue_max_size,
            "MaxConcurrent": self._config.queue_max_concurrent,
            "BucketId": queue.bucket,
            "Category": queue.category,
            "CreateTime": service_time(queue.created),
            "UpdateTime": service_time(queue.updated),
        }


def _not_found(queue_id: str) -> ServiceError:
    return ServiceError(400, "QueueNotFound", f"queue {queue_id} does not exist")


def _is_of_category(call: Call, service: BucketService) -> bool:
    if service is not BucketService.MEDIA:
        return True
    category = call.choice("category", "Transcoding", ("Transcoding", "SpeedTranscoding", "CateAll"))
    return category != "SpeedTranscoding"  # no such queue here: it is for transcoding jobs only


def _read_definition(root: Element) -> dict[str, Any]:
    problems = Problems()
    problems.check_single(root, ("Name", "State", "NotifyConfig"))
    problems.refuse_if_any()
    name, state = require_name(text_of(root, "Name"), _NAME_CHARACTERS), text_of(root, "State")
    require("State", state, (ACTIVE, PAUSED))
    notify = root.find("NotifyConfig")
    if notify is None:
        raise invalid_argument("NotifyConfig is missing")
    _check_notify(notify, problems)
    problems.refuse_if_any()
    return {"name": name, "state": state, "notify": to_bytes(build("NotifyConfig", notify))}


def _check_notify(notify: Element, problems: Problems) -> None:
    at, is_on = "NotifyConfig", text_of(notify, "State") == "On"
    problems.check_choice(f"{at}.State", text_of(notify, "State"), ("On", "Off"))
    problems.check_choice(f"{at}.ResultFormat", text_of(notify, "ResultFormat"), ("XML", "JSON"))
    event, kind = text_of(notify, "Event"), text_of(notify, "Type")
    events = comma_list(event)
    if (is_on and not events) or not set(events) <= set(_EVENTS):
        problems.add(f"{at}.Event", event, f"a comma list of {', '.join(_EVENTS)}")
    if kind not in _CALLBACK_TYPES and (is_on or kind is not None):
        problems.add(f"{at}.Type", kind, ", ".join(_CALLBACK_TYPES))
    if not is_on:
        return
    if kind == "Url" and not _is_callback_address(text_of(notify, "Url") or ""):
        # Without the value, which may hold the receiver's secret
        problems.add_sentence(f"{at}.Url is neither an http or https URL nor one without its scheme")
    if kind == "TDMQ" and None in [text_of(notify, name) for name in ("MqMode", "MqRegion", "MqName")]:
        problems.add_sentence(f"{at}.MqMode, MqRegion and MqName are needed with Type TDMQ")
    if kind == "Kafka" and text_of(notify, "KafkaConfig/*") is None:
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
