"""Queues: the calls, and what they do to jobs. Time stands still in most tests until they move it."""

from __future__ import annotations

import pytest
from lxml import etree
from qcloud_cos import CosServiceError

from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import JOB, Client
from tests.emulator.sdk_clients import WAYS, one_way, python_client
from tests.patience import wait_until
from tests.recording import SHORT

BUCKET, OTHER = "demo-1250000000", "other-1250000000"
OFF = {"State": "Off"}


@pytest.fixture(scope="module")
def emulator():
    with Emulator(bucket=BUCKET, buckets=[OTHER]) as running:
        yield running


@pytest.fixture(params=WAYS)
def client(request, emulator):
    return python_client(emulator, request.param)


class World:
    """An emulator whose jobs run ten seconds of its own time, and then fail: their input does not exist."""

    def __init__(self, **settings):
        self.clock = VirtualClock()
        self.emulator = Emulator(clock=self.clock, run_seconds=10, workers=8, **settings).start()
        self.client = python_client(self.emulator)

    def pass_time(self, seconds=0.0):
        self.clock.advance(seconds)

    def submit(self, level=0, **fields):
        request = {
            "Tag": "VoiceSeparate",
            "Input": {"Object": "in/none.mp3"},
            "Operation": {
                "VoiceSeparate": {"AudioMode": "IsAudio"},
                "Output": {
                    "Region": self.emulator.region,
                    "Bucket": BUCKET,
                    "AuObject": "out/${jobid}.${ext}",
                },
                "JobLevel": str(level),
            },
            **fields,
        }
        job = self.client.ci_create_media_jobs(Bucket=BUCKET, Jobs=request, Lst={})["JobsDetail"][0]
        self.pass_time()
        return job["JobId"]

    def job(self, job_id):
        return self.client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=job_id)["JobsDetail"][0]

    def states(self, *job_ids):
        return [self.job(one)["State"] for one in job_ids]

    def queue(self, kind="asr"):
        listed = self.client.ci_get_asr_queue if kind == "asr" else self.client.ci_get_media_queue
        return listed(Bucket=BUCKET)["QueueList"][0]

    def set_queue(self, state, kind="asr"):
        update = self.client.ci_update_asr_queue if kind == "asr" else self.client.ci_update_media_queue
        body = {"Name": "mine", "State": state, "NotifyConfig": OFF}
        update(Bucket=BUCKET, QueueId=self.queue(kind)["QueueId"], Request=body)
        self.pass_time()


@pytest.fixture
def world(request):
    made = World(**getattr(request, "param", {}))
    yield made
    made.emulator.stop()


def code_of(caught):
    text = str(caught.value.get_origin_msg())
    return caught.value.get_status_code(), text.partition("<Code>")[2].partition("</Code>")[0]


@one_way
def test_each_kind_has_its_default_queue(client):
    media = client.ci_get_media_queue(Bucket=BUCKET)
    assert (media["TotalCount"], media["PageNumber"], media["PageSize"]) == ("1", "1", "10")
    assert media["RequestId"]
    [queue] = media["QueueList"]
    shown = ("Name", "Category", "MaxSize", "MaxConcurrent", "BucketId")
    assert tuple(queue[name] for name in shown) == (
        "queue-1", "Transcoding", "10000", "10", BUCKET,
    )  # fmt: skip
    assert queue["NotifyConfig"] == {
        "State": "Off", "Url": None, "Event": None, "Type": None, "ResultFormat": "XML",
    }  # fmt: skip
    [speech] = client.ci_get_asr_queue(Bucket=BUCKET)["QueueList"]
    assert (speech["Name"], speech["Category"], speech["State"]) == (
        "queue-smart-audio-1",
        "Speeching",
        "Active",
    )
    assert speech["QueueId"] != queue["QueueId"]


@one_way
def test_queues_are_found_by_id_and_state(client):
    queue_id = client.ci_get_asr_queue(Bucket=BUCKET)["QueueList"][0]["QueueId"]
    found = client.ci_get_asr_queue(Bucket=BUCKET, QueueIds=f"{queue_id},pnone,pnull")
    assert [one["QueueId"] for one in found["QueueList"]] == [queue_id]
    assert found["NonExistPIDs"] == ["pnone", "pnull"]
    assert "TotalCount" not in found
    assert client.ci_get_media_queue(Bucket=BUCKET, QueueIds=queue_id)["NonExistPIDs"] == queue_id
    assert client.ci_get_asr_queue(Bucket=BUCKET, State="Paused")["TotalCount"] == "0"
    assert client.ci_get_asr_queue(Bucket=BUCKET, State="Active")["TotalCount"] == "1"


def test_queues_are_listed_by_category(emulator):
    raw = Client(emulator)

    def total(query):
        return int(etree.fromstring(raw("GET", "/queue", query=query)[1]).findtext("TotalCount"))

    assert [total(f"category={one}") for one in ("Transcoding", "CateAll", "SpeedTranscoding", "")] == [
        1,
        1,
        0,
        1,
    ]
    for query in (
        "category=Mine",
        "state=Asleep",
        "pageSize=x",
        "queueIds=" + ",".join(f"p{n}" for n in range(11)),
    ):
        assert raw.error("GET", "/queue", query=query)[:2] == (400, "InvalidArgument")


def test_a_queue_is_updated(client, request):
    for path, listed, update in (
        ("asr", client.ci_get_asr_queue, client.ci_update_asr_queue),
        ("media", client.ci_get_media_queue, client.ci_update_media_queue),
    ):
        queue_id = listed(Bucket=BUCKET)["QueueList"][0]["QueueId"]
        notify = {
            "State": "On", "Event": "TaskFinish,WorkflowFinish", "Type": "Url", "ResultFormat": "JSON",
            "Url": "http://127.0.0.1:9/hook?secret=1",
        }  # fmt: skip
        body = {"Name": f"队列-{path}", "State": "Active", "NotifyConfig": notify}
        [queue] = update(Bucket=BUCKET, QueueId=queue_id, Request=body)["Queue"]
        assert (queue["QueueId"], queue["Name"], queue["NotifyConfig"]) == (queue_id, f"队列-{path}", notify)
        assert listed(Bucket=BUCKET)["QueueList"] == [queue]
        mq = {
            "State": "On",
            "Event": "TaskFinish",
            "Type": "TDMQ",
            "MqMode": "Queue",
            "MqRegion": "gz",
            "MqName": "q",
        }
        [queue] = update(Bucket=BUCKET, QueueId=queue_id, Request={**body, "NotifyConfig": mq})["Queue"]
        assert {**queue["NotifyConfig"], **mq} == queue["NotifyConfig"]
        # as queues on record have it
        old = {**notify, "Event": "TransCodingFinish", "Url": "www.callback.com/hook"}
        [queue] = update(Bucket=BUCKET, QueueId=queue_id, Request={**body, "NotifyConfig": old})["Queue"]
        assert queue["NotifyConfig"] == old
        update(Bucket=BUCKET, QueueId=queue_id, Request={**body, "NotifyConfig": queue["NotifyConfig"]})
        update(Bucket=BUCKET, QueueId=queue_id, Request={**body, "NotifyConfig": OFF})
        if request.node.callspec.params["client"] == "ip":
            continue  # to a COS host, where a queue that does not exist is the key of an object
        with pytest.raises(CosServiceError) as caught:
            update(Bucket=BUCKET, QueueId="p" + "0" * 32, Request=body)
        assert code_of(caught) == (400, "QueueNotFound")


def on_url(url):
    return {"State": "On", "Event": "TaskFinish", "Type": "Url", "Url": url}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"Name": ""}, "Name"),
        ({"Name": "a b"}, "Name"),
        ({"Name": "x" * 129}, "Name"),
        ({"State": ""}, "State"),
        ({"State": "Stopped"}, "State"),
        ({"NotifyConfig": {"State": "Maybe"}}, "NotifyConfig.State"),
        ({"NotifyConfig": {"State": "On", "Type": "Url", "Url": "http://x/"}}, "NotifyConfig.Event"),
        ({"NotifyConfig": {"State": "On", "Event": "Finish", "Type": "Url"}}, "NotifyConfig.Event"),
        ({"NotifyConfig": {"State": "On", "Event": "TaskFinish", "Url": "http://x/"}}, "NotifyConfig.Type"),
        ({"NotifyConfig": {"State": "On", "Event": "TaskFinish", "Type": "Url"}}, "NotifyConfig.Url"),
        ({"NotifyConfig": on_url("ftp://x/")}, "NotifyConfig.Url"),
        ({"NotifyConfig": on_url("/path")}, "NotifyConfig.Url"),
        ({"NotifyConfig": on_url("a b")}, "NotifyConfig.Url"),
        ({"NotifyConfig": {"State": "On", "Event": "TaskFinish", "Type": "TDMQ"}}, "MqName"),
        ({"NotifyConfig": {"State": "On", "Event": "TaskFinish", "Type": "Kafka"}}, "KafkaConfig"),
        ({"NotifyConfig": {"ResultFormat": "YAML"}}, "NotifyConfig.ResultFormat"),
    ],
)
def test_queue_updates_that_break_a_rule_are_refused(emulator, change, named):
    client = python_client(emulator)
    queue_id = client.ci_get_asr_queue(Bucket=BUCKET)["QueueList"][0]["QueueId"]
    body = {"Name": "fine", "State": "Active", "NotifyConfig": OFF, **change}
    with pytest.raises(CosServiceError) as caught:
        client.ci_update_asr_queue(Bucket=BUCKET, QueueId=queue_id, Request=body)
    assert code_of(caught) == (400, "InvalidArgument")
    assert named in str(caught.value.get_origin_msg())


def test_an_update_needs_notify_config_and_a_queue_of_its_kind_and_bucket(emulator):
    raw, client = Client(emulator), python_client(emulator)
    asr = client.ci_get_asr_queue(Bucket=BUCKET)["QueueList"][0]["QueueId"]
    foreign = client.ci_get_asr_queue(Bucket=OTHER)["QueueList"][0]["QueueId"]
    bare = "<Request><Name>x</Name><State>Active</State></Request>"
    whole = bare.replace("</State>", "</State><NotifyConfig/><QueueID>old pages want it</QueueID>")
    assert "NotifyConfig is missing" in raw.error("PUT", f"/asrqueue/{asr}", bare)[2]
    assert raw.error("PUT", f"/queue/{asr}", whole)[:2] == (400, "QueueNotFound")
    assert raw.error("PUT", f"/asrqueue/{foreign}", whole)[:2] == (400, "QueueNotFound")
    response, body = raw("PUT", f"/asrqueue/{asr}", whole)
    root = etree.fromstring(body)
    assert root.findtext("RequestId") == response.getheader("x-ci-request-id")
    assert root.findtext("Queue/Name") == "x"


def test_a_job_waits_in_the_smart_audio_queue_unless_it_names_another(world):
    media = world.queue("media")["QueueId"]
    assert world.job(world.submit())["QueueId"] == world.queue()["QueueId"]
    assert world.job(world.submit(QueueId=media))["QueueId"] == media
    assert world.job(world.submit(QueueId=""))["QueueId"] == world.queue()["QueueId"]
    listed = world.client.ci_list_media_jobs(Bucket=BUCKET, Tag="VoiceSeparate", QueueId=media)
    assert [one["QueueId"] for one in listed["JobsDetail"]] == [media]
    with pytest.raises(CosServiceError) as caught:
        world.submit(QueueId="pnone")
    assert code_of(caught) == (400, "QueueNotFound")


@pytest.mark.parametrize("world", [{"queue_max_concurrent": 2}], indirect=True)
def test_no_more_than_max_concurrent_run_at_once(world):
    jobs = [world.submit() for _ in range(5)]
    media = world.submit(QueueId=world.queue("media")["QueueId"])  # a queue of its own
    assert world.states(*jobs, media) == ["Running"] * 2 + ["Submitted"] * 3 + ["Running"]
    world.pass_time(10)
    assert world.states(*jobs) == ["Failed"] * 2 + ["Running"] * 2 + ["Submitted"]
    world.pass_time(10)
    assert world.states(*jobs) == ["Failed"] * 4 + ["Running"]
    assert world.queue()["MaxConcurrent"] == "2"


@pytest.mark.parametrize("world", [{"queue_max_concurrent": 1}], indirect=True)
def test_higher_levels_first_then_in_order(world):
    first = world.submit()
    rest = [world.submit(level) for level in (0, 2, 1, 2)]
    order = []
    for _ in range(5):
        order += [one for one in (first, *rest) if world.states(one) == ["Running"]]
        world.pass_time(10)
    assert order == [first, rest[1], rest[3], rest[2], rest[0]]
    assert set(world.states(first, *rest)) == {"Failed"}


@pytest.mark.parametrize("world", [{"queue_max_concurrent": 1}], indirect=True)
def test_pausing_holds_waiting_jobs_and_resuming_runs_them(world):
    running, waiting, other = world.submit(), world.submit(), world.submit()
    world.set_queue("Paused")
    late = world.submit()
    assert world.states(running, waiting, other, late) == ["Running", "Pause", "Pause", "Pause"]
    paused = world.client.ci_list_media_jobs(Bucket=BUCKET, Tag="VoiceSeparate", States="Pause")
    assert len(paused["JobsDetail"]) == 3
    world.client.ci_cancel_jobs(Bucket=BUCKET, JobID=other)  # what has not begun can be cancelled
    world.pass_time(1000)
    assert world.states(running, waiting, other, late) == ["Failed", "Pause", "Cancel", "Pause"]
    world.set_queue("Active")
    assert world.states(waiting, late) == ["Running", "Submitted"]
    world.pass_time(20)
    assert world.states(waiting, other, late) == ["Failed", "Cancel", "Failed"]


def test_pausing_a_queue_does_not_hold_other_queues(world):
    world.set_queue("Paused", "media")
    media = world.submit(QueueId=world.queue("media")["QueueId"])
    assert world.states(world.submit(), media) == ["Running", "Pause"]


def test_running_jobs_cannot_be_cancelled(world):
    running = world.submit()
    with pytest.raises(CosServiceError) as caught:
        world.client.ci_cancel_jobs(Bucket=BUCKET, JobID=running)
    assert code_of(caught) == (400, "InvalidArgument")
    assert world.states(running) == ["Running"]


@pytest.mark.parametrize("world", [{"queue_max_concurrent": 1, "queue_max_size": 2}], indirect=True)
def test_a_full_queue_refuses_jobs(world):
    running = world.submit()
    waiting = [world.submit(), world.submit()]
    with pytest.raises(CosServiceError) as caught:
        world.submit()
    assert code_of(caught) == (403, "QueueSaturated")
    world.submit(QueueId=world.queue("media")["QueueId"])  # which has room
    world.client.ci_cancel_jobs(Bucket=BUCKET, JobID=waiting[0])
    world.submit()
    assert world.states(running) == ["Running"]
    assert world.queue()["MaxSize"] == "2"


@pytest.mark.parametrize("world", [{"refuse_when_paused": True}], indirect=True)
def test_a_paused_queue_refuses_jobs_if_configured(world):
    world.set_queue("Paused")
    with pytest.raises(CosServiceError) as caught:
        world.submit()
    assert code_of(caught) == (403, "QueuePaused")
    world.set_queue("Active")
    assert world.states(world.submit()) == ["Running"]


def test_progress_follows_the_time_that_a_job_stays_running(world):
    job = world.submit(Input={"Object": "in/short.wav"})  # fails at once, so without progress of its own
    assert world.job(job)["Progress"] == "0"
    world.client.put_object(Bucket=BUCKET, Key="in/speech.mp3", Body=SHORT.read_bytes())
    job = world.submit(Input={"Object": "in/speech.mp3"})
    seen = []
    for _ in range(4):
        seen.append(int(world.job(job)["Progress"]))
        world.pass_time(2.5)
    assert seen == [0, 24, 49, 74]
    assert (world.job(job)["State"], world.job(job)["Progress"]) == ("Success", "100")


def test_pause_survives_a_restart(tmp_path):
    settings = {"bucket": BUCKET, "run_seconds": 60, "queue_max_concurrent": 1}
    with Emulator(tmp_path, **settings) as emulator:
        client = python_client(emulator)
        queue_id = client.ci_get_asr_queue(Bucket=BUCKET)["QueueList"][0]["QueueId"]
        body = {"Name": "kept", "State": "Paused", "NotifyConfig": OFF}
        client.ci_update_asr_queue(Bucket=BUCKET, QueueId=queue_id, Request=body)
        world = object.__new__(World)
        world.clock, world.emulator, world.client = VirtualClock(), emulator, client
        held = world.submit()
    with Emulator(tmp_path, **settings) as emulator:
        client = python_client(emulator)
        [queue] = client.ci_get_asr_queue(Bucket=BUCKET)["QueueList"]
        assert (queue["QueueId"], queue["Name"], queue["State"]) == (queue_id, "kept", "Paused")
        [job] = client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=held)["JobsDetail"]
        assert job["State"] == "Pause"
        body["State"] = "Active"
        client.ci_update_asr_queue(Bucket=BUCKET, QueueId=queue_id, Request=body)
        wait_until(lambda: state_of(client, held) == "Running")


def state_of(client, job_id):
    return client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=job_id)["JobsDetail"][0]["State"]


def test_a_queue_is_of_one_bucket(emulator):
    client = python_client(emulator)
    foreign = client.ci_get_asr_queue(Bucket=OTHER)["QueueList"][0]["QueueId"]
    body = JOB.replace("</Request>", f"<QueueId>{foreign}</QueueId></Request>")
    assert Client(emulator).error("POST", "/jobs", body)[:2] == (400, "QueueNotFound")
