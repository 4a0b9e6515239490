from __future__ import annotations

import threading

import pytest

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.jobs import engine as engine_module
from tencent_ci_emulator.jobs import processing
from tencent_ci_emulator.jobs.engine import JobEngine
from tencent_ci_emulator.jobs.job_store import JobStore
from tencent_ci_emulator.jobs.queue_scheduler import QueueLimits, QueueScheduler
from tencent_ci_emulator.objects.object_store import ObjectStore
from tests.emulator.audio_tools import tones, write
from tests.emulator.unit.test_job_store import BUCKET, REGION, request
from tests.emulator.waiting import PATIENCE, wait_until


class House:
    """Stores and engines over one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.database = Database(folder / "db")
        self.jobs = JobStore(self.database)
        self.objects = ObjectStore(self.database, folder)
        self.engines: list[JobEngine] = []

    def engine(self, *, queue_seconds=0.0, run_seconds=0.0, workers=1, scheduler=None) -> JobEngine:
        times = {
            "queue_seconds": queue_seconds,
            "run_seconds": run_seconds,
            "workers": workers,
            "scheduler": scheduler,
        }
        self.engines.append(JobEngine(self.jobs, self.objects, Clock(), **times))
        self.engines[-1].start()
        return self.engines[-1]

    def add(self, key="in.wav", level=None):
        return self.jobs.add(BUCKET, REGION, "p1", request(key, level), Clock().now())

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
def house(tmp_path):
    before = threading.active_count()
    made = House(tmp_path)
    yield made
    for engine in made.engines:
        engine.stop()
    made.database.close()
    wait_until(lambda: threading.active_count() <= before)
    assert not list((tmp_path / "incoming").iterdir())


def test_a_job_is_done_and_its_result_stored(house):
    house.put()
    engine, job = house.engine(), house.add()
    engine.submit(job)
    house.until(job, "Success", "Failed")
    done = house.jobs.get(job.id)
    assert done.state == "Success"
    assert done.created <= done.started <= done.ended
    assert house.objects.get(BUCKET, f"out/{job.id}.aac").size > 1000


def test_missing_and_unreadable_input(house):
    text = house.objects.make_incoming_path()
    text.write_bytes(b"no sound")
    house.objects.put(BUCKET, "letter.mp3", text, md5="0", modified=0)
    engine, missing, unreadable = house.engine(), house.add("none.mp3"), house.add("letter.mp3")
    engine.submit(missing)
    engine.submit(unreadable)
    house.until(missing, "Failed")
    house.until(unreadable, "Failed")
    assert house.jobs.get(missing.id).code == "ResourceNotFound"
    assert "none.mp3 does not exist" in house.jobs.get(missing.id).message
    assert house.jobs.get(unreadable.id).code == "ResourceNotSupported"
    assert "not a media format" in house.jobs.get(unreadable.id).message


def test_state_durations(house):
    house.put()
    engine = house.engine(queue_seconds=0.4, run_seconds=0.6)
    job = house.add()
    engine.submit(job)
    house.until(job, "Success")
    done = house.jobs.get(job.id)
    assert done.started - done.created >= 0.4
    assert done.ended - done.started >= 0.6


def test_a_cancelled_job_is_never_begun(house):
    house.put()
    engine = house.engine(queue_seconds=0.2)
    cancelled, last = house.add(), house.add()
    engine.submit(cancelled)
    engine.submit(last)
    assert house.jobs.cancel(BUCKET, [cancelled.id], 0) == []
    house.until(last, "Success")  # by the one worker, so after the other's turn
    assert house.jobs.get(cancelled.id).started is None
    assert house.state(cancelled) == "Cancel"
    assert house.objects.get(BUCKET, f"out/{cancelled.id}.aac") is None


def test_a_job_kept_running_does_not_hold_a_worker(house):
    house.put()
    engine = house.engine(run_seconds=60, workers=1)
    jobs = [house.add() for _ in range(3)]
    for job in jobs:
        engine.submit(job)
    wait_until(lambda: all(house.state(job) == "Running" for job in jobs))


def test_higher_level_first_then_older(house, monkeypatch):
    order: list[str] = []
    gate = threading.Event()

    def process(job, objects, on_progress):
        order.append(job.id)
        gate.wait(PATIENCE)
        raise engine_module.JobFailedError("X", "only the order matters here")

    monkeypatch.setattr(engine_module, "process", process)
    engine = house.engine(workers=1)
    first = house.add()
    engine.submit(first)
    wait_until(lambda: order)
    rest = {
        name: house.add(level=level) for name, level in (("low", 0), ("high", 2), ("mid", 1), ("high2", 2))
    }
    for job in rest.values():
        engine.submit(job)
    wait_until(lambda: len(engine._ready_jobs) == 4)
    gate.set()
    wait_until(lambda: len(order) == 5)
    assert order[1:] == [rest[name].id for name in ("high", "high2", "mid", "low")]


def test_a_new_start_takes_up_waiting_and_running_jobs(house):
    house.put()
    engine = house.engine(run_seconds=60)
    running = house.add()
    engine.submit(running)
    house.until(running, "Running")
    engine.stop()
    waiting = house.add()
    engine.submit(waiting)  # too late: it stays in the store
    started = house.jobs.get(running.id).started
    house.engine()
    house.until(running, "Success")
    house.until(waiting, "Success")
    assert house.jobs.get(running.id).started == started


def test_a_job_whose_queue_is_paused_as_its_turn_comes_waits_on(house):
    asked: list[str] = []

    def rule(queue_id):
        asked.append(queue_id)
        return QueueLimits(is_active=len(asked) == 1)  # when it is taken; it is held before it begins

    scheduler = QueueScheduler(rule)
    engine, job = house.engine(scheduler=scheduler), house.add()
    house.jobs.hold("p1", True)
    engine.submit(job)
    wait_until(lambda: len(asked) > 1 and len(scheduler) == 1)
    assert house.state(job) == "Pause"
    house.jobs.hold("p1", False)
    scheduler._limits = lambda _queue: QueueLimits()
    engine.wake()
    house.until(job, "Failed")


def test_stop_interrupts_the_work(house, monkeypatch):
    at_work = threading.Event()

    def process(job, objects, on_progress):
        at_work.set()
        while True:
            on_progress(0.5)

    monkeypatch.setattr(engine_module, "process", process)
    engine, job = house.engine(), house.add()
    engine.submit(job)
    assert at_work.wait(PATIENCE)
    engine.stop()
    assert house.state(job) == "Running"


def test_an_own_fault_fails_the_job_and_not_the_engine(house, monkeypatch):
    def broken(*args):
        raise OSError("disk full")

    house.put()
    engine = house.engine()
    monkeypatch.setattr(engine_module, "publish", broken)
    job = house.add()
    engine.submit(job)
    house.until(job, "Failed")
    assert house.jobs.get(job.id).code == "InternalError"
    monkeypatch.undo()
    job = house.add()
    engine.submit(job)
    house.until(job, "Success")


def test_an_input_that_is_overwritten_while_its_job_begins(house, monkeypatch):
    true, seen = processing.separate, []

    def separate(source, *args, **kwargs):
        seen.append(source)
        if len(seen) == 1:
            house.put()
        return true(source, *args, **kwargs)

    monkeypatch.setattr(processing, "separate", separate)
    house.put()
    engine, job = house.engine(), house.add()
    engine.submit(job)
    house.until(job, "Success", "Failed")
    assert house.state(job) == "Success"
    assert len(set(seen)) == 2


def test_an_input_that_is_deleted_while_its_job_begins(house, monkeypatch):
    def separate(source, *args, **kwargs):
        house.objects.delete(BUCKET, "in.wav")
        raise FileNotFoundError

    monkeypatch.setattr(processing, "separate", separate)
    house.put()
    engine, job = house.engine(), house.add()
    engine.submit(job)
    house.until(job, "Success", "Failed")
    assert (house.state(job), house.jobs.get(job.id).code) == ("Failed", "ResourceNotFound")
