"""Carries out batch jobs: makes a job for each input, as the queue has room, and ends when all have ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.http.service_errors import ServiceFault
from tencent_ci_emulator.http.xml import append, parse, text_of
from tencent_ci_emulator.jobs.batch import BatchStore, StoredBatch
from tencent_ci_emulator.jobs.batch_inputs import UnreadableInputError, input_keys
from tencent_ci_emulator.jobs.job_store import SUBMITTED, JobStore
from tencent_ci_emulator.jobs.submission import Order, Submission
from tencent_ci_emulator.objects.object_store import ObjectStore

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Progress:
    """The inputs that are left, and those that have a job."""

    left: Iterator[str]
    done: set[str]
    next: str | None = None


class BatchRunner:
    """One thread for all batch jobs. It waits for events only, never for a time."""

    def __init__(
        self,
        store: BatchStore,
        jobs: JobStore,
        objects: ObjectStore,
        submission: Submission,
        clock: Clock,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._objects = objects
        self._submission = submission
        self._clock = clock
        self._changed = threading.Condition()
        self._pending = False
        self._stopping = False
        self._progress: dict[str, _Progress] = {}
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
        """Something has happened: a new batch job, an end, a cancellation, a queue resumed."""
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
        unfinished = self._store.unfinished()
        for batch_id in self._progress.keys() - {batch.id for batch in unfinished}:
            del self._progress[batch_id]
        for batch in unfinished:
            self._advance(batch)

    def _advance(self, batch: StoredBatch) -> None:
        if batch.state == SUBMITTED:
            self._store.start(batch.id, self._clock.now())
        try:
            if self._make_jobs(batch) and self._jobs.batch_has_ended(batch.id):
                self._store.succeed(batch.id, self._clock.now())
        except UnreadableInputError as error:
            self._store.fail(batch.id, self._clock.now(), error.code, str(error))
        except ServiceFault as fault:
            self._store.fail(batch.id, self._clock.now(), fault.code, fault.message)
        except Exception as error:
            _log.exception("batch job %s failed in the emulator itself", batch.id)
            said = f"{type(error).__name__} in the emulator"
            self._store.fail(batch.id, self._clock.now(), "InternalError", said)

    def _make_jobs(self, batch: StoredBatch) -> bool:
        """Make as many jobs as the queue takes; tell whether every input has one."""
        progress = self._progress_of(batch)
        while not self._stopping:
            if progress.next is None:
                progress.next = next((key for key in progress.left if key not in progress.done), None)
            if progress.next is None:
                return True
            try:
                made = self._submission.accept(
                    self._order(batch, progress.next), lambda: self._store.is_running(batch.id)
                )
            except ServiceFault as fault:
                if fault.code in ("QueueSaturated", "QueuePaused"):
                    return False
                raise
            if not made:
                return False
            progress.done.add(progress.next)
            progress.next = None
        return False

    def _progress_of(self, batch: StoredBatch) -> _Progress:
        if batch.id not in self._progress:
            keys = input_keys(parse(batch.request), batch.bucket, batch.created, self._objects)
            self._progress[batch.id] = _Progress(keys, self._jobs.inputs_of_batch(batch.id))
        return self._progress[batch.id]

    def _order(self, batch: StoredBatch, key: str) -> Order:
        request = parse(batch.job)
        for given in request.findall("Input"):
            request.remove(given)
        append(request, {"Input": {"Object": key}})
        queue_type = text_of(parse(batch.request), "Operation/QueueType")
        return Order(batch.bucket, batch.queue_id, (request,), queue_type, batch.id)
