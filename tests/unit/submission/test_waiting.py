"""When to poll next, without Airflow and without a service."""

from __future__ import annotations

import pytest

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    CredentialsError,
    InvalidRequestError,
    InvalidResponseError,
    JobNotFoundError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    TencentCIError,
    ThrottledError,
    TransportError,
)
from airflow_provider_ci.submission.waiting import (
    Backoff,
    Wait,
    first_delay,
    is_outage,
    may_be_due_to_one_id,
    poll_delay,
)
from tests.unit.submission.recording_log import RecordingLog


class TestPollDelay:
    @pytest.mark.parametrize(
        ("elapsed", "poll_interval", "expected"),
        [
            (0, 30, 1),
            (4, 30, 1),
            (5, 30, 1.25),
            (60, 30, 15),
            (120, 30, 30),
            (10**6, 30, 30),
            (100, 0.5, 0.5),
        ],
    )
    def test_a_quarter_of_the_time_waited(
        self, elapsed: float, poll_interval: float, expected: float
    ) -> None:
        assert poll_delay(elapsed, poll_interval) == expected

    @pytest.mark.parametrize(
        ("duration", "most_polls", "latest"), [(5, 6, 6.25), (60, 17, 75), (1800, 77, 1830)]
    )
    def test_the_docstring_is_true(self, duration: float, most_polls: int, latest: float) -> None:
        elapsed, polls = 0.0, 0
        while elapsed < duration:
            elapsed += poll_delay(elapsed, 30)
            polls += 1
        assert polls <= most_polls
        assert elapsed <= latest


@pytest.mark.parametrize(
    ("elapsed", "earliest", "latest"), [(0, 1, 1), (3, 1, 1), (60, 1, 15), (86_400, 1, 30)]
)
def test_after_a_restart_the_first_poll_is_somewhere_in_the_usual_pause(
    elapsed: float, earliest: float, latest: float
) -> None:
    assert first_delay(elapsed, 30, 0) == earliest
    assert first_delay(elapsed, 30, 0.5) == (earliest + latest) / 2
    assert first_delay(elapsed, 30, 1) == latest


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TransportError("reset"), True),
        (ServerError("busy", status=503, code="SlowDown"), True),
        (ServerError("no such call", status=501), False),
        (ThrottledError("too fast", status=429), True),
        (InvalidResponseError("HTML", status=200), True),
        (NotFoundError("No.", status=404), False),
        (NotFoundError("No.", status=404, code="NoSuchBucket"), False),
        (PermissionDeniedError("HTML", status=403), False),
        (AuthenticationError("No.", status=403, code="SignatureDoesNotMatch"), False),
        (CredentialsError("STS is away", transient=True), True),
        (CredentialsError("No keys"), False),
        (JobNotFoundError("It is gone"), False),
    ],
    ids=str,
)
def test_which_errors_are_an_outage(error: TencentCIError, expected: bool) -> None:
    assert is_outage(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidRequestError("No.", status=400, code="InvalidArgument"), True),
        (NotFoundError("No.", status=404, code="NoSuchKey"), True),
        (InvalidResponseError("HTML", status=200), True),
        (NotFoundError("No.", status=404, code="NoSuchBucket"), False),
        (PermissionDeniedError("No.", status=403, code="AccessDenied"), False),
        (ServerError("busy", status=503, code="SlowDown"), False),
    ],
    ids=str,
)
def test_for_which_errors_one_of_several_ids_may_be_the_reason(error: TencentCIError, expected: bool) -> None:
    assert may_be_due_to_one_id(error) is expected


class TestBackoff:
    def test_pauses_double_while_polls_fail_and_halve_afterwards(self) -> None:
        backoff, pauses = Backoff(30), []
        for failed in [False, *[True] * 6, *[False] * 6]:
            if failed:
                backoff.note_failure(TransportError("reset"))
            else:
                backoff.note_success()
            pauses.append(backoff.pause(1000))
        assert pauses == [30, 60, 120, 240, 480, 480, 480, 240, 120, 60, 30, 30, 30]

    def test_the_service_may_ask_for_a_longer_pause(self) -> None:
        error = ThrottledError("too fast", status=429)
        error.retry_after = 300
        backoff = Backoff(30)
        backoff.note_failure(error)
        assert backoff.pause(0) == 300
        backoff.note_success()
        assert backoff.pause(0) == 1

    def test_an_outage_does_not_count_as_refusals(self) -> None:
        backoff, refusal = Backoff(30, refusals_tolerated=2), PermissionDeniedError("No.")
        for _ in range(50):
            backoff.note_failure(TransportError("reset"))
        backoff.note_failure(refusal)
        backoff.note_failure(refusal)
        assert backoff.failure is refusal
        with pytest.raises(PermissionDeniedError):
            backoff.note_failure(refusal)

    def test_ten_refusals_do_not_take_hours(self) -> None:
        backoff = Backoff(30, refusals_tolerated=10)
        for _ in range(10):
            backoff.note_failure(PermissionDeniedError("No."))
        assert backoff.pause(1000) == 120

    def test_an_error_about_the_job_is_never_tolerated(self) -> None:
        with pytest.raises(JobNotFoundError):
            Backoff(30, refusals_tolerated=10).note_failure(JobNotFoundError("It is gone"))


class TestWait:
    @pytest.fixture(autouse=True)
    def _clock(self) -> None:
        self.now = 100.0
        self.log = RecordingLog()

    def wait(self, **arguments: float) -> Wait:
        return Wait(30, self.log, lambda: self.now, **arguments)  # type: ignore[arg-type]

    def fail(self, wait: Wait, error: Exception) -> None:
        with wait.poll():
            raise error

    def test_one_warning_for_several_polls_that_fail_in_a_row(self) -> None:
        wait = self.wait()
        self.fail(wait, TransportError("reset"))
        self.fail(wait, TransportError("reset again"))
        assert str(wait.failure) == "reset again"
        with wait.poll():
            pass
        assert wait.failure is None
        self.fail(wait, TransportError("once more"))
        assert self.log.lines == [
            "warning: Poll failed, will keep trying: reset",
            "warning: Poll failed, will keep trying: once more",
        ]

    @pytest.mark.parametrize("error", [PermissionDeniedError("No."), JobNotFoundError("Gone."), KeyError()])
    def test_what_waiting_cannot_help_is_raised(self, error: Exception) -> None:
        with pytest.raises(type(error)):
            self.fail(self.wait(), error)
        assert not self.log.lines

    def test_the_last_pause_ends_with_the_wait(self) -> None:
        wait = self.wait(longest=100)
        self.now += 90
        assert (wait.elapsed, wait.remaining, wait.is_over) == (90, 10, False)
        assert wait.pause() == 10
        self.now += 10
        assert wait.is_over

    def test_a_wait_continues_that_of_another_process(self) -> None:
        wait = self.wait(elapsed=60)
        assert wait.elapsed == 60
        assert wait.pause() == 15
