"""From request to jobs: ``POST /jobs`` with one operation (460/84794), or several (1545/65243)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call, document
from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.service_errors import ServiceFault, invalid_argument
from tencent_ci_emulator.http.xml import Element, append, build, parse, text_of
from tencent_ci_emulator.jobs.engine import JobEngine
from tencent_ci_emulator.jobs.job_rules import check_job, check_output_bucket
from tencent_ci_emulator.jobs.job_store import PAUSE, SUBMITTED, JobStore, StoredJob
from tencent_ci_emulator.jobs.queues import QueueCalls
from tencent_ci_emulator.jobs.templates import TemplateStore, not_found
from tencent_ci_emulator.jobs.voice_separation import VOICE_SEPARATE

MAX_OPERATIONS = 6

#: Values of ``QueueType``, from SDK comments and the pages of lists
_QUEUE_TYPES = ("Transcoding", "SpeedTranscoding", "Speeching", "PicProcess", "AIProcess")


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request: what its jobs are to do, and where they wait."""

    bucket: str
    queue_id: str
    requests: tuple[Element, ...]
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
        root, problems = document(call), Problems()
        problems.check_single(root, ("Tag", "Input", "QueueId", "QueueType"))
        problems.refuse_if_any()
        requests = tuple(self.checked(call.bucket, request, at) for at, request in _operations(root))
        queue_type = text_of(root, "QueueType")
        problems.check_choice("QueueType", queue_type, _QUEUE_TYPES)
        problems.refuse_if_any()
        tag, queue_id = text_of(requests[0], "Tag"), text_of(root, "QueueId")
        queue = self._queues.choose(call.bucket, tag or "", queue_id)
        return Order(call.bucket, queue.id, requests, queue_type)

    def checked(self, bucket: str, request: Element, at: str = "") -> Element:
        """Fill a template's parameters into the request for one job, and check and return it.

        :param at: ``Operation[2]``, where messages are to name one of several operations.
        :raises ServiceFault: a rule is broken.
        """
        self._fill_in_template(bucket, request)
        problems = Problems()
        check_job(request, problems)
        check_output_bucket(request, self._config.buckets, self._config.region, problems)
        problems.refuse_if_any(at)
        return request

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

    def _add(self, order: Order, request: Element, state: str) -> StoredJob:
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

    def _fill_in_template(self, bucket: str, request: Element) -> None:
        """Take the template's parameters as they are now: a later change of it is not for this job.

        Only templates of voice separation exist here. Those of other tags are taken as they are named.
        """
        template_id = text_of(request, "Operation/TemplateId")
        operation = request.find("Operation")
        if template_id is None or operation is None or text_of(request, "Tag") != VOICE_SEPARATE:
            return
        template = self._templates.get(bucket, template_id)
        if template is None:
            raise not_found(template_id)
        _remove(operation, "TemplateName", VOICE_SEPARATE)
        append(operation, {"TemplateName": template.name, VOICE_SEPARATE: parse(template.parameters)})


def _operations(root: Element) -> list[tuple[str, Element]]:
    """Return each operation as a request for one job, with its place if there are several."""
    operations = root.findall("Operation")
    if len(operations) > MAX_OPERATIONS:
        raise invalid_argument(f"{len(operations)} Operation are given, at most {MAX_OPERATIONS} are allowed")
    if len(operations) < 2:
        return [("", _single(root, operations[0] if operations else None))]
    return [(f"Operation[{number}]", _single(root, one)) for number, one in enumerate(operations)]


def _single(root: Element, operation: Element | None) -> Element:
    """Return the request for one operation, whose own ``Tag`` goes before the common one."""
    request = build("Request", root)
    _remove(request, "Tag", "Operation")
    tag = text_of(operation, "Tag") or text_of(root, "Tag")
    if operation is not None:
        operation = build("Operation", operation)
        _remove(operation, "Tag")
    append(request, {"Tag": tag, "Operation": operation})
    return request


def _remove(parent: Element, *names: str) -> None:
    for child in [child for child in parent if child.tag in names]:
        parent.remove(child)
