"""Queues: models, rules and calls.

Documents: 436/54045, 460/42324 (media), 460/46234, 460/46235 (smart audio). Unlike responses about jobs,
these have ``RequestId`` in their bodies.
"""

# ruff: noqa: D102 - the methods of the calls are documented in ApiRequest and PagedRequest

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.api_request import (
    ApiRequest,
    ci_request,
    invalid_response_error,
    parse_response,
    read_response,
)
from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.job_types.job_type import ASR, MEDIA
from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST
from airflow_provider_ci.protocol.lists import NumberedListRequest
from airflow_provider_ci.protocol.rules import (
    check_choice,
    check_id,
    check_list,
    choice_problems,
    raise_if_any,
)
from airflow_provider_ci.protocol.services import SERVICES
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse

#: States of a queue.
ACTIVE, PAUSED = "Active", "Paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConfig:
    """CKafka topic for callbacks. Only Tencent's SDKs document it."""

    region: str | None = None
    instance_id: str | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """Callbacks of a queue.

    ``state`` is ``On`` or ``Off``. ``event`` has one or more of ``TaskFinish``, ``WorkflowFinish`` and
    ``TransCodingFinish``, separated by commas. ``type`` is ``Url``, ``TDMQ`` or ``Kafka``. Only Tencent's
    SDKs document ``TransCodingFinish``, ``Kafka`` and a ``url`` without scheme.
    """

    state: str | None = None
    url: str | None = field(default=None, repr=False)  # its query may have the receiver's secret
    event: str | None = None
    type: str | None = None
    result_format: str | None = None
    mq_mode: str | None = None
    mq_region: str | None = None
    mq_name: str | None = None
    kafka_config: KafkaConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue: at most ``max_size`` jobs wait in it, and ``max_concurrent`` run."""

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
    """The response to the update of a queue."""

    request_id: str | None = None
    queue: Queue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesResponse:
    """The response to ``GET /queue`` and ``GET /asrqueue``; without totals if the request has ids."""

    request_id: str | None = None
    total_count: int | None = None
    page_number: int | None = None
    page_size: int | None = None
    queue_list: tuple[Queue, ...] = ()
    non_exist_pids: tuple[str, ...] = field(default=(), metadata=element("NonExistPIDs"))


@dataclass(frozen=True, slots=True)
class DescribedQueue:
    """A queue, and the element of its callbacks, which may have children that are not documented."""

    queue: Queue
    notify_config: xml.Element | None = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQueues(NumberedListRequest[QueuesResponse, Queue]):
    """``GET /asrqueue`` (460/46234) or ``GET /queue`` (436/54045): lists a bucket's queues.

    :param service: ``asr`` or ``media``. Queues of ``media`` are listed whatever their category.
    :param queue_ids: only queues with these ids, at most 10. Ids without queue are in ``non_exist_pids`` of
        the response.
    :param state: only ``Active`` or only ``Paused`` queues.
    """

    service: str = ASR
    queue_ids: Sequence[str] = ()
    state: str | None = None
    purpose: ClassVar[str] = "list queues"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaQueues", "ci:DescribeAsrQueues")

    def http_request(self) -> HttpRequest:
        raise_if_any(choice_problems("state", self.state, (ACTIVE, PAUSED), optional=True))
        check_list("queue_ids", self.queue_ids)
        if len(self.queue_ids) > IDS_PER_REQUEST:
            raise RequestValidationError(
                [f"queue_ids has {len(self.queue_ids)} ids, allowed: at most {IDS_PER_REQUEST}"]
            )
        for queue_id in self.queue_ids:
            check_id("queue_id", queue_id)
        params = self.params(
            ("queueIds", ",".join(self.queue_ids)),
            ("state", self.state),
            ("category", "CateAll" if self.service == MEDIA else None),
        )
        return ci_request("GET", _path(self.service), params=params)

    def parse(self, response: HttpResponse) -> QueuesResponse:
        return read_response(QueuesResponse, response, self.purpose)

    def items(self, page: QueuesResponse) -> Sequence[Queue]:
        return page.queue_list


@dataclass(frozen=True, slots=True)
class DescribeQueue(ApiRequest[DescribedQueue | None]):
    """``GET /asrqueue`` (460/46234) or ``GET /queue`` (436/54045): describes a queue that is to be updated.

    ``None`` if the bucket has no such queue.
    """

    queue_id: str
    service: str = ASR
    purpose: ClassVar[str] = ListQueues.purpose
    cam_actions: ClassVar[tuple[str, ...]] = ListQueues.cam_actions

    def http_request(self) -> HttpRequest:
        return ListQueues(service=self.service, queue_ids=[self.queue_id]).http_request()

    def parse(self, response: HttpResponse) -> DescribedQueue | None:
        for child in parse_response(response, self.purpose):
            queue = xml.read(Queue, child)
            if xml.local_name(child.tag) == "QueueList" and queue.queue_id == self.queue_id:
                configs = (each for each in child if xml.local_name(each.tag) == "NotifyConfig" and len(each))
                return DescribedQueue(queue, next(configs, None))
        return None


@dataclass(frozen=True, slots=True)
class UpdateQueue(ApiRequest[Queue]):
    """``PUT /asrqueue/<id>`` (460/46235) or ``PUT /queue/<id>`` (460/42324): sets the state of a queue.

    The call replaces the queue's definition. All but the state is sent as the service described it, without
    checks, because it has values that are not documented.
    """

    queue_id: str
    state: str
    described: DescribedQueue
    service: str = ASR
    purpose: ClassVar[str] = "update the queue"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:UpdateMediaQueue", "ci:UpdateAsrQueue")

    def http_request(self) -> HttpRequest:
        check_id("queue_id", self.queue_id)
        check_choice("state", self.state, (ACTIVE, PAUSED))
        path = f"{_path(self.service)}/{self.queue_id}"
        callbacks = self.described.notify_config
        # without callbacks, the service demands the element all the same
        config = {"State": "Off"} if callbacks is None else _without_empty(xml.ElementTree(callbacks))
        queue = {"Name": self.described.queue.name, "State": self.state, "NotifyConfig": config}
        return ci_request("PUT", path, body=queue)

    def parse(self, response: HttpResponse) -> Queue:
        queue = read_response(QueueResponse, response, self.purpose).queue
        if queue is None:
            raise invalid_response_error(response, self.purpose, "the response has no Queue")
        return queue


def _path(service: str) -> str:
    check_choice("service", service, SERVICES)
    return "/queue" if service == MEDIA else f"/{service}queue"


def _without_empty(tree: Tree) -> dict[str, Any]:
    """Return an element as requests have it: without empty children."""
    filled = {
        name: _without_empty(value) if isinstance(value, Mapping) else value for name, value in tree.items()
    }
    return {name: value for name, value in filled.items() if value not in ("", {}, [])}
