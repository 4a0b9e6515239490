"""A call takes as many steps of SQLite with many jobs and objects as with few."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import DEMO_BUCKET, EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call, Handler
from tencent_ci_emulator.jobs.job_calls import JobCalls
from tencent_ci_emulator.jobs.job_store import JobStore
from tencent_ci_emulator.ledger import Ledger
from tencent_ci_emulator.objects.listing import list_objects
from tencent_ci_emulator.objects.object_store import ObjectStore
from tests.emulator.unit.test_job_store import add

FEW, MANY, _OLD = 2_000, 10_000, 500
_STEPS = 10
#: Reading deeper trees costs a few steps more
_TOLERANCE = 1.3


class CountingDatabase(Database):
    """Counts the steps of its programs, in tens."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.steps = 0
        self._connection.set_progress_handler(self._count, _STEPS)

    def _count(self) -> int:
        self.steps += 1
        return 0


def fill(store: JobStore, database: Database, start: int, end: int) -> None:
    """Add jobs. Of the oldest a tenth waits and a tenth has failed; all others have succeeded."""
    with database.transaction():
        for number in range(start, end):
            job = add(store, created=1000.0 + number, key=f"in/{number}.wav")
            fate = number % 10 if number < _OLD else -1
            if fate == 0:
                continue
            store.start(job.id, 2000.0)
            if fate == 1:
                store.fail(job.id, 3000.0, "Code", "message")
            else:
                store.succeed(job.id, 3000.0, b"<Operation/>")


#: Lists of jobs of which both the few and the many have more than one page
LISTS = {
    "the newest": {},
    "the oldest": {"orderbytime": "Asc"},
    "unfinished": {"states": "Submitted,Running,Pause"},
    "failed": {"states": "Failed,Cancel"},
    "paused": {"states": "Pause"},
    "since the end": {"startcreationtime": "2099-01-01T00:00:00+0800"},
    "until the begin": {"endcreationtime": "1970-01-01T08:16:50+0800"},
    "unfinished since the begin": {
        "states": "Submitted,Running,Pause",
        "startcreationtime": "1970-01-01T08:16:40+0800",
        "orderbytime": "Asc",
    },
    "of one input": {"inputobject": "in/77.wav"},
    "failed of one input": {"inputobject": "in/101.wav", "states": "Failed,Cancel"},
}


class Service:
    """The calls about jobs and objects, without HTTP."""

    def __init__(self, folder: Path) -> None:
        self.database = CountingDatabase(folder / "db")
        self.jobs = JobStore(self.database)
        self.objects = ObjectStore(self.database, folder)
        config = EmulatorConfig(data_dir=folder)
        calls: Any = JobCalls(config, self.database, Clock(), self.jobs, None, lambda: None)  # type: ignore[arg-type]
        self._list: Handler = calls.handlers()["list"]

    def steps_of_list(self, **params: str) -> int:
        """Return the steps of a page and of the next."""
        before = self.database.steps
        content = self._list(Call(DEMO_BUCKET, params={"tag": "VoiceSeparate", **params}))
        assert content is not None
        if token := content["NextToken"]:
            self._list(Call(DEMO_BUCKET, params={"tag": "VoiceSeparate", "nexttoken": token, **params}))
        return self.database.steps - before

    def steps_of_submission(self) -> int:
        before = self.database.steps
        self.jobs.count_waiting("p1")
        add(self.jobs, created=99_999.0)
        return self.database.steps - before

    def steps_of_objects(self, **params: str) -> int:
        before = self.database.steps
        list_objects(DEMO_BUCKET, params.items(), self.objects)
        return self.database.steps - before


@pytest.fixture
def service(tmp_path):
    made = Service(tmp_path)
    yield made
    made.database.close()


def test_a_page_of_jobs_costs_the_same_however_many_there_are(service):
    fill(service.jobs, service.database, 0, FEW)
    of_few = {name: service.steps_of_list(**params) for name, params in LISTS.items()}
    submission = service.steps_of_submission()
    fill(service.jobs, service.database, FEW, MANY)
    of_many = {name: service.steps_of_list(**params) for name, params in LISTS.items()}
    dearer = {
        name: (of_few[name], of_many[name]) for name in LISTS if of_many[name] > of_few[name] * _TOLERANCE + 5
    }
    assert dearer == {}
    assert service.steps_of_submission() <= submission * _TOLERANCE + 5


def test_a_page_of_objects_costs_the_same_however_many_there_are(service, tmp_path):
    def put(start: int, end: int) -> None:
        with service.database.transaction():
            for number in range(start, end):
                path = service.objects.make_incoming_path()
                path.write_bytes(b"sound")
                md5 = hashlib.md5(b"sound").hexdigest()
                service.objects.put(DEMO_BUCKET, f"in/{number:06}.wav", path, md5=md5, modified=1.0)

    put(0, FEW)
    of_few = service.steps_of_objects(prefix="in/")
    put(FEW, MANY // 2)
    assert service.steps_of_objects(prefix="in/", marker="in/003000.wav") <= of_few * _TOLERANCE


def test_the_ledger_counts_the_jobs_of_each_input(service):
    ledger = Ledger()
    ledger.attach(service.database)
    for number in (1, 2, 2, 3, 3, 3):
        add(service.jobs, key=f"in/{number}.wav")
    add(service.jobs, key="in_other/1.wav")
    counts = ledger.jobs_of_inputs("in/")
    assert counts == {"in/1.wav": 1, "in/2.wav": 2, "in/3.wav": 3}
    assert counts.total() == 6
    assert ledger.jobs_of_inputs().total() == 7
    ledger.attach(None)
    with pytest.raises(RuntimeError):
        ledger.jobs_of_inputs()


def test_jobs_of_an_earlier_run_are_counted(tmp_path):
    database = Database(tmp_path / "db")
    store = JobStore(database)
    first, _ = add(store), add(store)
    store.cancel(DEMO_BUCKET, [first.id], 5.0)
    database.execute("DELETE FROM job_counts")
    assert JobStore(database).counts("p1") == {"Submitted": 1, "Cancel": 1}
    assert JobStore(database).count_waiting("p1") == 1
    database.close()
