"""Takes jobs through their states: Submitted, Running, then Success or Failed.

One thread runs the schedule, and a small pool does the work (PyAV releases the GIL). A job that must stay
``Running`` after its work is done waits in the schedule, not in the pool, so many can run at once.
The clock is notified of waits and of work, because a virtual one advances only while nothing is running.

``_lock`` guards everything here. It is re-entrant: the schedule's thread holds it while it runs actions.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.faults.fault_plan import FaultPlan
from tencent_ci_emulator.jobs.job_output import JobAtWork, JobOutput
from tencent_ci_emulator.jobs.job_store import JobFailedError, JobStore, StoredJob
from tencent_ci_emulator.jobs.processing import process, publish, skip
from tencent_ci_emulator.jobs.queue_scheduler import QueueScheduler
from tencent_ci_emulator.jobs.states import FAILED, RUNNING, SUCCESS, WAITING
from tencent_ci_emulator.objects.object_store import ObjectStore
from tencent_ci_emulator.observed import ASSUMED, ObservedBehaviour

_log = logging.getLogger(__name__)

_PROGRESS_STEP = 5  # percent; each step is a write to the database


class _StoppingError(Exception):
    """Ends the work on a job because the emulator stops; the next start does the job again."""


class JobEngine:
    """Runs the jobs of a store until :meth:`stop`.

    :param queue_seconds: least time that a job stays ``Submitted``.
    :param run_seconds: least time that a job stays ``Running``.
    :param skip_processing: jobs that have an input end with notes in place of results.
    :param observed: how the service treats the keys of results, and inputs.
    :param before_end: called with a job in the state in which it will end; returns seconds by which to
        delay its end.
    """

    def __init__(
        self,
        jobs: JobStore,
        objects: ObjectStore,
        clock: Clock,
        *,
        queue_seconds: float,
        run_seconds: float,
        workers: int,
        skip_processing: bool = False,
        ready_jobs: QueueScheduler | None = None,
        faults: FaultPlan | None = None,
        before_end: Callable[[StoredJob], float] = lambda _job: 0.0,
        observed: ObservedBehaviour = ASSUMED,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._clock = clock
        self._queue_seconds = queue_seconds
        self._run_seconds = run_seconds
        self._workers = workers
        self._skip_processing = skip_processing
        self._faults = faults or FaultPlan()
        self._before_end = before_end
        self._observed = observed
        self._end_callbacks: list[Callable[[StoredJob], None]] = []
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="emulator-worker")
        self._lock = threading.Condition()
        self._schedule: list[tuple[float, int, Callable[[], object]]] = []
        self._schedule_order = itertools.count()
        self._ready_jobs = QueueScheduler() if ready_jobs is None else ready_jobs
        self._busy_workers = 0
        self._stopping = False
        self._outputs: dict[str, JobOutput] = {}
        self._thread = threading.Thread(target=self._run_schedule, name="emulator-schedule", daemon=True)

    def start(self) -> None:
        """Start the threads, with the jobs that an earlier run of the emulator has not ended."""
        for job in self._jobs.list_unfinished():
            self.submit(job)
        self._thread.start()

    def submit(self, job: StoredJob) -> None:
        """Schedule a job that is in the store."""
        with self._lock:
            if not self._stopping:
                self._add_to_schedule(job.created + self._queue_seconds, lambda: self._make_ready(job))

    def on_end(self, callback: Callable[[StoredJob], None]) -> None:
        """Call ``callback`` for each job that ends, in one of the engine's threads; it must not block."""
        self._end_callbacks.append(callback)

    def wake(self) -> None:
        """Start the jobs that may begin now: a queue has changed."""
        with self._lock:
            self._start_ready_jobs()

    def stop(self) -> None:
        """Stop at once and wait for the threads; the next start runs running jobs again."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for output in self._outputs.values():
            output.discard()
        self._outputs.clear()

    def call_at(self, time: float, action: Callable[[], object]) -> None:
        """Call ``action`` at a time of the clock, in the schedule's thread; it must not block."""
        with self._lock:
            self._add_to_schedule(time, action)

    def _add_to_schedule(self, time: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._schedule, (time, next(self._schedule_order), action))
        self._lock.notify_all()

    def _run_schedule(self) -> None:
        with self._lock:
            while not self._stopping:
                seconds = self._schedule[0][0] - self._clock.now() if self._schedule else None
                if seconds is None or seconds > 0:
                    self._clock.wait(self._lock, seconds)
                    continue
                _, _, action = heapq.heappop(self._schedule)
                action()
            self._clock.stop_waiting(self._lock)

    def _make_ready(self, job: StoredJob) -> None:
        self._ready_jobs.add(job)
        self._start_ready_jobs()

    def _start_ready_jobs(self) -> None:
        """Start jobs while workers are idle. No job waits in the pool, whose order ignores ``JobLevel``."""
        while self._busy_workers < self._workers and not self._stopping:
            job = self._ready_jobs.take()
            if job is None:
                return
            self._busy_workers += 1
            self._clock.begin_work()
            self._pool.submit(self._work_on, job).add_done_callback(lambda _: self._clock.end_work())

    def _work_on(self, job: StoredJob) -> None:
        try:
            if self._jobs.start(job.id, self._clock.now()):
                self._run(job)
            else:
                self._return_to_queue(job)
        except _StoppingError:
            pass
        except Exception as error:
            self._fail_internally(job, error)
        finally:
            with self._lock:
                self._busy_workers -= 1
                self._start_ready_jobs()

    def _return_to_queue(self, job: StoredJob) -> None:
        """Release a job that could not start: its queue was paused meanwhile, or the job was cancelled."""
        with self._lock:
            self._ready_jobs.release(job)
            if self._jobs.get(job.id).state in WAITING:
                self._ready_jobs.add(job)

    def _run(self, job: StoredJob) -> None:
        _log.info("job %s is running", job.id)
        effects = self._faults.on_job(job.id, job.input_object)
        end_time = self._clock.now() + self._run_seconds + effects.delay
        try:
            if effects.failure is not None:
                raise JobFailedError(*effects.failure)
            work = skip if self._skip_processing else process
            output = work(
                JobAtWork.of(job, self._observed), self._objects, self._make_progress_reporter(job.id)
            )
        except JobFailedError as failure:
            code, message = failure.code, failure.message
            delay = self._announce_end(job, state=FAILED, code=code, message=message)
            self._end_at(end_time + delay, lambda: self._fail(job, code, message))
            return
        _log.info("job %s was processed by: %s", job.id, output.method)
        # output.document, which is stored as the job's result, is made of these elements
        output = replace(output, result={**output.result, **effects.result})
        self._jobs.set_progress(job.id, 99)
        with self._lock:
            if self._stopping:
                output.discard()
                return
            self._outputs[job.id] = output
        changes = {"progress": 100, "message": output.message, "result": output.document}
        delay = self._announce_end(job, state=SUCCESS, **changes)
        self._end_at(end_time + delay, lambda: self._succeed(job))

    def _announce_end(self, job: StoredJob, **changes: Any) -> float:
        """Call ``before_end`` with the job in the state in which it will end; return its delay in seconds."""
        return self._before_end(replace(self._jobs.get(job.id), ended=self._clock.now(), **changes))

    def _end_at(self, time: float, action: Callable[[], None]) -> None:
        with self._lock:
            if time > self._clock.now():
                self._add_to_schedule(time, action)
            elif not self._stopping:
                action()

    def _succeed(self, job: StoredJob) -> None:
        output = self._outputs.pop(job.id)
        if self._jobs.get(job.id).state != RUNNING:  # cancelled while it was running
            output.discard()
            self._finish(job)
            return
        try:
            keep = self._observed.same_result_key == "kept"
            publish(job, output, self._objects, self._clock.now(), keep_existing=keep)
            self._jobs.succeed(job.id, self._clock.now(), output.document, output.message, output.files)
        except Exception as error:
            output.discard()
            self._fail_internally(job, error)
        else:
            _log.info("job %s has succeeded", job.id)
            self._finish(job)

    def _fail(self, job: StoredJob, code: str, message: str) -> None:
        self._jobs.fail(job.id, self._clock.now(), code, message)
        _log.info("job %s has failed: %s: %s", job.id, code, message)
        self._finish(job)

    def _fail_internally(self, job: StoredJob, error: Exception) -> None:
        _log.error("job %s failed in the emulator itself", job.id, exc_info=error)
        self._fail(job, "InternalError", f"{type(error).__name__} in the emulator")

    def _finish(self, job: StoredJob) -> None:
        """Release the job's slot in its queue, and call the callbacks."""
        with self._lock:
            self._ready_jobs.release(job)
            self._start_ready_jobs()
        for callback in self._end_callbacks:
            callback(job)

    def _make_progress_reporter(self, job_id: str) -> Callable[[float], None]:
        """Return a function that stores progress, from 0.0 to 1.0, and raises if the emulator stops."""
        reported = 0

        def report(done: float) -> None:
            nonlocal reported
            if self._stopping:
                raise _StoppingError
            percent = int(done * 100)
            if percent >= reported + _PROGRESS_STEP:
                reported = percent
                self._jobs.set_progress(job_id, percent)

        return report
