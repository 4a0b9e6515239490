"""Templates, by Tencent's Python SDK in every way that it reaches the emulator, and by plain HTTP."""

from __future__ import annotations

import pytest
from lxml import etree
from qcloud_cos import CosServiceError

from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import Client
from tests.emulator.sdk_clients import WAYS, one_way, python_client

BUCKET, OTHER = "demo-1250000000", "other-1250000000"
DEFINITION = {
    "Tag": "VoiceSeparate",
    "AudioMode": "AudioAndBackground",
    "AudioConfig": {"Codec": "mp3", "Samplerate": "44100", "Bitrate": "128", "Channels": "2"},
}
BODY = (
    "<Request><Tag>VoiceSeparate</Tag><Name>{}</Name><AudioMode>IsAudio</AudioMode><AudioConfig/></Request>"
)


@pytest.fixture(scope="module")
def emulator():
    with Emulator(bucket=BUCKET, buckets=[OTHER]) as running:
        yield running


@pytest.fixture(params=WAYS)
def client(request, emulator):
    return python_client(emulator, request.param)


@pytest.fixture
def raw(emulator):
    return Client(emulator)


def create(client, name, bucket=BUCKET):
    return client.ci_create_template(Bucket=bucket, Template={**DEFINITION, "Name": name})["Template"]


def refused(call, *args, **kwargs):
    with pytest.raises(CosServiceError) as caught:
        call(*args, **kwargs)
    return caught.value.get_status_code(), str(caught.value.get_origin_msg())


def test_a_template_is_created_updated_listed_and_deleted(client, request):
    name = f"声-stems_*{request.node.callspec.params['client']}"
    made = create(client, name)
    assert made["TemplateId"].startswith("t")
    assert len(made["TemplateId"]) == 33
    assert (made["Tag"], made["Name"], made["BucketId"], made["Category"]) == (
        "VoiceSeparate", name, BUCKET, "Custom",
    )  # fmt: skip
    assert made["VoiceSeparate"] == {
        "AudioMode": "AudioAndBackground",
        "AudioConfig": DEFINITION["AudioConfig"],
    }
    assert made["CreateTime"].endswith("+0800")
    assert made["State"] == "Normal"

    new = {
        "Tag": "VoiceSeparate",
        "Name": name + "2",
        "AudioMode": "IsAudio",
        "AudioConfig": {"Codec": "flac"},
    }
    changed = client.ci_update_template(Bucket=BUCKET, TemplateId=made["TemplateId"], Template=new)[
        "Template"
    ]
    # replaced, not merged
    assert changed["VoiceSeparate"] == {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "flac"}}
    assert (changed["TemplateId"], changed["CreateTime"]) == (made["TemplateId"], made["CreateTime"])

    found = client.ci_get_template(Bucket=BUCKET, Ids=f"{made['TemplateId']},tnone")
    assert found["TemplateList"] == [changed]
    assert found["NonExistTIDs"] == {"TemplateId": "tnone"}
    assert "TotalCount" not in found

    gone = client.ci_delete_template(Bucket=BUCKET, TemplateId=made["TemplateId"])
    assert gone["TemplateId"] == made["TemplateId"]
    assert gone["RequestId"]
    if request.node.callspec.params["client"] == "ip":
        return  # to a COS host, where a template that does not exist is the key of an object
    unknown = "t" + "0" * 32
    for template_id in (made["TemplateId"], unknown):
        assert (
            "TemplateNotFound" in refused(client.ci_delete_template, Bucket=BUCKET, TemplateId=template_id)[1]
        )
    status, text = refused(client.ci_update_template, Bucket=BUCKET, TemplateId=unknown, Template=new)
    assert (status, "TemplateNotFound" in text) == (400, True)


def test_lists_by_name_tag_category_and_page():
    with Emulator() as emulator:
        client, raw = python_client(emulator), Client(emulator)
        ids = [create(client, f"{prefix}{n}")["TemplateId"] for prefix in ("a", "b") for n in range(6)]
        first = client.ci_get_template(Bucket=BUCKET)
        assert (first["TotalCount"], first["PageNumber"], first["PageSize"]) == ("12", "1", "10")
        assert [one["TemplateId"] for one in first["TemplateList"]] == ids[:1:-1]
        second = client.ci_get_template(Bucket=BUCKET, PageNumber=2, PageSize=10)
        assert [one["TemplateId"] for one in second["TemplateList"]] == ids[1::-1]
        assert "TemplateList" not in client.ci_get_template(Bucket=BUCKET, PageNumber=3)
        named = client.ci_get_template(Bucket=BUCKET, Name="b")
        assert {one["Name"][0] for one in named["TemplateList"]} == {"b"}
        official = client.ci_get_template(Bucket=BUCKET, Category="Official")
        assert (official["TotalCount"], "TemplateList" in official) == ("0", False)

        def total(query):
            return int(etree.fromstring(raw("GET", "/template", query=query)[1]).findtext("TotalCount"))

        assert [total(f"tag={tag}") for tag in ("", "All", "VoiceSeparate", "Transcode,VoiceSeparate")] == [
            12
        ] * 4
        assert total("tag=Transcode") == 0
        assert raw.error("GET", "/template", query="category=Mine")[:2] == (400, "InvalidArgument")
        assert raw.error("GET", "/template", query="pageSize=101")[:2] == (400, "InvalidArgument")
        assert raw.error("GET", "/template", query="pageNumber=0")[:2] == (400, "InvalidArgument")


def test_a_template_is_of_one_bucket(emulator):
    client = python_client(emulator)
    made = create(client, "of-one")
    assert (
        "TemplateNotFound"
        in refused(client.ci_delete_template, Bucket=OTHER, TemplateId=made["TemplateId"])[1]
    )
    assert create(client, "of-one", OTHER)["BucketId"] == OTHER  # so names may repeat, too


@one_way
def test_names_are_unique(client, request):
    name = f"twice-{request.node.callspec.params['client']}"
    first, second = create(client, name), create(client, name + "-b")
    status, text = refused(create, client, name)
    assert (status, "TemplateNameDuplicate" in text) == (400, True)
    body = {**DEFINITION, "Name": name}
    assert (
        "TemplateNameDuplicate"
        in refused(client.ci_update_template, Bucket=BUCKET, TemplateId=second["TemplateId"], Template=body)[
            1
        ]
    )
    client.ci_update_template(Bucket=BUCKET, TemplateId=first["TemplateId"], Template=body)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"Tag": "Transcode"}, "Container is missing"),
        ({"Tag": "Segment"}, "Tag is 'Segment'"),
        ({"Tag": "Snapshot"}, "Snapshot is missing"),
        ({"Tag": ""}, "Tag"),
        ({"Name": ""}, "Name"),
        ({"Name": "a b"}, "Name"),
        ({"Name": "a/b"}, "Name"),
        ({"Name": "x" * 65}, "Name"),
        ({"AudioMode": ""}, "AudioMode is missing"),
        ({"AudioMode": "Loud"}, "AudioMode"),
        ({"AudioConfig": {"Codec": "ogg"}}, "AudioConfig.Codec"),
        ({"AudioConfig": {"Codec": "amr", "Samplerate": "44100"}}, "AudioConfig.Samplerate"),
        ({"AudioConfig": {"Bitrate": "7"}}, "AudioConfig.Bitrate"),
        ({"AudioConfig": {"Bitrate": "loud"}}, "Bitrate"),
        ({"AudioMode": "MusicMode", "AudioConfig": {"Codec": "flac"}}, "AudioConfig.Codec"),
    ],
)
def test_templates_that_break_a_rule_are_refused(emulator, change, named):
    client = python_client(emulator)
    template = {**DEFINITION, "Name": "bad", **change}
    status, text = refused(client.ci_create_template, Bucket=BUCKET, Template=template)
    assert (status, "InvalidArgument" in text, named in text) == (400, True, True)


def test_template_bodies_that_are_malformed_are_refused(raw):
    assert raw.error("POST", "/template", b"")[:2] == (400, "MissingContent")
    assert raw.error("POST", "/template", b"<Request>")[:2] == (400, "InvalidContent")
    no_config = BODY.format("x").replace("<AudioConfig/>", "")
    assert "AudioConfig is missing" in raw.error("POST", "/template", no_config)[2]
    twice = BODY.format("x").replace("<Tag>", "<Tag>VoiceSeparate</Tag><Tag>")
    assert "repeated elements, of which one is allowed: Tag" in raw.error("POST", "/template", twice)[2]
    assert (
        raw.error("POST", "/template", BODY.format("x"), headers={"Content-MD5": "AAAA"})[1]
        == "InvalidContent"
    )


def test_the_request_id_in_body_and_header_is_the_same(raw):
    response, body = raw("POST", "/template", BODY.format("with-id"))
    first = etree.fromstring(body)[0]
    assert (first.tag, first.text) == ("RequestId", response.getheader("x-ci-request-id"))


def test_templates_have_a_limit_and_survive_a_restart(tmp_path):
    with Emulator(tmp_path, max_templates=2) as emulator:
        client = python_client(emulator)
        made = create(client, "one")
        create(client, "two")
        status, text = refused(create, client, "three")
        assert (status, "CreatedTemplateNumLimit" in text) == (400, True)
        client.ci_delete_template(Bucket=BUCKET, TemplateId=made["TemplateId"])
        create(client, "three")
    with Emulator(tmp_path) as emulator:
        kept = python_client(emulator).ci_get_template(Bucket=BUCKET)["TemplateList"]
        assert [one["Name"] for one in kept] == ["three", "two"]


NESTED = {
    "Concat": "ConcatTemplate",
    **{
        tag: tag
        for tag in (
            *("NoiseReduction", "PicProcess", "SmartCover", "Snapshot", "SpeechRecognition"),
            *("VideoEnhance", "VideoTargetRec", "Watermark"),
        )
    },
}
FLAT = {
    "Animation": "TransTpl",
    "HighSpeedHd": "TransTpl",
    "SuperResolution": "SuperResolution",
    "Transcode": "TransTpl",
    "TranscodePro": "TransProTpl",
    "Tts": "TtsTpl",
    "VideoMontage": "VideoMontage",
    "VideoProcess": "VideoProcess",
}
#: What a body needs where the emulator checks it
BODIES = {
    "Concat": {
        "ConcatFragment": {"Url": "https://x/in/a.mp3", "Mode": "Start"},
        "Container": {"Format": "mp3"},
    },
    "Snapshot": {"Mode": "Average", "Count": "2"},
    "SpeechRecognition": {"EngineModelType": "16k_zh", "ChannelNum": "1", "ResTextFormat": "0"},
    "NoiseReduction": {"Format": "mp3"},
    "Tts": {"Mode": "Sync", "Codec": "wav", "VoiceType": "ruxue"},
}


@pytest.mark.parametrize("tag", [*NESTED, *FLAT])
def test_templates_of_every_tag(emulator, tag):
    """The parameters are in an element of their own or in the request itself, by the tag."""
    client = python_client(emulator)
    body = BODIES.get(tag, {"Container": {"Format": "mp4"}, "Unheard": {"Of": "yes"}})
    sent = {NESTED[tag]: body} if tag in NESTED else body
    template = {"Tag": tag, "Name": f"of-{tag}", **sent}
    made = client.ci_create_template(Bucket=BUCKET, Template=template)["Template"]
    assert (made["Tag"], made[NESTED.get(tag) or FLAT[tag]]) == (tag, body)
    listed = client.ci_get_template(Bucket=BUCKET, Ids=made["TemplateId"])["TemplateList"]
    assert listed == [made]
    changed = client.ci_update_template(
        Bucket=BUCKET, TemplateId=made["TemplateId"], Template={**template, "Name": f"new-{tag}"}
    )["Template"]
    assert changed["Name"] == f"new-{tag}"


def test_a_list_has_the_templates_of_its_tags(emulator):
    client, raw = python_client(emulator), Client(emulator)
    for tag in ("VideoProcess", "SuperResolution"):
        client.ci_create_template(Bucket=BUCKET, Template={"Tag": tag, "Name": f"listed-{tag}"})

    def tags(query):
        root = etree.fromstring(raw("GET", "/template", query=f"name=listed-&{query}")[1])
        return [one.text for one in root.iterfind("TemplateList/Tag")]

    assert tags("tag=VideoProcess") == ["VideoProcess"]
    assert tags("tag=VideoProcess,SuperResolution") == ["SuperResolution", "VideoProcess"]
    assert tags("tag=Concat") == []


def submit(client, tag, **operation):
    output = {"Region": "ap-guangzhou", "Bucket": BUCKET, "Object": "out/a"}
    request = {"Tag": tag, "Input": {"Object": "in/a"}, "Operation": {**operation, "Output": output}}
    return client.ci_create_media_jobs(Bucket=BUCKET, Jobs=request, Lst={})["JobsDetail"][0]


def test_only_the_templates_parameters_are_hidden_in_a_job(emulator):
    client = python_client(emulator)
    template = {"Tag": "Tts", "Name": "for-speech", **BODIES["Tts"]}
    made = client.ci_create_template(Bucket=BUCKET, Template=template)["Template"]
    config = {"InputType": "Text", "Input": "a"}
    job = submit(client, "Tts", TemplateId=made["TemplateId"], TtsConfig=config)
    operation = job["Operation"]
    assert (operation["TemplateName"], operation["TtsConfig"]) == ("for-speech", config)
    assert "TtsTpl" not in operation


def test_a_template_is_for_jobs_of_its_tag(emulator):
    client = python_client(emulator)

    def make(tag, **body):
        template = {"Tag": tag, "Name": f"used-{tag}", **body}
        return client.ci_create_template(Bucket=BUCKET, Template=template)["Template"]["TemplateId"]

    video = make("HighSpeedHd", Container={"Format": "mp4"}, Video={"Codec": "H.264"})
    assert submit(client, "Transcode", TemplateId=video)["Tag"] == "Transcode"
    status, text = refused(submit, client, "Animation", TemplateId=video)
    assert (status, "which is not for Animation" in text) == (400, True)
    enhance = {"VideoProcess": {"ColorEnhance": {"Enable": "true"}}}
    assert (
        "TemplateNotFound" in refused(submit, client, "VideoProcess", **enhance, TranscodeTemplateId="t0")[1]
    )
    text = refused(submit, client, "VideoProcess", **enhance, TranscodeTemplateId=video)[1]
    assert "Operation.TranscodeTemplateId is not a template of the tag Transcode" in text
    plain = make("Transcode", Container={"Format": "mp4"})
    job = submit(client, "VideoProcess", **enhance, TranscodeTemplateId=plain)
    assert job["Operation"]["TranscodeTemplateId"] == plain
