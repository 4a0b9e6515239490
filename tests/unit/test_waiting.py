"""The rules of waiting, without Airflow and without a service."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    CredentialsError,
    InvalidResponseError,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    TencentCIError,
    ThrottledError,
    TransportError,
)
from airflow_provider_ci.protocol.jobs import Job, JobsResponse
from airflow_provider_ci.submission.tracking import (
    NOT_FOUND_GRACE_PERIOD,
    Backoff,
    JobTracker,
    is_outage,
    poll_delay,
)


class RecordingLog:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, /, *args: object) -> None:
        self.lines.append("info: " + message % args)

    def warning(self, message: str, /, *args: object) -> None:
        self.lines.append("warning: " + message % args)

    def error(self, message: str, /, *args: object) -> None:
        self.lines.append("error: " + message % args)


@pytest.fixture
def log() -> RecordingLog:
    return RecordingLog()


def answer(*jobs: tuple[str, str] | Job, **more: Any) -> JobsResponse:
    found = tuple(each if isinstance(each, Job) else Job(job_id=each[0], state=each[1]) for each in jobs)
    return JobsResponse(jobs_detail=found, **more)


class TestPollDelay:
    @pytest.mark.parametrize(
        ("elapsed", "poll_interval", "expected"),
        [
            (0, 30, 1),
            (3, 30, 1),
            (4, 30, 1),
            (5, 30, 1.25),
            (60, 30, 15),
            (120, 30, 30),
            (10**6, 30, 30),
            (0, 0.5, 0.5),
            (100, 0.5, 0.5),
            (0, 1, 1),
            (10**6, 3600, 3600),
        ],
    )
    def test_table(self, elapsed: float, poll_interval: float, expected: float) -> None:
        assert poll_delay(elapsed, poll_interval) == expected

    @pytest.mark.parametrize(
        ("duration", "most_polls", "latest"), [(5, 6, 6.25), (60, 17, 75), (1800, 77, 1830)]
    )
    def test_as_its_description_says(self, duration: float, most_polls: int, latest: float) -> None:
        elapsed, polls = 0.0, 0
        while elapsed < duration:
            elapsed += poll_delay(elapsed, 30)
            polls += 1
        assert polls <= most_polls
        assert elapsed <= latest


class TestJobWatch:
    def test_begins_with_everything_pending_and_repeated_ids_once(self, log: RecordingLog) -> None:
        tracker = JobTracker(["b", "a", "b"], log)
        assert tracker.job_ids == tracker.pending == ["b", "a"]
        assert tracker.unsuccessful == []
        assert tracker.error() is None
        assert log.lines == []

    def test_of_nothing_is_done(self, log: RecordingLog) -> None:
        tracker = JobTracker([], log)
        tracker.update(answer(), 10**6)
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
    def test_states(self, log: RecordingLog, state: str | None, is_pending: bool, line: str) -> None:
        tracker = JobTracker(["a"], log)
        failed = state == "Failed"
        job = Job(job_id="a", state=state, code="C" if failed else "Success", message="M" if failed else None)
        for elapsed in range(3):
            tracker.update(answer(job), elapsed)
        assert log.lines == [line]
        assert tracker.pending == (["a"] if is_pending else [])

    def test_logs_each_change_once(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        for elapsed, states in enumerate(
            [
                ("Submitted", "Submitted"),
                ("Submitted", "Running"),
                ("Running", "Running"),
                ("Submitted", "Success"),
            ]
        ):
            tracker.update(answer(*zip("ab", states, strict=True)), elapsed)
        assert log.lines == [
            "info: Job a: Submitted",
            "info: Job b: Submitted",
            "info: Job b: Running",
            "info: Job a: Running",
            "info: Job a: Submitted",
            "info: Job b: Success",
        ]

    def test_of_twenty_jobs_names_each(self, log: RecordingLog) -> None:
        ids = [f"j{n}" for n in range(20)]
        tracker = JobTracker(ids, log)
        tracker.update(answer(*((i, "Running") for i in ids)), 0)
        tracker.update(answer(*((i, "Success") for i in ids)), 1)
        assert sum("Running" in line for line in log.lines) == 20
        assert sum("Success" in line for line in log.lines) == 20

    def test_of_a_crowd_names_only_what_matters(self, log: RecordingLog) -> None:
        ids = [f"j{n}" for n in range(1000)]
        tracker = JobTracker(ids, log)
        tracker.update(answer(*((i, "Running") for i in ids)), 0)
        for n in range(0, 1000, 10):
            asked = ids[n : n + 10]
            states = ["Failed" if i == "j500" else "Success" for i in asked]
            tracker.update(answer(*zip(asked, states, strict=True)), n, asked)
        assert "error: Job j500 ended Failed" in log.lines
        assert len([line for line in log.lines if "Job j" in line]) == 1
        assert len([line for line in log.lines if "jobs have ended" in line]) <= 10

    def test_a_job_that_an_answer_has_twice_counts_once(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        tracker.update(answer(("a", "Failed"), ("a", "Failed")), 0)
        tracker.update(answer(("a", "Failed")), 1)
        assert len(tracker.unsuccessful) == 1
        assert tracker.pending == ["b"]
        assert len([line for line in log.lines if "Failed" in line]) == 1

    def test_a_job_that_ended_cannot_come_back(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        tracker.update(answer(("a", "Success"), ("b", "Running")), 0)
        tracker.update(answer(("a", "Running"), ("b", "Running")), 1)
        assert tracker.pending == ["b"]
        assert tracker.jobs["a"].state == "Success"

    def test_ignores_jobs_that_were_not_asked_for(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a"], log)
        tracker.update(answer(("z", "Failed"), ("a", "Success")), 0)
        assert tracker.error() is None
        assert tracker.pending == []
        assert log.lines == ["info: Job a: Success"]


class TestUnknownIds:
    LONG = NOT_FOUND_GRACE_PERIOD + 1

    def test_have_a_grace_and_are_logged_once(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        for elapsed in (0.0, 60.0, NOT_FOUND_GRACE_PERIOD):
            tracker.update(answer(("b", "Running"), non_exist_job_ids=("a",)), elapsed)
        assert tracker.pending == ["a", "b"]
        assert log.lines == ["info: Job b: Running", "warning: Jobs not found yet: a"]

    def test_are_an_error_afterwards(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        tracker.update(answer(("a", "Running")), 0)
        with pytest.raises(JobNotFoundError, match="has not known b for 121 s") as caught:
            tracker.update(answer(("a", "Running"), request_id="r1"), self.LONG)
        assert (caught.value.job_id, caught.value.request_id) == ("b", "r1")

    def test_may_appear_late(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a"], log)
        tracker.update(answer(), 0)
        tracker.update(answer(("a", "Submitted")), NOT_FOUND_GRACE_PERIOD)
        tracker.update(answer(("a", "Success")), 10 * self.LONG)
        assert tracker.pending == []

    def test_that_were_known_before_have_a_grace_of_their_own(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a"], log)
        tracker.update(answer(("a", "Running")), 1000)
        tracker.update(answer(), 1010)
        tracker.update(answer(), 1010 + NOT_FOUND_GRACE_PERIOD)
        tracker.update(answer(("a", "Running")), 1135)
        tracker.update(answer(), 2000)
        tracker.update(answer(), 2000 + NOT_FOUND_GRACE_PERIOD)
        with pytest.raises(JobNotFoundError):
            tracker.update(answer(), 2001 + NOT_FOUND_GRACE_PERIOD)

    def test_have_a_grace_in_a_process_that_came_later(self, log: RecordingLog) -> None:
        """An earlier process may have seen the job just before."""
        tracker = JobTracker(["a"], log)
        tracker.update(answer(), 10 * self.LONG)
        tracker.update(answer(), 10 * self.LONG + NOT_FOUND_GRACE_PERIOD)
        assert tracker.missing_since == {"a": 10 * self.LONG}
        with pytest.raises(JobNotFoundError, match="for 121 s"):
            tracker.update(answer(), 11 * self.LONG)

    def test_are_remembered_by_what_an_earlier_process_knew(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a"], log)
        tracker.restore_missing_since({"a": 5.0})
        tracker.update(answer(), 5 + NOT_FOUND_GRACE_PERIOD)
        assert log.lines == [], "the earlier process has said it"
        with pytest.raises(JobNotFoundError, match="for 121 s"):
            tracker.update(answer(), 5 + self.LONG)
        tracker.update(answer(("a", "Running")), 200)
        assert tracker.missing_since == {}

    def test_do_not_matter_once_they_ended(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a"], log)
        tracker.update(answer(("a", "Success")), 0)
        tracker.update(answer(), 10 * self.LONG)
        assert tracker.error() is None

    def test_are_only_those_that_were_asked_for(self, log: RecordingLog) -> None:
        tracker = JobTracker(["a", "b"], log)
        tracker.update(answer(), 0, asked=["b"])
        tracker.update(answer(("a", "Running")), self.LONG, asked=["a"])
        with pytest.raises(JobNotFoundError):
            tracker.update(answer(), self.LONG, asked=["b", "z"])

    def test_are_shortened_when_many(self, log: RecordingLog) -> None:
        tracker = JobTracker([f"j{n}" for n in range(25)], log)
        tracker.update(answer(), 0)
        with pytest.raises(JobNotFoundError, match="j19 and 5 more"):
            tracker.update(answer(), self.LONG)


class TestError:
    def tracker(self, log: RecordingLog, *jobs: Job) -> JobTracker:
        tracker = JobTracker([str(job.job_id) for job in jobs], log)
        tracker.update(JobsResponse(jobs_detail=jobs, request_id="r1"), 0)
        return tracker

    def test_of_one_failed_job(self, log: RecordingLog) -> None:
        failure = self.tracker(log, Job(job_id="a", state="Failed", code="C", message="M")).error()
        assert type(failure) is JobFailedError
        assert (failure.job_id, failure.state, failure.code, failure.service_message, failure.request_id) == (
            "a",
            "Failed",
            "C",
            "M",
            "r1",
        )

    def test_of_one_cancelled_job(self, log: RecordingLog) -> None:
        failure = self.tracker(log, Job(job_id="a", state="Cancel", code="Success", message="")).error()
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
    def test_of_several(
        self, log: RecordingLog, states: tuple[str, ...], kind: type[Exception] | None
    ) -> None:
        failure = self.tracker(
            log, *(Job(job_id=f"j{n}", state=state) for n, state in enumerate(states))
        ).error()
        assert (type(failure) if failure else None) is kind

    def test_of_a_crowd_names_the_first_twenty(self, log: RecordingLog) -> None:
        jobs = [Job(job_id=f"j{n}", state="Failed", code=f"C{n}", message=f"M{n}") for n in range(25)]
        said = str(self.tracker(log, *jobs).error())
        assert "25 of 25 jobs did not succeed" in said
        assert "Job j19 ended Failed (C19: M19)" in said
        assert "; and 5 more" in said
        assert "j20" not in said


class TestMayPass:
    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (TransportError("reset"), True),
            (ServerError("busy", status=503, code="SlowDown"), True),
            (ServerError("no such call", status=501), False),
            (ThrottledError("too fast", status=429), True),
            (InvalidResponseError("HTML", status=200), True),
            (NotFoundError("HTML", status=404), True),
            (NotFoundError("No.", status=404, code="NoSuchBucket"), False),
            (PermissionDeniedError("HTML", status=403), False),
            (AuthenticationError("No.", status=403, code="SignatureDoesNotMatch"), False),
            (CredentialsError("STS is away", transient=True), True),
            (CredentialsError("No keys"), False),
            (JobNotFoundError("It is gone"), False),
        ],
        ids=str,
    )
    def test_what_is_an_outage(self, error: TencentCIError, expected: bool) -> None:
        assert is_outage(error) is expected


class TestBackoff:
    def test_pauses_double_while_polls_fail_and_halve_afterwards(self) -> None:
        backoff, pauses = Backoff(30), []
        for failed in [False, *[True] * 6, *[False] * 6]:
            if failed:
                backoff.note_failure(TransportError("reset"))
            else:
                backoff.note_response()
            pauses.append(backoff.pause(1000))
        assert pauses == [30, 60, 120, 240, 480, 480, 480, 240, 120, 60, 30, 30, 30]

    def test_the_service_may_ask_for_more(self) -> None:
        error = ThrottledError("too fast", status=429)
        error.retry_after = 300
        backoff = Backoff(30)
        backoff.note_failure(error)
        assert backoff.pause(0) == 300
        backoff.note_response()
        assert backoff.pause(0) == 1

    def test_refusals_are_counted_apart_from_an_outage(self) -> None:
        backoff, refusal = Backoff(30, refusals_tolerated=2), PermissionDeniedError("No.")
        for _ in range(50):
            backoff.note_failure(TransportError("reset"))
        backoff.note_failure(refusal)
        backoff.note_failure(refusal)
        assert backoff.failure is refusal
        with pytest.raises(PermissionDeniedError):
            backoff.note_failure(refusal)

    def test_refusals_do_not_slow_it_down_for_hours(self) -> None:
        backoff = Backoff(30, refusals_tolerated=10)
        for _ in range(10):
            backoff.note_failure(PermissionDeniedError("No."))
        assert backoff.pause(1000) == 120


def test_a_signed_address_in_a_failed_jobs_message_is_not_repeated(log: RecordingLog) -> None:
    tracker = JobTracker(["j1", "j2"], log)
    message = "cannot read https://b.cos.r.myqcloud.com/a?q-signature=hunter2"
    tracker.update(answer(*(Job(job_id=i, state="Failed", message=message) for i in ("j1", "j2"))), 0)
    assert "q-signature=…" in log.lines[0]
    assert "hunter2" not in "".join(log.lines) + f"{tracker.error()} {tracker.error()!r}"
