"""What is known of jobs from poll to poll, without Airflow and without a service."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.exceptions import (
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
)
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.jobs import Job, JobsResponse
from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD, JobTracker, would_fail_again
from tests.unit.submission.recording_log import RecordingLog


@pytest.fixture
def log() -> RecordingLog:
    return RecordingLog()


def response(*jobs: tuple[str, str] | Job, **more: Any) -> JobsResponse:
    found = tuple(each if isinstance(each, Job) else Job(job_id=each[0], state=each[1]) for each in jobs)
    return JobsResponse(jobs_detail=found, **more)


class TestJobTracker:
    def test_a_new_tracker_has_each_job_pending_once(self, log: RecordingLog) -> None:
        tracker = JobTracker(["b", "a", "b"], log)
        assert tracker.job_ids == tracker.pending == ["b", "a"]
        assert tracker.unsuccessful == []
        assert tracker.error() is None
        assert log.lines == []

    def test_without_jobs_nothing_is_pending(self, log: RecordingLog) -> None:
        tracker = JobTracker([], log)
        tracker.update(response(), 10**6)
        assert (tracker.pending, tracker.error()) == ([], None)

    @pytest.mark.parametrize(
        ("state", "is_pending", "line"),
        [
            ("Submitted", True, "info: Job a: Submitted"),
            ("Running", True, "info: Job a: Running"),
            ("Pause", True, "info: Job a: Pause"),
            ("Success", False, "info: Job a: Success"),
            ("Failed", False, "error: Job a ended Failed (C: M)"),
            ("Cancel", False, "error: Job a ended Cancel"),
            (" Success ", False, "info: Job a: Success"),
            ("success", True, "warning: Job a: unknown state 'success', still waiting"),
            ("Canceled", True, "warning: Job a: unknown state 'Canceled', still waiting"),
            ("", True, "warning: Job a: unknown state '', still waiting"),
            (None, True, "warning: Job a: unknown state '', still waiting"),
        ],
    )
    def test_each_state_is_logged_once_and_only_an_end_ends_the_wait(
        self, log: RecordingLog, state: str | None, is_pending: bool, line: str
    ) -> None:
        tracker = JobTracker(["a"], log)
        failed = state == "Failed"
        job = Job(job_id="a", state=state, code="C" if failed else "Success", message="M" if failed else None)
        for elapsed in range(3):
            tracker.update(response(job), elapsed)
        assert log.lines == [line]
        assert tracker.pending == (["a"] if is_pending else [])

    def test_each_change_is_logged_once(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        for elapsed, states in enumerate(
            [
                ("Submitted", "Submitted"),
                ("Submitted", "Running"),
                ("Running", "Running"),
                ("Submitted", "Success"),
            ]
        ):
            tracker.update(response(*zip("ab", states, strict=True)), elapsed)
        assert log.lines == [
            "info: Job a: Submitted",
            "info: Job b: Submitted",
            "info: Job b: Running",
            "info: Job a: Running",
            "info: Job a: Submitted",
            "info: Job b: Success",
        ]

    def test_each_tenth_of_the_progress_is_logged_once_and_not_each_poll(self, log: RecordingLog) -> None:
        """The service does not say it of all types, and may begin anew."""
        tracker = JobTracker(["a"], log)
        seen: list[tuple[str, int | None]] = [
            ("Submitted", 0),
            *(("Running", n) for n in (0, 3, 9, 12, 15, 12)),
        ]
        seen += [("Running", n) for n in (29, 30, None, 5, 38, 99, 100, 1000)]
        seen += [("Success", 100)]
        for elapsed, (state, progress) in enumerate(seen):
            tracker.update(response(Job(job_id="a", state=state, progress=progress)), elapsed)
        assert [line.removeprefix("info: Job a: ") for line in log.lines] == [
            "Submitted",
            "Running",
            "Running (12 %)",
            "Running (29 %)",
            "Running (30 %)",
            "Running (99 %)",
            "Success",
        ]

    def test_the_log_names_each_of_twenty_jobs(self, log: RecordingLog) -> None:
        ids = [f"j{n}" for n in range(20)]
        tracker = JobTracker(ids, log)
        tracker.update(response(*((i, "Running") for i in ids)), 0)
        tracker.update(response(*((i, "Success") for i in ids)), 1)
        assert sum("Running" in line for line in log.lines) == 20
        assert sum("Success" in line for line in log.lines) == 20

    def test_of_many_jobs_the_log_names_only_those_without_success(self, log: RecordingLog) -> None:
        ids = [f"j{n}" for n in range(1000)]
        tracker = JobTracker(ids, log)
        tracker.update(response(*((i, "Running") for i in ids)), 0)
        for n in range(0, 1000, 10):
            asked = ids[n : n + 10]
            states = ["Failed" if i == "j500" else "Success" for i in asked]
            tracker.update(response(*zip(asked, states, strict=True)), n, asked)
        assert "error: Job j500 ended Failed" in log.lines
        assert len([line for line in log.lines if "Job j" in line]) == 1
        assert len([line for line in log.lines if "jobs have ended" in line]) <= 10

    def test_a_job_that_is_twice_in_a_response_counts_once(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        tracker.update(response(("a", "Failed"), ("a", "Failed")), 0)
        tracker.update(response(("a", "Failed")), 1)
        assert len(tracker.unsuccessful) == 1
        assert tracker.pending == ["b"]
        assert len([line for line in log.lines if "Failed" in line]) == 1

    def test_a_job_that_has_ended_stays_ended(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        tracker.update(response(("a", "Success"), ("b", "Running")), 0)
        tracker.update(response(("a", "Running"), ("b", "Running")), 1)
        assert tracker.pending == ["b"]
        assert tracker.jobs["a"].state == "Success"

    def test_jobs_that_were_not_asked_for_are_ignored(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a"], log)
        tracker.update(response(("z", "Failed"), ("a", "Success")), 0)
        assert tracker.error() is None
        assert tracker.pending == []
        assert log.lines == ["info: Job a: Success"]


class TestMissingJobs:
    TOO_LONG = NOT_FOUND_GRACE_PERIOD + 1

    def test_a_missing_job_is_logged_once_and_waited_for(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        for elapsed in (0.0, 60.0, NOT_FOUND_GRACE_PERIOD):
            tracker.update(response(("b", "Running"), non_exist_job_ids=("a",)), elapsed)
        assert tracker.pending == ["a", "b"]
        assert log.lines == ["info: Job b: Running", "warning: Jobs not found yet, looking again: a"]

    def test_a_job_that_is_missing_for_longer_than_the_grace_period_is_an_error(
        self, log: RecordingLog
    ) -> None:
        tracker = JobTracker(["a", "b"], log)
        tracker.update(response(("a", "Running")), 0)
        with pytest.raises(JobNotFoundError, match="has not found b for 121 s") as caught:
            tracker.update(response(("a", "Running"), request_id="r1"), self.TOO_LONG)
        assert (caught.value.job_id, caught.value.request_id) == ("b", "r1")

    def test_a_job_may_appear_late(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a"], log)
        tracker.update(response(), 0)
        tracker.update(response(("a", "Submitted")), NOT_FOUND_GRACE_PERIOD)
        tracker.update(response(("a", "Success")), 10 * self.TOO_LONG)
        assert tracker.pending == []

    def test_a_job_that_was_found_meanwhile_has_a_new_grace_period(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a"], log)
        tracker.update(response(("a", "Running")), 1000)
        tracker.update(response(), 1010)
        tracker.update(response(), 1010 + NOT_FOUND_GRACE_PERIOD)
        tracker.update(response(("a", "Running")), 1135)
        tracker.update(response(), 2000)
        tracker.update(response(), 2000 + NOT_FOUND_GRACE_PERIOD)
        with pytest.raises(JobNotFoundError):
            tracker.update(response(), 2001 + NOT_FOUND_GRACE_PERIOD)

    def test_the_grace_period_begins_when_this_process_first_misses_the_job(self, log: RecordingLog) -> None:
        """An earlier process may have seen the job just before."""
        tracker = JobTracker(["a"], log)
        tracker.update(response(), 10 * self.TOO_LONG)
        tracker.update(response(), 10 * self.TOO_LONG + NOT_FOUND_GRACE_PERIOD)
        assert tracker.missing_since == {"a": 10 * self.TOO_LONG}
        with pytest.raises(JobNotFoundError, match="for 121 s"):
            tracker.update(response(), 11 * self.TOO_LONG)

    def test_the_grace_period_continues_with_what_an_earlier_process_knew(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a"], log)
        tracker.restore_missing_since({"a": 5.0})
        tracker.update(response(), 5 + NOT_FOUND_GRACE_PERIOD)
        assert log.lines == [], "the earlier process has said it"
        with pytest.raises(JobNotFoundError, match="for 121 s"):
            tracker.update(response(), 5 + self.TOO_LONG)
        tracker.update(response(("a", "Running")), 200)
        assert tracker.missing_since == {}

    def test_a_job_that_has_ended_may_be_missing(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a"], log)
        tracker.update(response(("a", "Success")), 0)
        tracker.update(response(), 10 * self.TOO_LONG)
        assert tracker.error() is None

    def test_only_jobs_that_were_asked_for_can_be_missing(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        tracker.update(response(), 0, asked=["b"])
        tracker.update(response(("a", "Running")), self.TOO_LONG, asked=["a"])
        with pytest.raises(JobNotFoundError):
            tracker.update(response(), self.TOO_LONG, asked=["b", "z"])

    def test_the_error_lists_twenty_missing_jobs(self, log: RecordingLog) -> None:
        tracker = JobTracker([f"j{n}" for n in range(25)], log)
        tracker.update(response(), 0)
        with pytest.raises(JobNotFoundError, match="j19 and 5 more"):
            tracker.update(response(), self.TOO_LONG)


class TestError:
    def updated(self, log: RecordingLog, *jobs: Job) -> JobTracker:
        tracker = JobTracker([str(job.job_id) for job in jobs], log)
        tracker.update(JobsResponse(jobs_detail=jobs, request_id="r1"), 0)
        return tracker

    def test_the_error_of_one_failed_job_has_its_details(self, log: RecordingLog) -> None:
        failure = self.updated(log, Job(job_id="a", state="Failed", code="C", message="M")).error()
        assert type(failure) is JobFailedError
        assert (failure.job_id, failure.state, failure.code, failure.service_message, failure.request_id) == (
            "a",
            "Failed",
            "C",
            "M",
            "r1",
        )

    def test_the_error_of_a_job_without_its_input_says_how_not_to_pay_for_the_next_one(
        self, log: RecordingLog
    ) -> None:
        job = Job(job_id="a", state="Failed", code="ResourceNotFound", message="M")
        failure = self.updated(log, job).error()
        assert type(failure) is JobFailedError
        assert "set check_input=True" in str(failure)

    @pytest.mark.parametrize("code", [None, "InternalError", "ResourceDownloadFailed"])
    def test_a_job_that_failed_for_another_reason_may_have_its_input(
        self, log: RecordingLog, code: str | None
    ) -> None:
        failure = self.updated(log, Job(job_id="a", state="Failed", code=code)).error()
        assert type(failure) is JobFailedError
        assert "check_input" not in str(failure)

    @pytest.mark.parametrize(
        ("job", "expected"),
        [
            (Job(state="Failed", code="ResourceNotSupported"), True),
            (Job(state="Failed", code="InternalError"), False),
            (Job(state="Failed", code="AccessDenied", message="Request has expired"), False),
            (Job(state="Cancel", code="ResourceNotSupported"), False),
            (BatchJob(state="Failed", code="ResourceNotSupported"), False),
        ],
    )
    def test_a_failed_job_would_fail_again_but_a_batch_job_costs_nothing(
        self, job: Job | BatchJob, expected: bool
    ) -> None:
        assert would_fail_again(job) is expected

    def test_a_successful_job_whose_result_reports_a_failure_has_failed(self, log: RecordingLog) -> None:
        result = {"VideoTagResult": {"StreamData": {"SubErrCode": "4"}}}
        job = Job(job_id="a", state="Success", code="Success", message="done", operation=result)
        tracker = self.updated(log, job)
        failure = tracker.error()
        said = (
            "Job a ended Success, but its result reports a failure: VideoTagResult.StreamData.SubErrCode is 4"
        )
        assert type(failure) is JobFailedError
        assert failure.message == said
        assert (tracker.pending, tracker.unsuccessful, log.lines) == ([], [job], [f"error: {said}"])

    def test_the_error_of_a_cancelled_job_has_no_code(self, log: RecordingLog) -> None:
        failure = self.updated(log, Job(job_id="a", state="Cancel", code="Success", message="")).error()
        assert type(failure) is JobCancelledError
        assert failure.code is None
        assert "Success" not in str(failure)

    @pytest.mark.parametrize(
        ("states", "kind"),
        [
            (("Cancel", "Cancel"), JobCancelledError),
            (("Cancel", "Success"), JobCancelledError),
            (("Cancel", "Failed"), JobFailedError),
            (("Failed", "Running"), JobFailedError),
            (("Success", "Running"), None),
            (("Success", "Success"), None),
        ],
    )
    def test_the_error_is_a_cancellation_only_if_no_job_failed(
        self, log: RecordingLog, states: tuple[str, ...], kind: type[Exception] | None
    ) -> None:
        failure = self.updated(
            log, *(Job(job_id=f"j{n}", state=state) for n, state in enumerate(states))
        ).error()
        assert (type(failure) if failure else None) is kind

    def test_the_error_names_twenty_jobs(self, log: RecordingLog) -> None:
        jobs = [Job(job_id=f"j{n}", state="Failed", code=f"C{n}", message=f"M{n}") for n in range(25)]
        said = str(self.updated(log, *jobs).error())
        assert "25 of 25 jobs did not succeed" in said
        assert "Job j19 ended Failed (C19: M19)" in said
        assert "; and 5 more" in said
        assert "j20" not in said


def test_a_signed_address_in_a_failed_jobs_message_is_not_shown(log: RecordingLog) -> None:
    tracker = JobTracker(["j1", "j2"], log)
    message = "cannot read https://b.cos.r.myqcloud.com/a?q-signature=hunter2"
    tracker.update(response(*(Job(job_id=i, state="Failed", message=message) for i in ("j1", "j2"))), 0)
    assert "q-signature=…" in log.lines[0]
    assert "hunter2" not in "".join(log.lines) + f"{tracker.error()} {tracker.error()!r}"
