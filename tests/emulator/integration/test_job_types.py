"""What jobs of each type have in common: services, queues, ids, lists, notes of what is not processed."""

from __future__ import annotations

import pytest
from lxml import etree

from tencent_ci_emulator.config import DEMO_BUCKET as BUCKET
from tencent_ci_emulator.jobs.job_types import JOB_TYPES
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import Client
from tests.emulator.sdk_clients import python_client
from tests.patience import wait_until

OUTPUT = f"<Bucket>{BUCKET}</Bucket><Region>ap-guangzhou</Region><Object>out/${{jobid}}.${{ext}}</Object>"
#: The elements that the types of each service need, which the emulator does not work on
UNPROCESSED = {
    "VideoTag": "<VideoTag/>",
    "SoundHound": "",
    "Translation": "<Translation/>",
    "PicProcess": "<PicProcess/>",
    "FileHashCode": "<FileHashCodeConfig/>",
    "Animation": "<Animation/>",
    "Unheard": "",
}
_SERVICES = {"asr": "s", "ai": "a", "pic": "c", "file": "f"}
_TAGS = {"asr": "SoundHound", "ai": "Translation", "pic": "PicProcess", "file": "FileHashCode"}


@pytest.fixture(scope="module")
def emulator():
    with Emulator() as running:
        Client(running)("PUT", "/in/clip.mp4", b"a film")
        yield running


def body(tag, operation=None, output=OUTPUT, key="in/clip.mp4"):
    """Return a request for a job that the emulator does not work on."""
    operation = UNPROCESSED[tag] if operation is None else operation
    return (
        f"<Request><Tag>{tag}</Tag><Input><Object>{key}</Object></Input>"
        f"<Operation>{operation}<Output>{output}</Output></Operation></Request>"
    )


def submitted(client, request):
    response, document = client("POST", "/jobs", request)
    assert response.status == 200, document
    return etree.fromstring(document).find("JobsDetail")


def ended(emulator, job_id):
    """Return the job as it is described once it has ended."""
    found = []

    def has_ended():
        found[:] = [etree.fromstring(Client(emulator)("GET", f"/jobs/{job_id}")[1]).find("JobsDetail")]
        return found[0].findtext("State") in ("Success", "Failed")

    wait_until(has_ended)
    return found[0]


@pytest.mark.parametrize("service", _SERVICES)
def test_a_job_needs_the_service_of_its_type_and_waits_in_its_queue(service):
    paths = {"ai": ("/ai_bucket", "/ai_queue"), "file": ("/file_bucket", "/file_queue")}
    bucket_path, queue_path = paths.get(service, (f"/{service}bucket", f"/{service}queue"))
    with Emulator() as emulator:
        client, request = Client(emulator), body(_TAGS[service])
        client("PUT", "/in/clip.mp4", b"a film")
        assert client("DELETE", bucket_path)[0].status == 200
        code, message = client.error("POST", "/jobs", request)[1:3]
        assert code == "MediaBucketUnBinded"
        assert f"POST {bucket_path} opens it" in message
        assert b"<TotalCount>0<" in client("GET", queue_path)[1]
        client("POST", bucket_path, b"")
        [queue] = etree.fromstring(client("GET", queue_path)[1]).findall("QueueList")
        job = submitted(client, request)
        assert job.findtext("QueueId") == queue.findtext("QueueId")
        assert job.findtext("JobId").startswith(_SERVICES[service])


def test_a_queue_of_each_service_can_be_paused(emulator):
    client, sdk = Client(emulator), python_client(emulator)
    [queue] = sdk.ci_get_ai_queue(Bucket=BUCKET)["QueueList"]
    assert (queue["Name"], queue["Category"]) == ("queue-ai-process-1", "AIProcess")
    change = {"Name": "ai", "State": "Paused", "NotifyConfig": {"State": "Off"}}
    sdk.ci_update_ai_queue(Bucket=BUCKET, QueueId=queue["QueueId"], Request=change)
    job = submitted(client, body("Translation"))
    assert job.findtext("State") == "Pause"
    sdk.ci_update_ai_queue(Bucket=BUCKET, QueueId=queue["QueueId"], Request={**change, "State": "Active"})
    assert ended(emulator, job.findtext("JobId")).findtext("State") == "Success"
    assert sdk.ci_get_media_pic_queue(Bucket=BUCKET)["QueueList"][0]["Category"] == "PicProcess"
    assert sdk.ci_get_ai_bucket()["AiBucketList"]["BucketId"] == BUCKET


def test_a_list_may_ask_for_the_kind_of_queue(emulator):
    client = Client(emulator)
    media, ai = submitted(client, body("Animation")), submitted(client, body("Translation"))

    def listed(query):
        root = etree.fromstring(client("GET", "/jobs", query=query)[1])
        return [one.text for one in root.iterfind("JobsDetail/JobId")]

    assert media.findtext("JobId") in listed("tag=Animation&queueType=Transcoding")
    assert listed("tag=Animation&queueType=AIProcess") == []
    assert ai.findtext("JobId") in listed("tag=Translation&queueType=AIProcess")
    queue_id = ai.findtext("QueueId")  # beside it the kind does not count
    assert ai.findtext("JobId") in listed(f"tag=Translation&queueId={queue_id}&queueType=Transcoding")
    assert client.error("GET", "/jobs", query="tag=Animation&queueType=Other")[:2] == (400, "InvalidArgument")


@pytest.mark.parametrize("tag", UNPROCESSED)
def test_a_job_that_is_not_worked_on_says_so_everywhere(emulator, tag):
    client = Client(emulator)
    job = ended(emulator, submitted(client, body(tag)).findtext("JobId"))
    message = f"not processed: the emulator does not work on jobs of type {tag}"
    assert (job.findtext("State"), job.findtext("Message")) == ("Success", message)
    key = f"out/{job.findtext('JobId')}.mp4"
    response, content = client("GET", f"/{key}")
    assert content.decode() == f"{message}\n"
    assert response.getheader("x-cos-meta-processed-by").startswith("nothing")
    has_result = tag in ("Animation", "VideoTag", "SoundHound", "FileHashCode", "Unheard")
    written = job.findtext("Operation/MediaResult/OutputFile/ObjectName")
    assert written == (key if has_result else None)
    assert job.find("Operation/MediaInfo") is None


def test_the_first_number_of_a_series_has_the_note(emulator):
    operation = "<SmartCover/>"
    request = body("SmartCover", operation, OUTPUT.replace("${jobid}", "cover-${Number}"))
    job = ended(emulator, submitted(Client(emulator), request).findtext("JobId"))
    assert job.findtext("Operation/MediaResult/OutputFile/ObjectName") == "out/cover-0.mp4"


def test_skipped_work_leaves_a_note_for_each_result():
    names = {"AuObject": "voice-${jobid}.mp3", "Object": "background-${jobid}.mp3"}
    output = "".join(f"<{name}>{key}</{name}>" for name, key in names.items())
    output += f"<Bucket>{BUCKET}</Bucket><Region>ap-guangzhou</Region>"
    operation = "<VoiceSeparate><AudioMode>AudioAndBackground</AudioMode></VoiceSeparate>"
    with Emulator(skip_processing=True) as emulator:
        client = Client(emulator)
        client("PUT", "/in/no-media.mp3", b"no sound")
        request = body("VoiceSeparate", operation, output, "in/no-media.mp3")
        job = ended(emulator, submitted(client, request).findtext("JobId"))
        assert job.findtext("State") == "Success"
        keys = [key.replace("${jobid}", job.findtext("JobId")) for key in names.values()]
        written = [one.text for one in job.iterfind("Operation/MediaResult/OutputFile/ObjectName")]
        assert written == sorted(keys)
        for key in keys:
            assert b"--skip-processing" in client("GET", f"/{key}")[1]
        absent = ended(emulator, submitted(client, body("VideoTag", key="in/absent.mp4")).findtext("JobId"))
        assert (absent.findtext("State"), absent.findtext("Code")) == ("Failed", "ResourceNotFound")


def test_no_job_without_an_output_writes_one(emulator):
    client = Client(emulator)
    before = len(etree.fromstring(client("GET", "/")[1]).findall("Contents"))
    request = body("VideoTag").replace(f"<Output>{OUTPUT}</Output>", "")
    job = ended(emulator, submitted(client, request).findtext("JobId"))
    assert job.findtext("Message").startswith("not processed")
    assert len(etree.fromstring(client("GET", "/")[1]).findall("Contents")) == before


@pytest.mark.parametrize(
    ("request_body", "said"),
    [
        (body("Segment", ""), "Operation needs Segment"),
        (body("VideoProcess", "<VideoProcess/>"), "Operation needs Transcode or TranscodeTemplateId"),
        (body("Animation", "<TemplateId/>"), "Operation needs Animation or TemplateId"),
        (body("Animation").replace(f"<Output>{OUTPUT}</Output>", ""), "Operation.Output.Bucket is missing"),
        (
            body("Animation", output=OUTPUT.partition("<Object>")[0]),
            "Operation.Output needs Object",
        ),
        (
            body("Snapshot", "<Snapshot/>", OUTPUT.partition("<Object>")[0]),
            "Operation.Output needs Object or SpriteObject",
        ),
        (body("StreamExtract", ""), "Operation.Output needs StreamExtract.Object"),
        (body("FileUncompress", "<FileUncompressConfig/>", ""), "Operation.Output.Bucket is missing"),
        (body("PicProcess").replace("<Object>in/clip.mp4</Object>", ""), "Input.Object is missing"),
    ],
)
def test_what_a_type_needs_is_checked(emulator, request_body, said):
    status, code, message = Client(emulator).error("POST", "/jobs", request_body)[:3]
    assert (status, code) == (400, "InvalidArgument")
    assert said in message


def test_every_letter_of_an_id_is_a_documented_one():
    assert {one.id_letter for one in JOB_TYPES.values()} == set("jsacfd")
