"""Queues: models, rules and calls.

Documents: 436/54045, 460/42324 (media), 460/46234, 460/46235 (smart audio).

Unlike responses about jobs, these carry ``RequestId`` in their bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.api_request import (
    ApiRequest,
    drop_empty,
    invalid_response_error,
    parse_response,
    read_response,
)
from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST, CallbackKafkaConfig
from airflow_provider_ci.protocol.lists import NumberedListRequest
from airflow_provider_ci.protocol.names import (
    ACTIVE,
    PAUSED,
)
from airflow_provider_ci.protocol.rules import (
    check_choice,
    check_id,
    check_list,
)
from airflow_provider_ci.protocol.services import ASR, MEDIA, SERVICES
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """Callbacks of a queue: ``state`` is ``On`` or ``Off``, ``event`` a comma list of ``TaskFinish``,
    ``WorkflowFinish`` and ``TransCodingFinish``, ``type`` is ``Url``, ``TDMQ`` or ``Kafka``. The last event,
    ``Kafka`` and a ``url`` without scheme are known from SDKs only.
    """

    state: str | None = None
    url: str | None = field(default=None, repr=False)  # its query may hold the receiver's secret
    event: str | None = None
    type: str | None = None
    result_format: str | None = None
    mq_mode: str | None = None
    mq_region: str | None = None
    mq_name: str | None = None
    kafka_config: CallbackKafkaConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRequest:
    """The body of ``PUT /queue/<id>`` and ``PUT /asrqueue/<id>``. ``state`` is ``Active`` or ``Paused``."""

    name: str | None = None
    state: str | None = None
    notify_config: NotifyConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue: at most ``max_size`` jobs wait and ``max_concurrent`` run."""

    queue_id: str | None = None
    name: str | None = None
    state: str | None = None
    notify_config: NotifyConfig | None = None
    max_size: int | None = None
    max_concurrent: int | None = None
    bucket_id: str | None = None
    category: str | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueResponse:
    """The answer to the update of a queue."""

    request_id: str | None = None
    queue: Queue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesResponse:
    """The answer to ``GET /queue`` and ``GET /asrqueue``; without totals when ids were asked for."""

    request_id: str | None = None
    total_count: int | None = None
    page_number: int | None = None
    page_size: int | None = None
    queue_list: tuple[Queue, ...] = ()
    non_exist_pids: tuple[str, ...] = field(default=(), metadata=element("NonExistPIDs"))


@dataclass(frozen=True, slots=True)
class QueueAsRead:
    """A queue, and its callbacks as the service described them, with elements that no page names."""

    queue: Queue
    notify_config: xml.Element | None = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQueues(NumberedListRequest[QueuesResponse, Queue]):
    """``GET /asrqueue`` (460/46234) or ``GET /queue`` (436/54045): one page of a bucket's queues.

    :param service: ``asr``, or ``media``, of which all categories are listed.
    :param queue_ids: only these, at most 10; unknown ones come back in ``non_exist_pids``.
    :param state: ``Active`` or ``Paused``; none means both.
    """

    service: str = ASR
    queue_ids: Sequence[str] = ()
    state: str | None = None
    purpose: ClassVar[str] = "list queues"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaQueues", "ci:DescribeAsrQueues")

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: an argument outside the documented values.
        """
        check_choice("service", self.service, SERVICES)
        if self.state is not None:
            check_choice("state", self.state, (ACTIVE, PAUSED))
        check_list("queue_ids", self.queue_ids)
        if len(self.queue_ids) > IDS_PER_REQUEST:
            raise RequestValidationError(
                [f"queue_ids has {len(self.queue_ids)} ids, allowed: at most {IDS_PER_REQUEST}"]
            )
        for queue_id in self.queue_ids:
            check_id("queue_id", queue_id)
        params = (
            ("queueIds", ",".join(self.queue_ids)),
            ("state", self.state),
            ("category", "CateAll" if self.service == MEDIA else None),
            *self.page_params(),
        )
        return HttpRequest(
            method="GET", service=Service.CI, path=_queue_path(self.service), params=drop_empty(params)
        )

    def parse(self, response: HttpResponse) -> QueuesResponse:
        """Return the page."""
        return read_response(QueuesResponse, response, self.purpose)

    def items(self, answer: QueuesResponse) -> Sequence[Queue]:
        """Return the queues of the page."""
        return answer.queue_list

    def next_page(self, answer: QueuesResponse) -> ListQueues | None:
        """Return the call for the next page, or ``None``."""
        return self.page_after(answer, len(answer.queue_list))


@dataclass(frozen=True, slots=True)
class DescribeQueue(ApiRequest[QueueAsRead | None]):
    """``GET /asrqueue`` (460/46234) or ``GET /queue`` (436/54045) for one queue that is to be updated."""

    queue_id: str
    service: str = ASR
    purpose: ClassVar[str] = ListQueues.purpose
    cam_actions: ClassVar[tuple[str, ...]] = ListQueues.cam_actions

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: an argument outside the documented values.
        """
        return ListQueues(service=self.service, queue_ids=[self.queue_id]).http_request()

    def parse(self, response: HttpResponse) -> QueueAsRead | None:
        """Return the queue; ``None`` if the bucket has no such queue."""
        for child in parse_response(response, self.purpose):
            queue = xml.read(Queue, child)
            if xml.local_name(child.tag) == "QueueList" and queue.queue_id == self.queue_id:
                configs = (each for each in child if xml.local_name(each.tag) == "NotifyConfig" and len(each))
                return QueueAsRead(queue, next(configs, None))
        return None


@dataclass(frozen=True, slots=True)
class UpdateQueue(ApiRequest[Queue]):
    """``PUT /asrqueue/<id>`` (460/46235) or ``PUT /queue/<id>`` (460/42324): sets the state of a queue.

    The call replaces the queue's definition. All but the state is sent as the service described it, without
    checks: it has values that no page documents.
    """

    queue_id: str
    state: str
    described: QueueAsRead
    service: str = ASR
    purpose: ClassVar[str] = "update the queue"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:UpdateMediaQueue", "ci:UpdateAsrQueue")

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: an argument outside the documented values.
        """
        check_choice("service", self.service, SERVICES)
        check_id("queue_id", self.queue_id)
        check_choice("state", self.state, (ACTIVE, PAUSED))
        callbacks = self.described.notify_config
        # the service requires NotifyConfig
        no_callbacks = NotifyConfig(state="Off") if callbacks is None else None
        queue = QueueRequest(name=self.described.queue.name, state=self.state, notify_config=no_callbacks)
        root = xml.to_element(queue, "Request")
        if callbacks is not None:
            root.append(_copy(callbacks))
        path = f"{_queue_path(self.service)}/{self.queue_id}"
        return HttpRequest(method="PUT", service=Service.CI, path=path, body=xml.to_bytes(root))

    def parse(self, response: HttpResponse) -> Queue:
        """Return the queue as it is now."""
        queue = read_response(QueueResponse, response, self.purpose).queue
        if queue is None:
            raise invalid_response_error(response, self.purpose, "the answer has no Queue")
        return queue


def _queue_path(service: str) -> str:
    return "/asrqueue" if service == ASR else "/queue"


def _copy(source: xml.Element) -> xml.Element:
    """Return an element as it is sent: without namespaces, attributes and what is empty."""
    copied = source.makeelement(xml.local_name(source.tag))
    copied.text = source.text
    copied.extend(_copy(child) for child in source if len(child) or (child.text or "").strip())
    return copied
