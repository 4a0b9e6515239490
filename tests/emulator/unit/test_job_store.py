from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tencent_ci_emulator.database import BadPageTokenError, Database
from tencent_ci_emulator.http.ci_call import ListQuery
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


def test_a_job_is_described_as_it_was_asked_for(store):
    job = add(store).describe()
    assert (job.findtext("State"), job.findtext("Progress")) == ("Submitted", "0")
    assert job.findtext("CreationTime") == "1970-01-01T08:16:40+0800"
    assert (job.findtext("StartTime"), job.findtext("EndTime")) == ("-", "-")
    given = {child.tag: child.text for child in job.find("Input")}
    assert given == {"BucketId": BUCKET, "Object": "in/a.mp3", "Region": REGION}
    assert job.findtext("Operation/Output/AuObject") == "out/${jobid}.${ext}"  # echoed unexpanded
    assert (job.findtext("Operation/UserData"), job.findtext("Operation/JobLevel")) == ("mine", "0")


def test_the_operation_of_any_tag_is_kept_and_echoed_as_it_came(store):
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


def test_cancel_is_for_all_of_the_jobs_or_for_none(store):
    waiting, other, running = add(store), add(store), add(store)
    store.start(running.id, 1001)
    assert store.cancel(BUCKET, [waiting.id, running.id, "jnone"], 1002) == [running.id, "jnone"]
    assert store.get(waiting.id).state == "Submitted"
    assert store.cancel(BUCKET, [waiting.id, other.id], 1002) == []
    assert {store.get(one.id).state for one in (waiting, other)} == {"Cancel"}
    assert not store.start(waiting.id, 1003)
    assert store.cancel("other-1250000000", [running.id], 1) == [running.id]


def test_find_keeps_to_the_bucket_and_the_order(store):
    first, second, foreign = add(store), add(store), add(store, bucket="other-1250000000")
    assert list(store.find(BUCKET, [second.id, "jnone", foreign.id, first.id])) == [second.id, first.id]


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 7), ascending=st.booleans(), late=st.integers(0, 3))
def test_pages_neither_skip_nor_repeat_while_jobs_arrive(tmp_path_factory, size, ascending, late):
    database = Database(tmp_path_factory.mktemp("jobs") / "db")
    try:
        store = JobStore(database)
        ids = [add(store, created=1000 + n).id for n in range(10)]
        seen: list[str] = []
        token = None
        while True:
            query = ListQuery({"tag": "VoiceSeparate"}, ascending, size, token)
            jobs, token = store.page(BUCKET, query)
            assert len(seen) < 20, "the pages do not end"
            seen += [job.id for job in jobs]
            if token is None:
                break
            for _ in range(late):
                add(store)
            late = 0
        old = [job_id for job_id in seen if job_id in ids]
        assert old == (ids if ascending else ids[::-1])
        assert len(seen) == len(set(seen))
    finally:
        database.close()


def test_filters(store):
    early, late = add(store, created=1000.9), add(store, created=1010.2, key="b", queue="p2")
    store.start(late.id, 1011)

    def ids(**kwargs):
        kwargs = {"tag": "VoiceSeparate", **kwargs}
        return [job.id for job in store.page(BUCKET, ListQuery(kwargs))[0]]

    assert ids() == [late.id, early.id]
    assert ids(tag="Transcode") == []
    assert ids(queue_id="p2") == [late.id]
    assert ids(input_object="in/a.mp3") == [early.id]
    assert ids(input_object="in/") == []
    assert ids(state=("Running", "Failed")) == [late.id]
    # times are shown in whole seconds, and so compared
    second = "CAST(created AS INTEGER)"
    assert ids(**{f"{second} >=": 1000, f"{second} <=": 1000}) == [early.id]
    assert ids(**{f"{second} >=": 1001}) == [late.id]


@pytest.mark.parametrize("token", ["x", "YWZ0ZXI6LTE", "é", "YWZ0ZXI6MTIzNDU2Nzg5MDEyMzQ1Njc4OTA"])
def test_invented_tokens_are_refused(store, token):
    with pytest.raises(BadPageTokenError):
        store.page(BUCKET, ListQuery({"tag": "VoiceSeparate"}, token=token))
