"""``POST /jobs`` with several operations and with templates, and the filters of ``GET /jobs``."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest
from lxml import etree
from qcloud_cos import CosServiceError

from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import Client
from tests.emulator.integration.test_queues import code_of
from tests.emulator.sdk_clients import WAYS, one_way, python_client
from tests.patience import PATIENCE, wait_until
from tests.recording import SHORT

BUCKET, OTHER = "demo-1250000000", "other-1250000000"


@pytest.fixture(scope="module")
def emulator():
    with Emulator(bucket=BUCKET, buckets=[OTHER]) as running:
        yield running


@pytest.fixture(params=WAYS)
def client(request, emulator):
    return python_client(emulator, request.param)


def output(**keys):
    return {"Region": "ap-guangzhou", "Bucket": BUCKET, **(keys or {"AuObject": "out/${jobid}.${ext}"})}


def operation(mode="IsAudio", **fields):
    return {
        "VoiceSeparate": {"AudioMode": mode, "AudioConfig": {"Codec": "wav"}},
        "Output": output(),
        **fields,
    }


def submit(client, key="in/none.mp3", **fields):
    request = {"Tag": "VoiceSeparate", "Input": {"Object": key}, "Operation": operation(), **fields}
    return client.ci_create_media_jobs(Bucket=BUCKET, Jobs=request, Lst={})["JobsDetail"]


def ended(client, job_id):
    last: dict = {}

    def has_ended():
        last.update(client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=job_id)["JobsDetail"][0])
        return last["State"] in ("Success", "Failed", "Cancel")

    wait_until(has_ended)
    return last


def create_template(client, name, bucket=BUCKET, mode="IsAudio", codec="flac"):
    body = {"Tag": "VoiceSeparate", "Name": name, "AudioMode": mode, "AudioConfig": {"Codec": codec}}
    return client.ci_create_template(Bucket=bucket, Template=body)["Template"]["TemplateId"]


@one_way
def test_several_operations_become_several_jobs(client):
    client.put_object(Bucket=BUCKET, Key="in/speech.mp3", Body=SHORT.read_bytes())
    operations = [
        operation(Tag="VoiceSeparate", UserData="voice", JobLevel="2"),
        operation(
            "IsBackground", Tag="VoiceSeparate", UserData="rest", Output=output(Object="out/${jobid}.${ext}")
        ),
    ]
    request = {"Input": {"Object": "in/speech.mp3"}, "Operation": operations}
    jobs = client.ci_create_media_jobs(Bucket=BUCKET, Jobs=request, Lst={})["JobsDetail"]
    assert [one["Operation"]["UserData"] for one in jobs] == ["voice", "rest"]
    assert [one["Operation"]["JobLevel"] for one in jobs] == ["2", "0"]
    assert len({one["JobId"] for one in jobs}) == 2
    assert {one["Tag"] for one in jobs} == {"VoiceSeparate"}
    for job in jobs:
        done = ended(client, job["JobId"])
        assert done["State"] == "Success"
        written = done["Operation"]["MediaResult"]["OutputFile"]["ObjectName"]
        assert written == f"out/{job['JobId']}.wav"
        assert client.object_exists(Bucket=BUCKET, Key=written)


@pytest.mark.parametrize(
    ("operations", "code", "named"),
    [
        ([operation(Tag="VoiceSeparate")] * 7, "InvalidArgument", "at most 6"),
        ([operation(Tag="VoiceSeparate"), operation()], "InvalidArgument", "Operation[1]: Tag"),
        (
            [operation(Tag="VoiceSeparate"), operation("Loud", Tag="VoiceSeparate")],
            "InvalidArgument",
            "Operation[1]",
        ),
        (
            [operation(Tag="Transcode"), operation(Tag="VoiceSeparate")],
            "InvalidArgument",
            "Operation[0]: Tag",
        ),
        (
            [operation(Tag="VoiceSeparate", TemplateId="tnone"), operation(Tag="VoiceSeparate")],
            "TemplateNotFound",
            "",
        ),
    ],
)
def test_no_job_is_made_if_one_operation_breaks_a_rule(emulator, operations, code, named):
    client = python_client(emulator)
    request = {"Input": {"Object": "in/all-or-none.mp3"}, "Operation": operations}
    with pytest.raises(CosServiceError) as caught:
        client.ci_create_media_jobs(Bucket=BUCKET, Jobs=request, Lst={})
    assert code_of(caught) == (400, code)
    assert named in str(caught.value.get_origin_msg())
    query = "tag=VoiceSeparate&inputObject=in%2Fall-or-none.mp3"
    assert etree.fromstring(Client(emulator)("GET", "/jobs", query=query)[1]).find("JobsDetail") is None


def test_a_full_queue_takes_all_operations_or_none():
    with Emulator(queue_seconds=60, queue_max_size=3) as emulator:
        client = python_client(emulator)
        request = {"Input": {"Object": "a"}, "Operation": [operation(Tag="VoiceSeparate")] * 2}
        client.ci_create_media_jobs(Bucket=BUCKET, Jobs=request, Lst={})
        with pytest.raises(CosServiceError) as caught:
            client.ci_create_media_jobs(Bucket=BUCKET, Jobs=request, Lst={})
        assert code_of(caught) == (403, "QueueSaturated")
        assert len(client.ci_list_media_jobs(Bucket=BUCKET, Tag="VoiceSeparate")["JobsDetail"]) == 2
        submit(client)


def test_two_clients_never_overfill_a_queue():
    with Emulator(queue_seconds=60, queue_max_size=5) as emulator:
        refused, barrier = [], threading.Barrier(4)

        def run():
            client = python_client(emulator)
            barrier.wait(PATIENCE)
            for _ in range(3):
                try:
                    submit(client)
                except CosServiceError as error:
                    refused.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(refused) == 12 - 5


@one_way
def test_a_template_gives_the_parameters(client, request):
    template_id = create_template(client, f"job-{request.node.callspec.params['client']}")
    client.put_object(Bucket=BUCKET, Key="in/speech.mp3", Body=SHORT.read_bytes())
    # the template wins
    [job] = submit(client, "in/speech.mp3", Operation={**operation("Loud"), "TemplateId": template_id})
    assert job["Operation"]["TemplateId"] == template_id
    assert job["Operation"]["TemplateName"].startswith("job-")
    assert "VoiceSeparate" not in job["Operation"]
    client.ci_delete_template(Bucket=BUCKET, TemplateId=template_id)  # too late for this job
    done = ended(client, job["JobId"])
    assert done["Operation"]["MediaResult"]["OutputFile"]["ObjectName"] == f"out/{job['JobId']}.flac"
    assert done["Operation"]["MediaInfo"]["Stream"]["Audio"]["CodecName"] == "flac"
    with pytest.raises(CosServiceError) as caught:
        submit(client, Operation={"TemplateId": template_id, "Output": output()})
    assert code_of(caught) == (400, "TemplateNotFound")


def test_a_templates_mode_needs_its_outputs_and_its_bucket(emulator):
    client = python_client(emulator)
    both = create_template(client, "both", mode="AudioAndBackground")
    with pytest.raises(CosServiceError) as caught:
        submit(client, Operation={"TemplateId": both, "Output": output()})
    assert "Operation.Output.Object" in str(caught.value.get_origin_msg())
    foreign = create_template(client, "foreign", OTHER)
    with pytest.raises(CosServiceError) as caught:
        submit(client, Operation={"TemplateId": foreign, "Output": output()})
    assert code_of(caught) == (400, "TemplateNotFound")


def test_the_queue_type_is_stored(emulator):
    client = python_client(emulator)
    [job] = submit(client, QueueType="SpeedTranscoding")
    with closing(sqlite3.connect(emulator.config.data_dir / "emulator.sqlite3")) as database:
        [row] = database.execute("SELECT queue_type FROM jobs WHERE id = ?", (job["JobId"],))
    assert row == ("SpeedTranscoding",)
    assert ended(client, job["JobId"])["QueueType"] == "SpeedTranscoding"
    [job] = submit(client)
    assert job["QueueType"] == "Speeching"  # its queue's category
    media = client.ci_get_media_queue(Bucket=BUCKET)["QueueList"][0]["QueueId"]
    [job] = submit(client, QueueId=media)
    assert job["QueueType"] == "Transcoding"
    with pytest.raises(CosServiceError) as caught:
        submit(client, QueueType="Slow")
    assert code_of(caught) == (400, "InvalidArgument")


def test_filters_are_read_in_any_spelling(emulator):
    raw = Client(emulator)
    submit(python_client(emulator), "in/spelled.mp3")

    def count(query):
        body = raw("GET", "/jobs", query=f"tag=VoiceSeparate&inputObject=in%2Fspelled.mp3&{query}")[1]
        return len(etree.fromstring(body).findall("JobsDetail"))

    assert count("States=All") == 1
    assert count("States=Cancel") == 0
    assert count("workflowId=w1") == 0
    assert count("inventoryTriggerJobId=b1") == 0


def test_a_list_compares_the_whole_seconds_that_a_job_shows():
    with Emulator(clock=VirtualClock(1000.9)) as emulator:
        submit(python_client(emulator))

        def count(start, end):
            first, last = (f"1970-01-01T08:16:{second}%2B0800" for second in (start, end))
            query = f"tag=VoiceSeparate&startCreationTime={first}&endCreationTime={last}"
            return len(
                etree.fromstring(Client(emulator)("GET", "/jobs", query=query)[1]).findall("JobsDetail")
            )

        assert (count(40, 40), count(41, 59), count(10, 39)) == (1, 0, 0)  # second 1000 is 08:16:40


def test_the_operation_of_a_job_that_is_not_worked_on_is_kept_and_echoed(emulator):
    client = python_client(emulator)
    client.put_object(Bucket=BUCKET, Key="in/clip.mp4", Body=b"a film")
    asked = {
        "Animation": {"Container": {"Format": "gif"}, "Video": {"Codec": "gif", "Unheard": "yes"}},
        "Watermark": [{"Type": "Text", "Text": {"Text": "one"}}, {"Type": "Text", "Text": {"Text": "two"}}],
        "Output": output(Object="out/${jobid}.${ext}"),
    }
    [job] = submit(client, "in/clip.mp4", Tag="Animation", Operation=asked)
    assert {name: job["Operation"][name] for name in asked} == asked
    assert (job["Tag"], job["QueueType"]) == ("Animation", "Transcoding")
    done = ended(client, job["JobId"])
    assert (done["State"], done["Operation"]["Animation"]) == ("Success", asked["Animation"])
    written = done["Operation"]["MediaResult"]["OutputFile"]["ObjectName"]
    assert written == f"out/{job['JobId']}.mp4"
    [failed] = submit(client, "in/no-clip.mp4", Tag="Animation", Operation=asked)
    assert ended(client, failed["JobId"])["Code"] == "ResourceNotFound"


def test_jobs_without_input_or_output_and_of_tags_that_no_page_names(emulator):
    client, raw = python_client(emulator), Client(emulator)
    speech = {"TtsTpl": {"VoiceType": "ruxue"}, "TtsConfig": {"InputType": "Text", "Input": "你好"}}
    body = {"Tag": "Tts", "Operation": {**speech, "Output": output(Object="out/tts.pcm")}}
    [job] = client.ci_create_media_jobs(Bucket=BUCKET, Jobs=body, Lst={})["JobsDetail"]
    assert "Input" not in job
    assert ended(client, job["JobId"])["State"] == "Success"
    assert client.object_exists(Bucket=BUCKET, Key="out/tts.pcm")
    client.put_object(Bucket=BUCKET, Key="in/clip.mp4", Body=b"a film")
    for tag in ("QualityEstimate", "Unheard"):
        body = f"<Request><Tag>{tag}</Tag><Input><Object>in/clip.mp4</Object></Input></Request>"
        job = etree.fromstring(raw("POST", "/jobs", body)[1])
        done = ended(client, job.findtext("JobsDetail/JobId"))
        assert (done["State"], "MediaResult" in done["Operation"]) == ("Success", False)
        listed = etree.fromstring(raw("GET", "/jobs", query=f"tag={tag}")[1])
        assert [one.text for one in listed.iterfind("JobsDetail/Tag")] == [tag]
    assert raw.error("GET", "/jobs", query="tag=Unknown")[:2] == (400, "InvalidArgument")
    assert raw.error("POST", "/jobs", body.replace("Unheard", "a b"))[:2] == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"Operation": {"Output": output()}}, "Operation needs Transcode or TemplateId"),
        (
            {"Operation": {"Transcode": {"a": "b"}, "Output": output(Bucket="none-1250000000")}},
            "Output.Bucket",
        ),
        ({"Operation": {"Transcode": {"a": "b"}, "JobLevel": "9"}}, "JobLevel"),
        ({"Operation": {"Transcode": {"a": "b"}, "UserData": "声"}}, "UserData"),
        ({"Input": {"Object": "/a"}, "Operation": {"Transcode": {"a": "b"}}}, "Input.Object"),
        ({"Operation": {"Transcode": {"a": "b"}}, "CallBack": "ftp://x"}, "CallBack"),
    ],
)
def test_the_rules_of_all_jobs_are_checked(emulator, fields, named):
    with pytest.raises(CosServiceError) as caught:
        submit(python_client(emulator), Tag="Transcode", **fields)
    assert code_of(caught) == (400, "InvalidArgument")
    assert named in str(caught.value.get_origin_msg())
