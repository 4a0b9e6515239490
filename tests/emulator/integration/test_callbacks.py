"""Callbacks, received by a web server of the test's own."""

from __future__ import annotations

import json
import re
import socket

import aiohttp
import pytest
from lxml import etree

from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.config import DEMO_BUCKET
from tencent_ci_emulator.jobs import callbacks
from tencent_ci_emulator.jobs.job_types import JOB_TYPES
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_faults import document, submitted
from tests.emulator.integration.test_http import JOB, Client
from tests.emulator.receiver import Receiver
from tests.patience import PATIENCE, SOON, wait_until
from tests.recording import SHORT


@pytest.fixture
def emulator():
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator):
    return Client(emulator)


def job(*elements: str, key: str = "in/none.mp3") -> str:
    return JOB.replace("in/a.mp3", key).replace("</Request>", "".join(elements) + "</Request>")


def recorded(emulator, job_id, count=1):
    wait_until(lambda: len(emulator.ledger.callbacks(job_id)) >= count)
    return emulator.ledger.callbacks(job_id)


def recorded_of(emulator, count):
    """Return the callbacks of all jobs, when there are so many."""
    wait_until(lambda: len(emulator.ledger.callbacks()) >= count)
    return emulator.ledger.callbacks()


def test_xml_of_a_job_that_succeeded(emulator, client):
    assert client("PUT", "/in/mix.mp3", SHORT.read_bytes())[0].status == 200
    with Receiver() as receiver:
        job_id = submitted(
            client, job(f"<CallBack>{receiver.url}/done/hush?key=hush</CallBack>", key="in/mix.mp3")
        )
        (record,) = recorded(emulator, job_id)
        (received,) = receiver.received
    assert received.path == "/done/hush?key=hush"
    assert received.headers["content-type"] == "application/xml"
    assert received.body.startswith(b"<?xml")
    root = etree.fromstring(received.body)
    assert (root.tag, root.findtext("EventName")) == ("Response", "TaskFinish")
    sent, described = root.find("JobsDetail"), document(client, "GET", f"/jobs/{job_id}").find("JobsDetail")
    assert etree.tostring(sent) == etree.tostring(described)
    assert sent.findtext("State") == "Success"
    assert sent.find("Operation/MediaResult/OutputFile/Md5Info/Md5") is not None
    assert (record.outcome, record.status, record.state) == ("sent", 200, "Success")
    assert record.target == f"{receiver.url}/done/…"
    assert "hush" not in repr(record)


def test_json_of_a_job_that_failed(emulator, client):
    with Receiver() as receiver:
        elements = f"<CallBack>{receiver.url}/</CallBack>", "<CallBackFormat>JSON</CallBackFormat>"
        job_id = submitted(client, job(*elements))
        recorded(emulator, job_id)
        (received,) = receiver.received
    assert received.headers["content-type"] == "application/json"
    message = json.loads(received.body)
    assert message["EventName"] == "TaskFinish"
    (detail,) = message["JobsDetail"]
    assert (detail["JobId"], detail["State"], detail["Code"]) == (job_id, "Failed", "ResourceNotFound")
    assert detail["Operation"]["JobLevel"] == "0"
    assert detail["EndTime"].endswith("+0800")


def test_json_has_lists_where_several_are_possible(emulator, client):
    assert client("PUT", "/in/mix.mp3", SHORT.read_bytes())[0].status == 200
    with Receiver() as receiver:
        elements = f"<CallBack>{receiver.url}/</CallBack>", "<CallBackFormat>JSON</CallBackFormat>"
        recorded(emulator, submitted(client, job(*elements, key="in/mix.mp3")))
        operation = json.loads(receiver.received[0].body)["JobsDetail"][0]["Operation"]
    written, stream = operation["MediaResult"]["OutputFile"], operation["MediaInfo"]["Stream"]
    assert [len(written["ObjectName"]), len(written["Md5Info"])] == [1, 1]
    assert written["ObjectPrefix"] == ""
    assert len(stream["Audio"]) == 1
    assert (stream["Video"], stream["Subtitle"]) == ([], [])
    assert isinstance(stream["Audio"][0]["SampleRate"], str)


#: The types whose JSON samples have one object in JobsDetail
SINGLE = {
    *("Animation", "Concat", "DigitalWatermark", "ExtractDigitalWatermark"),
    *("MediaInfo", "NoiseReduction", "QualityEstimate"),
}
PARAMETERS = {
    "Transcode": "<Container><Format>mp4</Format></Container>",
    "ConcatTemplate": "<Container><Format>mp4</Format></Container>",
    "Segment": "<Format>mp4</Format>",
    "Snapshot": "<Count>1</Count>",
    "SpeechRecognition": "<EngineModelType>16k_zh</EngineModelType><ChannelNum>1</ChannelNum>"
    "<ResTextFormat>0</ResTextFormat>",
    "TtsConfig": "<InputType>Text</InputType><Input>a</Input>",
    "VoiceSeparate": "<AudioMode>IsBackground</AudioMode>",
}


def job_of(tag: str, *elements: str) -> str:
    """Return a request with all that jobs of a tag need."""
    names = [needed.partition("|")[0] for needed in JOB_TYPES[tag].needs]
    parameters = "".join(f"<{name}>{PARAMETERS.get(name, '')}</{name}>" for name in names)
    output = (
        f"<Bucket>{DEMO_BUCKET}</Bucket><Region>ap-guangzhou</Region><Object>out/${{Number}}</Object>"
        "<StreamExtract><Index>0</Index><Object>out/s</Object></StreamExtract>"
    )
    return (
        f"<Request><Tag>{tag}</Tag><Input><Object>in/none.mp3</Object></Input>"
        f"<Operation>{parameters}<Output>{output}</Output></Operation>{''.join(elements)}</Request>"
    )


@pytest.mark.parametrize("tag", JOB_TYPES)
def test_jobs_of_every_type_have_callbacks(emulator, client, tag):
    with Receiver() as receiver:
        url = f"<CallBack>{receiver.url}/</CallBack>"
        ids = [submitted(client, job_of(tag, url))]
        recorded(emulator, ids[0])
        ids.append(submitted(client, job_of(tag, url, "<CallBackFormat>JSON</CallBackFormat>")))
        recorded(emulator, ids[1])
        as_xml, as_json = (one.body for one in receiver.received)
    assert etree.fromstring(as_xml).findtext("JobsDetail/JobId") == ids[0]
    detail = json.loads(as_json)["JobsDetail"]
    assert isinstance(detail, dict) == (tag in SINGLE)
    [job] = [detail] if tag in SINGLE else detail
    assert (job["JobId"], job["Tag"]) == (ids[1], tag)


def test_jobs_of_a_type_that_is_not_worked_on_have_callbacks(emulator, client):
    assert client("PUT", "/in/film.mp4", b"any bytes")[0].status == 200
    with Receiver() as receiver:
        for tag in ("VideoTag", "FutureType"):
            callback = f"<CallBack>{receiver.url}/</CallBack>"
            job_id = submitted(client, job(callback, key="in/film.mp4").replace("VoiceSeparate", tag))
            recorded(emulator, job_id)
            detail = etree.fromstring(receiver.received[-1].body).find("JobsDetail")
            assert [detail.findtext(name) for name in ("JobId", "Tag", "State")] == [job_id, tag, "Success"]


def test_jobs_of_one_request_and_of_a_batch_have_a_callback_each(emulator, client):
    for key in ("in/1.mp3", "in/2.mp3"):
        assert client("PUT", f"/{key}", b"no media")[0].status == 200
    several = JOB[JOB.index("<Operation>") : JOB.index("</Operation>") + len("</Operation>")]
    operation = several.replace("<VoiceSeparate>", "<Tag>VoiceSeparate</Tag><JobParam><VoiceSeparate>")
    operation = operation.replace("</VoiceSeparate>", "</VoiceSeparate></JobParam>")
    operation = operation.replace("${ext}", "${InputName}.${ext}")
    with Receiver() as receiver:
        callback = f"<CallBack>{receiver.url}/</CallBack>"
        submitted(client, job(callback, key="in/1.mp3").replace(several, several * 3))
        recorded_ids = {one.job_id for one in recorded_of(emulator, 3)}
        batch = (
            "<Request><Name>b</Name><Type>Job</Type><Input><Prefix>in/</Prefix></Input>"
            + operation.replace("</Operation>", f"{callback}</Operation></Request>")
        )
        response, body = client("POST", "/inventorytriggerjob", batch)
        assert response.status == 200, body
        recorded_ids |= {one.job_id for one in recorded_of(emulator, 5)}
        received = [etree.fromstring(one.body).findtext("JobsDetail/JobId") for one in receiver.received]
    assert sorted(received) == sorted(recorded_ids)
    assert len(recorded_ids) == 5


def test_json_has_lists_of_what_is_repeated_and_only_of_that(emulator, client):
    """Audio is a list under MediaInfo.Stream, and an object under Transcode."""
    request = (
        f"<Request><Tag>Transcode</Tag><Input><Object>in/none.mp3</Object></Input><Operation>"
        "<Transcode><Container><Format>mp3</Format></Container><Audio><Codec>mp3</Codec></Audio></Transcode>"
        "<Watermark><Type>Text</Type></Watermark><Watermark><Type>Image</Type></Watermark>"
        f"<Output><Bucket>{DEMO_BUCKET}</Bucket><Region>ap-guangzhou</Region><Object>a</Object></Output>"
        "</Operation><CallBack>{}/</CallBack><CallBackFormat>JSON</CallBackFormat></Request>"
    )
    with Receiver() as receiver:
        recorded(emulator, submitted(client, request.format(receiver.url)))
        operation = json.loads(receiver.received[0].body)["JobsDetail"][0]["Operation"]
    assert operation["Transcode"]["Audio"] == {"Codec": "mp3"}
    assert operation["Watermark"] == [{"Type": "Text"}, {"Type": "Image"}]


def test_no_callback_is_sent_without_a_receiver_or_for_a_cancelled_job():
    with Receiver() as receiver, Emulator(clock=VirtualClock(), queue_seconds=60) as emulator:
        client = Client(emulator)
        jobs = [submitted(client), submitted(client, job("<CallBack>no</CallBack>"))]
        cancelled = submitted(client, job(f"<CallBack>{receiver.url}/</CallBack>"))
        assert client("PUT", f"/jobs/{cancelled}", "", query="cancel")[0].status == 200
        last = submitted(client, job(f"<CallBack>{receiver.url}/</CallBack>"))
        emulator.clock.advance(120)
        states = {one.job_id: one.state for one in emulator.ledger.accepted_jobs()}
        assert [states[one] for one in (*jobs, cancelled, last)] == ["Failed", "Failed", "Cancel", "Failed"]
        assert [record.job_id for record in emulator.ledger.callbacks()] == [last]
        assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [302, 500])
def test_no_redirect_is_followed_and_nothing_repeated(emulator, client, status):
    with Receiver(lambda _one: status) as receiver:
        job_id = submitted(client, job(f"<CallBack>{receiver.url}/</CallBack>"))
        (record,) = recorded(emulator, job_id)
        assert (record.outcome, record.status) == ("sent", status)
        assert [one.path for one in receiver.received] == ["/"]


@pytest.mark.parametrize("host", ["192.0.2.1", "localhost.example.org", "127.1"])
def test_nothing_leaves_this_machine(emulator, client, host, monkeypatch):
    looked_up, true = [], socket.getaddrinfo

    def getaddrinfo(name, *args, **kwargs):
        looked_up.append(name)
        return true("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    job_id = submitted(client, job(f"<CallBack>http://user:hush@{host}:9/x?key=hush</CallBack>"))
    (record,) = recorded(emulator, job_id)
    assert (record.outcome, record.target) == ("refused", f"http://{host}:9/…")
    assert "--allow-remote-callbacks" in record.detail
    assert set(looked_up) == {"127.0.0.1"}  # the test's own client
    assert "hush" not in repr(record)


def test_a_callback_without_a_receiver_has_failed(emulator, client, closed_port):
    url = f"http://127.0.0.1:{closed_port}/?key=hush"
    (record,) = recorded(emulator, submitted(client, job(f"<CallBack>{url}</CallBack>")))
    assert (record.outcome, record.status) == ("failed", None)
    assert "Connect" in record.detail


def test_message_queues_are_recorded(emulator, client):
    tdmq = submitted(
        client,
        job(
            "<CallBackType>TDMQ</CallBackType><CallBackFormat>JSON</CallBackFormat>",
            "<CallBackMqConfig><MqRegion>gz</MqRegion><MqMode>Topic</MqMode><MqName>mine</MqName></CallBackMqConfig>",
        ),
    )
    kafka = submitted(
        client,
        job(
            "<CallBackType>Kafka</CallBackType><CallBackKafkaConfig><Region>ap-guangzhou</Region>",
            "<InstanceId>ckafka-1</InstanceId><Topic>jobs</Topic></CallBackKafkaConfig>",
        ),
    )
    (first,), (second,) = recorded(emulator, tdmq), recorded(emulator, kafka)
    assert (first.kind, first.target, first.outcome) == ("TDMQ", "gz/Topic/mine", "recorded")
    assert json.loads(first.body)["JobsDetail"][0]["JobId"] == tdmq
    assert (second.kind, second.target) == ("Kafka", "ap-guangzhou/ckafka-1/jobs")
    assert etree.fromstring(second.body.encode()).findtext("JobsDetail/JobId") == kafka


def queue_with(client, notify):
    queue = document(client, "GET", "/asrqueue").find("QueueList")
    body = (
        f"<Request><Name>mine</Name><QueueID>{queue.findtext('QueueId')}</QueueID><State>Active</State>"
        f"<NotifyConfig>{notify}</NotifyConfig></Request>"
    )
    response, answer = client("PUT", f"/asrqueue/{queue.findtext('QueueId')}", body)
    assert response.status == 200, answer


def test_the_callback_of_the_queue_is_sent_unless_the_job_has_one(emulator, client):
    with Receiver() as receiver:
        queue_with(
            client,
            f"<State>On</State><Url>{receiver.url}/queue</Url><Event>TaskFinish</Event><Type>Url</Type>"
            "<ResultFormat>JSON</ResultFormat>",
        )
        by_queue = submitted(client, job())
        own = submitted(client, job(f"<CallBack>{receiver.url}/own</CallBack>"))
        none = submitted(client, job("<CallBack>no</CallBack>"))
        recorded(emulator, by_queue)
        recorded(emulator, own)
        wait_until(lambda: client("GET", f"/jobs/{none}")[1].count(b"<State>Failed"))
        assert emulator.ledger.callbacks(none) == []
        assert {one.path: one.body[:1] for one in receiver.received} == {"/queue": b"{", "/own": b"<"}


def test_old_names_of_a_queues_event_and_address_are_served(emulator, client):
    with Receiver() as receiver:
        address = receiver.url.removeprefix("http://")
        queue_with(
            client,
            f"<State>On</State><Url>{address}/queue</Url><Event>TransCodingFinish</Event><Type>Url</Type>",
        )
        (record,) = recorded(emulator, submitted(client, job()))
        assert record.outcome == "sent"
        (received,) = receiver.received
    assert received.path == "/queue"
    assert etree.fromstring(received.body).findtext("JobsDetail/QueueType") == "Speeching"


def test_a_callback_is_sent_twice_or_never(emulator, client):
    emulator.faults.add("callback", callback="twice", key="in/twice.mp3")
    emulator.faults.add("callback", callback="never", key="in/never.mp3")
    with Receiver() as receiver:
        callback = f"<CallBack>{receiver.url}/</CallBack>"
        twice = submitted(client, job(callback, key="in/twice.mp3"))
        never = submitted(client, job(callback, key="in/never.mp3"))
        assert [one.outcome for one in recorded(emulator, twice, 2)] == ["sent", "sent"]
        assert [one.outcome for one in recorded(emulator, never)] == ["suppressed"]
        first, second = receiver.received
        assert first.body == second.body


def test_an_early_callback_is_sent_while_the_job_is_running(emulator, client):
    emulator.faults.add("callback", callback="early")
    seen: list[tuple[str, str]] = []

    def look(received):
        job_id = etree.fromstring(received.body).findtext("JobsDetail/JobId")
        described = document(client, "GET", f"/jobs/{job_id}").findtext("JobsDetail/State")
        seen.append((etree.fromstring(received.body).findtext("JobsDetail/State"), described))
        return 200

    assert client("PUT", "/in/mix.mp3", SHORT.read_bytes())[0].status == 200
    with Receiver(look) as receiver:
        callback = f"<CallBack>{receiver.url}/</CallBack>"
        for key, state in (("in/mix.mp3", "Success"), ("in/none.mp3", "Failed")):
            job_id = submitted(client, job(callback, key=key))
            wait_until(
                lambda job_id=job_id, state=state: (
                    document(client, "GET", f"/jobs/{job_id}").findtext("JobsDetail/State") == state
                )
            )
            assert len(emulator.ledger.callbacks(job_id)) == 1
    assert seen == [("Success", "Running"), ("Failed", "Running")]


def test_an_early_callback_can_say_that_the_job_is_running(emulator, client):
    emulator.faults.add("callback", callback="early", claims={"State": "Running", "EndTime": "-"})
    with Receiver() as receiver:
        (record,) = recorded(emulator, submitted(client, job(f"<CallBack>{receiver.url}/</CallBack>")))
        detail = etree.fromstring(receiver.received[0].body).find("JobsDetail")
    assert (detail.findtext("State"), detail.findtext("EndTime"), record.state) == ("Running", "-", "Running")


def test_callbacks_out_of_order_follow_the_next_one_newest_first(emulator, client):
    emulator.faults.add("callback", callback="out_of_order", first=2)
    with Receiver() as receiver:
        callback = f"<CallBack>{receiver.url}/</CallBack>"
        ids = []
        for _ in range(3):
            ids.append(submitted(client, job(callback)))
            wait_until(lambda: b"<State>Failed" in client("GET", f"/jobs/{ids[-1]}")[1])
        recorded(emulator, ids[0])
        received = [etree.fromstring(one.body).findtext("JobsDetail/JobId") for one in receiver.received]
    assert received == [ids[2], ids[1], ids[0]]
    assert [record.job_id for record in emulator.ledger.callbacks()] == received


@pytest.mark.parametrize("body_format", ["XML", "JSON"])
def test_a_forged_callback_precedes_the_true_one_of_a_job_that_fails(emulator, client, body_format):
    emulator.faults.add("callback", callback="forged")
    seen: list[str] = []

    def look(received):
        job_id = re.search(rb"j[0-9a-f]{32}", received.body).group().decode()
        seen.append(document(client, "GET", f"/jobs/{job_id}").findtext("JobsDetail/State"))
        return 200

    with Receiver(look) as receiver:
        elements = f"<CallBack>{receiver.url}/</CallBack>", f"<CallBackFormat>{body_format}</CallBackFormat>"
        records = recorded(emulator, submitted(client, job(*elements)), count=2)
    assert [(record.state, record.outcome) for record in records] == [("Success", "sent"), ("Failed", "sent")]
    assert seen == ["Running", "Failed"]
    assert [b"ResourceNotFound" in one.body for one in receiver.received] == [False, True]


def test_a_callback_can_claim_success_of_a_job_that_has_failed(emulator, client):
    emulator.faults.add("callback", claims={"State": "Success", "Code": "Success"})
    with Receiver() as receiver:
        job_id = submitted(client, job(f"<CallBack>{receiver.url}/</CallBack>"))
        recorded(emulator, job_id)
        detail = etree.fromstring(receiver.received[0].body).find("JobsDetail")
    assert detail.findtext("State") == "Success"
    assert document(client, "GET", f"/jobs/{job_id}").findtext("JobsDetail/State") == "Failed"


@pytest.mark.parametrize(
    ("forged", "body"),
    [
        ({"body": "<Response>"}, b"<Response>"),
        ({"body": ""}, b""),
        ({"garbage": 3 * 1024**2}, None),
        ({"claims": {"JobId": "j" + "0" * 32}}, None),
    ],
)
def test_forged_callbacks_have_any_body(emulator, client, forged, body):
    emulator.faults.add("callback", callback="forged", **forged)
    with Receiver() as receiver:
        job_id = submitted(client, job(f"<CallBack>{receiver.url}/</CallBack>"))
        records = recorded(emulator, job_id, count=2)
        first, second = (one.body for one in receiver.received)
    assert body in (None, first)
    assert len(first) == forged.get("garbage", len(first))
    assert [job_id.encode() in each for each in (first, second)] == [False, True]
    assert len(records[0].body) <= 2048


def test_a_stop_does_not_wait_for_a_slow_receiver(monkeypatch):
    monkeypatch.setattr(callbacks, "_TIMEOUT", aiohttp.ClientTimeout(total=PATIENCE))
    with Emulator() as emulator, socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        job_id = submitted(Client(emulator), job(f"<CallBack>{url}</CallBack>"))
        silent.settimeout(PATIENCE)
        connection, _ = silent.accept()
        with connection:
            emulator.stop()
    assert emulator.ledger.callbacks(job_id) == []


def test_a_receiver_that_does_not_respond_in_time_has_failed_and_is_not_asked_again(monkeypatch):
    monkeypatch.setattr(callbacks, "_TIMEOUT", aiohttp.ClientTimeout(total=SOON))
    with Emulator() as emulator, socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        (record,) = recorded(emulator, submitted(Client(emulator), job(f"<CallBack>{url}</CallBack>")))
        assert (record.outcome, record.status) == ("failed", None)
        assert "Timeout" in record.detail
        silent.settimeout(PATIENCE)
        silent.accept()[0].close()
        silent.settimeout(SOON)
        with pytest.raises(TimeoutError):
            silent.accept()
