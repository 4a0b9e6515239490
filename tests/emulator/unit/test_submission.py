from __future__ import annotations

from types import SimpleNamespace

import pytest

from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.jobs.job_store import JobStore
from tencent_ci_emulator.jobs.submission import Order, Submission
from tencent_ci_emulator.jobs.templates import Templates
from tencent_ci_emulator.objects.buckets import Buckets
from tencent_ci_emulator.objects.object_store import ObjectStore
from tests.emulator.unit.test_job_store import BUCKET, request


@pytest.fixture
def world(tmp_path):
    database = Database(tmp_path / "db")
    made = SimpleNamespace(
        jobs=JobStore(database),
        queue=SimpleNamespace(room=lambda _id: 2, get=lambda _id: SimpleNamespace(state="Active")),
        submitted=[],
    )

    def submit(job):
        # the engine's threads may wait for the database, so none of it may be held here
        assert not database._connection.in_transaction
        made.submitted.append(job.id)

    config, clock = EmulatorConfig(data_dir=tmp_path, buckets=(BUCKET,)), SimpleNamespace(now=lambda: 1000.0)
    templates, engine = Templates(config, database, clock), SimpleNamespace(submit=submit)
    buckets = Buckets(config, database, clock)
    objects = ObjectStore(database, tmp_path)
    made.submission = Submission(
        config, database, clock, buckets, objects, made.jobs, templates, made.queue, engine
    )
    yield made
    database.close()


def order(*keys, batch_id=None):
    return Order(BUCKET, "p1", tuple(request(key) for key in keys), "SpeedTranscoding", batch_id)


def test_jobs_are_stored_and_then_submitted(world):
    stored = world.submission.accept(order("a", "b"))
    assert world.submitted == [job.id for job in stored]
    assert [(job.queue_type, job.state) for job in stored] == [("SpeedTranscoding", "Submitted")] * 2


def test_jobs_that_are_not_wanted_any_more_are_not_made(world):
    assert world.submission.accept(order("a", batch_id="b1"), lambda: False) == []
    assert world.jobs.count_waiting("p1") == 0
    assert not world.submitted
