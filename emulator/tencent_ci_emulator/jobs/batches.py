"""Batch jobs: create (460/80155, 436/113271), describe, list, cancel (460/76892), and how they make jobs.

Not documented, and so decided here. A batch job is ``Running`` until each of its jobs has ended, then
``Success``, whatever became of them; ``Failed`` if the list of inputs cannot be read. ``Progress`` is the
share of the jobs made so far that have ended. A full or paused queue is waited for. Cancelling cancels
waiting jobs and lets running ones end. In a list, ``name`` is the complete name, and ``type`` defaults to
``Job``; the Python SDK asks for ``Workflow`` by default, and so finds nothing. ``${InputNameAndExt}`` is
replaced, too, and ``${InputPath}`` has no slash at its end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call, Content, Handler, cannot_be_modified
from tencent_ci_emulator.http.errors import ServiceError, invalid_argument
from tencent_ci_emulator.http.rules import Problems, one_of, require_single_elements
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
from tencent_ci_emulator.jobs.batch_inputs import INPUT_KINDS, find_input_keys, read_upload_times
from tencent_ci_emulator.jobs.job_store import JobFailedError, JobStore, make_id
from tencent_ci_emulator.jobs.states import CANCEL, FAILED, RUNNING, SUBMITTED, SUCCESS
from tencent_ci_emulator.jobs.submission import Order, Submission
from tencent_ci_emulator.objects.names import name_rule
from tencent_ci_emulator.objects.object_store import ObjectStore
from tencent_ci_emulator.observed import ObservedBehaviour

_log = logging.getLogger(__name__)

_UNFINISHED = (SUBMITTED, RUNNING)
_RULES = {"Name": name_rule(128), "Type": one_of("Job", "Workflow", is_required=True)}
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

    def describe(self, progress: int, observed: ObservedBehaviour) -> dict[str, Any]:
        """Return it as the service describes it. Of ``Tag``, ``Progress`` and ``QueueId`` only SDKs tell."""
        request = parse(self.request)
        operation = build("Operation", request.find("Operation"))
        remove(operation, "QueueId", *(() if observed.batch_user_data else ("UserData",)))
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

    def order(self, key: str) -> Order:
        """Return the order of the job for one input."""
        request = parse(self.job)
        remove(request, "Input")
        append(request, {"Input": {"Object": key}})
        queue_type = text_of(parse(self.request), "Operation/QueueType")
        return Order(self.bucket, self.queue_id, (request,), queue_type, self.id)


class BatchRunner:
    """Makes a job for each input, when the queue has room, and ends a batch job when all its jobs have ended.

    One thread serves all batch jobs. It waits for events only, never for a time.
    """

    def __init__(
        self, database: Database, clock: Clock, jobs: JobStore, objects: ObjectStore, submission: Submission
    ) -> None:
        self._database = database
        self._clock = clock
        self._jobs = jobs
        self._objects = objects
        self._submission = submission
        self._lock = threading.Condition()
        self._has_news = False
        self._stopping = False
        self._inputs: dict[str, _Inputs] = {}
        self._thread = threading.Thread(target=self._run, name="emulator-batches", daemon=True)
        database.create(_SCHEMA)

    def start(self) -> None:
        """Start the thread, which also serves the batch jobs that an earlier run has not ended."""
        self.wake()
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait for the thread."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Look for work: a batch job was created, a job ended or was cancelled, or a queue changed."""
        with self._lock:
            if not self._has_news:
                self._has_news = True
                self._clock.begin_work()  # a virtual clock waits until the news has been handled
            self._lock.notify_all()

    def change(self, batch_id: str, before: str | tuple[str, ...], state: str, **columns: object) -> None:
        """Change the state of a batch job, if it is in state ``before``."""
        self._database.update("batches", {"state": state, **columns}, {"id": batch_id, "state": before})

    def _run(self) -> None:
        while self._wait_for_news():
            try:
                self._advance_all()
            finally:
                self._clock.end_work()

    def _wait_for_news(self) -> bool:
        """Return true when there is news, and false when the emulator stops."""
        with self._lock:
            self._lock.wait_for(lambda: self._has_news or self._stopping)
            if self._has_news and self._stopping:  # nobody handles it: end the work that wake began
                self._clock.end_work()
            self._has_news = False
            return not self._stopping

    def _advance_all(self) -> None:
        unfinished = self._database.select(Batch, "batches", {"state": _UNFINISHED}, order="number")
        for batch_id in self._inputs.keys() - {batch.id for batch in unfinished}:
            del self._inputs[batch_id]
        for batch in unfinished:
            self.change(batch.id, SUBMITTED, RUNNING, started=self._clock.now())
            try:
                self._advance(batch)
            except (JobFailedError, ServiceError) as error:
                self._fail(batch, error.code, error.message)
            except Exception as error:
                _log.exception("batch job %s failed in the emulator itself", batch.id)
                self._fail(batch, "InternalError", f"{type(error).__name__} in the emulator")

    def _advance(self, batch: Batch) -> None:
        """Make as many jobs as the queue accepts; end the batch job if all its jobs have ended."""
        inputs = self._inputs.get(batch.id)
        if inputs is None:
            keys = find_input_keys(parse(batch.request), batch.bucket, batch.created, self._objects)
            inputs = self._inputs[batch.id] = _Inputs(keys, self._jobs.inputs_of_batch(batch.id))
        while (key := inputs.next_key()) is not None:
            if self._stopping or not self._make_job(batch, key):
                return
            inputs.mark_done(key)
        if not self._jobs.count_of_batch(batch.id, unfinished=True):
            self.change(batch.id, RUNNING, SUCCESS, ended=self._clock.now())

    def _make_job(self, batch: Batch, key: str) -> bool:
        """Make the job for an input; return whether that was possible: the queue may be full or paused."""

        def is_running() -> bool:
            return self._database.count("batches", {"id": batch.id, "state": RUNNING}) > 0

        try:
            return bool(self._submission.accept(batch.order(key), is_wanted=is_running))
        except ServiceError as error:
            if error.code in ("QueueSaturated", "QueuePaused"):
                return False
            raise

    def _fail(self, batch: Batch, code: str, message: str) -> None:
        now = self._clock.now()
        self.change(batch.id, RUNNING, FAILED, ended=now, code=code, message=message)


class _Inputs:
    """The inputs of a batch job that have no job."""

    def __init__(self, keys: Iterator[str], done: set[str]) -> None:
        self._keys = keys
        self._done = done
        self._next: str | None = None

    def next_key(self) -> str | None:
        """Return the next key, the same until it is done; ``None`` at the end."""
        if self._next is None:
            self._next = next((key for key in self._keys if key not in self._done), None)
        return self._next

    def mark_done(self, key: str) -> None:
        """Note that an input has a job."""
        self._done.add(key)
        self._next = None


@dataclass(frozen=True, slots=True)
class BatchCalls:
    """Handles the calls about batch jobs."""

    config: EmulatorConfig
    database: Database
    clock: Clock
    jobs: JobStore
    submission: Submission
    runner: BatchRunner

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
        job = _make_job_request(request)
        self.submission.complete_and_check(call.bucket, job)
        row = {
            "id": make_id("b", self.config.observed.batch_id_length),
            "bucket": call.bucket,
            "queue_id": self.submission.find_queue(call.bucket, job).id,
            "name": text_of(request, "Name"),
            "state": SUBMITTED,
            "created": self.clock.now(),
            "request": to_bytes(request),
            "job": to_bytes(job),
        }
        self.database.insert("batches", row)
        created = self.database.select(Batch, "batches", {"id": row["id"]})
        self.runner.wake()
        return {"JobsDetail": self._details(created)}

    def _describe(self, call: Call) -> Content:
        ids = call.ids("batch job")
        found = self.database.find(Batch, "batches", call.bucket, ids)
        missing = [batch_id for batch_id in ids if batch_id not in found]
        return {"JobsDetail": self._details([*found.values()]), "NonExistJobIds": missing}

    def _list(self, call: Call) -> Content:
        kind = call.choice("type", "Job", ("Job", "Workflow"))
        if kind == "Workflow" or call.params.get("workflowid"):
            return {"NextToken": ""}  # there are no workflows here
        query = call.page_query(
            self.config.observed,
            bucket=call.bucket,
            id=call.params.get("jobid"),
            name=call.params.get("name"),
        )
        batches, token = self.database.page(Batch, "batches", query)
        return {"JobsDetail": self._details(batches), "NextToken": token or ""}

    def _cancel(self, call: Call) -> Content:
        ids, now = call.ids("batch job"), self.clock.now()
        with self.database.transaction():
            found = self.database.find(Batch, "batches", call.bucket, ids)
            refused = [each for each in ids if each not in found or found[each].ended is not None]
            if not refused:  # all of them, or none
                for batch_id in ids:
                    self.runner.change(batch_id, _UNFINISHED, CANCEL, ended=now)
                    self.jobs.cancel_batch(batch_id, now)
        outcome = self.config.observed.cancel_ended
        if refused and outcome.status != 200:
            raise cannot_be_modified(refused, outcome)
        self.runner.wake()
        return None

    def _details(self, batches: list[Batch]) -> list[dict[str, Any]]:
        return [batch.describe(self._progress(batch), self.config.observed) for batch in batches]

    def _progress(self, batch: Batch) -> int:
        """Return the percentage of the jobs made until now that have ended; 100 only after the end."""
        if batch.state == SUCCESS:
            return 100
        made = self.jobs.count_of_batch(batch.id)
        ended = made - self.jobs.count_of_batch(batch.id, unfinished=True)
        percent = int(100 * ended / made) if made else 0
        return percent if batch.ended is not None else min(99, percent)


def _check(request: Element) -> None:
    """Check the elements of a batch job that are not part of the request for its jobs."""
    require_single_elements(request, "Name", "Type", "Input", "Operation")
    problems, job_input = Problems(), request.find("Input")
    problems.check(request, _RULES)
    problems.raise_if_any()
    if text_of(request, "Type") == "Workflow":
        raise ServiceError(501, "NotImplemented", "there are no workflows here: only the Type Job is served")
    if sum(text_of(job_input, kind) is not None for kind in INPUT_KINDS) != 1:
        raise invalid_argument(f"Input needs exactly one of {', '.join(INPUT_KINDS)}")
    read_upload_times(request)


def _make_job_request(request: Element) -> Element:
    """Return the request for one job of a batch job, in which queue and callback are outside the operation.

    Its input is a placeholder that every rule allows.
    """
    batch_operation = request.find("Operation")
    operation, job = build("Operation"), build("Request", {"Input": {"Object": "any"}})
    for child in batch_operation if batch_operation is not None else ():
        if child.tag == "JobParam":
            operation.extend(build("JobParam", child))
        elif child.tag in ("Output", "UserData", "JobLevel"):
            append(operation, {child.tag: child})
        elif child.tag in ("Tag", "QueueId") or child.tag.startswith("CallBack"):
            append(job, {child.tag: child})
    job.append(operation)
    return job
