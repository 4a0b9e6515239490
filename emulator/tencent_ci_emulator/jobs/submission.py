"""Checks requests and makes jobs of them: ``POST /jobs`` with one operation (460/84794) or several
(1545/65243), and the jobs of batch jobs.

Of any job is checked what all jobs have in common, and that what a documented tag needs is there: its
parameters or a ``TemplateId``, an input, an output.

Not documented, and so decided here: each of several operations has its own ``UserData`` and ``JobLevel``, a
common ``Tag`` will do, and all or none are accepted. An output bucket that is unknown, or an output region
that is not the bucket's, is 400 ``InvalidArgument``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.errors import ServiceError, invalid_argument
from tencent_ci_emulator.http.rules import Problems, one_of, require_single_elements
from tencent_ci_emulator.http.xml import Element, append, build, parse, remove, text_of
from tencent_ci_emulator.jobs.engine import JobEngine
from tencent_ci_emulator.jobs.job_rules import (
    check_as_observed,
    check_job,
    check_output,
    drop_unknown_spelling,
)
from tencent_ci_emulator.jobs.job_store import JobStore, StoredJob
from tencent_ci_emulator.jobs.job_types import template_elements
from tencent_ci_emulator.jobs.queues import ACTIVE, QUEUE_TYPES, Queue, Queues
from tencent_ci_emulator.jobs.states import PAUSE, SUBMITTED
from tencent_ci_emulator.jobs.templates import Templates
from tencent_ci_emulator.jobs.types.speech_recognition import SPEECH_RECOGNITION, fill_in_defaults
from tencent_ci_emulator.objects.buckets import Buckets
from tencent_ci_emulator.objects.object_store import ObjectStore

_MAX_OPERATIONS = 6
# Other elements of Operation that name templates, and the tag of the templates that each may name
_FURTHER_TEMPLATES = {"TranscodeTemplateId": "Transcode", "WatermarkTemplateId": "Watermark"}
_RULES = {"QueueType": one_of(*QUEUE_TYPES)}


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request: the documents of its jobs, one ``Operation`` in each, and their queue."""

    bucket: str
    queue_id: str
    requests: tuple[Element, ...]
    queue_type: str | None = None
    batch_id: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """Checks requests and makes jobs of them."""

    config: EmulatorConfig
    database: Database
    clock: Clock
    buckets: Buckets
    objects: ObjectStore
    jobs: JobStore
    templates: Templates
    queues: Queues
    engine: JobEngine

    def make_order(self, bucket: str, root: Element) -> Order:
        """Check the body of ``POST /jobs``, and return the order for its jobs.

        :raises ServiceError: a rule is broken.
        """
        require_single_elements(root, "Tag", "Input", "QueueId", "QueueType")
        operations: list[Element | None] = [*root.findall("Operation")]
        if len(operations) > _MAX_OPERATIONS:
            message = f"there are {len(operations)} Operation elements, at most {_MAX_OPERATIONS} are allowed"
            raise invalid_argument(message)
        requests = tuple(_request_for(root, operation) for operation in operations or [None])
        for number, request in enumerate(requests):
            self.complete_and_check(bucket, request, f"Operation[{number}]: " if len(requests) > 1 else "")
        problems = Problems()
        problems.check(root, _RULES)
        problems.raise_if_any()
        queue = self.find_queue(bucket, requests[0])
        return Order(bucket, queue.id, requests, text_of(root, "QueueType"))

    def complete_and_check(self, bucket: str, request: Element, prefix: str = "") -> None:
        """Fill a template's parameters and defaults into the request for one job, and check it.

        :param prefix: of error messages; names one of several operations.
        :raises ServiceError: a rule is broken.
        """
        self._fill_in_template(bucket, request)
        drop_unknown_spelling(request, self.config.observed)
        problems = Problems()
        check_job(request, problems)
        check_as_observed(request, problems, self.config.observed, self.objects)
        check_output(request, self.buckets.names(), self.config.region, problems)
        problems.raise_if_any(prefix)
        recognition = request.find(f"Operation/{SPEECH_RECOGNITION}")
        if recognition is not None:
            fill_in_defaults(recognition)

    def find_queue(self, bucket: str, request: Element) -> Queue:
        """Return the queue for a request.

        :raises ServiceError: there is no such queue, or its service is not open.
        """
        return self.queues.choose(bucket, text_of(request, "Tag") or "", text_of(request, "QueueId"))

    def accept(self, order: Order, is_wanted: Callable[[], bool] = lambda: True) -> list[StoredJob]:
        """Put the jobs of an order into their queue: all of them, or none.

        :param is_wanted: if it returns false, no job is made; nobody changes the database meanwhile.
        :raises ServiceError: the queue is full, or paused and configured to refuse jobs then.
        """
        with self.database.transaction():
            queue = self.queues.get(order.queue_id)
            is_paused = queue is not None and queue.state != ACTIVE
            if is_paused and self.config.refuse_when_paused:
                raise ServiceError(403, "QueuePaused", f"queue {order.queue_id} is paused")
            if self.queues.room(order.queue_id) < len(order.requests):
                most = self.config.queue_max_size
                raise ServiceError(403, "QueueSaturated", f"{most} jobs wait in queue {order.queue_id}")
            if not is_wanted():
                return []
            stored = [
                self.jobs.add(
                    order.bucket,
                    self.config.region,
                    order.queue_id,
                    request,
                    self.clock.now(),
                    state=PAUSE if is_paused else SUBMITTED,
                    queue_type=order.queue_type or (queue.category if queue else None),
                    batch_id=order.batch_id,
                    id_length=self.config.observed.job_id_length,
                )
                for request in order.requests
            ]
        # After the transaction: the engine's threads use the database while they hold the engine's lock
        for job in stored:
            self.engine.submit(job)
        return stored

    def _fill_in_template(self, bucket: str, request: Element) -> None:
        """Copy the present parameters of the template: a later change of it does not change the job.

        :raises ServiceError: there is no such template, or it is for jobs of another tag.
        """
        operation, tag = request.find("Operation"), text_of(request, "Tag") or ""
        for name, template_tag in _FURTHER_TEMPLATES.items():
            for element in operation.iterfind(name) if operation is not None else ():
                if (
                    text_of(element, ".")
                    and self.templates.get(bucket, element.text or "").tag != template_tag
                ):
                    raise invalid_argument(f"Operation.{name} is not a template of the tag {template_tag}")
        template_id = text_of(operation, "TemplateId")
        # No document has templates for some tags: there the id is kept as it is
        if template_id is None or operation is None or not template_elements(tag):
            return
        template = self.templates.get(bucket, template_id)
        if template.type.job_tag != tag:
            message = f"Operation.TemplateId is a template of the tag {template.tag}, which is not for {tag}"
            raise invalid_argument(message)
        remove(operation, "TemplateName", template.type.element)
        filled_in = {template.type.element: parse(template.parameters)}
        append(operation, {"TemplateName": template.name, **filled_in})


def _request_for(root: Element, operation: Element | None) -> Element:
    """Return the request for one of the operations, whose own ``Tag`` replaces the common one."""
    request = build("Request", root)
    remove(request, "Tag", "Operation")
    tag = text_of(operation, "Tag") or text_of(root, "Tag")
    if operation is not None:
        operation = build("Operation", operation)
        remove(operation, "Tag")
    append(request, {"Tag": tag, "Operation": operation})
    return request
