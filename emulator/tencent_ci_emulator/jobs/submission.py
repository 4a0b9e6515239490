"""From request to jobs: ``POST /jobs`` with one operation (460/84794), or several (1545/65243)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call
from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.service_errors import ServiceError, invalid_argument
from tencent_ci_emulator.http.xml import Element, append, build, parse, remove, text_of
from tencent_ci_emulator.jobs.engine import JobEngine
from tencent_ci_emulator.jobs.job_rules import check_job, check_output_bucket
from tencent_ci_emulator.jobs.job_store import JobStore, StoredJob
from tencent_ci_emulator.jobs.queues import ACTIVE, Queue, Queues
from tencent_ci_emulator.jobs.states import PAUSE, SUBMITTED
from tencent_ci_emulator.jobs.templates import Templates
from tencent_ci_emulator.jobs.voice_separation import VOICE_SEPARATE

_MAX_OPERATIONS = 6
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
        clock: Clock,
        jobs: JobStore,
        templates: Templates,
        queues: Queues,
        engine: JobEngine,
    ) -> None:
        self._config = config
        self._database = database
        self._clock = clock
        self._jobs = jobs
        self._templates = templates
        self._queues = queues
        self._engine = engine

    def read(self, call: Call) -> Order:
        """Check the body of ``POST /jobs``.

        :raises ServiceError: a rule is broken.
        """
        root, problems = call.document(), Problems()
        problems.check_single(root, ("Tag", "Input", "QueueId", "QueueType"))
        problems.refuse_if_any()
        operations = root.findall("Operation")
        if len(operations) > _MAX_OPERATIONS:
            given = f"{len(operations)} Operation are given"
            raise invalid_argument(f"{given}, at most {_MAX_OPERATIONS} are allowed")
        several = len(operations) > 1
        requests = [_single(root, operation) for operation in operations] or [_single(root, None)]
        for number, request in enumerate(requests):
            self.check(call.bucket, request, f"Operation[{number}]" if several else "")
        queue_type = text_of(root, "QueueType")
        problems.check_choice("QueueType", queue_type, _QUEUE_TYPES)
        problems.refuse_if_any()
        return Order(call.bucket, self.queue_of(call.bucket, requests[0]).id, tuple(requests), queue_type)

    def check(self, bucket: str, request: Element, at: str = "") -> None:
        """Fill a template's parameters into the request for one job, and check it.

        :param at: ``Operation[2]``, where messages are to name one of several operations.
        :raises ServiceError: a rule is broken.
        """
        self._fill_in_template(bucket, request)
        problems = Problems()
        check_job(request, problems)
        check_output_bucket(request, self._config.buckets, self._config.region, problems)
        problems.refuse_if_any(at)

    def queue_of(self, bucket: str, request: Element) -> Queue:
        """Return the queue for a request.

        :raises ServiceError: there is no such queue, or its service is not open.
        """
        return self._queues.choose(bucket, text_of(request, "Tag") or "", text_of(request, "QueueId"))

    def accept(self, order: Order, is_wanted: Callable[[], bool] = lambda: True) -> list[StoredJob]:
        """Put the jobs into their queue: all of them, or none if they are not wanted any more.

        :raises ServiceError: the queue is full, or paused and set to refuse jobs then.
        """
        # The queue as it is now, and nobody else changes it or fills it meanwhile
        with self._database.transaction():
            queue = self._queues.get(order.queue_id)
            is_paused = queue is not None and queue.state != ACTIVE
            if is_paused and self._config.refuse_when_paused:
                raise ServiceError(403, "QueuePaused", f"queue {order.queue_id} is paused")
            if self._queues.room(order.queue_id) < len(order.requests):
                most = self._config.queue_max_size
                raise ServiceError(403, "QueueSaturated", f"{most} jobs wait in queue {order.queue_id}")
            if not is_wanted():
                return []
            stored = [
                self._jobs.add(
                    order.bucket,
                    self._config.region,
                    order.queue_id,
                    request,
                    self._clock.now(),
                    state=PAUSE if is_paused else SUBMITTED,
                    queue_type=order.queue_type or (queue.category if queue else None),
                    batch_id=order.batch_id,
                )
                for request in order.requests
            ]
        # After the transaction: the engine's threads ask the database while they hold its lock
        for job in stored:
            self._engine.submit(job)
        return stored

    def _fill_in_template(self, bucket: str, request: Element) -> None:
        """Take the template's parameters as they are now: a later change of it is not for this job.

        Only templates of voice separation exist here. Those of other tags are taken as they are named.
        """
        template_id, operation = text_of(request, "Operation/TemplateId"), request.find("Operation")
        if template_id is not None and operation is not None and text_of(request, "Tag") == VOICE_SEPARATE:
            template = self._templates.get(bucket, template_id)
            remove(operation, "TemplateName", VOICE_SEPARATE)
            append(operation, {"TemplateName": template.name, VOICE_SEPARATE: parse(template.parameters)})


def _single(root: Element, operation: Element | None) -> Element:
    """Return the request for one operation, whose own ``Tag`` goes before the common one."""
    request = build("Request", root)
    remove(request, "Tag", "Operation")
    tag = text_of(operation, "Tag") or text_of(root, "Tag")
    if operation is not None:
        operation = build("Operation", operation)
        remove(operation, "Tag")
    append(request, {"Tag": tag, "Operation": operation})
    return request
