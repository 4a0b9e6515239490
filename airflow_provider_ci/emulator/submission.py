"""From request to jobs: ``POST /jobs`` with one operation (460/84794), or several (1545/65243)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

from lxml import etree

from airflow_provider_ci.emulator.calls import Call, document, once, require, strictly
from airflow_provider_ci.emulator.clock import Clock
from airflow_provider_ci.emulator.config import EmulatorConfig
from airflow_provider_ci.emulator.database import Database
from airflow_provider_ci.emulator.engine import JobEngine
from airflow_provider_ci.emulator.errors import ServiceFault, invalid_argument
from airflow_provider_ci.emulator.jobs import JobStore, StoredJob
from airflow_provider_ci.emulator.queues import QueueCalls
from airflow_provider_ci.emulator.templates import TemplateStore, not_found
from airflow_provider_ci.protocol.models import PAUSE, SUBMITTED, Operation, Output, VoiceSeparateRequest
from airflow_provider_ci.protocol.validation import problems

MAX_OPERATIONS = 6

#: Values of ``QueueType``, from SDK comments and the pages of lists
_QUEUE_TYPES = ("Transcoding", "SpeedTranscoding", "Speeching", "PicProcess", "AIProcess")


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request: what its jobs are to do, and where they wait."""

    bucket: str
    queue_id: str
    requests: tuple[VoiceSeparateRequest, ...]
    queue_type: str | None = None
    batch_id: str | None = None


class Submission:
    """Checks requests and makes jobs of them."""

    def __init__(
        self,
        config: EmulatorConfig,
        database: Database,
        jobs: JobStore,
        templates: TemplateStore,
        queues: QueueCalls,
        engine: JobEngine,
        clock: Clock,
    ) -> None:
        self._config = config
        self._database = database
        self._jobs = jobs
        self._templates = templates
        self._queues = queues
        self._engine = engine
        self._clock = clock

    def of_call(self, call: Call) -> Order:
        """Check the body of ``POST /jobs``.

        :raises ServiceFault: a rule is broken.
        """
        root = document(call)
        once(root, ("Tag", "Input", "QueueId", "QueueType"))
        requests = tuple(self.checked(call.bucket, request, at) for at, request in _operations(root))
        queue_type = root.findtext("QueueType") or None
        if queue_type is not None:
            require("QueueType", queue_type, _QUEUE_TYPES)
        queue = self._queues.choose(call.bucket, requests[0].queue_id)
        return Order(call.bucket, queue.id, requests, queue_type)

    def checked(self, bucket: str, request: VoiceSeparateRequest, at: str = "") -> VoiceSeparateRequest:
        """Return a request with its template's parameters filled in.

        :param at: ``Operation[2]``, where messages are to name one of several operations.
        :raises ServiceFault: a rule is broken.
        """
        filled = self._with_template(bucket, request)
        operation = filled.operation or Operation()
        # With the template's parameters in place, the rules between mode and outputs hold for them too
        found = problems(replace(filled, operation=replace(operation, template_id=None)))
        if found:
            raise invalid_argument(_named("; ".join(str(problem) for problem in found), at))
        output = operation.output or Output()
        if output.bucket not in self._config.buckets:
            known = ", ".join(self._config.buckets)
            raise invalid_argument(
                _named(f"Operation.Output.Bucket is {output.bucket!r}, buckets here: {known}", at)
            )
        if output.region != self._config.region:
            here = f"Operation.Output.Region is {output.region!r}, but the bucket is in {self._config.region}"
            raise invalid_argument(_named(here, at))
        return filled

    def accept(self, order: Order, is_wanted: Callable[[], bool] = lambda: True) -> list[StoredJob]:
        """Put the jobs into their queue: all of them, or none if they are not wanted any more.

        :raises ServiceFault: the queue is full, or paused and set to refuse jobs then.
        """
        # The queue as it is now, and nobody else changes it or fills it meanwhile
        with self._database.transaction():
            paused = self._queues.is_paused(order.queue_id)
            if paused and self._config.refuse_when_paused:
                raise ServiceFault(403, "QueuePaused", f"queue {order.queue_id} is paused")
            if self._queues.room(order.queue_id) < len(order.requests):
                most = self._config.queue_max_size
                raise ServiceFault(403, "QueueSaturated", f"{most} jobs wait in queue {order.queue_id}")
            if not is_wanted():
                return []
            stored = [self._add(order, request, PAUSE if paused else SUBMITTED) for request in order.requests]
        # After the transaction: the engine's threads ask the database while they hold its lock
        for job in stored:
            self._engine.submit(job)
        return stored

    def _add(self, order: Order, request: VoiceSeparateRequest, state: str) -> StoredJob:
        return self._jobs.add(
            order.bucket,
            self._config.region,
            order.queue_id,
            request,
            self._clock.now(),
            state=state,
            queue_type=order.queue_type or self._queues.category(order.queue_id),
            batch_id=order.batch_id,
        )

    def _with_template(self, bucket: str, request: VoiceSeparateRequest) -> VoiceSeparateRequest:
        """Take the template's parameters as they are now: a later change of it is not for this job."""
        operation = request.operation or Operation()
        if operation.template_id is None:
            return request
        template = self._templates.get(bucket, operation.template_id)
        if template is None:
            raise not_found(operation.template_id)
        return replace(
            request,
            operation=replace(operation, template_name=template.name, voice_separate=template.parameters),
        )


def _operations(root: etree._Element) -> list[tuple[str, VoiceSeparateRequest]]:
    """Return each operation as a request of its own, with its place if there are several."""
    operations = root.findall("Operation")
    if len(operations) > MAX_OPERATIONS:
        raise invalid_argument(f"{len(operations)} Operation are given, at most {MAX_OPERATIONS} are allowed")
    if not operations:
        return [("", _request(root, root.findtext("Tag")))]
    several = len(operations) > 1
    return [
        (
            f"Operation[{place}]" if several else "",
            _request(_only(root, place), operation.findtext("Tag") or root.findtext("Tag")),
        )
        for place, operation in enumerate(operations)
    ]


def _only(root: etree._Element, place: int) -> etree._Element:
    alone = copy.deepcopy(root)
    for other, operation in enumerate(alone.findall("Operation")):
        if other != place:
            alone.remove(operation)
    return alone


def _request(root: etree._Element, tag: str | None) -> VoiceSeparateRequest:
    # The model has a default for its users' sake; on the wire the tag must be there
    return replace(strictly(VoiceSeparateRequest, root), tag=tag or None)


def _named(message: str, at: str) -> str:
    return f"{at}: {message}" if at else message
