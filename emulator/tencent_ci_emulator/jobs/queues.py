"""Queues: list (436/54045, 460/46234), update (460/42324, 460/46235), and the queue that a job waits in.

A bucket has one queue for each service. A job waits in that of its type's service, or in the one that its
``QueueId`` names. Pausing a queue changes its waiting jobs to ``Pause``, and running ones continue; a new
job is ``Pause`` at once. Resuming changes them back to ``Submitted``.

Not documented, and so decided here. The service of voice separation is smart audio, of ``VideoTargetRec``
and ``SegmentVideoBody`` AI, of ``ImageInspect`` and ``ImageOCR`` pictures. Ids are made from the bucket,
and are always the same. ``NonExistPIDs`` repeats. There is no queue ``SpeedTranscoding``; the ``Category``
of file queues is ``FileProcess``. ``QueueType`` selects nothing but what a list shows. Private addresses in
``Url`` are accepted. An unknown queue, or one of the other kind, is 400 ``QueueNotFound``. Jobs that are
held count as waiting. From Tencent's SDKs only: ``state=All``; ``Kafka``; the event ``TransCodingFinish``,
which counts as ``TaskFinish``; a ``Url`` without scheme, which means ``http://``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call, Content, Handler, split_list
from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.http.rules import Problems, Rule, one_of, require_single_elements
from tencent_ci_emulator.http.xml import Element, build, parse, service_time, text_of, to_bytes
from tencent_ci_emulator.jobs.bucket_services import BucketService, BucketServices
from tencent_ci_emulator.jobs.job_store import JobStore
from tencent_ci_emulator.jobs.job_types import job_type
from tencent_ci_emulator.jobs.queue_scheduler import QueueLimits
from tencent_ci_emulator.objects.buckets import Buckets
from tencent_ci_emulator.objects.names import PLAIN_TEXT, name_rule

ACTIVE = "Active"
PAUSED = "Paused"

_MAX_IDS = 10
# Name at first (436/53970) and Category of each service's queue. No document has the category of file queues
_QUEUES = {
    BucketService.MEDIA: ("queue-1", "Transcoding"),
    BucketService.SMART_AUDIO: ("queue-smart-audio-1", "Speeching"),
    BucketService.PICTURE: ("queue-pic-process-1", "PicProcess"),
    BucketService.AI: ("queue-ai-process-1", "AIProcess"),
    BucketService.FILE: ("queue-file-process-1", "FileProcess"),
}
#: The values of ``QueueType``, from SDK comments, and of a list's ``queueType`` (460/84766)
QUEUE_TYPES = ("Transcoding", "SpeedTranscoding", "Speeching", "PicProcess", "AIProcess")
# TransCodingFinish is how older queues name TaskFinish
_EVENTS = ("TaskFinish", "WorkflowFinish", "TransCodingFinish")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS queues (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, feature TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
    notify BLOB NOT NULL, created REAL NOT NULL, updated REAL NOT NULL
)
"""


def queue_id_of(bucket: str, service: BucketService) -> str:
    """Return the id of a bucket's queue for a service: always the same, as with the real service."""
    name = bucket if service is BucketService.SMART_AUDIO else f"{bucket}/{service.value}"
    return "p" + hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def with_scheme(url: str) -> str:
    """Return a callback's address as a complete URL: without a scheme, http is meant."""
    return url if "://" in url else f"http://{url}"


def _is_callback_address(url: str) -> bool:
    try:
        parts = urlsplit(with_scheme(url))
        return parts.scheme in ("http", "https") and bool(re.fullmatch(r"[^\s/]+", parts.hostname or ""))
    except ValueError:
        return False


_RULES = {"Name": name_rule(128, "*"), "State": one_of(ACTIVE, PAUSED, is_required=True)}
# The rules of NotifyConfig. Event and Type are needed if it is on
_CALLBACKS = {
    "State": one_of("On", "Off"),
    "ResultFormat": one_of("XML", "JSON"),
    "Event": Rule(
        f"a comma-separated list of {', '.join(_EVENTS)}",
        lambda text: split_list(text) and set(split_list(text)) <= set(_EVENTS),
    ),
    "Type": one_of("Url", "TDMQ", "Kafka"),
}
# The rules of NotifyConfig by its Type, if it is on
_ADDRESSES = {
    # It may hold the receiver's secret. Queues on record have addresses without a scheme, too
    "Url": {"Url": Rule("an http or https URL, or one without its scheme", _is_callback_address, True, True)},
    "TDMQ": dict.fromkeys(("MqMode", "MqRegion", "MqName"), PLAIN_TEXT),
    "Kafka": {"KafkaConfig/*": PLAIN_TEXT},
}


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
        return _QUEUES[self.service][1]


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues of all buckets, one for each service. Safe to use from several threads."""

    config: EmulatorConfig
    database: Database
    clock: Clock
    buckets: Buckets
    services: BucketServices
    jobs: JobStore
    _change_callbacks: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the table, and the queues of new buckets."""
        self.database.create(_SCHEMA)
        for bucket in self.buckets.names():
            self._add(bucket)
        self.buckets.on_create(self._add)

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each call by the operation's name."""
        handlers: dict[str, Handler] = {}
        for service in BucketService:
            kind = "" if service is BucketService.MEDIA else f"{service.value}_"
            handlers[f"list_{kind}queues"] = partial(self._list, service)
            handlers[f"update_{kind}queue"] = partial(self._update, service)
        return handlers

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` after each change of a queue."""
        self._change_callbacks.append(callback)

    def get(self, queue_id: str) -> Queue | None:
        """Return a queue, or ``None``."""
        return self.database.first(Queue, "queues", {"id": queue_id})

    def limits(self, queue_id: str) -> QueueLimits:
        """Return the present limits of a queue; a queue that does not exist is active."""
        queue = self.get(queue_id)
        is_active = queue is None or queue.state == ACTIVE
        return QueueLimits(is_active, self.config.queue_max_concurrent)

    def callbacks_of(self, queue_id: str) -> Element | None:
        """Return the ``NotifyConfig`` of a queue, ``None`` if its callbacks are off."""
        queue = self.get(queue_id)
        notify = parse(queue.notify) if queue else None
        return notify if text_of(notify, "State") == "On" else None

    def choose(self, bucket: str, tag: str, queue_id: str | None) -> Queue:
        """Return the queue for a new job: the named one, or the bucket's queue of the tag's service.

        :raises ServiceError: there is no such queue, or its service is not open.
        """
        queue = self.get(queue_id or queue_id_of(bucket, job_type(tag).service))
        if queue is None or queue.bucket != bucket:
            raise _not_found(queue_id or "")
        self.services.require_open(bucket, queue.service)
        return queue

    def room(self, queue_id: str) -> int:
        """Return how many more jobs may wait in a queue."""
        return max(0, self.config.queue_max_size - self.jobs.count_waiting(queue_id))

    def _add(self, bucket: str) -> None:
        """Create those queues of a bucket that do not exist."""
        notify = to_bytes(build("NotifyConfig", {"State": "Off", "ResultFormat": "XML"}))
        now = self.clock.now()
        for service, (name, _) in _QUEUES.items():
            queue_id = queue_id_of(bucket, service)
            queue = Queue(queue_id, bucket, service.value, name, ACTIVE, notify, now, now)
            self.database.insert("queues", asdict(queue), conflict="IGNORE")

    def _list(self, service: BucketService, call: Call) -> Content:
        page, ids = call.page(), call.listed("queueIds", _MAX_IDS)
        state = call.choice("state", "All", (ACTIVE, PAUSED, "All"))  # Tencent's Python SDK sends All
        known = self._find(call.bucket, queue_id_of(call.bucket, service), service)
        queues = [known] if known is not None else []
        found = [queue for queue in queues if state in (queue.state, "All")]
        if ids:
            found = [queue for queue in found if queue.id in ids]
        if service is BucketService.MEDIA:
            category = call.choice("category", "Transcoding", ("Transcoding", "SpeedTranscoding", "CateAll"))
            if category == "SpeedTranscoding":  # such queues, for transcoding jobs only, do not exist here
                found = []
        described = [self._describe(queue) for queue in found]
        if not ids:
            return {**page.describe(len(found)), "QueueList": page.cut(described)}
        missing = [each for each in ids if each not in [queue.id for queue in queues]]
        return {"QueueList": described, "NonExistPIDs": missing}

    def _update(self, service: BucketService, call: Call) -> Content:
        queue = self._find(call.bucket, call.id, service)
        if queue is None:
            raise _not_found(call.id)
        changes = {**_read_definition(call.document()), "updated": self.clock.now()}
        # In one transaction, so that no job is held in an active queue or waits unheld in a paused one
        with self.database.transaction():
            self.database.update("queues", changes, {"id": call.id})
            self.jobs.hold(call.id, changes["state"] == PAUSED)
        for callback in self._change_callbacks:
            callback()
        return {"Queue": self._describe(replace(queue, **changes))}

    def _find(self, bucket: str, queue_id: str, service: BucketService) -> Queue | None:
        """Return a queue if it belongs to this bucket and service, and the service is open."""
        if self.services.opened(bucket, service) is None:
            return None
        where = {"id": queue_id, "bucket": bucket, "feature": service.value}
        return self.database.first(Queue, "queues", where)

    def _describe(self, queue: Queue) -> dict[str, Any]:
        return {
            "QueueId": queue.id,
            "Name": queue.name,
            "State": queue.state,
            "NotifyConfig": _describe_callbacks(parse(queue.notify)),
            "MaxSize": self.config.queue_max_size,
            "MaxConcurrent": self.config.queue_max_concurrent,
            "BucketId": queue.bucket,
            "Category": queue.category,
            "CreateTime": service_time(queue.created),
            "UpdateTime": service_time(queue.updated),
        }


def _not_found(queue_id: str) -> ServiceError:
    return ServiceError(400, "QueueNotFound", f"queue {queue_id} does not exist")


def _read_definition(root: Element) -> dict[str, Any]:
    """Return the columns that an update sets, with every rule checked."""
    problems, notify = Problems(), root.find("NotifyConfig")
    require_single_elements(root, "Name", "State", "NotifyConfig")
    problems.check(root, _RULES)
    if notify is None:
        problems.add_sentence("NotifyConfig is missing")
    is_on = text_of(notify, "State") == "On"
    needed = ("Event", "Type") if is_on else ()
    rules = {name: replace(rule, is_required=name in needed) for name, rule in _CALLBACKS.items()}
    problems.check(notify, rules, "NotifyConfig.")
    if is_on:
        problems.check(notify, _ADDRESSES.get(text_of(notify, "Type") or "", {}), "NotifyConfig.")
    problems.raise_if_any()
    definition = {"name": text_of(root, "Name"), "state": text_of(root, "State")}
    return {**definition, "notify": to_bytes(build("NotifyConfig", notify))}


def _describe_callbacks(notify: Element) -> dict[str, Any]:
    """Return a queue's callbacks with the elements that samples have even when they are empty."""
    defaults = {"State": "Off", "Url": "", "Event": "", "Type": "", "ResultFormat": "XML"}
    described: dict[str, Any] = {name: text_of(notify, name) or default for name, default in defaults.items()}
    others = [child for child in notify if child.tag not in defaults]
    return described | {child.tag: child for child in others if len(child) or child.text}
