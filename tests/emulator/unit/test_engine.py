from __future__ import annotations

import threading

import pytest

from tencent_ci_emulator.clock import Clock, VirtualClock
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.jobs import engine as engine_module
from tencent_ci_emulator.jobs.engine import JobEngine
from tencent_ci_emulator.jobs.job_store import JobStore
from tencent_ci_emulator.jobs.queue_scheduler import QueueLimits, QueueScheduler
from tencent_ci_emulator.jobs.types import voice_separation
from tencent_ci_emulator.objects.object_store import ObjectStore
from tests.emulator.audio_tools import tones, write
from tests.emulator.unit.test_job_store import BUCKET, REGION, request
from tests.patience import PATIENCE, wait_until


class World:
    """Stores and engines over one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = Clock()
        self.database = Database(folder / "db")
        self.jobs = JobStore(self.database)
        self.objects = ObjectStore(self.database, folder)
        self.engines: list[JobEngine] = []

    def engine(self, *, queue_seconds=0.0, run_seconds=0.0, workers=1, ready_jobs=None) -> JobEngine:
        times = {
            "queue_seconds": queue_seconds,
            "run_seconds": run_seconds,
            "workers": workers,
            "ready_jobs": ready_jobs,
        }
        self.engines.append(JobEngine(self.jobs, self.objects, self.clock, **times))
        self.engines[-1].start()
        return self.engines[-1]

    def add(self, key="in.wav", level=None):
        return self.jobs.add(BUCKET, REGION, "p1", request(key, level), self.clock.now())

    def put(self, key="in.wav"):
        centre, side = tones(0.5)
        path = write(self.folder / "source.wav", centre + side)
        content = self.objects.make_incoming_path()
        path.replace(content)
        self.objects.put(BUCKET, key, content, md5="0", modified=0)

    def state(self, job):
        return self.jobs.get(job.id).state

    def until(self, job, *states):
        wait_until(lambda: self.state(job) in states)


@pytest.fixture
def world(tmp_path):
    before = threading.active_count()
    made = World(tmp_path)
    yield made
    for engine in made.engines:
        engine.stop()
    made.database.close()
    wait_until(lambda: threading.active_count() <= before)
    assert not list((tmp_path / "incoming").iterdir())


def test_the_result_of_a_job_is_stored(world):
    world.put()
    engine, job = world.engine(), world.add()
    engine.submit(job)
    world.until(job, "Success", "Failed")
    done = world.jobs.get(job.id)
    assert done.state == "Success"
    assert done.created <= done.started <= done.ended
    assert world.objects.get(BUCKET, f"out/{job.id}.aac").size > 1000


def test_a_cancelled_job_never_begins(world):
    world.clock = VirtualClock()
    world.put()
    engine, job = world.engine(queue_seconds=60), world.add()
    engine.submit(job)
    assert world.jobs.cancel(BUCKET, [job.id], 0) == []
    world.clock.advance(60)
    assert world.jobs.get(job.id).started is None
    assert world.state(job) == "Cancel"
    assert world.objects.get(BUCKET, f"out/{job.id}.aac") is None


def test_a_job_kept_running_does_not_hold_a_worker(world):
    world.put()
    engine = world.engine(run_seconds=60, workers=1)
    jobs = [world.add() for _ in range(3)]
    for job in jobs:
        engine.submit(job)
    wait_until(lambda: all(world.state(job) == "Running" for job in jobs))


def test_a_new_start_runs_waiting_and_running_jobs(world):
    world.put()
    engine = world.engine(run_seconds=60)
    running = world.add()
    engine.submit(running)
    world.until(running, "Running")
    engine.stop()
    waiting = world.add()
    engine.submit(waiting)  # too late: it stays in the store
    started = world.jobs.get(running.id).started
    world.engine()
    world.until(running, "Success")
    world.until(waiting, "Success")
    assert world.jobs.get(running.id).started == started


def test_a_job_whose_queue_is_paused_before_it_begins_stays_ready(world):
    asked: list[str] = []

    def rule(queue_id):
        asked.append(queue_id)
        return QueueLimits(is_active=len(asked) == 1)  # when it is taken; it is held before it begins

    scheduler = QueueScheduler(rule)
    engine, job = world.engine(ready_jobs=scheduler), world.add()
    world.jobs.hold("p1", True)
    engine.submit(job)
    wait_until(lambda: len(asked) > 1 and len(scheduler) == 1)
    assert world.state(job) == "Pause"
    world.jobs.hold("p1", False)
    scheduler._limits = lambda _queue: QueueLimits()
    engine.wake()
    world.until(job, "Failed")


def test_stop_interrupts_the_work(world, monkeypatch):
    at_work = threading.Event()

    def process(job, objects, on_progress):
        at_work.set()
        while True:
            on_progress(0.5)

    monkeypatch.setattr(engine_module, "process", process)
    engine, job = world.engine(), world.add()
    engine.submit(job)
    assert at_work.wait(PATIENCE)
    engine.stop()
    assert world.state(job) == "Running"


def test_an_error_in_the_emulator_fails_the_job_and_not_the_engine(world, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    world.put()
    engine = world.engine()
    monkeypatch.setattr(engine_module, "publish", fail)
    job = world.add()
    engine.submit(job)
    world.until(job, "Failed")
    assert world.jobs.get(job.id).code == "InternalError"
    monkeypatch.undo()
    job = world.add()
    engine.submit(job)
    world.until(job, "Success")


def test_an_input_that_is_overwritten_while_its_job_begins_is_found_again(world, monkeypatch):
    true, seen = voice_separation.separate, []

    def separate(source, *args, **kwargs):
        seen.append(source)
        if len(seen) == 1:
            world.put()
        return true(source, *args, **kwargs)

    monkeypatch.setattr(voice_separation, "separate", separate)
    world.put()
    engine, job = world.engine(), world.add()
    engine.submit(job)
    world.until(job, "Success", "Failed")
    assert world.state(job) == "Success"
    assert len(set(seen)) == 2


def test_an_input_that_is_deleted_while_its_job_begins_fails_the_job(world, monkeypatch):
    def separate(source, *args, **kwargs):
        world.objects.delete(BUCKET, "in.wav")
        raise FileNotFoundError

    monkeypatch.setattr(voice_separation, "separate", separate)
    world.put()
    engine, job = world.engine(), world.add()
    engine.submit(job)
    world.until(job, "Success", "Failed")
    assert (world.state(job), world.jobs.get(job.id).code) == ("Failed", "ResourceNotFound")
