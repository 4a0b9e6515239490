"""One accepted job for each item, whatever dies and whenever: random worlds, each from a seed."""

from __future__ import annotations

import contextlib
import itertools
import random
from dataclasses import dataclass, field

import pytest

from airflow_provider_ci.exceptions import TaskKilledError, TencentCIError
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED
from airflow_provider_ci.submission import bulk_sender
from airflow_provider_ci.submission.bulk_jobs import BulkJobs
from airflow_provider_ci.submission.idempotency_key import key_of_job
from airflow_provider_ci.submission.job_list import CLOCK_SKEW
from tests.unit.submission.bulk_world import Chances, Items, Process, Service, items
from tests.unit.submission.simulated_world import IDENTITY, Crash

SEEDS = 400
_LAST_TRY = 12


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_sender, "CHUNK_SIZE", 4)


@dataclass
class Task:
    """A task instance with its tries, of which two may live at once."""

    service: Service
    requests: Items
    random: random.Random
    only_failed: bool = True
    try_number: int = 0
    clears: int = 0
    chance_of_clear: float = 0.15
    has_undecided: bool = False
    has_cancelled: bool = False
    has_cancel_by_others: bool = False
    cancelled_by_others: list[tuple[str, int]] = field(default_factory=list)
    jobs: BulkJobs | None = None
    log: list[str] = field(default_factory=list)

    def run_try(self, *, is_undisturbed: bool = False, may_hold: bool = True) -> None:
        """Run the next try, and perhaps others while it stands still."""
        self.try_number += 1
        process = Process(
            self.service,
            self.try_number,
            self.clears,
            clear_discards_record=self.service.clear_discards,
            only_failed=self.only_failed,
        )
        if not is_undisturbed:
            self._disturb(process, may_hold)
        self.log.append(f"try {self.try_number} begins at {self.service.now:.0f}")
        try:
            self.jobs = process.run(self.requests)
            self.log.append(f"try {process.try_number} ends well")
            self._check_all_are_decided(process)
        except (Crash, TencentCIError) as error:
            self.jobs = None
            self.log.append(f"try {process.try_number} ends: {error!r:.100}")
            if process.kill_at is not None and isinstance(error, TaskKilledError):
                self._cancel_some(process)
        self.log += [f"    {process.try_number} {line}" for line in process.log.lines]

    def _check_all_are_decided(self, process: Process) -> None:
        jobs = process.submission.jobs
        for index, job_id in enumerate(jobs.job_ids):
            if job_id is None and index not in jobs.refusals:
                self.log.append(f"{index} is undecided")
                self.has_undecided = True

    def _cancel_some(self, process: Process) -> None:
        """What an operator does that is killed, if it still owns the task."""
        if process.try_number != self.service.latest_try or not self.service.has_store:
            return
        own = [job_id for job_id in process.submission.jobs.job_ids if job_id]
        with contextlib.suppress(TencentCIError):
            process.submission.records.note_cancel_request(self.service.now)
            for job_id in own:
                if self.service.jobs[job_id].state == "Submitted":
                    self.service.end(job_id, CANCEL)
            self.has_cancelled = True
            self.log.append(f"cancelled {own}")

    def _disturb(self, process: Process, may_hold: bool) -> None:
        moment = self.random.randint(0, self.random.choice([20, 60, 200]))
        fate = self.random.choice(["crash", "kill", "hold", "hold and crash", "nothing"])
        if fate in ("crash", "hold and crash"):
            process.crash_at = moment + self.random.randint(0, 30)
        if fate == "kill":
            process.kill_at = moment
        if fate.startswith("hold") and may_hold:
            process.held_at = moment
            process.meanwhile = self.run_other_tries
            self.log.append(f"try {process.try_number} is to stand still at step {moment}")

    def run_other_tries(self) -> None:
        """What happens while a process stands still: Airflow has given up on it."""
        self.pause()
        for _ in range(self.random.randint(1, 2)):
            self.run_try(may_hold=False)
            self.pause()

    def pause(self) -> None:
        """Let time pass between two tries, in which jobs end and the task may be cleared."""
        self.service.pass_time(self.random.choice([0.0, 1.0, 30.0, 65.0, 300.0]))
        self.service.end_some(self.random.choice([0.0, 0.5]))
        if self.random.random() < 0.1:
            self._disturb_from_outside()
        if self.random.random() < self.chance_of_clear:
            self.clears += 1
            self.log.append("cleared")
            if self.service.clear_discards:
                self.service.store.clear()

    def later_jobs(self, job_id: str, clears: int) -> list[str]:
        """Return the jobs that were submitted after another one of an item, before the next clear."""
        job = self.service.jobs[job_id]
        return [
            str(other.job_id)
            for other in self.service.accepted()
            if other.input_object == job.input_object
            and str(other.job_id) > job_id
            and (key := key_of_job(other)) is not None
            and key.max_tries == IDENTITY.max_tries + clears
        ]

    def _disturb_from_outside(self) -> None:
        """Let somebody cancel a job, or copy its key, or submit the same for another Airflow."""
        jobs = list(self.service.accepted())
        if not jobs:
            return
        job = self.random.choice(jobs)
        self.service.accept_of_stranger(job.user_data)
        other = IDENTITY._replace(deployment="staging").idempotency_key(
            self.requests.fingerprint(self.random.randrange(len(self.requests))), "worker"
        )
        self.service.accept_of_stranger(other)
        if job.state == "Submitted" and not self.has_cancelled:
            self.log.append(f"somebody cancels {job.job_id}")
            self.service.end(str(job.job_id), CANCEL)
            self.has_cancel_by_others = True
            if (key := key_of_job(job)) and key.max_tries == IDENTITY.max_tries + self.clears:
                self.cancelled_by_others.append((str(job.job_id), self.clears))


def world(seed: int) -> Task:
    choose = random.Random(seed)
    chances = Chances(
        **{
            name: choose.choice([0.0, 0.0, 0.05, 0.3])
            for name in (
                "lost_before",
                "lost_after",
                "late",
                "throttled",
                "no_connection",
                "queue_full",
                "list_fails",
                "fails",
            )
        },
        store_fails=choose.choice([0.0, 0.0, 0.0, 0.05]),
        ends=choose.choice([0.0, 0.02]),
    )
    service = Service(
        chances=chances,
        seed=seed,
        lag=choose.choice([0.0, 9.0]),
        latency=choose.choice([0.01, 0.5, 4.0, 20.0]),
        has_store=choose.random() < 0.7,
        list_has_user_data=choose.random() < 0.8,
        is_documented=choose.random() < 0.8,
    )
    # by which a list is recognised that shows this type of job
    service.accept_of_stranger()
    service.pass_time(10)
    count = choose.randint(1, 12)
    requests = Items([f"in/{number}.mp3" for number in range(count)])
    task = Task(service, requests, choose, only_failed=choose.random() < 0.8)
    if service.has_store and choose.random() < 0.3:
        service.clear_discards, task.chance_of_clear = True, 0.3
    elif task.only_failed and not service.list_has_user_data and choose.random() < 0.3:
        service.describe_has_user_data = False
    return task


def run(task: Task) -> None:
    """Run tries until one ends well, the later ones undisturbed; then one more, when all jobs have ended."""
    run_until_success(task)
    task.service.chances = Chances()
    task.service.pass_time(1000)
    task.service.end_some(1.0)
    task.run_try(is_undisturbed=True)


def run_until_success(task: Task) -> None:
    for number in range(_LAST_TRY):
        is_last = number > _LAST_TRY - 4
        if is_last:
            task.service.chances = Chances()
        task.run_try(is_undisturbed=is_last)
        if task.jobs is not None and not list(task.jobs.failed()) and not task.service.happens(0.3):
            return
        task.pause()


def check(task: Task) -> None:
    service = task.service
    service.pass_time(1000)
    trace = "\n".join(
        [
            *task.log,
            *(
                f"{job.job_id} {job.input_object} {job.state} {job.creation_time}"
                for job in service.accepted()
            ),
        ]
    )
    assert service.paid_twice(by_clear=not task.only_failed) == [], trace
    assert not task.has_undecided, trace
    assert task.jobs is not None, trace
    if not task.has_cancel_by_others:
        assert not list(task.jobs.failed()), trace
    if service.has_store and not task.has_cancelled and service.describe_has_user_data:
        for job_id, clears in task.cancelled_by_others:
            assert task.later_jobs(job_id, clears) == [], f"{job_id} is submitted again\n{trace}"
    for index, job_id in enumerate(task.jobs.job_ids):
        assert job_id is not None or index in task.jobs.refusals, f"{index} is lost\n{trace}"
        if job_id is not None:
            assert service.jobs[job_id].input_object == task.requests.names[index], trace
            assert service.jobs[job_id].state not in (FAILED, CANCEL) or index in list(task.jobs.failed())
    own = [str(job.job_id) for job in service.accepted() if job.state not in (FAILED, CANCEL)]
    if task.only_failed:
        assert set(own) <= set(task.jobs.job_ids), f"a job is paid for and not used\n{trace}"
    if own:
        assert task.jobs.first_submission is not None
        used = [service.jobs[job_id] for job_id in task.jobs.job_ids if job_id]
        first = min(job.creation_time.timestamp() for job in used if job.creation_time)
        assert task.jobs.first_submission - CLOCK_SKEW <= first, trace


@pytest.mark.parametrize("block", range(20))
def test_each_item_has_one_job_in_a_random_world(block: int) -> None:
    size = SEEDS // 20
    for seed in range(block * size, (block + 1) * size):
        task = world(seed)
        run(task)
        try:
            check(task)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
@pytest.mark.parametrize("retry_after", [0.0, 30.0, 300.0])
@pytest.mark.parametrize("is_retry", [False, True], ids=["first", "retry"])
def test_a_try_that_is_held_up_anywhere_submits_nothing_twice(
    has_store: bool, retry_after: float, is_retry: bool
) -> None:
    """It stands still at each of its steps in turn, while the next try runs from its beginning to its end."""
    requests = items(6)
    for held_at in itertools.count():
        service = Service(has_store=has_store, lag=9, seed=held_at)
        service.accept_of_stranger()
        if is_retry:
            died = Process(service, 1)
            died.crash_at = 30 if has_store else 10
            with pytest.raises(Crash):
                died.run(requests)
        held = Process(service, 2 if is_retry else 1)
        held.held_at = held_at
        held.meanwhile = lambda service=service: [  # type: ignore[misc]
            service.pass_time(retry_after),
            Process(service, 3).run(requests),
            service.pass_time(retry_after),
        ]
        with contextlib.suppress(TencentCIError):
            held.run(requests)
        jobs = Process(service, 4).run(requests)
        service.pass_time(1000)
        assert service.paid_twice() == [], (held_at, held.calls)
        assert None not in jobs.job_ids
        if held_at >= len(held.calls):
            break


@pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
@pytest.mark.parametrize("chances", [Chances(), Chances(lost_after=0.5), Chances(late=0.5)])
def test_a_try_that_dies_anywhere_leaves_nothing_to_pay_twice(has_store: bool, chances: Chances) -> None:
    requests = items(6)
    for crash_at in itertools.count():
        service = Service(chances=chances, has_store=has_store, lag=9, seed=crash_at)
        first = Process(service, 1)
        first.crash_at = crash_at
        with contextlib.suppress(Crash):
            first.run(requests)
        service.chances = Chances()
        jobs = Process(service, 2).run(requests)
        service.pass_time(1000)
        assert service.paid_twice() == [], (crash_at, first.calls)
        assert sorted(map(str, jobs.job_ids)) == sorted(service.jobs)
        if crash_at >= len(first.calls):
            break
