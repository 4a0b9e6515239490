"""One paid job also where machines' clocks are wrong and the service's time is learnt on the way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_ci.exceptions import AmbiguousSubmissionError, ClockSkewError
from airflow_provider_ci.hooks.clock import ServiceClock
from airflow_provider_ci.protocol.jobs import Job, JobsResponse
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.protocol.wire import CLOCK_SKEW_TOLERANCE, SIGNATURE_TTL
from airflow_provider_ci.submission.durable_submission import (
    LIST_CONSISTENCY_DELAY,
    SUBMISSION_VALIDITY,
    DurableSubmission,
)
from airflow_provider_ci.submission.idempotency_key import fingerprint
from airflow_provider_ci.submission.record import STORE_KEY, SubmissionRecord, SubmissionRecords
from tests.unit.submission.recording_log import RecordingLog
from tests.unit.submission.simulated_world import IDENTITY, PLACE, REQUEST, START, Crash, World

HOUR = 3600.0


@dataclass
class Machine:
    """A worker whose clock is ``behind`` the service's by so many seconds, as the hook sees the service."""

    world: World
    behind: float
    list_permission = "ci:DescribeMediaJobs"

    def __post_init__(self) -> None:
        self.learnt = ServiceClock("the service")

    def local(self) -> float:
        return self.world.now - self.behind

    def clock(self) -> float:
        return self.local() + self.learnt.offset

    def run_start(self) -> float:
        """Return when the run began: Airflow's database had the time of a machine like this one."""
        return START - self.behind + min(self.learnt.offset, 0)

    def refusal(self, expires_at: float | None = None) -> ClockSkewError | None:
        """Return why the service refuses what is signed now."""
        start = self.clock() - CLOCK_SKEW_TOLERANCE
        end = self.clock() + SIGNATURE_TTL if expires_at is None else expires_at
        if start <= self.world.now <= end:
            return None
        error = ClockSkewError("refused", status=401, code="SignatureExpired")
        error.corrected = self.learnt.correct(self.world.now, self.local(), used_offset=self.learnt.offset)
        return error

    def before_submission(self, request: Tree) -> None:
        self.world.before_submission(request)

    def submit(self, request: Tree, expires_at: float) -> Job:
        def send() -> Job:
            if (error := self.refusal(expires_at)) is not None:
                raise error
            return self.world._submit(request, expires_at)

        return self.world.step("submit", send)  # type: ignore[no-any-return]

    def describe(self, job_id: str) -> JobsResponse:
        self.refusal()  # is signed anew by the hook itself
        return self.world.describe(job_id)

    def list(self, request: Tree, since: datetime) -> Iterator[Job]:
        self.refusal()
        return self.world.list(request, since)

    def is_list_documented(self, request: Tree) -> bool:
        return True

    def ask_if_listed(self, request: Tree) -> bool:
        raise AssertionError("the list is documented")

    def ask_if_ended_without_result(self, job: Job) -> bool:
        return job.state in ("Failed", "Cancel")

    def ask_if_ended(self, job: Job) -> bool:
        return job.job_state.is_terminal

    def cancel(self, job_id: str) -> None:
        self.world.cancel(job_id)

    def submission(self, try_number: int) -> DurableSubmission:
        return DurableSubmission(
            job_api=self,
            submit=self.submit,
            cancel=self.cancel,
            before_submission=self.before_submission,
            records=SubmissionRecords(self.world if self.world.has_store else None, try_number),
            identity=IDENTITY,
            who_waits="nobody",
            may_have_submitted=try_number > 1,
            clear_discards_record=False,
            run_start=self.run_start,
            resubmit_if_unknown=False,
            log=RecordingLog(),
            clock=self.clock,
            sleep=self.world.sleep,
        )


def run_task(world: World, behind: tuple[float, float], retry_delay: float) -> str | None:
    """Run tries until one ends well; the first on one machine, the others on another, each anew."""
    for try_number in range(1, 7):
        machine = Machine(world, behind[min(try_number, 2) - 1])
        try:
            return machine.submission(try_number).get_or_submit(REQUEST, PLACE).job_id
        except Crash:
            world.crash_at = None
            world.pass_time(retry_delay)
        except AmbiguousSubmissionError:
            world.pass_time(retry_delay)
    raise AssertionError("no try ended well")


@pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
@pytest.mark.parametrize("behind", [*itertools.product((0.0, HOUR, -HOUR), repeat=2)])
@pytest.mark.parametrize("retry_delay", [0.0, 300.0])
def test_one_job_for_every_crash_and_answer(
    has_store: bool, behind: tuple[float, float], retry_delay: float
) -> None:
    for answer in ("ok", "lost before", "lost after", "late"):
        for number, when in itertools.product(range(30), ("before", "after")):
            world = World(has_store=has_store, lag=LIST_CONSISTENCY_DELAY - 1, answers=(answer,))
            world.crash_at = (number, when)
            job_id = run_task(world, behind, retry_delay)
            assert world.now - START < 1000, "waited for a time of another clock"
            world.pass_time(1000)
            assert world.active == [job_id], (answer, number, when, world.calls)
            if number >= len(world.calls):
                break


@pytest.mark.parametrize("behind", [HOUR, -HOUR])
def test_the_submission_is_recorded_again_in_the_services_time(behind: float) -> None:
    world = World()
    Machine(world, behind).submission(1).get_or_submit(REQUEST, PLACE)
    # a submission: has another try taken over, record, has another try taken over, POST
    submission = ["get", "set", "get", "submit"]
    assert world.calls == ["get", "before_submission", *submission, *submission, "set"]
    assert world.stored[STORE_KEY]["since"] == world.now


def test_a_submission_that_was_refused_with_the_right_clock_is_not_sent_again() -> None:
    """A process that was held up after it had signed: another try may have taken over."""
    world = World(has_store=False)
    machine = Machine(world, 0)
    send, delays = machine.submit, iter([SUBMISSION_VALIDITY + 1])

    def late(request: Tree, expires_at: float) -> Any:
        world.pass_time(next(delays, 0))
        return send(request, expires_at)

    machine.submit = late  # type: ignore[method-assign]
    with pytest.raises(ClockSkewError):
        machine.submission(1).get_or_submit(REQUEST, PLACE)
    assert not world.jobs


def test_without_store_a_process_that_was_suspended_looks_before_it_submits_again() -> None:
    """Its clock stood still with it: in the meantime another try has submitted."""
    world = World(has_store=False)
    machine = Machine(world, 0)
    send, submitted = machine.submit, []

    def slept(request: Tree, expires_at: float) -> Any:
        if not submitted:
            world.pass_time(HOUR)
            machine.behind = HOUR
            submitted.append(world._accept(request, world.now).job_id)
            world.pass_time(30)
        return send(request, expires_at)

    machine.submit = slept  # type: ignore[method-assign]
    assert machine.submission(1).get_or_submit(REQUEST, PLACE).job_id == submitted[0]
    assert world.active == submitted


def test_the_grace_period_is_not_measured_with_two_clocks() -> None:
    world = World()
    wanted = fingerprint(REQUEST, PLACE)
    world.stored[STORE_KEY] = SubmissionRecord(
        IDENTITY.max_tries, wanted, since=START, job_id="gone"
    ).to_json()
    job = Machine(world, -HOUR).submission(2).get_or_submit(REQUEST, PLACE)
    assert world.active == [job.job_id]
    assert world.now - START < 200
