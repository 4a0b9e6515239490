"""Callbacks: one POST for each job that ends ``Success`` or ``Failed`` (460/76959, 460/84821).

Not documented, and so decided here: each is sent once, whatever the response, with a time limit of ten
seconds, and no redirect is followed. Messages to TDMQ and Kafka are not sent but recorded. The body holds
nothing that authenticates it, as with the real service.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import is_loopback
from tencent_ci_emulator.faults.effects import CallbackEffects
from tencent_ci_emulator.faults.fault_plan import FaultPlan
from tencent_ci_emulator.http.ci_call import split_list
from tencent_ci_emulator.http.xml import Element, build, parse, text_of, to_bytes
from tencent_ci_emulator.jobs.job_store import JobStore, StoredJob
from tencent_ci_emulator.jobs.queues import with_scheme
from tencent_ci_emulator.jobs.states import FAILED, SUCCESS
from tencent_ci_emulator.ledger import CallbackRecord, Ledger

_log = logging.getLogger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_MAX_CONNECTIONS = 8
_STREAMS = ("Audio", "Video", "Subtitle")
# Elements that are lists in JSON even if there is only one, by the names of their parents
_LISTS = {
    "Response": {"JobsDetail"},
    "JobsDetail": {"Workflow"},
    "OutputFile": {"ObjectName", "Md5Info"},
    "SpriteOutputFile": {"ObjectName", "Md5Info"},
    "Stream": {*_STREAMS},
}
# The types in whose JSON samples JobsDetail is an object and not a list
_SINGLE_JOBS = (
    *("Animation", "Concat", "DigitalWatermark", "ExtractDigitalWatermark"),
    *("MediaInfo", "NoiseReduction", "QualityEstimate"),
)
# A queue has callbacks of jobs if it names one of these events; the second is the older name of the first
_EVENTS = {"TaskFinish", "TransCodingFinish"}


@dataclass(frozen=True, slots=True)
class Target:
    """The receiver of a job's callback.

    :param kind: ``Url``, ``TDMQ`` or ``Kafka``.
    :param address: the URL, or the name of the message queue.
    :param format: ``XML`` or ``JSON``.
    """

    kind: str
    address: str
    format: str


class Callbacks:
    """Sends the callbacks of jobs that end, in the server's event loop.

    :param notify_config_of_queue: returns the ``NotifyConfig`` of a queue, ``None`` if its callbacks are off.
    """

    def __init__(
        self,
        jobs: JobStore,
        faults: FaultPlan,
        ledger: Ledger,
        clock: Clock,
        *,
        allow_remote: bool,
        notify_config_of_queue: Callable[[str], Element | None] = lambda _queue_id: None,
    ) -> None:
        self._jobs = jobs
        self._faults = faults
        self._ledger = ledger
        self._clock = clock
        self._allow_remote = allow_remote
        self._callbacks_of_queue = notify_config_of_queue
        self._effects: dict[str, CallbackEffects] = {}  # of jobs that are about to end, by id
        self._sending: set[Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the client session, in the event loop that sends."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_TIMEOUT,
        )
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Cancel callbacks that have not been sent, and close the session."""
        self._loop = None
        sending = list(self._sending)
        for future in sending:
            future.cancel()
        await asyncio.gather(*map(asyncio.wrap_future, sending), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def before_end(self, job: StoredJob) -> float:
        """Send the callback of a job that is about to end, if the fault plan says ``early``.

        Called by a worker, which is blocked until the callback has a response.

        :param job: in the state in which it will end.
        :return: seconds by which the job's end is to be delayed.
        """
        target = self._find_target(job)
        if target is None:
            return 0.0
        effects = self._effects[job.id] = self._faults.on_callback(job.id, job.input_object)
        if not effects.early:
            return 0.0
        sending = self._start_sending(target, job, effects)
        try:
            if sending is not None:
                sending.result()
        except CancelledError:
            return 0.0
        return effects.delay

    def after_end(self, job: StoredJob) -> None:
        """Start sending the callback of a job that has ended, and return at once."""
        effects = self._effects.pop(job.id, None)
        stored = self._jobs.get(job.id)  # the engine passes the job as it was submitted
        target = self._find_target(stored)
        if target is None or stored.state not in (SUCCESS, FAILED):
            return
        if effects is None:
            effects = self._faults.on_callback(job.id, stored.input_object)
        if not effects.early:
            self._start_sending(target, stored, effects)

    def _find_target(self, job: StoredJob) -> Target | None:
        """Return the receiver that the job names, or else the one that its queue names."""
        request = parse(job.request)
        url, body_format = text_of(request, "CallBack"), text_of(request, "CallBackFormat")
        mq, kafka = request.find("CallBackMqConfig"), request.find("CallBackKafkaConfig")
        kind, has_declined = text_of(request, "CallBackType"), url == "no"
        target = _make_target(kind, None if has_declined else url, mq, kafka, body_format or "XML")
        if target is not None or has_declined:
            return target
        return self._find_target_of_queue(job.queue_id, body_format)

    def _find_target_of_queue(self, queue_id: str, body_format: str | None) -> Target | None:
        notify = self._callbacks_of_queue(queue_id)
        if notify is None or not _EVENTS & set(split_list(text_of(notify, "Event"))):
            return None
        url = text_of(notify, "Url")
        return _make_target(
            text_of(notify, "Type"),
            url and with_scheme(url),
            mq=notify,  # it has MqRegion, MqMode and MqName itself
            kafka=notify.find("KafkaConfig"),
            body_format=body_format or text_of(notify, "ResultFormat") or "XML",
        )

    def _start_sending(self, target: Target, job: StoredJob, effects: CallbackEffects) -> Future[None] | None:
        if self._loop is None:
            return None
        self._clock.begin_work()
        sending = asyncio.run_coroutine_threadsafe(self._deliver(target, job, effects), self._loop)
        self._sending.add(sending)
        sending.add_done_callback(self._note_done)
        return sending

    def _note_done(self, sending: Future[None]) -> None:
        self._sending.discard(sending)
        self._clock.end_work()
        if not sending.cancelled() and (error := sending.exception()) is not None:
            _log.error("a callback failed in the emulator itself", exc_info=error)

    async def _deliver(self, target: Target, job: StoredJob, effects: CallbackEffects) -> None:
        body = callback_body(job, target.format)
        record = CallbackRecord(
            time=self._clock.now(),
            job_id=job.id,
            state=job.state,
            kind=target.kind,
            format=target.format,
            target=_without_secrets(target),
            outcome="recorded",
            body=body.decode(),
            faults=effects.rules,
        )
        if not effects.times:
            self._ledger.add_callback(replace(record, outcome="suppressed"))
        for _ in range(effects.times):
            sent = await self._post(target, body, record) if target.kind == "Url" else record
            if self._loop is None:  # closed meanwhile, which may look like a failure of the receiver
                return
            self._ledger.add_callback(sent)

    async def _post(self, target: Target, body: bytes, record: CallbackRecord) -> CallbackRecord:
        host = urlsplit(target.address).hostname or ""
        # Names are not looked up: a DNS query would leave this machine, too
        if not self._allow_remote and not is_loopback(host):
            detail = "not a loopback address; --allow-remote-callbacks allows it"
            _log.warning("the callback of job %s is not sent to %s: %s", record.job_id, record.target, detail)
            return replace(record, outcome="refused", detail=detail)
        if self._session is None:
            return replace(record, outcome="failed", detail="the emulator stops")
        headers = {"Content-Type": "application/json" if target.format == "JSON" else "application/xml"}
        try:
            async with self._session.post(
                target.address, data=body, headers=headers, allow_redirects=False
            ) as response:
                return replace(record, outcome="sent", status=response.status)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            # Without the error's text, which may hold the address with its secret
            return replace(record, outcome="failed", detail=type(error).__name__)


def _make_target(
    kind: str | None, url: str | None, mq: Element | None, kafka: Element | None, body_format: str
) -> Target | None:
    """Return the receiver of callbacks of a kind, ``None`` if there is none.

    Without the configuration that its kind needs, it is the URL.
    """
    if kind == "TDMQ" and mq is not None:
        parts = [text_of(mq, name) for name in ("MqRegion", "MqMode", "MqName")]
    elif kind == "Kafka" and kafka is not None:
        parts = [text_of(kafka, name) for name in ("Region", "InstanceId", "Topic")]
    else:
        return Target("Url", url, body_format) if url else None
    return Target(kind, "/".join(part or "" for part in parts), body_format)


def callback_body(job: StoredJob, body_format: str) -> bytes:
    """Return the message about a job, as ``XML`` or ``JSON``."""
    root = build("Response", {"EventName": "TaskFinish", "JobsDetail": job.describe()})
    if body_format != "JSON":
        return to_bytes(root)
    message = _to_json(root)
    if job.tag in _SINGLE_JOBS:
        message["JobsDetail"] = message["JobsDetail"][0]
    return json.dumps(message, ensure_ascii=False).encode()


def _to_json(element: Element) -> dict[str, Any]:
    """Return the children of an element as an object, in lists where there are or may be several."""
    fields: dict[str, Any] = {name: [] for name in _STREAMS} if element.tag == "Stream" else {}
    lists = _LISTS.get(element.tag, set()) | {
        name for name, count in Counter(child.tag for child in element).items() if count > 1
    }
    for child in element:
        value: object = _to_json(child) if len(child) else (child.text or "")
        if child.tag not in lists:
            fields[child.tag] = value
        else:  # an empty element is left out of the list
            fields.setdefault(child.tag, []).extend([value] if value else [])
    return fields


def _without_secrets(target: Target) -> str:
    """Return the address without user, query and fragment, which may hold the receiver's secret."""
    if target.kind != "Url":
        return target.address
    parts = urlsplit(target.address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
