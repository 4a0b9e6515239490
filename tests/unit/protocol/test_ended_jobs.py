"""The content of events about jobs that have ended, and the filter for it."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from airflow_provider_ci.protocol.ended_job_filter import END_STATES, EndedJobFilter
from airflow_provider_ci.protocol.ended_jobs import OUTPUTS_MAX, ended_job_event
from airflow_provider_ci.protocol.fields import SERVICE_ZONE
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED, STATES, SUCCESS, Job
from airflow_provider_ci.protocol.results import FILES_MAX

from .builders import BUCKET, JOB_ID, REGION

CREATED = datetime(2026, 11, 30, 8, 0, 0, tzinfo=SERVICE_ZONE)
ENDED = datetime(2026, 11, 30, 8, 5, 0, tzinfo=SERVICE_ZONE)


def job(operation: dict[str, object] | None = None, **changes: object) -> Job:
    values = {
        "job_id": JOB_ID,
        "tag": "VoiceSeparate",
        "state": "Success",
        "code": "Success",
        "message": "",
        "creation_time": CREATED,
        "end_time": ENDED,
        "input": {"BucketId": BUCKET, "Region": REGION, "Object": "in/song.mp3"},
        "operation": {"UserData": "mine", **(operation or {})},
    }
    return Job(**values | changes)  # type: ignore[arg-type]


def separation() -> dict[str, object]:
    files = {
        "Bucket": BUCKET,
        "Region": REGION,
        "ObjectName": ["out/voice.mp3"],
        "Md5Info": [{"ObjectName": "out/voice.mp3", "Md5": "aa"}],
    }
    output = {"Bucket": BUCKET, "Region": REGION, "AuObject": "out/voice.${ext}"}
    return {"Output": output, "MediaResult": {"OutputFile": files}}


def snapshots(count: int) -> dict[str, object]:
    files = {"Bucket": BUCKET, "Region": REGION, "ObjectName": [f"out/{n}.jpg" for n in range(count)]}
    output = {"Bucket": BUCKET, "Region": REGION, "Object": "out/${Number}.jpg"}
    return {"Output": output, "MediaResult": {"OutputFile": files}}


def test_an_event_has_what_a_dag_needs_to_go_on_with_the_job():
    event = ended_job_event(job(separation()))
    assert event == {
        "job_id": JOB_ID,
        "tag": "VoiceSeparate",
        "state": "Success",
        "code": None,
        "message": None,
        "input_object": "in/song.mp3",
        "bucket": BUCKET,
        "region": REGION,
        "outputs": {"voice": {"bucket": BUCKET, "region": REGION, "object": "out/voice.mp3", "md5": "aa"}},
        "omitted_files": 0,
        "creation_time": "2026-11-30T08:00:00+08:00",
        "end_time": "2026-11-30T08:05:00+08:00",
        "user_data": "mine",
    }
    assert json.loads(json.dumps(event)) == event


def test_a_failed_job_has_the_services_code_and_message():
    event = ended_job_event(job(state="Failed", code="NoSuchKey", message="The key does not exist"))
    assert (event["state"], event["code"], event["message"]) == (
        "Failed",
        "NoSuchKey",
        "The key does not exist",
    )


def test_a_job_whose_result_reports_a_failure_has_failed():
    result = {"VideoTagResult": {"StreamData": {"SubErrCode": "17", "SubErrMsg": "no speech"}}}
    event = ended_job_event(job(result, tag="VideoTag"))
    assert event["state"] == "Failed"
    assert event["message"] == "VideoTagResult.StreamData.SubErrCode is 17 (no speech)"


def test_the_bucket_is_where_the_job_was_described():
    event = ended_job_event(job(input=None), bucket="other-1250000001", region="ap-beijing")
    assert (event["bucket"], event["region"], event["input_object"]) == (
        "other-1250000001",
        "ap-beijing",
        None,
    )


@pytest.mark.parametrize("count", [OUTPUTS_MAX, OUTPUTS_MAX + 1, 3 * FILES_MAX])
def test_an_event_stays_small(count):
    event = ended_job_event(job(snapshots(count), tag="Snapshot"))
    assert len(event["outputs"]) == min(count, OUTPUTS_MAX)
    assert event["omitted_files"] == count - len(event["outputs"])
    assert len(json.dumps(event)) < 5000


def test_an_event_has_no_signature_of_an_address():
    address = "https://host/key?q-signature=abcdef0123"
    failed = job(state="Failed", code="Bad", message=f"cannot read {address}", input={"Url": address})
    assert "abcdef0123" not in json.dumps(ended_job_event(failed))


@pytest.mark.parametrize(
    ("wanted", "is_match"),
    [
        (EndedJobFilter(), True),
        (EndedJobFilter(input_prefix="in/"), True),
        (EndedJobFilter(input_prefix=""), True),
        (EndedJobFilter(input_prefix="in/songs"), False),
        (EndedJobFilter(states=[SUCCESS]), True),
        (EndedJobFilter(states=[FAILED, CANCEL]), False),
        (EndedJobFilter("in/", ("Success",)), True),
    ],
)
def test_the_filter_compares_prefix_and_state(wanted, is_match):
    assert wanted.matches(ended_job_event(job(separation()))) is is_match


def test_a_job_without_an_input_object_has_no_prefix():
    event = ended_job_event(job(input=None))
    assert EndedJobFilter().matches(event)
    assert not EndedJobFilter(input_prefix="in/").matches(event)


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (
            EndedJobFilter(input_prefix=3),
            "input_prefix is 3, allowed: the beginning of object keys, without / before it",
        ),
        (
            EndedJobFilter(input_prefix="/in"),
            "input_prefix is '/in', allowed: the beginning of object keys, without / before it",
        ),
        (EndedJobFilter(states="Success"), "states is 'Success', allowed: a list of states"),
        (EndedJobFilter(states=()), "states is (), allowed: a list of states: Success, Failed, Cancel"),
        (EndedJobFilter(states=["Running"]), "an element of states is 'Running', allowed: Success, Failed"),
    ],
)
def test_a_filter_that_cannot_work_says_why(wanted, problem):
    (found,) = wanted.problems()
    assert str(found).startswith(problem)


def test_a_job_ends_in_the_states_that_are_terminal():
    assert {state for state in STATES if state.is_terminal} == set(END_STATES)
    assert list(EndedJobFilter().problems()) == []
