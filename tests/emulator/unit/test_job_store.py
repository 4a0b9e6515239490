from __future__ import annotations

import pytest
from lxml import etree

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.xml import Element, build, to_bytes
from tencent_ci_emulator.jobs.job_store import JobStore

BUCKET = "demo-1250000000"
REGION = "ap-guangzhou"
WRITTEN = {"ObjectPrefix": "", "ObjectName": ["a", "b"]}


def request(key: str = "in/a.mp3", level: int | None = None) -> Element:
    operation = {
        "VoiceSeparate": {"AudioMode": "IsAudio"},
        "Output": {"Region": REGION, "Bucket": BUCKET, "AuObject": "out/${jobid}.${ext}"},
        "UserData": "mine",
        "JobLevel": level,
    }
    return build("Request", {"Tag": "VoiceSeparate", "Input": {"Object": key}, "Operation": operation})


@pytest.fixture
def store(tmp_path):
    database = Database(tmp_path / "db")
    yield JobStore(database)
    database.close()


def add(store: JobStore, created: float = 1000.0, bucket: str = BUCKET, queue: str = "p1", **kwargs):
    return store.add(bucket, REGION, queue, request(**kwargs), created)


def test_a_new_job_is_described_with_its_request(store):
    job = add(store).describe()
    assert (job.findtext("State"), job.findtext("Progress")) == ("Submitted", "0")
    assert job.findtext("CreationTime") == "1970-01-01T08:16:40+0800"
    assert (job.findtext("StartTime"), job.findtext("EndTime")) == ("-", "-")
    given = {child.tag: child.text for child in job.find("Input")}
    assert given == {"BucketId": BUCKET, "Object": "in/a.mp3", "Region": REGION}
    assert job.findtext("Operation/Output/AuObject") == "out/${jobid}.${ext}"  # echoed unexpanded
    assert (job.findtext("Operation/UserData"), job.findtext("Operation/JobLevel")) == ("mine", "0")


def test_the_operation_of_any_tag_is_kept_and_echoed(store):
    operation = build("Operation", {"Unheard": {"Of": [{"Deep": "1"}, {"Deep": "2"}]}, "JobLevel": 2})
    given = build("Request", {"Tag": "Sing", "Input": {"Url": "https://a/b"}, "Operation": operation})
    job = store.add(BUCKET, REGION, "p1", given, 1000.0)
    described = job.describe()
    assert (job.tag, job.level, job.input_object) == ("Sing", 2, "")
    assert etree.tostring(described.find("Operation")) == etree.tostring(operation)
    assert described.findtext("Input/Url") == "https://a/b"
    assert store.has_tag(BUCKET, "Sing")
    assert not store.has_tag(BUCKET, "Dance")


def test_states_from_submitted_to_success(store):
    job = add(store)
    assert store.start(job.id, 1001)
    store.set_progress(job.id, 250)
    assert (store.get(job.id).state, store.get(job.id).progress) == ("Running", 99)
    store.succeed(job.id, 1002, to_bytes(build("Operation", {"MediaResult": {"OutputFile": WRITTEN}})))
    done = store.get(job.id)
    assert (done.state, done.progress, done.ended) == ("Success", 100, 1002)
    written = done.describe().find("Operation/MediaResult/OutputFile")
    assert [one.text for one in written.iterfind("ObjectName")] == ["a", "b"]
    assert written.findtext("ObjectPrefix") == ""
    store.fail(job.id, 1003, "X", "too late")
    store.set_progress(job.id, 5)
    assert store.get(job.id) == done
    assert not store.start(job.id, 1004)


def test_all_of_the_jobs_are_cancelled_or_none(store):
    waiting, other, running = add(store), add(store), add(store)
    store.start(running.id, 1001)
    assert store.cancel(BUCKET, [waiting.id, running.id, "jnone"], 1002) == [running.id, "jnone"]
    assert store.get(waiting.id).state == "Submitted"
    assert store.cancel(BUCKET, [waiting.id, other.id], 1002) == []
    assert {store.get(one.id).state for one in (waiting, other)} == {"Cancel"}
    assert not store.start(waiting.id, 1003)
    assert store.cancel("other-1250000000", [running.id], 1) == [running.id]


def test_the_jobs_of_an_earlier_version_are_kept(tmp_path):
    database = Database(tmp_path / "db")
    job = add(JobStore(database))
    database.execute("ALTER TABLE jobs DROP COLUMN result_keys")
    store = JobStore(database)
    assert store.get(job.id).result_keys is None
    store.start(job.id, 1001.0)
    store.succeed(job.id, 1002.0, to_bytes(build("Operation")), keys=["out/a"])
    assert store.get(job.id).result_keys == '["out/a"]'
    database.close()
