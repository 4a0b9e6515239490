"""The lines of a bulk task's manifest, while its jobs end."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.hooks.manifest import ManifestLine
from airflow_provider_ci.operators.bulk_outcomes import FAILURES_MAX, BulkOutcomes
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.submission.bulk_jobs import BulkJobs, Refusal

BUCKET, REGION = "media-1250000001", "ap-guangzhou"
ENDED_AT = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


class Items:
    """Items that are keys."""

    def __init__(self, count: int) -> None:
        self.keys = [f"in/{index}.mp3" for index in range(count)]

    def __len__(self) -> int:
        return len(self.keys)

    def item(self, index: int) -> str:
        return self.keys[index]

    input_object = name = item


def outcomes_of(count: int, refusals: dict[int, Refusal] | None = None) -> BulkOutcomes:
    jobs = BulkJobs.without_jobs(count)
    jobs.refusals = refusals or {}
    for index in range(count):
        if index not in jobs.refusals:
            jobs.set_job(index, f"j{index}", "Submitted")
    items: Any = Items(count)
    return BulkOutcomes.of_jobs(items, jobs)


def ended(index: int, state: str = "Success", folder: str = "out", **more: Any) -> Job:
    key = f"{folder}/{index}.mp3"
    written = {"Bucket": BUCKET, "Region": REGION, "ObjectName": [key]}
    operation = {
        "Output": {"Bucket": BUCKET, "Region": REGION, "AuObject": key},
        **({"MediaResult": {"OutputFile": written}} if state == "Success" else {}),
        **more,
    }
    failure = {"code": "NoSuchKey", "message": "there is no such object"} if state == "Failed" else {}
    return Job(
        job_id=f"j{index}",
        state=state,
        tag="VoiceSeparate",
        end_time=ENDED_AT,
        operation=operation,
        **failure,
    )


def counts(outcomes: BulkOutcomes) -> tuple[int, int, int]:
    return outcomes.succeeded, outcomes.failed, outcomes.pending


def test_a_line_is_complete_once_its_job_has_ended() -> None:
    outcomes = outcomes_of(2)
    assert counts(outcomes) == (0, 0, 2)
    assert outcomes.update(ended(1))
    first, second = outcomes.lines()
    assert (first["job_id"], first["state"], first["outputs"]) == ("j0", "Submitted", {})
    assert second == {
        "item": "in/1.mp3",
        "input_object": "in/1.mp3",
        "job_id": "j1",
        "state": "Success",
        "outputs": {
            "voice": {"bucket": BUCKET, "region": REGION, "object": "out/1.mp3", "md5": None},
        },
        "creation_time": None,
        "start_time": None,
        "end_time": "2025-01-02T03:04:05+00:00",
        "code": None,
        "message": None,
    }
    assert counts(outcomes) == (1, 0, 1)


def test_a_job_that_has_only_moved_on_is_still_pending() -> None:
    outcomes = outcomes_of(1)
    assert outcomes.update(Job(job_id="j0", state="Running"))
    assert counts(outcomes) == (0, 0, 1)
    assert next(outcomes.lines())["state"] == "Running"


def test_a_job_of_somebody_else_is_no_outcome() -> None:
    outcomes = outcomes_of(1)
    assert not outcomes.update(Job(job_id="j7", state="Success"))
    assert not outcomes.is_pending("j7")


def test_failures_have_their_reasons_in_the_order_of_the_items() -> None:
    outcomes = outcomes_of(4, {1: Refusal("InvalidArgument", "the codec is unknown")})
    outcomes.update(ended(3, "Failed"))
    outcomes.update(ended(2, "Cancel"))
    outcomes.update(ended(0))
    assert counts(outcomes) == (1, 3, 0)
    assert outcomes.failed_names() == [
        "in/1.mp3 has no job (InvalidArgument: the codec is unknown)",
        "job j2 of in/2.mp3 ended Cancel",
        "job j3 of in/3.mp3 ended Failed (NoSuchKey: there is no such object)",
    ]
    assert [failure["job_id"] for failure in outcomes.failures()] == [None, "j2", "j3"]
    assert not outcomes.has_only_cancelled_failures()


@pytest.mark.parametrize(
    ("ends", "is_final"),
    [
        ([("Failed", "NoSuchKey"), ("Failed", "1103"), ("Cancel", None)], True),
        ([("Failed", "NoSuchKey"), ("Failed", "InternalError")], False),
        ([("Failed", "NoSuchKey"), ("Failed", "SomethingNew")], False),
        ([("Failed", "NoSuchKey"), ("Success", "Success")], True),
    ],
)
def test_a_retry_helps_unless_all_failed_jobs_would_fail_again(
    ends: list[tuple[str, str | None]], is_final: bool
) -> None:
    outcomes = outcomes_of(len(ends))
    for index, (state, code) in enumerate(ends):
        outcomes.update(replace(ended(index, state), code=code))
    assert outcomes.has_only_final_failures() is is_final


@pytest.mark.parametrize(("message", "is_final"), [("Access Denied.", True), ("Request has expired", False)])
def test_a_retry_helps_if_the_address_of_an_input_had_expired(message: str, is_final: bool) -> None:
    outcomes = outcomes_of(1)
    outcomes.update(replace(ended(0, "Failed"), code="AccessDenied", message=message))
    assert outcomes.has_only_final_failures() is is_final


def test_a_retry_submits_an_item_without_a_job() -> None:
    outcomes = outcomes_of(2, {1: Refusal("InvalidArgument", "the codec is unknown")})
    outcomes.update(ended(0, "Failed"))
    assert not outcomes.has_only_final_failures()


def test_a_successful_job_whose_result_reports_a_failure_has_failed() -> None:
    outcomes = outcomes_of(1)
    outcomes.update(ended(0, VideoTagResult={"SubErrCode": "1", "SubErrMsg": "no picture"}))
    assert counts(outcomes) == (0, 1, 0)
    assert "SubErrCode is 1 (no picture)" in outcomes.failed_names()[0]


def test_only_the_first_failures_are_named() -> None:
    outcomes = outcomes_of(50)
    for index in range(50):
        outcomes.update(ended(index, "Cancel"))
    assert len(outcomes.failed_names()) == len(outcomes.failures()) == FAILURES_MAX
    assert outcomes.has_only_cancelled_failures()


def test_a_lost_job_counts_as_failed() -> None:
    outcomes = outcomes_of(1)
    outcomes.note_lost("j0", "gone")
    assert counts(outcomes) == (0, 1, 0)
    assert outcomes.failed_names() == ["job j0 of in/0.mp3 ended in an unknown state (gone)"]


@pytest.mark.parametrize(
    ("folders", "common"),
    [
        (["out", "out"], "out"),
        (["out/a", "out/b"], "out"),
        (["out/ab", "out/a"], "out"),
        (["x/y/z", "x"], "x"),
        (["a", "b"], ""),
    ],
)
def test_the_results_folder_holds_all_results(folders: list[str], common: str) -> None:
    outcomes = outcomes_of(len(folders))
    assert outcomes.results_folder is None
    for index, folder in enumerate(folders):
        outcomes.update(ended(index, folder=folder))
    assert outcomes.results_folder == (BUCKET, REGION, common)


STATES = st.sampled_from(["Success", "Failed", "Cancel", "Running", None])


@given(st.lists(STATES, min_size=1, max_size=30))
def test_what_a_manifest_says_is_read_back(states: list[str | None]) -> None:
    outcomes = outcomes_of(len(states))
    for index, state in enumerate(states):
        if state is not None:
            outcomes.update(ended(index, state))
    lines: list[ManifestLine] = json.loads(json.dumps([*outcomes.lines()]))
    read = BulkOutcomes(lines)
    assert counts(read) == counts(outcomes)
    assert read.pending_ids == outcomes.pending_ids
    assert [*read.lines()] == lines
    assert read.failures() == outcomes.failures()
    assert read.results_folder == outcomes.results_folder


def test_an_item_needs_less_than_two_kilobytes() -> None:
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    outcomes = outcomes_of(2000)
    for index in range(2000):
        outcomes.update(ended(index))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / len(outcomes) < 1500
