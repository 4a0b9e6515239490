"""Batch jobs: create (460/80155, 436/113271), describe, list, cancel (460/76892), and how they make jobs."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call, Content, Handler, cannot_be_modified, require
from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.service_errors import ServiceError, invalid_argument
from tencent_ci_emulator.http.xml import (
    Element,
    append,
    build,
    parse,
    remove,
    service_time,
    text_of,
    to_bytes,
)
from tencent_ci_emulator.jobs.batch_inputs import INPUT_KINDS, UnreadableInputError, input_keys, upload_times
from tencent_ci_emulator.jobs.job_store import JobStore
from tencent_ci_emulator.jobs.states import CANCEL, FAILED, RUNNING, SUBMITTED, SUCCESS
from tencent_ci_emulator.jobs.submission import Order, Submission
from tencent_ci_emulator.objects.names import BATCH_NAME
from tencent_ci_emulator.objects.object_store import ObjectStore

_log = logging.getLogger(__name__)

_UNFINISHED = (SUBMITTED, RUNNING)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, bucket TEXT NOT NULL, queue_id TEXT NOT
    NULL, name TEXT NOT NULL, state TEXT NOT NULL, code TEXT NOT NULL DEFAULT 'Success', message TEXT NOT NULL
    DEFAULT '', created REAL NOT NULL, started REAL, ended REAL, request BLOB NOT NULL, job BLOB NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """One row: times in Unix seconds, ``number`` the order of creation.

    :param request: the document ``Request``.
    :param job: the ``Request`` for one of its jobs, but for the input; a template's parameters are filled in.
    """

    number: int
    id: str
    bucket: str
    queue_id: str
    name: str
    state: str
    code: str
    message: str
    created: float
    started: float | None
    ended: float | None
    request: bytes
    job: bytes

    def describe(self, progress: int) -> dict[str, Any]:
        """Return it as the service describes it. SDK models have ``Tag``, ``Progress`` and ``QueueId``."""
        request = parse(self.request)
        operation = build("Operation", request.find("Operation"))
        remove(operation, "QueueId")
        append(operation, {"QueueId": self.queue_id})
        return {
            "Code": self.code,
            "Message": self.message,
            "Type": text_of(request, "Type"),
            "Name": self.name,
            "JobId": self.id,
            "Tag": text_of(operation, "Tag"),
            "Progress": progress,
            "State": self.state,
            "CreationTime": service_time(self.created),
            "StartTime": service_time(self.started) or "-",
            "EndTime": service_time(self.ended) or "-",
            "QueueId": self.queue_id,
            "Input": request.find("Input"),
            "Operation": operation,
        }


class BatchStore:
    """Batch jobs by id. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(_SCHEMA)

    def add(self, bucket: str, queue_id: str, request: Element, job: Element, now: float) -> Batch:
        """Store a new batch job in state ``Submitted`` and return it."""
        batch_id = "b" + uuid.uuid4().hex
        row = {"id": batch_id, "bucket": bucket, "queue_id": queue_id, "state": SUBMITTED, "created": now}
        documents = {"request": to_bytes(request), "job": to_bytes(job)}
        self._database.insert("batches", {**row, **documents, "name": text_of(request, "Name")})
        return self.find(bucket, [batch_id])[batch_id]

    def find(self, bucket: str, batch_ids: list[str]) -> dict[str, Batch]:
        """Return those that the bucket has, in the order asked for."""
        where = {"bucket": bucket, "id": tuple(batch_ids)}
        found = {batch.id: batch for batch in self._database.select(Batch, "batches", where)}
        return {batch_id: found[batch_id] for batch_id in batch_ids if batch_id in found}

    def unfinished(self) -> list[Batch]:
        """Return those that have not ended, oldest first."""
        return self._database.select(Batch, "batches", {"state": _UNFINISHED}, order="number")

    def is_running(self, batch_id: str) -> bool:
        """Return whether a batch job makes jobs: it does not once it was cancelled."""
        return self._database.count("batches", {"id": batch_id, "state": RUNNING}) > 0

    def change(self, batch_id: str, before: str | tuple[str, ...], state: str, **columns: object) -> None:
        """Go from one state to another, if it is in that state."""
        self._database.update("batches", {"state": state, **columns}, {"id": batch_id, "state": before})


class BatchRunner:
    """Makes a job for each input, as the queue has room, and ends a batch job when all its jobs have ended.

    One thread for all batch jobs. It waits for events only, never for a time.
    """

    def __init__(
        self, clock: Clock, batches: BatchStore, jobs: JobStore, objects: ObjectStore, submission: Submission
    ) -> None:
        self._clock = clock
        self._batches = batches
        self._jobs = jobs
        self._objects = objects
        self._submission = submission
        self._changed = threading.Condition()
        self._pending = False
        self._stopping = False
        self._inputs: dict[str, _Inputs] = {}
        self._thread = threading.Thread(target=self._run, name="emulator-batches", daemon=True)

    def start(self) -> None:
        """Begin; batch jobs that an earlier run left are taken up."""
        self.wake()
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait for the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Look for work: there is a new batch job, an end, a cancellation, or a queue was resumed."""
        with self._changed:
            if not self._pending:
                self._pending = True
                self._clock.begin_work()  # a virtual clock waits for what comes of it
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            try:
                self._advance_all()
            finally:
                self._clock.end_work()

    def _wait(self) -> bool:
        """Wait for something to happen; return ``False`` when it is the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._stopping)
            if self._pending and self._stopping:
                self._clock.end_work()
            self._pending = False
            return not self._stopping

    def _advance_all(self) -> None:
        unfinished = self._batches.unfinished()
        for batch_id in self._inputs.keys() - {batch.id for batch in unfinished}:
            del self._inputs[batch_id]
        for batch in unfinished:
            self._advance(batch)

    def _advance(self, batch: Batch) -> None:
        if batch.state == SUBMITTED:
            self._batches.change(batch.id, SUBMITTED, RUNNING, started=self._clock.now())
        try:
            if self._make_jobs(batch) and self._jobs.batch_has_ended(batch.id):
                self._batches.change(batch.id, RUNNING, SUCCESS, ended=self._clock.now())
        except UnreadableInputError as error:
            self._fail(batch, error.code, str(error))
        except ServiceError as error:
            self._fail(batch, error.code, error.message)
        except Exception as error:
            _log.exception("batch job %s failed in the emulator itself", batch.id)
            self._fail(batch, "InternalError", f"{type(error).__name__} in the emulator")

    def _fail(self, batch: Batch, code: str, message: str) -> None:
        now = self._clock.now()
        self._batches.change(batch.id, RUNNING, FAILED, ended=now, code=code, message=message)

    def _make_jobs(self, batch: Batch) -> bool:
        """Make as many jobs as the queue takes; return whether every input has one."""
        inputs = self._inputs.get(batch.id)
        if inputs is None:
            keys = input_keys(parse(batch.request), batch.bucket, batch.created, self._objects)
            inputs = self._inputs[batch.id] = _Inputs(keys, self._jobs.inputs_of_batch(batch.id))
        while not self._stopping:
            key = inputs.peek()
            if key is None:
                return True
            try:
                made = self._submission.accept(
                    _order(batch, key), is_wanted=lambda: self._batches.is_running(batch.id)
                )
            except ServiceError as error:
                if error.code in ("QueueSaturated", "QueuePaused"):
                    return False
                raise
            if not made:
                return False
            inputs.done(key)
        return False


class _Inputs:
    """The inputs of a batch job that have no job yet."""

    def __init__(self, keys: Iterator[str], done: set[str]) -> None:
        self._keys = keys
        self._done = done
        self._next: str | None = None

    def peek(self) -> str | None:
        """Return the next of them, ``None`` if there is none."""
        if self._next is None:
            self._next = next((key for key in self._keys if key not in self._done), None)
        return self._next

    def done(self, key: str) -> None:
        """Note that an input has a job."""
        self._done.add(key)
        self._next = None


class BatchCalls:
    """Answers the calls about batch jobs."""

    def __init__(
        self,
        config: EmulatorConfig,
        database: Database,
        clock: Clock,
        batches: BatchStore,
        jobs: JobStore,
        submission: Submission,
        runner: BatchRunner,
    ) -> None:
        self._config = config
        self._database = database
        self._clock = clock
        self._batches = batches
        self._jobs = jobs
        self._submission = submission
        self._runner = runner

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each call by the operation's name."""
        return {
            "create_batch": self._create,
            "describe_batch": self._describe,
            "list_batches": self._list,
            "cancel_batch": self._cancel,
        }

    def _create(self, call: Call) -> Content:
        request = call.document()
        _check(request)
        job = _job_request(request)
        self._submission.check(call.bucket, job)
        queue = self._submission.queue_of(call.bucket, job)
        batch = self._batches.add(call.bucket, queue.id, request, job, self._clock.now())
        self._runner.wake()
        return {"JobsDetail": self._details([batch])}

    def _describe(self, call: Call) -> Content:
        ids = call.ids("batch job")
        found = self._batches.find(call.bucket, ids)
        missing = [one for one in ids if one not in found]
        return {"JobsDetail": self._details([*found.values()]), "NonExistJobIds": missing}

    def _list(self, call: Call) -> Content:
        kind = call.choice("type", "Job", ("Job", "Workflow"))
        if kind == "Workflow" or call.params.get("workflowid"):
            return {"NextToken": ""}  # there are no workflows here
        conditions = {"bucket": call.bucket, "id": call.params.get("jobid"), "name": call.params.get("name")}
        query = call.list_query(**conditions)
        batches, token = self._database.page(
            Batch, "batches", query.where, ascending=query.ascending, size=query.size, token=query.token
        )
        return {"JobsDetail": self._details(batches), "NextToken": token or ""}

    def _cancel(self, call: Call) -> Content:
        ids, now = call.ids("batch job"), self._clock.now()
        with self._database.transaction():
            found = self._batches.find(call.bucket, ids)
            refused = [one for one in ids if one not in found or found[one].ended is not None]
            for batch_id in () if refused else ids:
                self._batches.change(batch_id, _UNFINISHED, CANCEL, ended=now)
                self._jobs.cancel_batch(batch_id, now)
        if refused and not self._config.lenient_cancel:
            raise cannot_be_modified(refused)
        self._runner.wake()
        return None

    def _details(self, batches: list[Batch]) -> list[dict[str, Any]]:
        return [batch.describe(self._progress(batch)) for batch in batches]

    def _progress(self, batch: Batch) -> int:
        done = 100 if batch.state == SUCCESS else self._jobs.progress_of_batch(batch.id)
        return done if batch.ended is not None else min(99, done)


def _check(request: Element) -> None:
    """Check what a batch job has besides the request for its jobs."""
    problems = Problems()
    problems.check_single(request, ("Name", "Type", "Input", "Operation"))
    problems.refuse_if_any()
    name, kind, given = text_of(request, "Name"), text_of(request, "Type"), request.find("Input")
    if not BATCH_NAME.fullmatch(name or ""):
        problems.add("Name", name, "Chinese, letters, digits, _ -, at most 128")
    problems.refuse_if_any()
    require("Type", kind, ("Job", "Workflow"))
    if kind == "Workflow":
        raise ServiceError(501, "NotImplemented", "there are no workflows here: of the Types, Job is served")
    if sum(text_of(given, one) is not None for one in INPUT_KINDS) != 1:
        raise invalid_argument(f"Input needs exactly one of {', '.join(INPUT_KINDS)}")
    upload_times(request)


def _job_request(request: Element) -> Element:
    """Return the request for one job of a batch job, in which queue and callback are outside the operation.

    The input is only a name that every rule allows.
    """
    batch_operation = request.find("Operation")
    children = list(batch_operation) if batch_operation is not None else []
    operation, job = build("Operation"), build("Request", {"Input": {"Object": "any"}})
    for child in children:
        if child.tag == "JobParam":
            operation.extend(build("JobParam", child))
        elif child.tag in ("Output", "UserData", "JobLevel"):
            append(operation, {child.tag: child})
        elif child.tag in ("Tag", "QueueId") or child.tag.startswith("CallBack"):
            append(job, {child.tag: child})
    job.append(operation)
    return job


def _order(batch: Batch, key: str) -> Order:
    request = parse(batch.job)
    remove(request, "Input")
    append(request, {"Input": {"Object": key}})
    queue_type = text_of(parse(batch.request), "Operation/QueueType")
    return Order(batch.bucket, batch.queue_id, (request,), queue_type, batch.id)
