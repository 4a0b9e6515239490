"""Batch jobs, by Tencent's Python SDK and by plain HTTP."""

from __future__ import annotations

import json

import pytest
from lxml import etree
from qcloud_cos import CosServiceError

from tencent_ci_emulator.jobs.job_types import JOB_TYPES
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import Client
from tests.emulator.integration.test_queues import World, code_of
from tests.emulator.integration.test_submit import create_template
from tests.emulator.sdk_clients import WAYS, python_client
from tests.patience import wait_until
from tests.recording import SHORT

BUCKET = "demo-1250000000"
OUTPUT = {
    "Region": "ap-guangzhou",
    "Bucket": BUCKET,
    "AuObject": "out/${InventoryTriggerJobId}/${InputPath}/${InputName}-${jobid}.${ext}",
}


@pytest.fixture(scope="module")
def emulator():
    with Emulator(bucket=BUCKET) as running:
        yield running


@pytest.fixture(params=WAYS)
def client(request, emulator):
    return python_client(emulator, request.param)


@pytest.fixture
def world(request):
    made = World(**getattr(request, "param", {}))
    yield made
    made.emulator.stop()


def definition(given, **fields):
    operation = {
        "Tag": "VoiceSeparate",
        "JobParam": {"VoiceSeparate": {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "mp3"}}},
        "Output": OUTPUT,
        "UserData": "mine",
        **fields,
    }
    return {"Name": "stems-2025_声", "Type": "Job", "Input": given, "Operation": operation}


def create(client, given, **fields):
    body = definition(given, **fields)
    return client.ci_create_inventory_trigger_jobs(Bucket=BUCKET, JobBody=body)["JobsDetail"][0]


def describe(client, batch_id):
    return client.ci_get_inventory_trigger_jobs(Bucket=BUCKET, JobID=batch_id)["JobsDetail"][0]


def ended(client, batch_id):
    wait_until(lambda: describe(client, batch_id)["State"] not in ("Submitted", "Running"))
    return describe(client, batch_id)


def children(emulator, batch_id, query="", tag="VoiceSeparate"):
    query = f"tag={tag}&size=100&orderByTime=Asc&inventoryTriggerJobId={batch_id}{query}"
    root = etree.fromstring(Client(emulator)("GET", "/jobs", query=query)[1])
    return root.findall("JobsDetail")


def keys(jobs):
    return [job.findtext("Input/Object") for job in jobs]


def test_a_prefix_is_separated(client, emulator, request):
    prefix = f"batch/{request.node.callspec.params['client']}"
    for name in (f"{prefix}/one.song.mp3", f"{prefix}/two"):
        client.put_object(Bucket=BUCKET, Key=name, Body=SHORT.read_bytes())
    made = create(client, {"Prefix": f"{prefix}/"})
    batch_id = made["JobId"]
    assert (batch_id[0], len(batch_id)) == ("b", 33)
    assert (made["Code"], made["State"], made["Type"], made["Name"]) == (
        "Success", "Submitted", "Job", "stems-2025_声",
    )  # fmt: skip
    assert (made["StartTime"], made["EndTime"], made["Input"]) == ("-", "-", {"Prefix": f"{prefix}/"})
    assert made["Operation"]["Output"] == OUTPUT
    assert (made["Tag"], made["QueueId"]) == ("VoiceSeparate", made["Operation"]["QueueId"])
    assert made["Progress"] == "0"

    done = ended(client, batch_id)
    assert (done["State"], done["EndTime"][-5:], done["Progress"]) == ("Success", "+0800", "100")
    jobs = children(emulator, batch_id)
    assert keys(jobs) == [f"{prefix}/one.song.mp3", f"{prefix}/two"]
    for job, name in zip(jobs, ("one.song", "two"), strict=True):
        assert job.findtext("State") == "Success"
        assert job.findtext("Operation/UserData") == "mine"
        # expanded in the results only
        assert job.findtext("Operation/Output/AuObject") == OUTPUT["AuObject"]
        written = job.findtext("Operation/MediaResult/OutputFile/ObjectName")
        assert written == f"out/{batch_id}/{prefix}/{name}-{job.findtext('JobId')}.mp3"
        assert client.object_exists(Bucket=BUCKET, Key=written)


def test_inputs_that_are_objects_lists_and_inventories(emulator):
    client = python_client(emulator)
    for name in ("in/a.mp3", "in/b.mp3"):
        client.put_object(Bucket=BUCKET, Key=name, Body=b"no sound")
    urls = f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/in/b.mp3\nin/b.mp3\nin/gone.mp3\n"
    client.put_object(Bucket=BUCKET, Key="lists/urls.txt", Body=urls.encode())
    client.put_object(Bucket=BUCKET, Key="lists/data.csv", Body=b'"demo","in/a.mp3"\n"demo","in/b.mp3"\n')
    manifest = {"fileSchema": "Bucket, Key", "files": [{"key": "lists/data.csv"}]}
    client.put_object(Bucket=BUCKET, Key="lists/manifest.json", Body=json.dumps(manifest).encode())
    for given, found in (
        ({"Object": "in/a.mp3"}, ["in/a.mp3"]),
        ({"UrlFile": "lists/urls.txt"}, ["in/b.mp3", "in/gone.mp3"]),
        ({"Manifest": "lists/manifest.json"}, ["in/a.mp3", "in/b.mp3"]),
        ({"Prefix": "nothing/"}, []),
    ):
        batch = ended(client, create(client, given)["JobId"])
        jobs = children(emulator, batch["JobId"])
        # jobs that fail do not make the batch job fail
        assert (batch["State"], keys(jobs)) == ("Success", found)
        assert {job.findtext("State") for job in jobs} <= {"Failed"}
    failed = ended(client, create(client, {"Manifest": "lists/none.json"})["JobId"])
    assert (failed["State"], failed["Code"]) == ("Failed", "ResourceNotFound")
    assert "lists/none.json" in failed["Message"]


def test_only_inputs_uploaded_within_the_interval_are_processed(emulator):
    client = python_client(emulator)
    client.put_object(Bucket=BUCKET, Key="timed/a.mp3", Body=b"no sound")
    for interval, count in (
        ({"Start": "2001-01-01T00:00:00+0800", "End": "2002-01-01T00:00:00+0800"}, 0),
        ({"Start": "2001-01-01T00:00:00+0800", "End": "2999-01-01T00:00:00+0800"}, 1),
        ({"Start": "2998-01-01T00:00:00+0800"}, 0),
        ({"Start": "0"}, 1),
    ):
        batch = ended(client, create(client, {"Prefix": "timed/"}, TimeInterval=interval)["JobId"])
        assert len(children(emulator, batch["JobId"])) == count


def test_a_batch_job_uses_its_template_as_of_its_creation(world):
    template_id = create_template(world.client, "for-batch", codec="flac")
    world.client.put_object(Bucket=BUCKET, Key="in/a.mp3", Body=SHORT.read_bytes())
    world.set_queue("Paused")
    made = create(world.client, {"Object": "in/a.mp3"}, JobParam={"TemplateId": template_id})
    world.client.ci_delete_template(Bucket=BUCKET, TemplateId=template_id)
    world.set_queue("Active")
    world.pass_time(10)
    [job] = children(world.emulator, made["JobId"])
    assert job.findtext("Operation/TemplateName") == "for-batch"
    assert job.findtext("Operation/MediaResult/OutputFile/ObjectName").endswith(".flac")


@pytest.mark.parametrize("world", [{"queue_max_concurrent": 1, "queue_max_size": 2}], indirect=True)
def test_more_inputs_than_the_queue_takes(world):
    for number in range(6):
        world.client.put_object(Bucket=BUCKET, Key=f"in/{number}.mp3", Body=b"")
    batch_id = create(world.client, {"Prefix": "in/"})["JobId"]
    world.pass_time()
    assert len(children(world.emulator, batch_id)) <= 3
    assert describe(world.client, batch_id)["State"] == "Running"
    world.pass_time(100)
    jobs = children(world.emulator, batch_id)
    assert keys(jobs) == [f"in/{number}.mp3" for number in range(6)]
    assert describe(world.client, batch_id)["State"] == "Success"


@pytest.mark.parametrize("world", [{"queue_max_concurrent": 1, "refuse_when_paused": True}], indirect=True)
def test_a_batch_job_waits_for_a_paused_queue(world):
    world.set_queue("Paused")
    batch_id = create(world.client, {"Object": "in/none.mp3"})["JobId"]
    world.pass_time(100)
    assert (describe(world.client, batch_id)["State"], children(world.emulator, batch_id)) == ("Running", [])
    world.set_queue("Active")
    world.pass_time(10)
    assert describe(world.client, batch_id)["State"] == "Success"


@pytest.mark.parametrize("world", [{"queue_max_concurrent": 1}], indirect=True)
def test_cancelling_a_batch_job_lets_running_jobs_end(world):
    for number in range(3):
        world.client.put_object(Bucket=BUCKET, Key=f"in/{number}.mp3", Body=b"")
    batch_id = create(world.client, {"Prefix": "in/"})["JobId"]
    world.pass_time()
    answer = world.client.ci_delete_inventory_trigger_jobs(Bucket=BUCKET, JobId=batch_id)
    assert (answer.status_code, answer.content) == (200, b"")
    world.pass_time(100)
    assert describe(world.client, batch_id)["State"] == "Cancel"
    states = [job.findtext("State") for job in children(world.emulator, batch_id)]
    assert states == ["Failed", "Cancel", "Cancel"]
    for unknown in (batch_id, "b" + "0" * 32):
        with pytest.raises(CosServiceError) as caught:
            world.client.ci_delete_inventory_trigger_jobs(Bucket=BUCKET, JobId=unknown)
        assert code_of(caught) == (400, "InvalidArgument")
        assert "can not be modified" in str(caught.value.get_origin_msg())


def test_cancelling_each_job_ends_the_batch_job(world):
    world.set_queue("Paused")
    batch_id = create(world.client, {"Object": "in/none.mp3"})["JobId"]
    world.pass_time()
    [job] = children(world.emulator, batch_id)
    world.client.ci_cancel_jobs(Bucket=BUCKET, JobID=job.findtext("JobId"))
    world.pass_time()
    assert describe(world.client, batch_id)["State"] == "Success"


def test_lists():
    with Emulator() as emulator:
        client, raw = python_client(emulator), Client(emulator)
        ids = [create(client, {"Object": "in/none.mp3"})["JobId"] for _ in range(5)]
        seen, token = [], ""
        while len(seen) < 5:
            page = client.ci_list_inventory_trigger_jobs(Bucket=BUCKET, Type="Job", Size=2, NextToken=token)
            seen += [one["JobId"] for one in page["JobsDetail"]]
            token = page["NextToken"]
        assert (seen, token) == (ids[::-1], None)
        for one in ids:
            ended(client, one)

        def found(query):
            root = etree.fromstring(raw("GET", "/inventorytriggerjob", query=query)[1])
            return [one.text for one in root.iterfind("JobsDetail/JobId")]

        assert found("orderByTime=Asc&states=Success,Running") == ids
        assert found("states=Cancel") == found("type=Workflow") == found("workflowId=w1") == []
        assert found(f"jobId={ids[3]}") == [ids[3]]
        assert found("name=other") == []
        assert found("endCreationTime=2001-01-01T00:00:00%2B0800") == []
        # what Tencent's SDK asks for by default
        assert "JobsDetail" not in client.ci_list_inventory_trigger_jobs(Bucket=BUCKET)
        for query in ("type=Both", "size=0", "states=Done", "nextToken=x", "startCreationTime=now"):
            assert raw.error("GET", "/inventorytriggerjob", query=query)[:2] == (400, "InvalidArgument")


def test_unknown_batch_jobs_are_listed_as_missing(emulator):
    raw = Client(emulator)
    response, body = raw("GET", "/inventorytriggerjob/bnone")
    given = [(child.tag, child.text) for child in etree.fromstring(body)]
    assert given == [("RequestId", response.getheader("x-ci-request-id")), ("NonExistJobIds", "bnone")]


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"Name": "a b"}, "InvalidArgument", "Name"),
        ({"Name": "x" * 129}, "InvalidArgument", "Name"),
        ({"Type": ""}, "InvalidArgument", "Type"),
        ({"Type": "Workflow"}, "NotImplemented", "workflows"),
        ({"Input": {}}, "InvalidArgument", "exactly one"),
        ({"Input": {"Prefix": "a", "Object": "b"}}, "InvalidArgument", "exactly one"),
        ({"Operation": {}}, "InvalidArgument", "Tag"),
        (definition({}, Tag="Transcode"), "InvalidArgument", "Tag"),
        (definition({}, JobParam={}), "InvalidArgument", "TemplateId"),
        (definition({}, JobParam={"TemplateId": "tnone"}), "TemplateNotFound", "tnone"),
        (definition({}, Output={**OUTPUT, "AuObject": ""}), "InvalidArgument", "AuObject"),
        (definition({}, QueueId="pnone"), "QueueNotFound", "pnone"),
        (definition({}, JobLevel="9"), "InvalidArgument", "JobLevel"),
        (definition({}, TimeInterval={"Start": "soon"}), "InvalidArgument", "TimeInterval.Start"),
    ],
)
def test_batch_jobs_that_break_a_rule_are_refused(emulator, change, code, named):
    body = {**definition({}), **change, "Input": change.get("Input") or {"Object": "in/a.mp3"}}
    if change == {"Input": {}}:
        body["Input"] = {}
    with pytest.raises(CosServiceError) as caught:
        python_client(emulator).ci_create_inventory_trigger_jobs(Bucket=BUCKET, JobBody=body)
    assert code_of(caught) == (501 if code == "NotImplemented" else 400, code)
    assert named in str(caught.value.get_origin_msg())


def test_a_restart_continues_a_batch_job(tmp_path):
    settings = {"queue_max_size": 2, "queue_max_concurrent": 1}
    with Emulator(tmp_path, run_seconds=60, **settings) as emulator:
        client = python_client(emulator)
        for number in range(5):
            client.put_object(Bucket=BUCKET, Key=f"in/{number}.mp3", Body=b"")
        batch_id = create(client, {"Prefix": "in/"})["JobId"]
        wait_until(lambda: len(children(emulator, batch_id)) >= 2)
    with Emulator(tmp_path, **settings) as emulator:
        assert ended(python_client(emulator), batch_id)["State"] == "Success"
        assert keys(children(emulator, batch_id)) == [f"in/{number}.mp3" for number in range(5)]


# Those that the batch page (1045/50369) has, and those of which Go's SDK has the parameters only
TAGS = (
    *("Animation", "Concat", "DigitalWatermark", "ExtractDigitalWatermark", "MediaInfo", "NoiseReduction"),
    *("PicProcess", "QualityEstimate", "SDRtoHDR", "Segment", "SmartCover", "Snapshot", "SpeechRecognition"),
    *("StreamExtract", "SuperResolution", "Transcode", "Tts", "VideoMontage", "VideoProcess", "VideoTag"),
    *("VoiceSeparate", "DNA", "ImageInspect", "ImageOCR", "Translation", "VocalScore", "WordsGeneralize"),
)
# The elements of what each needs, in which something has to be
CONTENTS = {
    "ConcatTemplate": {"Container": {"Format": "mp3"}},
    "Segment": {"Format": "mp3"},
    "Snapshot": {"Count": "1"},
    "SpeechRecognition": {"EngineModelType": "16k_zh", "ChannelNum": "1", "ResTextFormat": "0"},
    "Transcode": {"Container": {"Format": "mp3"}, "Audio": {"Codec": "mp3"}},
    "TtsConfig": {"InputType": "Text", "Input": "a"},
    "TtsTpl": {"Mode": "Sync"},
    "VoiceSeparate": {"AudioMode": "IsAudio"},
}


@pytest.mark.parametrize("tag", TAGS)
def test_batch_jobs_of_every_tag(emulator, tag):
    client = python_client(emulator)
    client.put_object(Bucket=BUCKET, Key="tags/a.mp3", Body=SHORT.read_bytes())
    names = [needed.partition("|")[0] for needed in JOB_TYPES[tag].needs]
    if tag == "Tts":
        names.append("TtsConfig")
    output = {**OUTPUT, "Object": "out/${InventoryTriggerJobId}/${InputName}-${Number}"}
    output["StreamExtract"] = {"Index": "0", "Object": "out/${InventoryTriggerJobId}/stream.mp3"}
    made = create(
        client,
        {"Prefix": "tags/"},
        Tag=tag,
        JobParam={name: CONTENTS.get(name, {"Of": "yes"}) for name in names},
        Output=output,
    )
    assert ended(client, made["JobId"])["State"] == "Success"
    [job] = children(emulator, made["JobId"], tag=tag)
    assert (job.findtext("Tag"), job.findtext("Input/Object")) == (tag, "tags/a.mp3")
    assert job.findtext("QueueId") == made["QueueId"]
    assert job.findtext("State") in ("Success", "Failed")


@pytest.mark.parametrize("tag", ["Transcode", "NoiseReduction", "MediaInfo"])
def test_a_batch_job_works_on_its_inputs_by_template(emulator, tag):
    client = python_client(emulator)
    for name in ("a", "b"):
        client.put_object(Bucket=BUCKET, Key=f"worked/{name}.mp3", Body=SHORT.read_bytes())
    templates = {
        "Transcode": {"Container": {"Format": "wav"}, "Audio": {"Codec": "pcm_s16le"}},
        "NoiseReduction": {"NoiseReduction": {"Format": "wav"}},
    }
    parameters = {}
    if tag in templates:
        template = {"Tag": tag, "Name": f"batch-{tag}", **templates[tag]}
        made = client.ci_create_template(Bucket=BUCKET, Template=template)["Template"]
        parameters = {"JobParam": {"TemplateId": made["TemplateId"]}}
        parameters["Output"] = {**OUTPUT, "Object": f"worked-{tag}/${{InputName}}.${{ext}}"}
    body = definition({"Prefix": "worked/"}, Tag=tag, **parameters)
    for name in {"JobParam", "Output"} - parameters.keys():
        del body["Operation"][name]
    batch = client.ci_create_inventory_trigger_jobs(Bucket=BUCKET, JobBody=body)["JobsDetail"][0]
    assert ended(client, batch["JobId"])["State"] == "Success"
    jobs = children(emulator, batch["JobId"], tag=tag)
    assert [job.findtext("State") for job in jobs] == ["Success"] * 2
    if tag == "MediaInfo":
        assert {job.findtext("Operation/MediaInfo/Stream/Audio/CodecName") for job in jobs} == {"mp3"}
        return
    for name in ("a", "b"):
        found = client.get_object(Bucket=BUCKET, Key=f"worked-{tag}/{name}.wav")
        assert found["Body"].get_raw_stream().read(4) == b"RIFF"
