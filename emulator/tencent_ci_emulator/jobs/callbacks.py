"""Callbacks: one POST for each job that ends ``Success`` or ``Failed`` (460/76959, 460/84821).

Not documented, and so decided here: sent once, ten seconds of patience, no redirect followed, whatever the
answer. Messages to TDMQ and Kafka are not sent but recorded. The body holds nothing that authenticates it, as
with the real service.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import aiohttp

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import is_loopback
from tencent_ci_emulator.faults.effects import CallbackEffects
from tencent_ci_emulator.faults.fault_plan import FaultPlan
from tencent_ci_emulator.http.ci_call import comma_list
from tencent_ci_emulator.http.xml import Element, build, parse, text_of, to_bytes
from tencent_ci_emulator.jobs.job_store import JobStore, StoredJob
from tencent_ci_emulator.jobs.queues import with_scheme
from tencent_ci_emulator.jobs.states import FAILED, SUCCESS
from tencent_ci_emulator.ledger import CallbackRecord, Ledger

_log = logging.getLogger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_AT_ONCE = 8
_REPEATED = frozenset(("JobsDetail", "ObjectName", "Md5Info", "Audio", "Video", "Subtitle", "Workflow"))
# A queue that names one of them gets callbacks of jobs; the second is the older name of the first
_EVENTS = ("TaskFinish", "TransCodingFinish")
_EMPTY_LISTS = {"Stream": ("Audio", "Video", "Subtitle")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a job's callback goes, as the job or its queue demands.

    :param kind: ``Url``, ``TDMQ`` or ``Kafka``.
    :param address: the URL, or the name of the message queue.
    :param format: ``XML`` or ``JSON``.
    """

    kind: str
    address: str
    format: str = "XML"


class Callbacks:
    """Sends the callbacks of jobs that end, from the server's event loop.

    :param of_queue: the callbacks of a queue, ``None`` if they are off; asked for jobs that name no own.
    """

    def __init__(
        self,
        jobs: JobStore,
        faults: FaultPlan,
        ledger: Ledger,
        clock: Clock,
        *,
        allow_remote: bool,
        of_queue: Callable[[str], Element | None] = lambda _queue_id: None,
    ) -> None:
        self._jobs = jobs
        self._faults = faults
        self._ledger = ledger
        self._clock = clock
        self._allow_remote = allow_remote
        self._of_queue = of_queue
        self._early: dict[str, CallbackEffects] = {}
        self._pending: set[Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Begin, in the event loop that sends."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_AT_ONCE, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_TIMEOUT,
        )
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Give up what has not been sent."""
        self._loop = None
        pending = list(self._pending)
        for one in pending:
            one.cancel()
        await asyncio.gather(*map(asyncio.wrap_future, pending), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def before_end(self, job: StoredJob) -> float:
        """Send the callback of a job that is about to end, if the fault plan wants it early.

        ``job`` is as it will be. Called by a worker, which waits until the callback has been answered.
        Return the seconds by which the job's end is to be put off.
        """
        target = self._target(job)
        if target is None:
            return 0.0
        effects = self._faults.on_callback(job.id, job.input_object)
        self._early[job.id] = effects
        if effects.early and (sending := self._send(target, job, effects)) is not None:
            try:
                sending.result()
            except CancelledError:
                return 0.0
        return effects.delay if effects.early else 0.0

    def after_end(self, job: StoredJob) -> None:
        """Send the callback of a job that has ended. Returns at once."""
        effects = self._early.pop(job.id, None)
        stored = self._jobs.get(job.id)
        target = self._target(stored)
        if target is None or stored.state not in (SUCCESS, FAILED):
            return
        if effects is None:
            effects = self._faults.on_callback(job.id, stored.input_object)
        if not effects.early:
            self._send(target, stored, effects)

    def _target(self, job: StoredJob) -> Target | None:
        request = parse(job.request)
        form, url = text_of(request, "CallBackFormat"), text_of(request, "CallBack")
        mq, kafka = request.find("CallBackMqConfig"), request.find("CallBackKafkaConfig")
        own = _make_target(
            text_of(request, "CallBackType"), None if url == "no" else url, mq, kafka, form or "XML"
        )
        if own is not None or url == "no":  # which keeps the queue from demanding one
            return own
        notify = self._of_queue(job.queue_id)
        if notify is None or not set(_EVENTS) & set(comma_list(text_of(notify, "Event"))):
            return None
        url, kafka = text_of(notify, "Url"), notify.find("KafkaConfig")
        form = form or text_of(notify, "ResultFormat") or "XML"
        return _make_target(text_of(notify, "Type"), url and with_scheme(url), notify, kafka, form)

    def _send(self, target: Target, job: StoredJob, effects: CallbackEffects) -> Future[None] | None:
        loop = self._loop
        if loop is None:
            return None
        self._clock.begin_work()
        sending = asyncio.run_coroutine_threadsafe(self._deliver(target, job, effects), loop)
        self._pending.add(sending)
        sending.add_done_callback(self._done)
        return sending

    def _done(self, sending: Future[None]) -> None:
        self._pending.discard(sending)
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
            target=_shown(target),
            outcome="recorded",
            body=body.decode(),
            faults=effects.rules,
        )
        if not effects.times:
            self._ledger.called_back(replace(record, outcome="suppressed"))
        for _ in range(effects.times):
            self._ledger.called_back(
                await self._post(target, body, record) if target.kind == "Url" else record
            )

    async def _post(self, target: Target, body: bytes, record: CallbackRecord) -> CallbackRecord:
        host = urlsplit(target.address).hostname or ""
        # Names are not looked up: that would tell the world outside, too
        if not self._allow_remote and not is_loopback(host):
            detail = "not a loopback address; --allow-remote-callbacks allows it"
            _log.warning("the callback of job %s is not sent to %s: %s", record.job_id, record.target, detail)
            return replace(record, outcome="refused", detail=detail)
        if self._session is None:
            return replace(record, outcome="failed", detail="the emulator stops")
        kind = "application/json" if target.format == "JSON" else "application/xml"
        try:
            async with self._session.post(
                target.address, data=body, headers={"Content-Type": kind}, allow_redirects=False
            ) as answer:
                return replace(record, outcome="sent", status=answer.status)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            # The error's text may hold the address with its secret
            return replace(record, outcome="failed", detail=type(error).__name__)


def _make_target(
    kind: str | None, url: str | None, mq: Element | None, kafka: Element | None, form: str
) -> Target | None:
    """Return where a callback of this kind goes, ``None`` if it has no address."""
    if kind == "TDMQ" and mq is not None:
        mode = text_of(mq, "MqMode") or "Queue"
        address = _join(text_of(mq, "MqRegion"), mode, text_of(mq, "MqName"))
        return Target(kind="TDMQ", address=address, format=form)
    if kind == "Kafka" and kafka is not None:
        address = _join(*(text_of(kafka, name) for name in ("Region", "InstanceId", "Topic")))
        return Target(kind="Kafka", address=address, format=form)
    return Target(kind="Url", address=url, format=form) if url else None


def _join(*parts: str | None) -> str:
    return "/".join(part or "" for part in parts)


def callback_body(job: StoredJob, form: str) -> bytes:
    """Return the message about a job, as ``XML`` or ``JSON``."""
    root = build("Response", {"EventName": "TaskFinish", "JobsDetail": job.describe()})
    return json.dumps(_plain(root), ensure_ascii=False).encode() if form == "JSON" else to_bytes(root)


def _plain(element: Element) -> dict[str, object]:
    """An element's children as an object: texts as they are, lists where several are possible."""
    plain: dict[str, object] = {name: [] for name in _EMPTY_LISTS.get(element.tag, ())}
    for child in element:
        value: object = _plain(child) if len(child) else (child.text or "")
        if child.tag not in _REPEATED:
            plain[child.tag] = value
        elif value or child.tag not in _EMPTY_LISTS["Stream"]:
            several = plain.setdefault(child.tag, [])
            if isinstance(several, list):
                several.append(value)
    return plain


def _shown(target: Target) -> str:
    """The target without user, query and fragment, which may hold the receiver's secret."""
    if target.kind != "Url":
        return target.address
    parts = urlsplit(target.address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
