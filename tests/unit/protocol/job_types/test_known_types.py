"""Every type of job that the documents or SDKs name, and what a request of it needs."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.protocol.job_rules import check_job
from airflow_provider_ci.protocol.job_types.job_type import AI, ASR, FILE, MEDIA, PICTURE, Need
from airflow_provider_ci.protocol.job_types.known_types import JOB_TYPES, SUBMIT_ACTIONS, job_type
from airflow_provider_ci.protocol.jobs import SubmitJob
from airflow_provider_ci.protocol.rules import problems_of
from tests.unit.protocol.builders import BUCKET, REGION

#: Tag: the parameters of its smallest request; whether it has Input (1 yes, 0 optional, - no) and Output
#: (k a key, o without a key, 0 optional, - no); whether batch jobs know it; the service to open.
#: DocProcess, DocWatermark and DocAIGCMetadata are not here: they are submitted to /doc_jobs.
TABLE: dict[str, tuple[dict[str, Any], str, bool, str]] = {
    "VoiceSeparate": ({"VoiceSeparate": {"AudioMode": "IsBackground"}}, "1k", True, ASR),
    "SpeechRecognition": (
        {"SpeechRecognition": {"EngineModelType": "16k_zh", "ChannelNum": 1}},
        "1k",
        True,
        ASR,
    ),
    "NoiseReduction": ({}, "1k", True, ASR),
    "Tts": ({"TtsTpl": {"Mode": "Sync"}, "TtsConfig": {"InputType": "Text", "Input": "a"}}, "-k", True, ASR),
    "SoundHound": ({}, "1-", False, ASR),
    "VocalScore": ({"VocalScore": {"StandardObject": "a"}}, "1-", True, ASR),
    "Transcode": ({"Transcode": {"Container": {"Format": "mp3"}, "Audio": {}}}, "1k", True, MEDIA),
    "Concat": ({"ConcatTemplate": {"ConcatFragment": [{"Url": "a"}]}}, "0k", True, MEDIA),
    "Segment": ({"Segment": {"Format": "mp3"}}, "1k", True, MEDIA),
    "Snapshot": ({"Snapshot": {"Count": 1}}, "1o", True, MEDIA),
    "Animation": ({"Animation": {}}, "1k", True, MEDIA),
    "SmartCover": ({}, "1k", True, MEDIA),
    "VideoMontage": ({"VideoMontage": {}}, "1k", True, MEDIA),
    "SDRtoHDR": ({"SDRtoHDR": {}, "TranscodeTemplateId": "t1"}, "1k", True, MEDIA),
    "VideoProcess": ({"VideoProcess": {}, "Transcode": {}}, "1k", True, MEDIA),
    "SuperResolution": ({"SuperResolution": {}, "Transcode": {}}, "1k", True, MEDIA),
    "VideoEnhance": ({"VideoEnhance": {}}, "1k", False, MEDIA),
    "Watermark": ({"Watermark": [{"Type": "Text"}]}, "1k", False, MEDIA),
    "DigitalWatermark": ({"DigitalWatermark": {"Message": "a"}}, "1k", True, MEDIA),
    "ExtractDigitalWatermark": ({"ExtractDigitalWatermark": {}}, "1-", True, MEDIA),
    "StreamExtract": ({}, "1o", True, MEDIA),
    "VideoTag": ({"VideoTag": {"Scenario": "Stream"}}, "1-", True, MEDIA),
    "MediaInfo": ({}, "1-", True, MEDIA),
    "QualityEstimate": ({}, "1-", True, MEDIA),
    "VideoTargetRec": ({"VideoTargetRec": {}}, "00", False, MEDIA),
    "SegmentVideoBody": ({"SegmentVideoBody": {}}, "10", False, MEDIA),
    "SplitVideoParts": ({"SplitVideoParts": {"Mode": "SHOTDETECT"}}, "1-", False, MEDIA),
    "FillConcat": ({"FillConcat": {"FillInput": [{"Url": "a"}]}}, "-k", False, MEDIA),
    "VideoSynthesis": ({"VideoSynthesis": {"SpliceInfo": [{"Url": "a"}]}}, "-k", False, MEDIA),
    "DNA": ({"DnaConfig": {}}, "1-", True, MEDIA),
    "GeneratePlayList": ({"Transcode": {}}, "1k", False, MEDIA),
    "Translation": ({"Translation": {"Lang": "en"}}, "10", True, AI),
    "WordsGeneralize": ({}, "10", True, AI),
    "PicProcess": ({"PicProcess": {}}, "1k", True, PICTURE),
    "ImageInspect": ({}, "1-", True, PICTURE),
    "ImageOCR": ({"TemplateId": "t1"}, "10", True, PICTURE),
    "PosterProduction": ({"PosterProduction": {"TemplateId": "t"}}, "0k", False, PICTURE),
    "FileHashCode": ({"FileHashCodeConfig": {"Type": "MD5"}}, "1-", False, FILE),
    "FileUncompress": ({"FileUncompressConfig": {}}, "1o", False, FILE),
    "FileCompress": ({"FileCompressConfig": {"Key": ["a", "b"]}}, "-k", False, FILE),
}
LISTED = {
    *("Transcode", "Animation", "Snapshot", "SmartCover", "Concat", "VoiceSeparate", "VideoMontage"),
    *("SDRtoHDR", "VideoProcess", "SuperResolution", "Segment", "DigitalWatermark", "VideoTag", "MediaInfo"),
    *("ExtractDigitalWatermark", "StreamExtract", "QualityEstimate", "Tts", "NoiseReduction"),
}
LOCATION = {"Region": REGION, "Bucket": BUCKET}
NEEDS = {"1": Need.REQUIRED, "0": Need.OPTIONAL, "-": Need.FORBIDDEN, "k": Need.REQUIRED, "o": Need.REQUIRED}


def job(tag: str, **changes: Any) -> dict[str, Any]:
    """Return the smallest request of a type."""
    parameters, needs, _, _ = TABLE[tag]
    operation = dict(parameters)
    if needs[1] == "k":
        operation["Output"] = {**LOCATION, "Object": "out/${Number}" if tag == "SmartCover" else "out/a"}
    elif needs[1] == "o":
        operation["Output"] = dict(LOCATION)
    whole: dict[str, Any] = {"Tag": tag, "Operation": operation}
    if needs[0] == "1":
        whole["Input"] = {"Object": "in/a"}
    return whole | changes


def with_operation(tag: str, **changes: Any) -> dict[str, Any]:
    return job(tag, Operation=job(tag)["Operation"] | changes)


def test_the_table_is_complete():
    assert set(JOB_TYPES) == set(TABLE)
    assert {tag for tag, kind in JOB_TYPES.items() if kind.is_listed} == LISTED
    assert [kind.tag for kind in JOB_TYPES.values()] == [*JOB_TYPES]


@pytest.mark.parametrize("tag", TABLE)
def test_each_type_is_as_in_the_table(tag):
    parameters, needs, in_batches, service = TABLE[tag]
    kind = job_type(tag)
    assert (kind.input, kind.output) == (NEEDS[needs[0]], NEEDS[needs[1]])
    assert (kind.is_in_batches, kind.service) == (in_batches, service)
    assert parameters.keys() <= {*kind.parameters, "TemplateId"}


@pytest.mark.parametrize("tag", TABLE)
def test_the_smallest_request_of_each_type_is_sent(tag):
    assert problems_of(check_job, job(tag)) == []
    assert f"<Tag>{tag}</Tag>".encode() in SubmitJob(job(tag)).http_request().body


@pytest.mark.parametrize("tag", [tag for tag, (_, needs, _, _) in TABLE.items() if needs[0] == "-"])
def test_a_type_without_input_refuses_one(tag):
    (problem,) = problems_of(check_job, job(tag, Input={"Object": "in/a"}))
    assert problem.endswith(f"allowed: no input, because a job with Tag {tag} has none")


@pytest.mark.parametrize("tag", [tag for tag, (_, needs, _, _) in TABLE.items() if needs[0] == "1"])
def test_a_type_with_input_needs_one(tag):
    for source in (None, {}, {"Object": None}):
        (problem,) = problems_of(check_job, job(tag, Input=source))
        assert problem.startswith("Input.Object is None")
    assert problems_of(check_job, job(tag, Input={"Url": "https://example.org/a"})) == []
    assert problems_of(check_job, job(tag, Input="in/a")) == ["Input is 'in/a', allowed: a dict of elements"]


@pytest.mark.parametrize("tag", [tag for tag, (_, needs, _, _) in TABLE.items() if needs[1] == "-"])
def test_a_type_without_files_refuses_an_output(tag):
    (problem,) = problems_of(check_job, with_operation(tag, Output={**LOCATION, "Object": "out/a"}))
    assert problem.endswith(f"allowed: no output, because a job with Tag {tag} makes no file")


@pytest.mark.parametrize("tag", [tag for tag, (_, needs, _, _) in TABLE.items() if needs[1] in "ko"])
def test_a_type_with_files_needs_their_place(tag):
    found = problems_of(check_job, with_operation(tag, Output=None))
    assert [problem.partition(" is ")[0] for problem in found[:2]] == [
        "Operation.Output.Bucket",
        "Operation.Output.Region",
    ]
    (problem, *_) = problems_of(check_job, with_operation(tag, Output={**LOCATION, "Bucket": "x"}))
    assert problem.startswith("Operation.Output.Bucket is 'x'")


@pytest.mark.parametrize("tag", [tag for tag, (_, needs, _, _) in TABLE.items() if needs[1] == "k"])
def test_a_type_with_one_file_needs_its_key(tag):
    found = problems_of(check_job, with_operation(tag, Output=LOCATION))
    assert found
    assert all(problem.startswith("Operation.Output.Object") for problem in found)


@pytest.mark.parametrize("tag", [tag for tag, kind in JOB_TYPES.items() if kind.needs_parameters])
def test_a_type_with_parameters_needs_them_or_a_template(tag):
    bare = {"Output": job(tag)["Operation"].get("Output")}
    found = problems_of(check_job, job(tag, Operation=bare))
    names = " or ".join(("TemplateId", *job_type(tag).replaced_by_template))
    assert f"Operation is 'without parameters', allowed: with {names}" in found
    if tag != "Tts":  # which needs a text beside its template
        assert problems_of(check_job, job(tag, Operation=bare | {"TemplateId": "t1"})) == []


@pytest.mark.parametrize("tag", TABLE)
def test_a_template_wins(tag):
    """What it replaces is not checked, because the service ignores it."""
    kind = job_type(tag)
    ignored: dict[str, Any] = {name: {"Nonsense": "?"} for name in kind.replaced_by_template}
    assert problems_of(check_job, with_operation(tag, TemplateId="t1", **ignored)) == []


@pytest.mark.parametrize(
    ("tag", "beside"),
    [
        ("Tts", {"TtsConfig"}),
        ("VideoProcess", {"Transcode", "TranscodeTemplateId", "Watermark", "WatermarkTemplateId"}),
        ("SuperResolution", {"Transcode", "TranscodeTemplateId", "Watermark", "WatermarkTemplateId"}),
        ("VoiceSeparate", set()),
    ],
)
def test_what_stands_beside_a_template(tag, beside):
    kind = job_type(tag)
    assert set(kind.parameters) - set(kind.replaced_by_template) == beside


def test_the_text_of_a_text_to_speech_is_checked_beside_its_template():
    bad = with_operation("Tts", TemplateId="t1", TtsTpl=None, TtsConfig={"InputType": "Text"})
    (problem,) = problems_of(check_job, bad)
    assert problem.startswith("Operation.TtsConfig.Input is None")
    (problem,) = problems_of(check_job, with_operation("Tts", TemplateId="t1", TtsTpl=None, TtsConfig=None))
    assert problem.startswith("Operation.TtsConfig is None")


@pytest.mark.parametrize("tag", ["VoiceSeparate", "SpeechRecognition", "NoiseReduction", "Tts"])
@pytest.mark.parametrize("value", ["text", ["a"], 5, True])
def test_parameters_are_elements(tag, value):
    name = job_type(tag).parameters[0]
    found = problems_of(check_job, with_operation(tag, **{name: value}))
    assert f"Operation.{name} is {value!r}, allowed: a dict of elements" in found


class TestUnknownTypes:
    @pytest.mark.parametrize(
        "request_",
        [
            {"Tag": "NewType"},
            {
                "Tag": "NewType",
                "Input": {"Object": "in/a", "Lang": "zh"},
                "Operation": {"Anything": {"A": [1]}},
            },
            {"Tag": "NewType", "Operation": {"Output": {**LOCATION, "Object": "out/${New}"}}},
            {"Tag": "NewType", "Operation": {"Output": {**LOCATION, "Other": "x"}}, "QueueType": "New"},
        ],
    )
    def test_everything_is_accepted(self, request_):
        assert problems_of(check_job, request_) == []

    @pytest.mark.parametrize(
        ("request_", "field"),
        [
            ({"Tag": "NewType", "Input": {"Object": "/a"}}, "Input.Object"),
            ({"Tag": "NewType", "Operation": {"Output": {"Object": "out/a"}}}, "Operation.Output.Bucket"),
            (
                {"Tag": "NewType", "Operation": {"Output": {**LOCATION, "Object": "/a"}}},
                "Operation.Output.Object",
            ),
            ({"Tag": "NewType", "Operation": {"JobLevel": 3}}, "Operation.JobLevel"),
            ({"Tag": "NewType", "Operation": {"UserData": "人"}}, "Operation.UserData"),
            ({"Tag": "NewType", "Operation": {"New": {"A": [[1]]}}}, "Operation.New.A[0]"),
            ({"Tag": "NewType", "Operation": [{}, {}]}, "Operation"),
            ({"Tag": "NewType", "CallBack": "x"}, "CallBack"),
        ],
    )
    def test_but_what_all_types_have_in_common_is_checked(self, request_, field):
        problem, *_ = problems_of(check_job, request_)
        assert problem.startswith(f"{field} is ")

    def test_what_is_known_of_it(self):
        kind = job_type("NewType")
        assert (kind.tag, kind.input, kind.output) == ("NewType", Need.OPTIONAL, Need.OPTIONAL)
        assert not kind.is_listed, "a job that the list does not show may have been made all the same"
        assert job_type(None).tag == "None"


class TestStreams:
    def streams(self, value: Any) -> list[str]:
        return problems_of(
            check_job, with_operation("StreamExtract", Output={**LOCATION, "StreamExtract": value})
        )

    def test_one_or_several(self):
        one, other = {"Index": 0, "Object": "out/a"}, {"Index": 1, "Object": "out/b"}
        for good in (one, [one], (one, other), None):
            assert self.streams(good) == []

    @pytest.mark.parametrize(
        ("value", "field"),
        [
            ([{"Index": 0}], "StreamExtract[0].Object is None"),
            ({"Index": 0, "Object": "/a"}, "StreamExtract[0].Object is '/a'"),
            (
                [{"Index": 0, "Object": "out/a"}, {"Index": 1, "Object": "${JobID}"}],
                "StreamExtract[1].Object is '${JobID}'",
            ),
            ("out/a", "StreamExtract[0].Object is None"),
        ],
    )
    def test_their_keys_are_checked(self, value, field):
        (problem,) = self.streams(value)
        assert problem.startswith(f"Operation.Output.{field}")

    def test_their_keys_differ(self):
        (problem,) = self.streams([{"Index": 0, "Object": "out/a"}, {"Index": 1, "Object": "out/a"}])
        assert "would overwrite another" in problem

    def test_their_keys_are_results(self):
        operation = {"Output": {"StreamExtract": [{"Object": "a"}, {"Object": 5}, {"Object": "b"}]}}
        keys = job_type("StreamExtract").result_keys(operation)
        assert keys == {"StreamExtract[0].Object": "a", "StreamExtract[2].Object": "b"}


@pytest.mark.parametrize(
    ("tag", "key", "is_allowed"),
    [
        ("VoiceSeparate", "out/${jobid}.${ext}", True),
        ("VoiceSeparate", "out/${Number}.mp3", False),
        ("Snapshot", "out/${Number}.jpg", True),
        ("SmartCover", "out/${number}.jpg", True),
        ("Segment", "out/${jobid}/${Number}.mp3", True),
        ("Transcode", "out/${InputName}.mp4", False),
        ("NoiseReduction", "out/${jobid}.wav", False),
        ("Translation", "out/${ext}.txt", False),
        ("NewType", "out/${Anything}", True),
    ],
)
def test_placeholders_are_those_of_the_type(tag, key, is_allowed):
    whole = job(tag) if tag in TABLE else {"Tag": tag, "Operation": {}}
    whole = whole | {"Operation": whole["Operation"] | {"Output": {**LOCATION, "Object": key}}}
    assert (problems_of(check_job, whole) == []) == is_allowed


@pytest.mark.parametrize(
    ("tag", "operation", "needs_number"),
    [
        ("SmartCover", {}, True),
        ("SmartCover", {"TemplateId": "t1"}, True),
        ("Segment", {"Segment": {"Format": "mp3", "Duration": 5}}, True),
        ("Segment", {"Segment": {"Format": "m3u8", "Duration": "5"}}, False),
        ("Segment", {"Segment": {"Format": "mp3"}}, False),
        ("Snapshot", {"Snapshot": {"Count": "2"}}, True),
        ("Snapshot", {"Snapshot": {"Count": 1}}, False),
        ("Snapshot", {"TemplateId": "t1", "Snapshot": {"Count": 2}}, False),
    ],
)
def test_the_files_of_a_series_have_different_keys(tag, operation, needs_number):
    """Otherwise all are paid for, and one remains (1045/48936, 1045/48937, 1045/48938)."""
    for key, has_number in (("out/a", False), ("out/${Number}", True), ("out/${number}", True)):
        whole = job(tag, Operation={**operation, "Output": {**LOCATION, "Object": key}})
        said = problems_of(check_job, whole)
        assert bool(said) == (needs_number and not has_number)
        assert all("a key with ${Number}" in problem for problem in said)


def test_which_action_a_submission_needs():
    others = {
        tag: kind.submit_action
        for tag, kind in JOB_TYPES.items()
        if kind.submit_action != "ci:CreateMediaJobs"
    }
    assert others == {
        "SpeechRecognition": "ci:CreateAsrJobs",
        "NoiseReduction": "ci:CreateAsrJobs",
        "FileUncompress": "ci:CreateFileProcessJobs",
    }
    assert set(SUBMIT_ACTIONS) == {"ci:CreateMediaJobs", *others.values()}
    assert len(SUBMIT_ACTIONS) == 3
