"""One paid job for each item also where machines' clocks are wrong and the service's time is learnt."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_ci.exceptions import ClockSkewError, TencentCIError
from airflow_provider_ci.hooks.clock import ServiceClock
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.protocol.wire import CLOCK_SKEW_TOLERANCE, SIGNATURE_TTL
from airflow_provider_ci.submission.bulk_jobs import BulkJobs
from tests.unit.submission.bulk_world import Chances, Process, Service, items
from tests.unit.submission.simulated_world import START, Crash

HOUR = 3600.0


class Machine(Process):
    """A process on a worker whose clock is ``behind`` the service's by so many seconds."""

    def __init__(self, service: Service, try_number: int, behind: float) -> None:
        self.learnt, self.behind = ServiceClock("the service"), behind
        super().__init__(
            service,
            try_number,
            clock=lambda: self.local() + self.learnt.offset,
            run_start=lambda: START - behind + min(self.learnt.offset, 0),
        )

    def local(self) -> float:
        return self.service.now - self.behind

    def refusal(self, expires_at: float | None = None) -> ClockSkewError | None:
        """Return why the service refuses what is signed now."""
        signed_at = self.local() + self.learnt.offset
        end = signed_at + SIGNATURE_TTL if expires_at is None else expires_at
        if signed_at - CLOCK_SKEW_TOLERANCE <= self.service.now <= end:
            return None
        error = ClockSkewError("refused", status=401, code="SignatureExpired")
        error.corrected = self.learnt.correct(self.service.now, self.local(), used_offset=self.learnt.offset)
        return error

    def submit(self, request: Tree, expires_at: float | None) -> tuple[Job, str | None]:
        if (error := self.refusal(expires_at)) is not None:
            raise error
        assert expires_at is not None
        # also what was signed with a wrong clock is not valid for longer
        assert expires_at <= self.service.now + 2 * CLOCK_SKEW_TOLERANCE
        return super().submit(request, expires_at)

    def list(self, request: Tree, since: datetime, states: Sequence[str] = ()) -> Iterable[Job]:
        self.refusal()  # is signed anew by the hook itself
        return super().list(request, since, states)


def run_task(service: Service, behind: tuple[float, float], crash_at: int) -> BulkJobs:
    """Run tries until one ends well; the first on one machine, the others on another."""
    for try_number in range(1, 6):
        machine = Machine(service, try_number, behind[min(try_number, 2) - 1])
        machine.crash_at = crash_at if try_number == 1 else None
        try:
            return machine.run(items(6))
        except (Crash, TencentCIError):
            service.chances = Chances()
            service.pass_time(1.0)
    raise AssertionError("no try ended well")


@pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
@pytest.mark.parametrize("behind", [*itertools.product((0.0, HOUR, -HOUR), repeat=2)])
def test_one_job_for_each_item(has_store: bool, behind: tuple[float, float]) -> None:
    for chances in (Chances(), Chances(lost_after=0.5), Chances(late=0.5)):
        for crash_at in range(0, 80, 3):
            service = Service(chances=chances, has_store=has_store, lag=9, seed=crash_at)
            jobs = run_task(service, behind, crash_at)
            assert service.now - START < 1000, "waited for a time of another clock"
            service.pass_time(1000)
            assert not service.paid_twice()
            assert sorted(map(str, jobs.job_ids)) == sorted(service.jobs)


@pytest.mark.parametrize("behind", [HOUR, -HOUR])
def test_chunks_are_recorded_again_in_the_services_time(behind: float) -> None:
    service = Service()
    Machine(service, 1, behind).run(items(6))
    (chunk,) = (value for key, value in service.store.items() if key.startswith("ci_bulk_0"))
    assert START <= chunk["since"] <= service.now


def test_a_clock_that_the_service_never_accepts_ends_the_task(mocker: Any) -> None:
    service = Service()
    machine = Machine(service, 1, HOUR)
    mocker.patch.object(machine.learnt, "correct", return_value=False)
    with pytest.raises(ClockSkewError):
        machine.run(items(100))
    assert not service.posts
