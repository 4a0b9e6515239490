"""What is pushed to XCom."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.fields import SERVICE_ZONE
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.results import (
    FILES_MAX,
    RESULT_BYTES_MAX,
    UNSUCCESSFUL_MAX,
    BatchTally,
    batch_result,
    job_result,
    result_failure,
    service_result,
)
from airflow_provider_ci.protocol.xml import ElementTree, parse_document

from .builders import BUCKET, JOB_ID, REGION, parsed

VOICE, BACKGROUND = f"out/{JOB_ID}/voice.mp3", f"out/{JOB_ID}/background.mp3"
PATTERNS = {"Object": "out/${jobid}/background.${ext}", "AuObject": "out/${jobid}/voice.${ext}"}


def job(
    names: Iterable[str] = (),
    *,
    patterns: Mapping[str, str | None] = PATTERNS,
    md5: Iterable[tuple[str, str]] = (),
    prefix: str = "",
    bucket: str | None = BUCKET,
    region: str | None = REGION,
    **changes: Any,
) -> Job:
    written = {
        "Bucket": bucket,
        "Region": region,
        "ObjectPrefix": prefix,
        "ObjectName": list(names),
        "Md5Info": [{"ObjectName": name, "Md5": value} for name, value in md5],
    }
    operation = {
        "Output": {"Bucket": BUCKET, "Region": REGION, **patterns},
        "MediaResult": {"OutputFile": written},
    }
    values = {"job_id": JOB_ID, "state": "Success", "tag": "VoiceSeparate", "operation": operation}
    return Job(**values | changes)


def keys(result) -> dict[str, str]:
    return {stem: found["object"] for stem, found in result["outputs"].items()}


@pytest.mark.parametrize("names", [(VOICE, BACKGROUND), (BACKGROUND, VOICE)], ids=["as-sampled", "reversed"])
def test_results_are_assigned_to_outputs_by_their_keys(names):
    result = job_result(job(names, md5=[(BACKGROUND, "bb"), (VOICE, "aa")]))
    assert result["outputs"] == {
        "voice": {"bucket": BUCKET, "region": REGION, "object": VOICE, "md5": "aa"},
        "background": {"bucket": BUCKET, "region": REGION, "object": BACKGROUND, "md5": "bb"},
    }
    assert result["other_objects"] == []


@pytest.mark.parametrize(
    ("patterns", "names", "expected"),
    [
        pytest.param(
            {"Object": "${ext}/b.x", "AuObject": "v-${jobid}"},
            (f"v-{JOB_ID}", "mp3/b.x"),
            {"voice": f"v-{JOB_ID}", "background": "mp3/b.x"},
            id="placeholders-anywhere",
        ),
        pytest.param(
            {"Object": "out/a.mp3", "AuObject": "out/${jobid}.${ext}"},
            ("out/a.mp3", f"out/{JOB_ID}.mp3"),
            {"voice": f"out/{JOB_ID}.mp3", "background": "out/a.mp3"},
            id="literal-and-placeholder",
        ),
        pytest.param(
            {"Object": "out/a.mp3", "AuObject": "out/a.${ext}"},
            ("out/a.mp3",),
            {"background": "out/a.mp3"},
            id="literal-first",
        ),
        pytest.param(
            {"Object": "a+(b).mp3", "AuObject": "a.b.mp3"},
            ("a+(b).mp3", "a.b.mp3"),
            {"voice": "a.b.mp3", "background": "a+(b).mp3"},
            id="pattern-characters-are-literal",
        ),
        pytest.param(
            {
                "Object": "o/bg.${ext}",
                "AuObject": "o/v.${ext}",
                "BassObject": "o/b.${ext}",
                "DrumObject": "o/d.${ext}",
            },
            ("o/d.wav", "o/b.wav", "o/bg.wav", "o/v.wav"),
            {"voice": "o/v.wav", "background": "o/bg.wav", "bass": "o/b.wav", "drums": "o/d.wav"},
            id="four-stems",
        ),
    ],
)
def test_keys_and_patterns(patterns, names, expected):
    result = job_result(job(names, patterns=patterns))
    assert keys(result) == expected
    assert result["other_objects"] == []


@pytest.mark.parametrize(
    "name",
    [
        "out/other/voice.mp3",
        f"out/{JOB_ID}/voice.m/p3",
        f"out/{JOB_ID}/voice.",
        f"out/{JOB_ID}/voice.mp3.bak",
        f"x/out/{JOB_ID}/voice.mp3",
        f"out/{JOB_ID}/voiceXmp3",
        "out/${jobid}/voice.mp3",
    ],
)
def test_what_fits_no_output_is_kept_apart(name):
    result = job_result(job([name]))
    assert result["outputs"] == {}
    assert [found["object"] for found in result["other_objects"]] == [name]


def test_a_second_object_for_one_output_is_kept_apart():
    result = job_result(job([VOICE, VOICE.replace("mp3", "wav")]))
    assert keys(result) == {"voice": VOICE}
    assert len(result["other_objects"]) == 1


def test_a_missing_md5_is_none():
    outputs = job_result(job([VOICE, BACKGROUND], md5=[(VOICE, "aa")]))["outputs"]
    assert (outputs["voice"]["md5"], outputs["background"]["md5"]) == ("aa", None)


@pytest.mark.parametrize("named_in_md5", ["voice.mp3", VOICE], ids=["short", "full"])
def test_the_prefix_is_part_of_the_key(named_in_md5):
    result = job_result(job(["voice.mp3"], prefix=f"out/{JOB_ID}/", md5=[(named_in_md5, "aa")]))
    assert result["outputs"]["voice"]["object"] == VOICE
    assert result["outputs"]["voice"]["md5"] == "aa"


def test_bucket_and_region_of_the_request_serve_if_the_result_has_none():
    voice = job_result(job([VOICE], bucket=None, region=None))["outputs"]["voice"]
    assert (voice["bucket"], voice["region"]) == (BUCKET, REGION)


@pytest.mark.parametrize(
    ("state", "reported"),
    [
        ("Failed", True),
        ("Success", False),
        ("Cancel", False),
        ("Running", False),
        ("Odd", False),
        ("", False),
    ],
)
def test_code_and_message_mean_something_only_of_a_failed_job(state, reported):
    result = job_result(job(state=state, code="InternalError", message="Oh."))
    assert (result["code"], result["message"]) == (("InternalError", "Oh.") if reported else (None, None))
    assert result["state"] == state


def test_everything_else():
    full = replace(
        job([VOICE]),
        creation_time=datetime(2025, 1, 2, 3, 4, 5, tzinfo=SERVICE_ZONE),
        start_time=datetime(2025, 1, 2, 3, 4, 6, tzinfo=SERVICE_ZONE),
        end_time=datetime(2025, 1, 2, 3, 4, 7, tzinfo=SERVICE_ZONE),
        queue_id="p1",
        tag="VoiceSeparate",
        input={"BucketId": BUCKET, "Object": "in/a.mp3", "Region": REGION},
    )
    full = replace(full, operation={**(full.operation or {}), "UserData": "some-data"})
    result = {name: value for name, value in job_result(full).items() if name != "outputs"}
    assert result == {
        "job_id": JOB_ID,
        "state": "Success",
        "code": None,
        "message": None,
        "creation_time": "2025-01-02T03:04:05+08:00",
        "start_time": "2025-01-02T03:04:06+08:00",
        "end_time": "2025-01-02T03:04:07+08:00",
        "queue_id": "p1",
        "tag": "VoiceSeparate",
        "user_data": "some-data",
        "input": {"bucket": BUCKET, "region": REGION, "object": "in/a.mp3"},
        "other_objects": [],
        "result": {},
        "result_is_complete": True,
        "omitted_files": 0,
    }


@pytest.mark.parametrize(
    "sparse",
    [
        Job(),
        Job(job_id="j1", operation={}),
        Job(state="Success", tag="VoiceSeparate", operation={"MediaResult": ""}),
        Job(operation={"MediaResult": {"OutputFile": {"ObjectName": ["a"]}}}),
        Job(operation={"Output": "", "MediaResult": {"OutputFile": {"Md5Info": [""], "ObjectName": ""}}}),
        Job(
            state="Success",
            tag="VoiceSeparate",
            operation={"Output": {"Object": "out/b", "AuObject": "out/v"}},
        ),
    ],
    ids=["empty", "no-result", "no-file", "no-output", "no-names", "no-files-reported"],
)
def test_a_sparse_job_is_no_fault(sparse):
    result = job_result(sparse)
    assert result["outputs"] == {}
    assert set(result) == set(job_result(job([VOICE])))


def test_the_result_is_json_and_stays_the_same():
    result = job_result(job([VOICE, "x"], state="Failed", code="c", message="m", input={"Object": "a"}))
    assert json.loads(json.dumps(result)) == result
    assert type(result["state"]) is str


def test_the_more_specific_of_two_patterns_wins():
    output = {"Object": "out/${jobid}.${ext}", "AuObject": "out/${jobid}.mp3"}
    job = Job(
        job_id="j1",
        state="Success",
        tag="VoiceSeparate",
        operation={
            "Output": output,
            "MediaResult": {"OutputFile": {"ObjectName": ["out/j1.mp3", "out/j1.aac"]}},
        },
    )
    assert {stem: found["object"] for stem, found in job_result(job)["outputs"].items()} == {
        "background": "out/j1.aac",
        "voice": "out/j1.mp3",
    }


def test_a_signed_address_in_a_failed_jobs_message_is_not_passed_on():
    message = "cannot read https://b.cos.r.myqcloud.com/a?q-ak=AKID1&q-signature=hunter2"
    reported = job_result(Job(state="Failed", code="ResourceDownloadFailed", message=message))["message"]
    assert reported == "cannot read https://b.cos.r.myqcloud.com/a?q-ak=AKID1&q-signature=…"
    batch = BatchJob(state="Failed", message=message)
    tally = BatchTally()
    tally.add(Job(state="Failed", message=message))
    result = batch_result(batch, tally)
    assert [result["message"], result["unsuccessful"][0]["message"]] == [reported, reported]


@pytest.mark.parametrize(
    ("voice_object", "object_", "voice", "background"),
    [
        ("out/${InputName}.${ext}", "out/${InputName}-bg.${ext}", "out/song.mp3", "out/song-bg.mp3"),
        ("${InputPath}/${InputNameAndExt}", "${InputPath}/bg/${jobid}", "in/2/song.wav", f"in/2/bg/{JOB_ID}"),
        (
            "out/${InventoryTriggerJobId}/${InputName}-${jobid}.${ext}",
            "out/${InventoryTriggerJobId}/${Number}.${ext}",
            f"out/b1/song-{JOB_ID}.mp3",
            "out/b1/7.mp3",
        ),
        ("a/${InputName}/${jobid}", None, f"a/${{InputName}}/{JOB_ID}", None),  # not replaced
    ],
)
def test_the_placeholders_of_batch_jobs(voice_object, object_, voice, background):
    names = [name for name in (background, voice) if name]
    result = job_result(
        job(
            names,
            patterns={"AuObject": voice_object, "Object": object_},
            input={"Object": "in/2/song.wav"},
        )
    )
    assert keys(result) == {"voice": voice} | ({"background": background} if background else {})
    assert result["other_objects"] == []


class TestBatches:
    def test_the_jobs_are_counted_by_state(self):
        tally = BatchTally()
        for state in ("Success", "Success", "Failed", "Cancel", "Running", "Strange"):
            tally.add(Job(job_id=f"j-{state}", state=state, code="X", message="why"))
        assert tally.counts == {"Success": 2, "Failed": 1, "Cancel": 1, "Running": 1, "Strange": 1}
        assert (tally.total, tally.without_success, tally.pending) == (6, 2, 2)
        assert [(one["job_id"], one["code"]) for one in tally.unsuccessful] == [
            ("j-Failed", "X"),
            ("j-Cancel", None),
        ]

    def test_of_many_only_some_are_named(self):
        tally = BatchTally()
        for n in range(UNSUCCESSFUL_MAX + 5):
            tally.add(Job(job_id=f"j{n}", state="Failed"))
        assert (len(tally.unsuccessful), tally.without_success) == (
            UNSUCCESSFUL_MAX,
            UNSUCCESSFUL_MAX + 5,
        )

    def test_the_result_is_json_and_stays_the_same(self):
        moment = datetime(2025, 1, 2, 3, 4, 5, tzinfo=SERVICE_ZONE)
        batch = BatchJob(
            job_id="b1",
            name="stems",
            state="Failed",
            code="ResourceNotFound",
            message="no list",
            creation_time=moment,
            input={"Prefix": "in/"},
            operation={"UserData": "order 7"},
        )
        result = batch_result(batch, BatchTally())
        assert json.loads(json.dumps(result)) == result
        assert result == {
            "job_id": "b1",
            "name": "stems",
            "state": "Failed",
            "code": "ResourceNotFound",
            "message": "no list",
            "creation_time": "2025-01-02T03:04:05+08:00",
            "start_time": None,
            "end_time": None,
            "user_data": "order 7",
            "input": {"prefix": "in/"},
            "counts": {},
            "unsuccessful": [],
        }
        assert (
            batch_result(replace(batch, state="Success", input=None, operation=None), BatchTally())["code"]
            is None
        )


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("${a}" * 6 + "x${ext}-", "a" * 800),
        ("${a}b" * 12 + "x", "ab" * 400),
        ("${ext}" * 12 + "-", "a" * 800),
        ("${a}", "a" * 100_000),
    ],
)
def test_no_pattern_takes_long_to_match(pattern, name):
    # as a regular expression, each but the last would take longer than the universe has existed
    result = job_result(job([name], patterns={"Object": pattern}))
    assert [other["object"] for other in result["other_objects"]] == [name]


def test_of_very_many_long_keys_only_the_first_are_matched(mocker):
    patterns = {"Object": "a-${jobid}.${ext}", "AuObject": "v-${jobid}.${ext}"}  # of 5 parts each
    names = [f"{number:04}" for number in range(100)]
    steps = 10 * (4 * len(names) + len(f"v-{JOB_ID}.mp3"))
    mocker.patch("airflow_provider_ci.protocol.output_matching._STEPS_MAX", steps)
    full = job([*names, f"v-{JOB_ID}.mp3"], patterns=patterns)
    assert keys(job_result(full)) == {"voice": f"v-{JOB_ID}.mp3"}
    mocker.patch("airflow_provider_ci.protocol.output_matching._STEPS_MAX", steps - 1)
    result = job_result(full, max_bytes=None)
    assert (len(result["other_objects"]), result["outputs"]) == (101, {})


# --- other types of jobs ------------------------------------------------------------------------------------

LOCATION = f"<Region>{REGION}</Region><Bucket>{BUCKET}</Bucket>"


def done(tag: str, operation: str, **changes: Any) -> Job:
    """Return a successful job as the service describes it."""
    tree = ElementTree(parse_document(f"<Operation>{operation}</Operation>".encode()))
    return Job(**{"job_id": JOB_ID, "tag": tag, "state": "Success", "operation": tree} | changes)


def output(**keys: str) -> str:
    elements = "".join(f"<{name}>{key}</{name}>" for name, key in keys.items())
    return f"<Output>{LOCATION}{elements}</Output>"


def output_file(*names: str, prefix: str = "", md5: str = "", more: str = "") -> str:
    elements = "".join(f"<ObjectName>{name}</ObjectName>" for name in names)
    md5_info = f"<Md5Info><ObjectName>{md5}</ObjectName><Md5>aa</Md5></Md5Info>" if md5 else "<Md5Info/>"
    return (
        f"<MediaResult><OutputFile>{LOCATION}<ObjectPrefix>{prefix}</ObjectPrefix>{elements}{md5_info}{more}"
        "</OutputFile></MediaResult>"
    )


def sprite(*names: str, prefix: str) -> str:
    elements = "".join(f"<ObjectName>{name}</ObjectName>" for name in names)
    return (
        f"<SpriteOutputFile>{LOCATION}<ObjectPrefix>{prefix}</ObjectPrefix>{elements}<Md5Info/>"
        "</SpriteOutputFile>"
    )


FILES = {
    "Transcode": (
        done("Transcode", output(Object="out/a.mp4") + output_file("out/a.mp4", md5="out/a.mp4")),
        {"file": "out/a.mp4"},
    ),
    "Tts, with a leading slash": (
        done("Tts", output(Object="out/a.wav") + output_file("/out/a.wav", md5="/out/a.wav")),
        {"file": "out/a.wav"},
    ),
    "Snapshot": (
        done(
            "Snapshot",
            output(Object="out/s-${Number}.jpg", SpriteObject="out/s-sprite${Number}.jpg")
            + output_file("0.jpg", "1.jpg", prefix="out/s-", more=sprite("0.jpg", prefix="out/s-sprite")),
        ),
        {"file_0": "out/s-0.jpg", "file_1": "out/s-1.jpg", "sprite_0": "out/s-sprite0.jpg"},
    ),
    "Snapshot, sprite below": (
        done(
            "Snapshot",
            output(Object="out/${number}.jpg", SpriteObject="out/sprite/${number}.jpg")
            + output_file("0.jpg", prefix="out/", more=sprite("0.jpg", prefix="out/sprite/")),
        ),
        {"file_0": "out/0.jpg", "sprite_0": "out/sprite/0.jpg"},
    ),
    "Snapshot, sprite only": (
        done(
            "Snapshot",
            output(SpriteObject="out/${Number}.jpg") + output_file(more=sprite("0.jpg", prefix="out/")),
        ),
        {"sprite_0": "out/0.jpg"},
    ),
    "Segment": (
        done("Segment", output(Object="p${Number}") + output_file("0", "1", prefix="p", md5="p0")),
        {"file_0": "p0", "file_1": "p1"},
    ),
    "Segment of a job with an id": (
        done(
            "Segment",
            output(Object="out/${jobid}/${Number}.ts")
            + output_file("4.ts", "12.ts", prefix=f"out/{JOB_ID}/"),
        ),
        {"file_4": f"out/{JOB_ID}/4.ts", "file_12": f"out/{JOB_ID}/12.ts"},
    ),
    "Segment, one extension unknown": (
        done(
            "Segment",
            output(Object="out/${Number}.${ext}") + output_file("out/7.ts", "out/8.ts"),
        ),
        {"file_0": "out/7.ts", "file_1": "out/8.ts"},
    ),
    "SmartCover": (
        done("SmartCover", output(Object="c-${Number}.jpg") + output_file("c-0.jpg", "c-1.jpg", "c-2.jpg")),
        {"file_0": "c-0.jpg", "file_1": "c-1.jpg", "file_2": "c-2.jpg"},
    ),
    "StreamExtract": (
        done(
            "StreamExtract",
            f"<Output>{LOCATION}<StreamExtract><Index>0</Index><Object>out/v.mp4</Object></StreamExtract>"
            "<StreamExtract><Index>2</Index><Object>out/a.mp4</Object></StreamExtract></Output>"
            + output_file("out/a.mp4", "out/v.mp4"),
        ),
        {"stream_0": "out/v.mp4", "stream_2": "out/a.mp4"},
    ),
    "StreamExtract, one, with its key in Output": (
        done(
            "StreamExtract",
            f"<Output>{LOCATION}<StreamExtract><Index>1</Index><Output>out/a.mp4</Output></StreamExtract>"
            "<StreamExtract><Index>2</Index></StreamExtract></Output>" + output_file("out/a.mp4"),
        ),
        {"stream_1": "out/a.mp4"},
    ),
    "NoiseReduction": (done("NoiseReduction", output(Object="out/a.wav")), {"file": "out/a.wav"}),
    "NoiseReduction, placeholder": (done("NoiseReduction", output(Object="out/${jobid}.wav")), {}),
    "Translation": (done("Translation", output(Object="/out/a.txt")), {"file": "out/a.txt"}),
    "SpeechRecognition": (
        done(
            "SpeechRecognition",
            output(Object="out/a.txt") + "<SpeechRecognitionResult><ObjectName>/out/a.txt</ObjectName>"
            "<DetailObjectName>out/a.txt.detail</DetailObjectName></SpeechRecognitionResult>",
        ),
        {"transcript": "out/a.txt", "detail": "out/a.txt.detail"},
    ),
    "SpeechRecognition, placeholder": (
        done(
            "SpeechRecognition",
            output(Object="out/${jobid}.txt")
            + f"<SpeechRecognitionResult><ObjectName>out/{JOB_ID}.txt</ObjectName>"
            f"<DetailObjectName>out/{JOB_ID}.txt.detail</DetailObjectName></SpeechRecognitionResult>",
        ),
        {"transcript": f"out/{JOB_ID}.txt", "detail": f"out/{JOB_ID}.txt.detail"},
    ),
    "PicProcess": (
        done(
            "PicProcess",
            output(Object="out/a.png")
            + "<PicProcessResult><ObjectName>out/a.png</ObjectName></PicProcessResult>",
        ),
        {"file": "out/a.png"},
    ),
    "PicProcess, of the SDK": (
        done(
            "PicProcess",
            output(Object="out/a.png")
            + "<PicProcessResult><UploadResult><ProcessResults><Object>out/a.png</Object>"
            "</ProcessResults></UploadResult></PicProcessResult>",
        ),
        {"file": "out/a.png"},
    ),
    "FileCompress": (
        done(
            "FileCompress",
            output(Object="out/a.zip")
            + f"<FileCompressResult>{LOCATION}<Object>out/a.zip</Object></FileCompressResult>",
        ),
        {"file": "out/a.zip"},
    ),
    "FileUncompress": (
        done(
            "FileUncompress",
            output() + f"<FileUncompressResult>{LOCATION}<FileCount>3</FileCount></FileUncompressResult>",
        ),
        {},
    ),
    "an unknown type": (done("New", output(Object="out/a") + output_file("out/a")), {"file": "out/a"}),
    "an unknown type that names no file": (done("New", output(Object="out/a")), {"file": "out/a"}),
    "no file": (done("SoundHound", "<SoundHoundResult/>"), {}),
}


@pytest.mark.parametrize("name", FILES)
def test_the_files_of_each_type(name):
    found, expected = FILES[name]
    result = job_result(found)
    assert keys(result) == expected
    assert result["other_objects"] == []
    assert all((each["bucket"], each["region"]) == (BUCKET, REGION) for each in result["outputs"].values())


@pytest.mark.parametrize(
    ("name", "output"), [("Transcode", "file"), ("Tts, with a leading slash", "file"), ("Segment", "file_0")]
)
def test_the_md5_belongs_to_the_file_however_its_key_is_written(name, output):
    outputs = job_result(FILES[name][0])["outputs"]
    assert {key: file["md5"] for key, file in outputs.items() if file["md5"]} == {output: "aa"}


@pytest.mark.parametrize("state", ["Submitted", "Running", "Failed", "Cancel", "Strange"])
def test_a_job_without_success_has_no_files_but_those_that_it_reports(state):
    for name in ("NoiseReduction", "SpeechRecognition", "FileCompress"):
        assert keys(job_result(replace(FILES[name][0], state=state))) == {}
    assert keys(job_result(replace(FILES["Transcode"][0], state=state))) == {"file": "out/a.mp4"}


def test_two_files_with_one_number_are_both_kept():
    found = done("Segment", output(Object="p${Number}") + output_file("0", "0", prefix="p"))
    result = job_result(found)
    assert keys(result) == {"file_0": "p0"}
    assert [file["object"] for file in result["other_objects"]] == ["p0"]


def test_the_input_may_be_a_url_without_its_signature():
    found = done("SpeechRecognition", "", input={"Url": "https://h/a.mp3?sign=hunter2", "Object": ""})
    described = job_result(found)["input"]
    assert described == {"bucket": None, "region": None, "object": None, "url": "https://h/a.mp3"}


def test_a_name_that_has_the_prefix_already_is_the_key():
    """The documents' responses have names with the prefix and without it."""
    patterns = {"Object": "out/s-${Number}.jpg"}
    for names in (["0.jpg", "1.jpg"], ["out/s-0.jpg", "out/s-1.jpg"]):
        found = job(names, patterns=patterns, prefix="out/s-", tag="Snapshot")
        assert keys(job_result(found)) == {"file_0": "out/s-0.jpg", "file_1": "out/s-1.jpg"}


class TestServiceResult:
    @pytest.mark.parametrize(
        ("tag", "operation", "expected"),
        [
            ("MediaInfo", "<MediaInfo><Stream><Audio><Index>0</Index></Audio></Stream></MediaInfo>", None),
            (
                "SoundHound",
                "<SoundHoundResult><SongList><SongName>a</SongName></SongList></SoundHoundResult>",
                {"SoundHoundResult": {"SongList": [{"SongName": "a"}]}},
            ),
            (
                "VocalScore",
                "<VocalScore><StandardObject>a</StandardObject></VocalScore><VocalScoreResult><PitchScore>"
                "<SentenceScores><Score>9</Score></SentenceScores></PitchScore></VocalScoreResult>",
                {"VocalScoreResult": {"PitchScore": {"SentenceScores": [{"Score": "9"}]}}},
            ),
            (
                "QualityEstimate",
                "<MediaResult/><QualityEstimate><Score>7</Score></QualityEstimate>",
                {"QualityEstimate": {"Score": "7"}},
            ),
            (
                "ExtractDigitalWatermark",
                "<ExtractDigitalWatermark><Message>m</Message></ExtractDigitalWatermark><UserData>u</UserData>",
                {"ExtractDigitalWatermark": {"Message": "m"}},
            ),
            (
                "Transcode",
                "<Transcode><Container/></Transcode><DigitalWatermark><State>Success</State></DigitalWatermark>"
                "<TemplateId>t</TemplateId><TemplateName>n</TemplateName><JobLevel>0</JobLevel><Output/>",
                {"DigitalWatermark": {"State": "Success"}},
            ),
            ("New", "<NewConfig>1</NewConfig><Output/>", {"NewConfig": "1"}),
        ],
    )
    def test_what_the_service_says_beyond_files(self, tag, operation, expected):
        expected = expected or {"MediaInfo": {"Stream": {"Audio": [{"Index": "0"}]}}}
        found = done(tag, operation)
        assert service_result(found) == expected
        result = job_result(found)
        assert (result["result"], result["result_is_complete"]) == (expected, True)

    def test_a_long_result_is_shortened_and_says_so(self):
        words = "".join(f"<ResultDetail><StartMs>{n}</StartMs></ResultDetail>" for n in range(2000))
        text = f"<Result>{'人' * 20_000}</Result>"
        found = done("SpeechRecognition", f"<SpeechRecognitionResult>{words}{text}</SpeechRecognitionResult>")
        result = job_result(found)
        said = result["result"]["SpeechRecognitionResult"]
        assert not result["result_is_complete"]
        assert [word["StartMs"] for word in said["ResultDetail"]] == [str(n) for n in range(10)]
        assert said["Result"] == "人" * 500 + "…"
        complete = job_result(found, None)
        assert complete["result_is_complete"]
        assert complete["result"] == service_result(found)
        assert len(complete["result"]["SpeechRecognitionResult"]["ResultDetail"]) == 2000

    def test_exactly_the_limit_is_not_shortened(self):
        found = done("New", f"<Said>{'x' * 100}</Said>")
        size = len(json.dumps(service_result(found)))
        assert job_result(found, size)["result_is_complete"]
        assert not job_result(found, size - 1)["result_is_complete"]

    def test_the_limit_is_in_bytes(self):
        found = done("New", f"<Said>{'人' * 100}</Said>")
        size = len(json.dumps(service_result(found), ensure_ascii=False).encode())
        assert job_result(found, size)["result_is_complete"]
        assert not job_result(found, size - 1)["result_is_complete"]

    def test_an_echoed_address_loses_its_signature(self):
        """A type that is not known returns its parameters beside the result."""
        address = "https://b.cos.r.myqcloud.com/a?q-ak=AKID1&amp;q-signature=hunter2"
        found = done("New", f"<New><Part><Url>{address}</Url></Part><Part><Url>a</Url></Part></New>")
        result = job_result(found)
        assert "hunter2" not in json.dumps(result)
        assert not result["result_is_complete"]
        assert "hunter2" in json.dumps(job_result(found, None))

    def test_the_keys_of_encrypted_media_are_left_out(self):
        names = ("DecryptKey", "DecryptIv", "EncryptKey", "EncryptIv")
        found = done("New", "".join(f"<{name}>hunter2</{name}>" for name in names))
        assert "hunter2" not in json.dumps([job_result(found), job_result(found, None)])

    def test_whatever_its_form_it_is_shortened_to_the_limit(self):
        many = "".join(f"<{'n' * 300}{number}>x</{'n' * 300}{number}>" for number in range(2000))
        long_names = "".join(f"<{'n' * 5000}{number}>x</{'n' * 5000}{number}>" for number in range(20))
        for operation in (many, long_names, f"<Said>{many}</Said>", f"<{'n' * 5000}>{many}</{'n' * 5000}>"):
            result = job_result(done("New", operation))
            assert not result["result_is_complete"]
            assert 0 < len(json.dumps(result["result"])) <= RESULT_BYTES_MAX


class TestFailures:
    @pytest.mark.parametrize(
        ("tag", "operation", "says"),
        [
            (
                "VideoTag",
                "<VideoTagResult><StreamData><SubErrCode>4</SubErrCode><SubErrMsg>no picture</SubErrMsg>"
                "</StreamData></VideoTagResult>",
                "VideoTagResult.StreamData.SubErrCode is 4 (no picture)",
            ),
            ("New", "<A><SubErrCode>x</SubErrCode></A><A/>", "A.SubErrCode is x"),
            (
                "SuperResolution",
                "<DigitalWatermark><State> Failed\n</State></DigitalWatermark>",
                "DigitalWatermark.State is Failed",
            ),
        ],
    )
    def test_a_result_may_report_a_failure(self, tag, operation, says):
        assert result_failure(done(tag, operation)) == says
        for state in ("Running", "Failed", "Cancel"):
            assert result_failure(done(tag, operation, state=state)) is None

    @pytest.mark.parametrize(
        "operation",
        [
            "",
            "<VideoTagResult><StreamData><SubErrCode>0</SubErrCode></StreamData></VideoTagResult>",
            "<VideoTagResult><StreamData><SubErrCode/></StreamData></VideoTagResult>",
            "<VideoTagResult><StreamData><SubErrCode>\n 0\n</SubErrCode></StreamData></VideoTagResult>",
            "<DigitalWatermark><State>Success</State></DigitalWatermark>",
            "<Other><State>Failed</State></Other>",
        ],
    )
    def test_or_none(self, operation):
        assert result_failure(done("VideoTag", operation)) is None

    def test_a_signed_address_in_the_reason_is_not_passed_on(self):
        reason = "cannot read https://b.cos.r.myqcloud.com/a?q-ak=AKID1&amp;q-signature=hunter2"
        found = done("VideoTag", f"<A><SubErrCode>1</SubErrCode><SubErrMsg>{reason}</SubErrMsg></A>")
        assert "hunter2" not in str(result_failure(found))

    def test_such_a_job_of_a_batch_job_has_no_success(self):
        tally = BatchTally()
        failed = "<DigitalWatermark><State>Failed</State></DigitalWatermark>"
        for operation in (failed, ""):
            tally.add(done("DigitalWatermark", operation, input={"Object": "in/a.mp4"}))
        assert (tally.total, tally.without_success, tally.counts) == (2, 1, {"Success": 2})
        assert tally.unsuccessful == [
            {
                "job_id": JOB_ID,
                "input_object": "in/a.mp4",
                "state": "Success",
                "code": None,
                "message": "DigitalWatermark.State is Failed",
            }
        ]

    def test_a_batch_job_itself_reports_none(self):
        batch = BatchJob(state="Success", operation={"DigitalWatermark": {"State": "Failed"}})
        assert result_failure(batch) is None


def test_a_job_with_many_files_has_the_first_ones_in_xcom() -> None:
    names = "".join(f"<ObjectName>{number}.jpg</ObjectName>" for number in range(FILES_MAX + 5))
    files = f"<OutputFile><ObjectPrefix>out/</ObjectPrefix>{names}</OutputFile>"
    output = "<Output><Object>out/${Number}.jpg</Object></Output>"
    operation = f"<Operation>{output}<MediaResult>{files}</MediaResult></Operation>"
    content = f"<Tag>Snapshot</Tag><State>Success</State>{operation}"
    found = parsed(Job, content)
    limited, complete = job_result(found), job_result(found, max_bytes=None)
    assert (list(limited["outputs"])[-1], limited["omitted_files"]) == (f"file_{FILES_MAX - 1}", 5)
    assert (len(complete["outputs"]), complete["omitted_files"]) == (FILES_MAX + 5, 0)
