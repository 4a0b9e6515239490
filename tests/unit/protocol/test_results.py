"""What is pushed to XCom."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import pytest

from airflow_provider_ci.protocol.batches import BatchInput, BatchJob, BatchOperation
from airflow_provider_ci.protocol.fields import SERVICE_ZONE
from airflow_provider_ci.protocol.jobs import Input, Job, Md5Info, MediaResult, Operation, Output, OutputFile
from airflow_provider_ci.protocol.results import UNSUCCESSFUL_MAX, BatchTally, batch_result, job_result

from .builders import BUCKET, JOB_ID, REGION

VOICE, BACKGROUND = f"out/{JOB_ID}/voice.mp3", f"out/{JOB_ID}/background.mp3"
PATTERNS = {
    "background_object": "out/${jobid}/background.${ext}",
    "voice_object": "out/${jobid}/voice.${ext}",
}


def job(names=(), *, patterns=PATTERNS, md5=(), prefix=None, bucket=BUCKET, region=REGION, **changes) -> Job:
    written = OutputFile(
        bucket=bucket,
        region=region,
        object_prefix=prefix,
        object_name=tuple(names),
        md5_info=tuple(Md5Info(object_name=name, md5=value) for name, value in md5),
    )
    operation = Operation(
        output=Output(bucket=BUCKET, region=REGION, **patterns), media_result=MediaResult(output_file=written)
    )
    return Job(**{"job_id": JOB_ID, "state": "Success", "operation": operation} | changes)


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
            {"background_object": "${ext}/b.x", "voice_object": "v-${jobid}"},
            (f"v-{JOB_ID}", "mp3/b.x"),
            {"voice": f"v-{JOB_ID}", "background": "mp3/b.x"},
            id="placeholders-anywhere",
        ),
        pytest.param(
            {"background_object": "out/a.mp3", "voice_object": "out/${jobid}.${ext}"},
            ("out/a.mp3", f"out/{JOB_ID}.mp3"),
            {"voice": f"out/{JOB_ID}.mp3", "background": "out/a.mp3"},
            id="literal-and-placeholder",
        ),
        pytest.param(
            {"background_object": "out/a.mp3", "voice_object": "out/a.${ext}"},
            ("out/a.mp3",),
            {"background": "out/a.mp3"},
            id="literal-first",
        ),
        pytest.param(
            {"background_object": "a+(b).mp3", "voice_object": "a.b.mp3"},
            ("a+(b).mp3", "a.b.mp3"),
            {"voice": "a.b.mp3", "background": "a+(b).mp3"},
            id="pattern-characters-are-literal",
        ),
        pytest.param(
            {
                "background_object": "o/bg.${ext}",
                "voice_object": "o/v.${ext}",
                "bass_object": "o/b.${ext}",
                "drum_object": "o/d.${ext}",
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
    ("state", "told"),
    [
        ("Failed", True),
        ("Success", False),
        ("Cancel", False),
        ("Running", False),
        ("Odd", False),
        ("", False),
    ],
)
def test_code_and_message_mean_something_only_of_a_failed_job(state, told):
    result = job_result(job(state=state, code="InternalError", message="Oh."))
    assert (result["code"], result["message"]) == (("InternalError", "Oh.") if told else (None, None))
    assert result["state"] == state


def test_everything_else():
    full = replace(
        job([VOICE]),
        creation_time=datetime(2025, 1, 2, 3, 4, 5, tzinfo=SERVICE_ZONE),
        start_time=datetime(2025, 1, 2, 3, 4, 6, tzinfo=SERVICE_ZONE),
        end_time=datetime(2025, 1, 2, 3, 4, 7, tzinfo=SERVICE_ZONE),
        queue_id="p1",
        tag="VoiceSeparate",
        input=Input(bucket_id=BUCKET, object="in/a.mp3", region=REGION),
    )
    full = replace(full, operation=replace(full.operation, user_data="marker"))
    result = job_result(full)
    del result["outputs"]
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
        "user_data": "marker",
        "input": {"bucket": BUCKET, "region": REGION, "object": "in/a.mp3"},
        "other_objects": [],
    }


@pytest.mark.parametrize(
    "sparse",
    [
        Job(),
        Job(job_id="j1", operation=Operation()),
        Job(operation=Operation(media_result=MediaResult())),
        Job(operation=Operation(media_result=MediaResult(output_file=OutputFile(object_name=("a",))))),
    ],
    ids=["empty", "no-result", "no-file", "no-output"],
)
def test_a_sparse_job_is_no_fault(sparse):
    result = job_result(sparse)
    assert result["outputs"] == {}
    assert set(result) == set(job_result(job([VOICE])))


def test_the_result_is_json_and_stays_the_same():
    result = job_result(job([VOICE, "x"], state="Failed", code="c", message="m", input=Input(object="a")))
    assert json.loads(json.dumps(result)) == result
    assert type(result["state"]) is str


def test_the_more_specific_of_two_patterns_wins():
    output = Output(background_object="out/${jobid}.${ext}", voice_object="out/${jobid}.mp3")
    written = OutputFile(object_name=("out/j1.mp3", "out/j1.aac"))
    job = Job(
        job_id="j1",
        state="Success",
        operation=Operation(output=output, media_result=MediaResult(output_file=written)),
    )
    assert {stem: found["object"] for stem, found in job_result(job)["outputs"].items()} == {
        "background": "out/j1.aac",
        "voice": "out/j1.mp3",
    }


def test_a_signed_address_in_a_failed_jobs_message_is_not_passed_on():
    message = "cannot read https://b.cos.r.myqcloud.com/a?q-ak=AKID1&q-signature=hunter2"
    told = job_result(Job(state="Failed", code="ResourceDownloadFailed", message=message))["message"]
    assert told == "cannot read https://b.cos.r.myqcloud.com/a?q-ak=AKID1&q-signature=…"
    batch = BatchJob(state="Failed", message=message)
    tally = BatchTally()
    tally.add(Job(state="Failed", message=message))
    result = batch_result(batch, tally)
    assert [result["message"], result["unsuccessful"][0]["message"]] == [told, told]


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
            patterns={"voice_object": voice_object, "background_object": object_},
            input=Input(object="in/2/song.wav"),
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
            input=BatchInput(prefix="in/"),
            operation=BatchOperation(user_data="order 7"),
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
    result = job_result(job([name], patterns={"background_object": pattern}))
    assert [other["object"] for other in result["other_objects"]] == [name]


def test_of_very_many_results_only_the_first_are_matched():
    names = [f"out/{number}" for number in range(100)]
    result = job_result(job([*names, VOICE]))
    assert (len(result["other_objects"]), result["outputs"]) == (101, {})
    assert set(job_result(job([*names[1:], VOICE]))["outputs"]) == {"voice"}
