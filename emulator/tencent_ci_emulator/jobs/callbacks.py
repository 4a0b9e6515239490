"""Callbacks: one POST for each job that ends ``Success`` or ``Failed`` (460/76959, 460/84821).

It goes to the job's ``CallBack``, or else to its queue's notification, and only to loopback addresses
(``localhost``, ``127.0.0.1``, ``::1``) unless others are allowed; other names are not even looked up.
Messages to TDMQ and Kafka are not sent but recorded. The body holds nothing that authenticates it, as with
the real service.

Not documented, and so decided here: each is sent once, whatever the response, with a time limit of ten
seconds, and no redirect is followed. They are sent in the order in which jobs end, but not one after the
other. One is lost if the emulator is killed before it is sent. A cancelled job has none. The
``Content-Type`` is ``application/xml`` or ``application/json``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import aiohttp

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import is_loopback
from tencent_ci_emulator.faults.effects import CallbackContent, CallbackEffects
from tencent_ci_emulator.faults.fault_plan import FaultPlan
from tencent_ci_emulator.http.ci_call import split_list
from tencent_ci_emulator.http.xml import Element, parse, text_of
from tencent_ci_emulator.jobs.callback_body import callback_body
from tencent_ci_emulator.jobs.job_store import JobStore, StoredJob
from tencent_ci_emulator.jobs.queues import with_scheme
from tencent_ci_emulator.jobs.states import FAILED, SUCCESS
from tencent_ci_emulator.ledger import CallbackRecord, Ledger
from tencent_ci_emulator.observed import ASSUMED, ObservedBehaviour

_log = logging.getLogger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_MAX_CONNECTIONS = 8
_REPLACED_KEPT = 1_024  # bytes of a body from the fault plan that a record has
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


@dataclass(frozen=True, slots=True)
class _Message:
    """A message about a job: its receiver, how often it is sent, and what it says in place of the truth."""

    target: Target
    job: StoredJob
    times: int
    content: CallbackContent
    rules: tuple[str, ...]


class Callbacks:
    """Sends the callbacks of jobs that end, in the server's event loop.

    :param call_at: calls a function at a time of the clock; the function must not block.
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
        observed: ObservedBehaviour = ASSUMED,
        call_at: Callable[[float, Callable[[], object]], None],
        notify_config_of_queue: Callable[[str], Element | None] = lambda _queue_id: None,
    ) -> None:
        self._jobs = jobs
        self._faults = faults
        self._ledger = ledger
        self._clock = clock
        self._allow_remote = allow_remote
        self._observed = observed
        self._call_at = call_at
        self._callbacks_of_queue = notify_config_of_queue
        self._effects: dict[str, CallbackEffects] = {}  # of jobs that are about to end, by id
        self._held: deque[_Message] = deque()  # until another message has been sent
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
        """Send a job's forged callbacks, and its own one if it is ``early``, as the fault plan says.

        Called by a worker, which is blocked until each of them has a response.

        :param job: in the state in which it will end.
        :return: seconds by which the job's end is to be delayed.
        """
        target = self._find_target(job)
        if target is None:
            return 0.0
        effects = self._effects[job.id] = self._faults.on_callback(job.id, job.input_object)
        messages = [_Message(target, job, 1, content, effects.rules) for content in effects.forged]
        if effects.early:
            messages.append(_Message(target, job, effects.times, effects.content, effects.rules))
        try:
            for message in messages:
                if (sending := self._start_sending(message)) is not None:
                    sending.result()
        except CancelledError:
            return 0.0
        return effects.delay_of_end

    def after_end(self, job: StoredJob) -> None:
        """Start sending the callback of a job that has ended, or plan it for later, and return at once."""
        effects = self._effects.pop(job.id, None)
        stored = self._jobs.get(job.id)  # the engine passes the job as it was submitted
        target = self._find_target(stored)
        if target is None or stored.state not in (SUCCESS, FAILED):
            return
        if effects is None:
            effects = self._faults.on_callback(job.id, stored.input_object)
        if not effects.early:
            self._send_or_hold(
                _Message(target, stored, effects.times, effects.content, effects.rules), effects
            )

    def _send_or_hold(self, message: _Message, effects: CallbackEffects) -> None:
        if effects.out_of_order:
            self._held.append(message)
        elif effects.late:
            self._call_at(self._clock.now() + effects.late, lambda: self._start_sending(message))
        else:
            self._start_sending(message)

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

    def _start_sending(self, message: _Message) -> Future[None] | None:
        if self._loop is None:
            return None
        self._clock.begin_work()
        sending = asyncio.run_coroutine_threadsafe(self._deliver_with_held(message), self._loop)
        self._sending.add(sending)
        sending.add_done_callback(self._note_done)
        return sending

    def _note_done(self, sending: Future[None]) -> None:
        self._sending.discard(sending)
        self._clock.end_work()
        if not sending.cancelled() and (error := sending.exception()) is not None:
            _log.error("a callback failed in the emulator itself", exc_info=error)

    async def _deliver_with_held(self, message: _Message) -> None:
        """Send a message, then those that were held back until another one has been sent, newest first."""
        await self._deliver(message)
        while self._held:
            await self._deliver(self._held.pop())

    async def _deliver(self, message: _Message) -> None:
        job, target, content = message.job, message.target, message.content
        body = callback_body(job, target.format, content, self._observed)
        record = CallbackRecord(
            time=self._clock.now(),
            job_id=job.id,
            state=str(content.claims.get("State", job.state)),
            kind=target.kind,
            format=target.format,
            target=_without_secrets(target),
            outcome="recorded",
            body=(body if content.body is None else body[:_REPLACED_KEPT]).decode(errors="replace"),
            faults=message.rules,
        )
        if not message.times:
            self._ledger.add_callback(replace(record, outcome="suppressed"))
        for _ in range(message.times):
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


def _without_secrets(target: Target) -> str:
    """Return the address without user, last part of the path, query and fragment, which may hold the
    receiver's secret.
    """
    if target.kind != "Url":
        return target.address
    parts = urlsplit(target.address)
    folder, _, last = parts.path.rpartition("/")
    path = f"{folder}/…" if last else parts.path
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"
