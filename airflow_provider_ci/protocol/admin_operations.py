"""The remote calls about queues and the services that are opened for a bucket, and what those about templates
have in common with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Generic, Self, TypeVar

from airflow_provider_ci.exceptions import RequestValidationError, ServiceError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.admin_models import (
    ACTIVE,
    PAUSED,
    BucketAnswer,
    BucketBinding,
    BucketsAnswer,
    Queue,
    QueueAnswer,
    QueueRequest,
    QueuesAnswer,
    TemplatesAnswer,
)
from airflow_provider_ci.protocol.admin_validation import check_choice, check_id, check_queue
from airflow_provider_ci.protocol.errors import is_not_open, is_open_already
from airflow_provider_ci.protocol.operations import (
    IDS_PER_REQUEST,
    ApiRequest,
    PagedRequest,
    check_list,
    drop_empty,
    invalid_response_error,
    parse_response,
)
from airflow_provider_ci.protocol.wire import Request, Response, Service

T = TypeVar("T")
Item = TypeVar("Item")

#: What is opened for a bucket, and has queues: smart audio (``asr``) and media processing (``media``).
ASR, MEDIA = "asr", "media"
SERVICES = (ASR, MEDIA)
#: The largest page of a list of buckets (1045/49551); assumed for templates and queues.
PAGE_SIZE_MAX = 100
#: The default page: no larger one is documented for templates and queues.
PAGE_SIZE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedCall(PagedRequest[T, Item], Generic[T, Item]):
    """A list whose pages are numbered from 1."""

    page_number: int = 1
    page_size: int = PAGE_SIZE

    def page_params(self) -> tuple[tuple[str, str], ...]:
        """Return the parameters that name the page.

        :raises RequestValidationError: the service has no such page.
        """
        broken = []
        if self.page_number < 1:
            broken.append(f"page_number is {self.page_number!r}, allowed: from 1")
        if not 1 <= self.page_size <= PAGE_SIZE_MAX:
            broken.append(f"page_size is {self.page_size!r}, allowed: 1 to {PAGE_SIZE_MAX}")
        if broken:
            raise RequestValidationError(broken)
        return ("pageNumber", str(self.page_number)), ("pageSize", str(self.page_size))

    def page_after(self, answer: TemplatesAnswer | QueuesAnswer | BucketsAnswer, found: int) -> Self | None:
        """Return the call for the next page: only while the service counts more than it has shown."""
        if answer.page_number not in (None, self.page_number):
            return None  # it sent another page than was asked for: it would do so for ever
        shown = self.page_number * (answer.page_size or self.page_size)
        if not found or shown >= (answer.total_count or 0):
            return None
        return replace(self, page_number=self.page_number + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQueues(NumberedCall[QueuesAnswer, Queue]):
    """``GET /asrqueue`` (460/46234) or ``GET /queue`` (436/54045): one page of a bucket's queues.

    :param service: ``asr``, or ``media``, of which all categories are listed.
    :param queue_ids: only these, at most 10; unknown ones come back in ``non_exist_pids``.
    :param state: ``Active`` or ``Paused``; none means both.
    """

    service: str = ASR
    queue_ids: Sequence[str] = ()
    state: str | None = None
    action: ClassVar[str] = "list queues"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaQueues", "ci:DescribeAsrQueues")

    def request(self) -> Request:
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
        return Request(
            method="GET", service=Service.CI, path=_queue_path(self.service), params=drop_empty(params)
        )

    def parse(self, response: Response) -> QueuesAnswer:
        """Return the page."""
        return read_answer(QueuesAnswer, response, self.action)

    def items(self, answer: QueuesAnswer) -> Sequence[Queue]:
        """Return the queues of the page."""
        return answer.queue_list

    def next_page(self, answer: QueuesAnswer) -> ListQueues | None:
        """Return the call for the next page, or ``None``."""
        return self.page_after(answer, len(answer.queue_list))


@dataclass(frozen=True, slots=True)
class QueueAsRead:
    """A queue, and its callbacks as the service described them, with elements that no page names."""

    queue: Queue
    notify_config: xml.Element | None = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class DescribeQueue(ApiRequest[QueueAsRead | None]):
    """``GET /asrqueue`` (460/46234) or ``GET /queue`` (436/54045) for one queue that is to be updated."""

    queue_id: str
    service: str = ASR
    action: ClassVar[str] = ListQueues.action
    cam_actions: ClassVar[tuple[str, ...]] = ListQueues.cam_actions

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: an argument outside the documented values.
        """
        return ListQueues(service=self.service, queue_ids=[self.queue_id]).request()

    def parse(self, response: Response) -> QueueAsRead | None:
        """Return the queue; ``None`` if the bucket has no such queue."""
        for child in parse_response(response, self.action):
            queue = xml.read(Queue, child)
            if xml.local_name(child.tag) == "QueueList" and queue.queue_id == self.queue_id:
                configs = (each for each in child if xml.local_name(each.tag) == "NotifyConfig" and len(each))
                return QueueAsRead(queue, next(configs, None))
        return None


@dataclass(frozen=True, slots=True)
class UpdateQueue(ApiRequest[Queue]):
    """``PUT /asrqueue/<id>`` (460/46235) or ``PUT /queue/<id>`` (460/42324): the definition is replaced.

    ``as_read`` is the queue as the service described it: what it keeps of that is sent as it is, unchecked.
    """

    queue_id: str
    queue: QueueRequest
    service: str = ASR
    as_read: QueueAsRead | None = None
    action: ClassVar[str] = "update the queue"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:UpdateMediaQueue", "ci:UpdateAsrQueue")

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: the id is none, or the definition breaks a documented rule.
        """
        check_choice("service", self.service, SERVICES)
        check_id("queue_id", self.queue_id)
        before = self.as_read
        check_queue(self.queue, before.queue if before else None)
        if (
            before is not None
            and before.notify_config is not None
            and self.queue.notify_config == before.queue.notify_config
        ):
            root = xml.to_element(replace(self.queue, notify_config=None), "Request")
            root.append(_copy(before.notify_config))
        else:
            root = xml.to_element(self.queue, "Request")
        path = f"{_queue_path(self.service)}/{self.queue_id}"
        return Request(method="PUT", service=Service.CI, path=path, body=xml.to_bytes(root))

    def parse(self, response: Response) -> Queue:
        """Return the queue as it is now."""
        queue = read_answer(QueueAnswer, response, self.action).queue
        if queue is None:
            raise invalid_response_error(response, self.action, "the answer has no Queue")
        return queue


@dataclass(frozen=True, slots=True)
class OpenBucket(ApiRequest[BucketBinding | None]):
    """``POST /asrbucket`` (460/95754) or ``POST /mediabucket`` (436/115298): open a service for the bucket.

    May be repeated: that it is open already counts as success.
    """

    service: str = ASR
    action: ClassVar[str] = "open the service for the bucket"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateMediaBucket", "ci:CreateAsrBucket")

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: no such service.
        """
        check_choice("service", self.service, SERVICES)
        return Request(method="POST", service=Service.CI, path=_bucket_path(self.service))

    def parse(self, response: Response) -> BucketBinding | None:
        """Return the binding; ``None`` if the service was open already."""
        try:
            answer = read_answer(BucketAnswer, response, self.action)
        except ServiceError as error:
            if is_open_already(error):
                return None
            raise
        return answer.asr_bucket or answer.media_bucket or BucketBinding()


@dataclass(frozen=True, slots=True)
class CloseBucket(ApiRequest[bool]):
    """``DELETE /asrbucket`` (436/98018) or ``DELETE /mediabucket``: close a service for the bucket.

    The second is known by its permission only (``ci:DeleteMediaBucket``, 1045/49896).
    """

    service: str = ASR
    action: ClassVar[str] = "close the service for the bucket"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DeleteMediaBucket", "ci:DeleteAsrBucket")

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: no such service.
        """
        check_choice("service", self.service, SERVICES)
        return Request(method="DELETE", service=Service.CI, path=_bucket_path(self.service))

    def parse(self, response: Response) -> bool:
        """Tell whether it was open: it is closed in any case."""
        try:
            return acknowledged(response, self.action, ())
        except ServiceError as error:
            if is_not_open(error):
                return False
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBuckets(NumberedCall[BucketsAnswer, BucketBinding]):
    """``GET /asrbucket`` or ``GET /mediabucket`` on the region's host (436/48988): one page of bindings.

    :param regions: only buckets of these regions; none leaves it to the service.
    :param bucket_names: only these buckets.
    :param bucket_name: begin of the bucket's name.
    """

    service: str = ASR
    regions: Sequence[str] = ()
    bucket_names: Sequence[str] = ()
    bucket_name: str | None = None
    page_size: int = PAGE_SIZE_MAX
    action: ClassVar[str] = "list buckets"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaBuckets", "ci:DescribeAsrBuckets")
    regional: ClassVar[bool] = True

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: an argument outside the documented values.
        """
        check_choice("service", self.service, SERVICES)
        check_list("regions", self.regions)
        check_list("bucket_names", self.bucket_names)
        params = (
            ("regions", ",".join(self.regions)),
            ("bucketNames", ",".join(self.bucket_names)),
            ("bucketName", self.bucket_name),
            *self.page_params(),
        )
        return Request(
            method="GET", service=Service.CI, path=_bucket_path(self.service), params=drop_empty(params)
        )

    def parse(self, response: Response) -> BucketsAnswer:
        """Return the page."""
        return read_answer(BucketsAnswer, response, self.action)

    def items(self, answer: BucketsAnswer) -> Sequence[BucketBinding]:
        """Return the bindings of the page."""
        return answer.asr_bucket_list or answer.media_bucket_list

    def next_page(self, answer: BucketsAnswer) -> ListBuckets | None:
        """Return the call for the next page, or ``None``."""
        return self.page_after(answer, len(self.items(answer)))


def _queue_path(service: str) -> str:
    return "/asrqueue" if service == ASR else "/queue"


def _bucket_path(service: str) -> str:
    return f"/{service}bucket"


def _copy(source: xml.Element) -> xml.Element:
    """Return an element as it is sent: without namespaces, attributes and what is empty."""
    copied = source.makeelement(xml.local_name(source.tag))
    copied.text = source.text
    copied.extend(_copy(child) for child in source if len(child) or (child.text or "").strip())
    return copied


def read_answer(model: type[T], response: Response, action: str) -> T:
    """Return an answer as ``model``.

    :raises ServiceError: it is a refusal.
    """
    return xml.read(model, parse_response(response, action))


def acknowledged(response: Response, action: str, gone_already: Sequence[str]) -> bool:
    """Tell whether a deletion changed anything: repeated after a lost answer, it finds nothing to delete."""
    try:
        if response.body.strip() or not 200 <= response.status < 300:
            parse_response(response, action)
    except ServiceError as error:
        if error.code in gone_already:
            return False
        raise
    return True
