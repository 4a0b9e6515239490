"""One accepted job, whatever dies and whenever: every step of a try against a model of the service."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    AuthenticationError,
    JobCancelledError,
    ServerError,
    StateStoreError,
    TaskKilledError,
)
from airflow_provider_ci.protocol.jobs import JobsResponse
from airflow_provider_ci.protocol.tree import Tree, with_value
from airflow_provider_ci.submission.durable_submission import LIST_CONSISTENCY_DELAY, SUBMISSION_VALIDITY
from airflow_provider_ci.submission.idempotency_key import fingerprint, with_user_data
from airflow_provider_ci.submission.record import STORE_KEY, TRY_KEY, SubmissionRecords
from tests.patience import PATIENCE
from tests.unit.submission.recording_log import RecordingLog
from tests.unit.submission.simulated_world import (
    ANSWERS,
    ARRIVES_LATE,
    BATCH,
    IDENTITY,
    OWN_BATCH,
    OWN_DATA,
    PLACE,
    REQUEST,
    START,
    Crash,
    World,
    fail_once,
    run_task,
    submission,
)


@pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
@pytest.mark.parametrize(
    "request_", [REQUEST, OWN_DATA, BATCH, OWN_BATCH], ids=["key", "own-data", "batch", "own-batch"]
)
@pytest.mark.parametrize(("retry_delay", "lag"), [(0.0, LIST_CONSISTENCY_DELAY - 1), (300.0, 0.0)])
def test_one_job_for_every_crash_and_answer(
    has_store: bool, request_: Any, retry_delay: float, lag: float
) -> None:
    cases = 0
    for answers in itertools.product(ANSWERS, repeat=2):
        for number, when in itertools.product(range(30), ("before", "after")):
            world = World(has_store=has_store, lag=lag, answers=answers)
            world.crash_at = (number, when)
            job_id = run_task(world, request_, retry_delay)
            world.pass_time(1000)
            assert world.active == [job_id], (answers, number, when, world.calls)
            cases += 1
            if number >= len(world.calls):
                break
    assert cases > 250


def test_the_happy_path_costs_no_request() -> None:
    world = World()
    run_task(world, REQUEST, 0)
    assert [call for call in world.calls if call in ("submit", "list", "describe", "cancel")] == ["submit"]
    assert world.stored[STORE_KEY]["job_id"] == "j1"
    bare = World(has_store=False)
    run_task(bare, REQUEST, 0)
    assert bare.calls == ["before_submission", "submit"]


@pytest.mark.parametrize("arrives_after", [0, 1, 30, SUBMISSION_VALIDITY - 1, SUBMISSION_VALIDITY + 5, 500])
@pytest.mark.parametrize("retry_after", [0, 5, 59, 300])
def test_a_zombie_that_submits_late_causes_no_second_job(arrives_after: float, retry_after: float) -> None:
    """Try 1 has recorded its submission and is held up; its supervisor is dead, and try 2 runs beside it."""
    world = World()
    world.crash_at = (5, "before")
    with pytest.raises(Crash):
        submission(world).get_or_submit(REQUEST, PLACE)
    assert world.calls[5] == "submit"
    wanted = fingerprint(REQUEST, PLACE)
    late = with_user_data(REQUEST, IDENTITY.idempotency_key(wanted, "worker"))
    refused = []

    def zombie() -> None:
        if world.now - START >= arrives_after and not refused:
            refused.append("sent")
            try:
                world._submit(late, START + SUBMISSION_VALIDITY)
            except AuthenticationError:
                refused.append("refused")

    world.crash_at, world.on_sleep = None, zombie
    world.now += retry_after
    zombie()
    job = submission(world, 2).get_or_submit(REQUEST, PLACE)
    for _ in range(600):
        world.now += 1
        zombie()
    assert world.active == [job.job_id]
    assert refused[0] == "sent"


@pytest.mark.parametrize("number", range(6))  # get, get, set, get, submit, set
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("retry_after", [0, 300])
def test_an_earlier_try_that_is_held_up_anywhere_causes_no_second_job(
    number: int, when: str, retry_after: float
) -> None:
    """Try 1 is held up at each of its steps in turn, while try 2 runs from its beginning to its end."""
    world, jobs = World(), []

    def second_try() -> None:
        world.pass_time(retry_after)
        jobs.append(submission(world, 2).get_or_submit(REQUEST, PLACE).job_id)
        world.pass_time(retry_after)

    world.held_at, world.meanwhile = (number, when), second_try
    with contextlib.suppress(TaskKilledError, AuthenticationError):
        jobs.append(submission(world).get_or_submit(REQUEST, PLACE).job_id)
    # and what the earlier one has recorded does not mislead a later one
    jobs.append(submission(world, 3).get_or_submit(REQUEST, PLACE).job_id)
    assert world.active == [jobs[0]]
    assert set(jobs) == {jobs[0]}, "no try has another job"


class HeldUp:
    """The store of a try that stands still before it takes over."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.stands, self.may_go_on = threading.Event(), threading.Event()

    def get(self, key: str, default: Any = None) -> Any:
        return self._world.get(key, default)

    def set(self, key: str, value: Any) -> None:
        if key == TRY_KEY:
            self.stands.set()
            assert self.may_go_on.wait(PATIENCE)
        self._world.set(key, value)


@pytest.mark.parametrize("died_at", [2, 5])  # before and after its record
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(12))
def test_a_try_that_was_held_up_before_it_took_over_causes_no_second_job(
    died_at: int, when: str, number: int
) -> None:
    """Try 1 dies, try 2 is held up, and continues to its end when try 3 is at each of its steps in turn."""
    world, ended = World(), []
    world.crash_at = (died_at, "before")
    with pytest.raises(Crash):
        submission(world).get_or_submit(REQUEST, PLACE)
    world.crash_at, store = None, HeldUp(world)

    def attempt(**arguments: Any) -> None:
        with contextlib.suppress(TaskKilledError, AuthenticationError):
            ended.append(submission(world, **arguments).get_or_submit(REQUEST, PLACE).job_id)

    second = threading.Thread(target=lambda: attempt(try_number=2, store=store), daemon=True)
    second.start()
    assert store.stands.wait(PATIENCE)

    def let_it_go_on() -> None:
        store.may_go_on.set()
        second.join(PATIENCE)

    world.held_at, world.meanwhile = (len(world.calls) + number, when), let_it_go_on
    attempt(try_number=3)
    let_it_go_on()
    attempt(try_number=4)
    assert world.active == ["j1"]
    assert set(ended) == {"j1"}


def test_an_earlier_try_that_still_lives_may_not_submit_after_a_later_one() -> None:
    world = World()
    world.stored[TRY_KEY] = 2
    with pytest.raises(TaskKilledError, match="Try 2 of this task has taken over; try 1 does not submit"):
        submission(world, 1).get_or_submit(REQUEST, PLACE)
    assert not world.jobs


class TestRetryTable:
    def earlier(self, state: str, request: Tree = REQUEST, **world: Any) -> World:
        made = World(**world)
        submission(made).get_or_submit(request, PLACE)
        made.set_state("j1", state)
        made.now += 60
        return made

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Running", "Success", "Strange"])
    def test_continues_with_a_job_in_state(self, state: str, has_store: bool) -> None:
        world = self.earlier(state, has_store=has_store)
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert len(world.jobs) == 1

    @pytest.mark.parametrize(("has_store", "state"), [(True, "Failed"), (False, "Failed"), (False, "Cancel")])
    def test_submits_again_after_a_job_ended(self, state: str, has_store: bool) -> None:
        world = self.earlier(state, has_store=has_store)
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j2"

    @pytest.mark.parametrize("knows_id", [True, False])
    @pytest.mark.parametrize("request_", [REQUEST, BATCH], ids=["job", "batch"])
    def test_a_job_that_somebody_cancelled_is_not_submitted_again(
        self, request_: Any, knows_id: bool
    ) -> None:
        world = self.earlier("Cancel", request_)
        if not knows_id:  # its try died before it could record the id
            del world.stored[STORE_KEY]["job_id"]
        with pytest.raises(JobCancelledError, match=r"Job j1 .* not by this task.*Clear the task"):
            submission(world, 2).get_or_submit(request_, PLACE)
        assert len(world.jobs) == 1
        assert submission(world, 3, clear_count=1).get_or_submit(request_, PLACE).job_id == "j2"

    def test_a_job_that_a_try_of_the_task_cancelled_is_submitted_again(self) -> None:
        world = self.earlier("Submitted")
        SubmissionRecords(world, 1).note_cancel_request("j1", world.now)
        world.set_state("j1", "Cancel")
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_a_job_that_somebody_cancels_long_after_a_try_asked_for_it_is_not_submitted_again(self) -> None:
        """The request came too late: the job had begun, or the service was away."""
        world = self.earlier("Running")
        SubmissionRecords(world, 1).note_cancel_request("j1", world.now)
        world.set_state("j1", "Cancel")
        world.jobs[0] = replace(world.jobs[0], end_time=datetime.fromtimestamp(world.now + 61, UTC))
        with pytest.raises(JobCancelledError):
            submission(world, 2).get_or_submit(REQUEST, PLACE)

    def test_a_request_to_cancel_that_the_service_refused_does_not_count(self) -> None:
        world = self.earlier("Running")
        SubmissionRecords(world, 1).note_cancel_request("j1", world.now)
        SubmissionRecords(world, 1).note_cancel_request("j1", None)
        world.set_state("j1", "Cancel")
        with pytest.raises(JobCancelledError):
            submission(world, 2).get_or_submit(REQUEST, PLACE)

    def test_a_cancelled_job_with_the_users_own_data_is_not_submitted_again(self) -> None:
        world = self.earlier("Cancel", OWN_DATA)
        del world.stored[STORE_KEY]["job_id"]
        with pytest.raises(JobCancelledError):
            submission(world, 2).get_or_submit(OWN_DATA, PLACE)

    def test_a_request_to_cancel_another_job_is_not_recorded(self) -> None:
        world = self.earlier("Submitted")
        SubmissionRecords(world, 1).note_cancel_request("j0", world.now)
        world.set_state("j1", "Cancel")
        with pytest.raises(JobCancelledError):
            submission(world, 2).get_or_submit(REQUEST, PLACE)

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Failed", "Cancel"])
    def test_a_job_that_ends_before_it_is_found_is_not_paid_for_again(
        self, state: str, has_store: bool
    ) -> None:
        """One try, one job: that it failed is for this try to tell, another job for the next one to pay."""
        world = World(has_store=has_store, answers=("lost after", "lost after"), lag=3)
        world.on_sleep = lambda: world.set_state("j1", state)
        assert submission(world).get_or_submit(REQUEST, PLACE).job_id == "j1"
        if has_store and state == "Cancel":
            return  # the next try does not submit again what somebody has cancelled
        world.now += 5
        world.on_sleep = lambda: world.set_state("j2", state)
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j2"
        assert len(world.jobs) == 2

    @pytest.mark.parametrize("has_store", [True, False])
    def test_a_job_that_ended_before_is_not_taken_for_the_one_whose_response_is_lost(
        self, has_store: bool
    ) -> None:
        world = self.earlier("Failed", has_store=has_store, answers=("ok", "lost before"))
        world.now -= 58  # the list shows what is a minute older than the submission, too
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_a_job_of_another_task_with_the_same_data_is_not_taken_for_the_lost_one(self) -> None:
        world = World(has_store=False, answers=("ok", "lost before"))
        submission(world, identity=IDENTITY._replace(map_index=3)).get_or_submit(OWN_DATA, PLACE)
        world.set_state("j1", "Failed")
        assert submission(world).get_or_submit(OWN_DATA, PLACE).job_id == "j2"

    def test_why_the_job_before_failed_is_logged_without_signatures(self) -> None:
        world, log = self.earlier("Failed"), RecordingLog()
        message = "cannot read https://b.cos.r.myqcloud.com/a?q-signature=hunter2"
        world.jobs[0] = replace(world.jobs[0], code="ResourceDownloadFailed", message=message)
        submission(world, 2, log=log).get_or_submit(REQUEST, PLACE)
        (line,) = [line for line in log.lines if "ResourceDownloadFailed" in line]
        assert "Job j1 ended Failed" in line
        assert "hunter2" not in line

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("is_id_recorded", [True, False])
    def test_a_job_that_would_fail_again_is_not_paid_for_again(
        self, has_store: bool, is_id_recorded: bool
    ) -> None:
        world = self.earlier("Failed", has_store=has_store)
        world.jobs[0] = replace(world.jobs[0], code="ResourceNotSupported")
        if has_store and not is_id_recorded:
            del world.stored[STORE_KEY]["job_id"]
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert submission(world, 2, clear_count=1).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_a_failed_job_with_the_users_own_data_may_be_somebody_elses(self) -> None:
        world = self.earlier("Failed", OWN_DATA, has_store=False)
        world.jobs[0] = replace(world.jobs[0], code="ResourceNotSupported")
        assert submission(world, 2).get_or_submit(OWN_DATA, PLACE).job_id == "j2"

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize(("state", "left"), [("Submitted", "Cancel"), ("Running", "Running")])
    def test_a_changed_request_is_a_new_job(self, state: str, left: str, has_store: bool) -> None:
        world = self.earlier(state, has_store=has_store)
        changed = {**REQUEST, "QueueId": "p1"}
        log = RecordingLog()
        assert submission(world, 2, log=log).get_or_submit(changed, PLACE).job_id == "j2"
        assert world.jobs[0].state == left
        assert any("j1" in line and "request has changed" in line for line in log.lines)

    def test_a_cancellation_that_failed_is_tried_again_at_the_next_look(self, mocker: MockerFixture) -> None:
        world = World(has_store=False)
        run_task(world, REQUEST, 0)
        fail_once(mocker, world, "cancel", ServerError("busy", status=503))
        submission(world, 2).get_or_submit({**REQUEST, "QueueId": "p1"}, PLACE)
        assert world.active == ["j2"]
        assert world.calls.count("cancel") == 1

    def test_without_cancel_a_changed_request_keeps_the_old_job(self) -> None:
        world = self.earlier("Submitted")
        submission(world, 2, cancel=None).get_or_submit({**REQUEST, "QueueId": "p1"}, PLACE)
        assert world.jobs[0].state == "Submitted"

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Running", "Success"])
    def test_a_clear_asks_for_a_new_job(self, state: str, has_store: bool) -> None:
        world = self.earlier(state, has_store=has_store)
        assert submission(world, 2, clear_count=1).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_a_clear_cancels_the_waiting_job(self) -> None:
        world = self.earlier("Submitted")
        submission(world, 2, clear_count=1).get_or_submit(REQUEST, PLACE)
        assert world.active == ["j2"]

    def test_a_retry_after_a_clear_continues_with_the_new_job(self) -> None:
        world = self.earlier("Running", has_store=False)
        submission(world, 2, clear_count=1).get_or_submit(REQUEST, PLACE)
        world.now += 60
        assert submission(world, 3, clear_count=1).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_a_job_that_is_no_longer_found_is_looked_for_until_the_grace_period_is_over(self) -> None:
        world = self.earlier("Running")
        world.jobs.clear()
        before = world.now
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert world.now - before >= 100, "only after the grace period"

    def test_an_earlier_runs_job_with_the_users_own_data_is_not_taken(self) -> None:
        world = World(has_store=False)
        submission(world, identity=IDENTITY._replace(run_id="earlier")).get_or_submit(OWN_DATA, PLACE)
        world.now += 600
        later = datetime.fromtimestamp(world.now, UTC)
        assert submission(world, 2, run_start=later.timestamp).get_or_submit(OWN_DATA, PLACE).job_id == "j2"


class TestBatches:
    """What differs from jobs: names, when cancelling helps, and what may not be handed back."""

    @pytest.mark.parametrize("has_store", [True, False])
    def test_one_batch_even_if_user_data_is_not_handed_back(
        self, monkeypatch: pytest.MonkeyPatch, has_store: bool
    ) -> None:
        monkeypatch.setattr(World, "echoes_user_data", False)
        test_one_job_for_every_crash_and_answer(has_store, BATCH, 0.0, 0.0)

    @pytest.mark.parametrize("echoes", [True, False])
    @pytest.mark.parametrize(
        "other",
        [
            {**BATCH, "Name": "other"},
            {**BATCH, "Input": {"Prefix": "in/2/"}},
            {**BATCH, "Input": {"UrlFile": "in/"}},
            with_value(BATCH, "Operation.Output", {"AuObject": "x/${jobid}"}),
            with_value(BATCH, "Operation.JobParam", {"TemplateId": "t1"}),
        ],
    )
    def test_another_tasks_batch_is_not_taken(
        self, monkeypatch: pytest.MonkeyPatch, other: Tree, echoes: bool
    ) -> None:
        monkeypatch.setattr(World, "echoes_user_data", echoes)
        world = World(has_store=False)
        submission(world, identity=IDENTITY._replace(task_id="other")).get_or_submit(other, PLACE)
        assert submission(world, 2).get_or_submit(BATCH, PLACE).job_id == "j2"

    @pytest.mark.parametrize("state", ["Submitted", "Running"])
    def test_a_changed_request_cancels_a_batch_that_still_makes_jobs(self, state: str) -> None:
        world = World()
        submission(world).get_or_submit(BATCH, PLACE)
        world.set_state("j1", state)
        submission(world, 2).get_or_submit({**BATCH, "Name": "changed"}, PLACE)
        assert world.active == ["j2"]

    def test_continues_with_a_batch_that_succeeded(self) -> None:
        world = World()
        submission(world).get_or_submit(BATCH, PLACE)
        world.set_state("j1", "Success")
        assert submission(world, 2).get_or_submit(BATCH, PLACE).job_id == "j1"
        world.set_state("j1", "Failed")
        assert submission(world, 3).get_or_submit(BATCH, PLACE).job_id == "j2"


def test_the_check_before_submission_precedes_new_submissions_only() -> None:
    world = World()
    submission(world).get_or_submit(REQUEST, PLACE)
    assert world.calls.index("before_submission") < world.calls.index("set") < world.calls.index("submit")
    world.calls.clear()
    submission(world, 2).get_or_submit(REQUEST, PLACE)
    assert "before_submission" not in world.calls


def test_a_refusal_before_submission_records_nothing() -> None:
    class Refusing(World):
        def before_submission(self, request: Any) -> None:
            raise LookupError("no input")

    world = Refusing()
    with pytest.raises(LookupError):
        submission(world).get_or_submit(REQUEST, PLACE)
    assert world.stored == {}


class TestClearedWhileAWorkerWaits:
    """Airflow ends the process, and begins a try with another ``max_tries`` (3.1 or newer)."""

    def interrupted(self, state: str, *, has_store: bool, who_waits: str = "worker") -> World:
        world = World(has_store=has_store)
        submission(world, who_waits=who_waits).get_or_submit(REQUEST, PLACE)
        world.set_state("j1", state)
        world.now += 60
        return world

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Running", "Submitted", "Strange"])
    def test_its_job_is_waited_for_until_it_ends(self, state: str, has_store: bool) -> None:
        world, log = self.interrupted(state, has_store=has_store), RecordingLog()
        second = submission(world, 2, clear_count=1, who_waits="worker", log=log)
        assert second.get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert any("cleared while it waited for job j1" in line for line in log.lines)
        # also by the retries of that try
        assert (
            submission(world, 3, clear_count=1, who_waits="worker").get_or_submit(REQUEST, PLACE).job_id
            == "j1"
        )
        assert len(world.jobs) == 1

    def test_also_before_its_id_was_recorded(self) -> None:
        world = World(answers=("lost after",))
        world.crash_at = (6, "before")
        with pytest.raises(Crash):
            submission(world, who_waits="worker").get_or_submit(REQUEST, PLACE)
        assert world.calls[-1] == "list"
        world.crash_at = None
        world.set_state("j1", "Running")
        assert submission(world, 2, clear_count=1).get_or_submit(REQUEST, PLACE).job_id == "j1"

    def test_one_that_was_cancelled_before_its_id_was_recorded_is_replaced(self) -> None:
        """The clear asks for a new job, whoever has cancelled the old one."""
        world = self.interrupted("Cancel", has_store=True)
        del world.stored[STORE_KEY]["job_id"]
        assert (
            submission(world, 2, clear_count=1, who_waits="worker").get_or_submit(REQUEST, PLACE).job_id
            == "j2"
        )

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Success", "Failed", "Cancel"])
    def test_a_job_that_has_ended_is_not_taken(self, state: str, has_store: bool) -> None:
        world = self.interrupted(state, has_store=has_store)
        assert (
            submission(world, 2, clear_count=1, who_waits="worker").get_or_submit(REQUEST, PLACE).job_id
            == "j2"
        )

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("who_waits", ["triggerer", "nobody"])
    def test_a_clear_while_no_worker_waits_asks_for_a_new_job(self, who_waits: str, has_store: bool) -> None:
        world = self.interrupted("Running", has_store=has_store, who_waits=who_waits)
        assert (
            submission(world, 2, clear_count=1, who_waits=who_waits).get_or_submit(REQUEST, PLACE).job_id
            == "j2"
        )

    def test_a_clear_after_a_wait_that_ended_by_itself_asks_for_a_new_job(self) -> None:
        world = self.interrupted("Running", has_store=True)
        SubmissionRecords(world, 1).note_end_of_wait("j1")
        assert (
            submission(world, 2, clear_count=1, who_waits="worker").get_or_submit(REQUEST, PLACE).job_id
            == "j2"
        )

    def test_a_changed_request_is_a_new_job(self) -> None:
        world = self.interrupted("Running", has_store=True)
        changed = {**REQUEST, "QueueId": "p1"}
        assert (
            submission(world, 2, clear_count=1, who_waits="worker").get_or_submit(changed, PLACE).job_id
            == "j2"
        )


def test_a_job_is_looked_for_since_its_submission_however_late_it_was_found() -> None:
    """A retry continues with a job 70 s after its submission; then the service does not find its id."""
    world = World()
    submission(world).get_or_submit(REQUEST, PLACE)
    world.now += 70
    submission(world, 2).get_or_submit(REQUEST, PLACE)
    assert world.stored[STORE_KEY]["since"] == START
    describe, forgotten = world.describe, JobsResponse(non_exist_job_ids=("j1",))
    world.describe = lambda job_id: forgotten if world.now < START + 300 else describe(job_id)  # type: ignore[method-assign]
    assert submission(world, 3).get_or_submit(REQUEST, PLACE).job_id == "j1"
    assert len(world.jobs) == 1


def test_where_a_clear_empties_the_store_a_submission_may_be_in_flight() -> None:
    """Airflow 3.4: the task is cleared while a worker's submission is held back by the network."""
    world = World(answers=("late",))
    world.crash_at = (6, "before")
    with pytest.raises(Crash):
        submission(world, who_waits="worker").get_or_submit(REQUEST, PLACE)
    world.crash_at = None
    world.stored.clear()
    second = submission(world, 2, clear_count=1, who_waits="worker", clear_discards_record=True)
    assert second.get_or_submit(REQUEST, PLACE).job_id == "j1"
    world.pass_time(ARRIVES_LATE)
    assert len(world.jobs) == 1


class TestLogAndErrors:
    def test_a_search_says_how_long_it_takes_and_how_it_ended(self) -> None:
        world, log = World(answers=("lost before",)), RecordingLog()
        submission(world, log=log).get_or_submit(REQUEST, PLACE)
        first, until, none = log.lines
        assert "It is unknown" in first or "reset" in first
        assert first.endswith("Looking for the job before submitting again")
        assert "until 08:01:10 UTC, in case an earlier submission of this task was accepted" in until
        assert "none was accepted" in none

    def test_the_log_does_not_ask_the_user_to_look_while_the_operator_does(
        self, mocker: MockerFixture
    ) -> None:
        error = AmbiguousSubmissionError("unknown", hint="Look for it in the job list yourself")
        world, log = World(), RecordingLog()
        fail_once(mocker, world, "_submit", error)
        submission(world, log=log).get_or_submit(REQUEST, PLACE)
        assert not any("yourself" in line for line in log.lines)
        assert error.hint, "it is for the error that ends the try"

    def test_a_search_that_finds_the_job_says_so(self) -> None:
        world, log = World(answers=("lost after",), lag=5), RecordingLog()
        submission(world, log=log).get_or_submit(REQUEST, PLACE)
        assert log.lines[-1] == "info: Found job j1 (Submitted), submitted before"

    def test_a_store_that_fails_before_the_submission_is_named(self, mocker: MockerFixture) -> None:
        world = World()
        fail_once(mocker, world, "get", RuntimeError("500 from Airflow"))
        with pytest.raises(StateStoreError, match=r"task state store could not be read: .*500 from Airflow"):
            submission(world).get_or_submit(REQUEST, PLACE)
        assert not world.jobs

    def test_a_store_that_fails_after_the_submission_does_not_lose_the_job(self) -> None:
        world, log = World(), RecordingLog()
        step = world.step

        def failing(name: str, act: Callable[[], Any]) -> Any:
            if name == "set" and world.jobs:
                raise RuntimeError("500 from Airflow")
            return step(name, act)

        world.step = failing  # type: ignore[method-assign]
        assert submission(world, log=log).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert any("Job j1 is known to this try only" in line for line in log.lines)
        world.step = step  # type: ignore[method-assign]
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j1"
