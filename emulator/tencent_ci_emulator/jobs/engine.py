"""Takes jobs through their states: Submitted, Running, then Success or Failed.

One thread keeps the timetable, a small pool does the work (PyAV releases the GIL). A job that must stay
``Running`` for longer than its work takes waits in the timetable, not in the pool, so many can run at once.
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
from tencent_ci_emulator.jobs.job_store import JobStore, StoredJob
from tencent_ci_emulator.jobs.processing import Finished, JobFailedError, process, publish
from tencent_ci_emulator.jobs.queue_scheduler import QueueScheduler
from tencent_ci_emulator.jobs.states import FAILED, SUCCESS, WAITING
from tencent_ci_emulator.objects.object_store import ObjectStore

_log = logging.getLogger(__name__)

_PROGRESS_STEP = 5  # percent; each step is a write to the database


class _StoppedError(Exception):
    """The emulator stops; the job stays as it is and is done after the next start."""


class JobEngine:
    """Runs the jobs of a store until :meth:`stop`."""

    def __init__(
        self,
        jobs: JobStore,
        objects: ObjectStore,
        clock: Clock,
        *,
        queue_seconds: float,
        run_seconds: float,
        workers: int,
        scheduler: QueueScheduler | None = None,
        faults: FaultPlan | None = None,
        before_end: Callable[[StoredJob], float] = lambda _job: 0.0,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._clock = clock
        self._queue_seconds = queue_seconds
        self._run_seconds = run_seconds
        self._workers = workers
        self._faults = faults or FaultPlan()
        self._before_end = before_end
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="emulator-worker")
        self._changed = threading.Condition()
        self._timetable: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ready = QueueScheduler() if scheduler is None else scheduler
        self._when_ended: list[Callable[[StoredJob], None]] = []
        self._busy = 0
        self._stopping = False
        self._results: dict[str, Finished] = {}
        self._thread = threading.Thread(target=self._keep_time, name="emulator-timetable", daemon=True)

    def start(self) -> None:
        """Take up the jobs that an earlier run left, and begin."""
        for job in self._jobs.unfinished():
            self.submit(job)
        self._thread.start()

    def submit(self, job: StoredJob) -> None:
        """Put a job that is in the store into the queue."""
        with self._changed:
            if not self._stopping:
                self._schedule(job.created + self._queue_seconds, lambda: self._make_ready(job))

    def when_ended(self, action: Callable[[StoredJob], None]) -> None:
        """Call ``action`` for each job that ends here, in one of the engine's threads; it must not block."""
        self._when_ended.append(action)

    def wake(self) -> None:
        """Look again which jobs may begin: a queue has changed."""
        with self._changed:
            self._start_ready_jobs()

    def stop(self) -> None:
        """Stop at once and wait for the threads; running jobs are begun again by the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for finished in self._results.values():
            finished.discard()
        self._results.clear()

    def _schedule(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timetable, (moment, next(self._order), action))
        self._changed.notify_all()

    def _keep_time(self) -> None:
        with self._changed:
            while not self._stopping:
                wait = self._timetable[0][0] - self._clock.now() if self._timetable else None
                if wait is None or wait > 0:
                    self._clock.wait(self._changed, wait)
                    continue
                _, _, action = heapq.heappop(self._timetable)
                action()
            self._clock.leave(self._changed)

    def _make_ready(self, job: StoredJob) -> None:
        self._ready.add(job)
        self._start_ready_jobs()

    def _start_ready_jobs(self) -> None:
        """Give ready jobs to free workers. The pool's own queue stays empty, as it knows no levels."""
        while self._busy < self._workers and not self._stopping:
            job = self._ready.take()
            if job is None:
                return
            self._busy += 1
            self._clock.begin_work()
            self._pool.submit(self._work, job).add_done_callback(lambda _: self._clock.end_work())

    def _work(self, job: StoredJob) -> None:
        try:
            self._run(job)
        except _StoppedError:
            pass
        except Exception as error:
            self._fail_internally(job, error)
        finally:
            with self._changed:
                self._busy -= 1
                self._start_ready_jobs()

    def _run(self, job: StoredJob) -> None:
        started = self._clock.now()
        if not self._jobs.start(job.id, started):
            self._put_back(job)
            return
        _log.info("job %s is running", job.id)
        effects = self._faults.on_job(job.id, job.input_object)
        ends = started + self._run_seconds + effects.delay
        try:
            if effects.failure is not None:
                raise JobFailedError(*effects.failure)
            finished = process(job, self._objects, self._reporter(job.id))
        except JobFailedError as failure:
            code, message = failure.code, failure.message
            ends += self._notify_before_end(job, state=FAILED, code=code, message=message)
            self._end_at(ends, lambda: self._fail(job, code, message))
            return
        _log.info("job %s was separated by: %s", job.id, finished.method)
        self._jobs.set_progress(job.id, 99)
        with self._changed:
            if self._stopping:
                finished.discard()
                return
            self._results[job.id] = finished
        ends += self._notify_before_end(job, state=SUCCESS, progress=100, result=finished.result)
        self._end_at(ends, lambda: self._succeed(job))

    def _notify_before_end(self, job: StoredJob, **outcome: Any) -> float:
        """Tell how the job is going to end; return by how many seconds that is put off."""
        return self._before_end(replace(self._jobs.get(job.id), ended=self._clock.now(), **outcome))

    def _put_back(self, job: StoredJob) -> None:
        """The job was cancelled since it was ready, or its queue paused: then it waits on."""
        with self._changed:
            self._ready.release(job)
            if self._jobs.get(job.id).state in WAITING:
                self._ready.add(job)

    def _end_at(self, moment: float, action: Callable[[], None]) -> None:
        with self._changed:
            if moment > self._clock.now():
                self._schedule(moment, action)
            elif not self._stopping:
                action()

    def _succeed(self, job: StoredJob) -> None:
        finished = self._results.pop(job.id)
        try:
            publish(job, finished, self._objects, self._clock.now())
            self._jobs.succeed(job.id, self._clock.now(), finished.result)
        except Exception as error:
            finished.discard()
            self._fail_internally(job, error)
        else:
            _log.info("job %s has succeeded", job.id)
            self._notify_ended(job)

    def _fail(self, job: StoredJob, code: str, message: str) -> None:
        self._jobs.fail(job.id, self._clock.now(), code, message)
        _log.info("job %s has failed: %s: %s", job.id, code, message)
        self._notify_ended(job)

    def _fail_internally(self, job: StoredJob, error: Exception) -> None:
        _log.error("job %s failed in the emulator itself", job.id, exc_info=error)
        self._jobs.fail(job.id, self._clock.now(), "InternalError", f"{type(error).__name__} in the emulator")
        self._notify_ended(job)

    def _notify_ended(self, job: StoredJob) -> None:
        with self._changed:
            self._ready.release(job)
            self._start_ready_jobs()
        for action in self._when_ended:
            action(job)

    def _reporter(self, job_id: str) -> Callable[[float], None]:
        reported = 0

        def report(done: float) -> None:
            nonlocal reported
            if self._stopping:
                raise _StoppedError
            percent = int(done * 100)
            if percent >= reported + _PROGRESS_STEP:
                reported = percent
                self._jobs.set_progress(job_id, percent)

        return report
