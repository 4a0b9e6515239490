"""Exactly one accepted job, whatever dies and whenever: an exhaustive schedule over a model of the service.

The model is of what the documents say: a list that may lag, answers that may get lost, signatures that
expire. Time is a number that only sleeping moves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    AuthenticationError,
    JobCancelledError,
    PermissionDeniedError,
    ServerError,
    StateStoreError,
    TaskKilledError,
    ThrottledError,
)
from airflow_provider_ci.protocol.batches import (
    BatchInput,
    BatchJob,
    BatchJobParam,
    BatchOperation,
    BatchRequest,
)
from airflow_provider_ci.protocol.fields import DefaultName
from airflow_provider_ci.protocol.job_rules import USER_DATA_MAX
from airflow_provider_ci.protocol.jobs import (
    CallbackKafkaConfig,
    CallbackMqConfig,
    Input,
    Job,
    JobRequest,
    JobsResponse,
    Operation,
    Output,
)
from airflow_provider_ci.protocol.voice_separation import AudioConfig, VoiceSeparate
from airflow_provider_ci.submission.durable_submission import (
    LIST_CONSISTENCY_DELAY,
    SUBMISSION_VALIDITY,
    DurableSubmission,
)
from airflow_provider_ci.submission.idempotency_key import (
    IdempotencyKey,
    TaskIdentity,
    fingerprint,
    is_job_of,
    with_user_data,
)
from airflow_provider_ci.submission.record import STORE_KEY, TRY_KEY, SubmissionRecord, SubmissionRecords

START = 1_800_000_000.0
PLACE = "media-1250000001 ap-guangzhou"
IDENTITY = TaskIdentity("separate", "manual__2027-01-15T08:00:00+00:00", "submit", -1, "prod", 3)
REQUEST = JobRequest(
    input=Input(object="in/song.mp3"),
    operation=Operation(
        voice_separate=VoiceSeparate(
            audio_mode="IsAudio", audio_config=AudioConfig(codec="mp3", bitrate=128)
        ),
        output=Output(region="ap-guangzhou", bucket="media-1250000001", voice_object="out/${jobid}.${ext}"),
    ),
)
OWN_DATA = replace(REQUEST, operation=replace(REQUEST.operation, user_data="order 7"))  # type: ignore[type-var]

BATCH = BatchRequest(
    name="stems",
    type="Job",
    input=BatchInput(prefix="in/"),
    operation=BatchOperation(
        tag="VoiceSeparate",
        job_param=BatchJobParam(voice_separate=VoiceSeparate(audio_mode="IsAudio")),
        output=Output(
            region="ap-guangzhou", bucket="media-1250000001", voice_object="out/${InputName}.${ext}"
        ),
    ),
)
OWN_BATCH = replace(BATCH, operation=replace(BATCH.operation, user_data="order 7"))  # type: ignore[type-var]


class Crash(BaseException):
    """The process dies: nothing of it may catch this."""


class World:
    """The service, the store and time; every touch of them is a step at which the process may die."""

    list_permission = "ci:DescribeMediaJobs"
    echoes_user_data = True

    def __init__(self, *, has_store: bool = True, lag: float = 0.0, answers: tuple[str, ...] = ()) -> None:
        self.now = START
        self.jobs: list[Any] = []
        self.has_store = has_store
        self.stored: dict[str, Any] = {}
        self.listable = True
        self.lag = lag
        self.calls: list[str] = []
        self.crash_at: tuple[int, str] | None = None  # the step, and whether it dies before or after it acted
        self.held_at: tuple[int, str] | None = None  # likewise: it stands still while ``meanwhile`` happens
        self.meanwhile: Callable[[], Any] = lambda: None
        self.on_sleep: Callable[[], None] = lambda: None
        self._answers = iter(answers)
        self._arrivals: list[tuple[float, Any]] = []

    def step(self, name: str, act: Callable[[], Any]) -> Any:
        number = len(self.calls)
        self.calls.append(name)
        if self.crash_at == (number, "before"):
            raise Crash
        if self.held_at == (number, "before"):
            self.meanwhile()
        try:
            return act()
        finally:
            if self.held_at == (number, "after"):
                self.meanwhile()
            if self.crash_at == (number, "after"):
                raise Crash

    # the service

    def prepare(self, request: Any) -> None:
        self.step("prepare", lambda: None)

    def submit(self, request: Any, expires_at: float) -> Any:
        return self.step("submit", lambda: self._submit(request, expires_at))

    def _submit(self, request: Any, expires_at: float) -> Any:
        answer = next(self._answers, "ok")
        if self.now > expires_at:
            raise AuthenticationError("expired", status=401, code="SignatureExpired")
        if answer == "throttled":
            raise ThrottledError("slow down", status=429)
        if answer == "lost before":
            raise AmbiguousSubmissionError("reset")
        if answer == "late":
            self._arrivals.append((self.now + ARRIVES_LATE, request))
            raise AmbiguousSubmissionError("timeout")
        job = self._accept(request, self.now)
        if answer == "lost after":
            raise AmbiguousSubmissionError("timeout")
        return job

    def _accept(self, request: Any, moment: float) -> Any:
        common: dict[str, Any] = {
            "job_id": f"j{len(self.jobs) + 1}",
            "state": "Submitted",
            "creation_time": datetime.fromtimestamp(int(moment), UTC),
            "operation": request.operation,
        }
        if isinstance(request, BatchRequest):
            if not self.echoes_user_data:
                common["operation"] = replace(request.operation, user_data=None)
            job: Any = BatchJob(name=request.name, type=request.type, input=request.input, **common)
        else:
            job = Job(input=Input(object=request.input.object, bucket_id="media-1250000001"), **common)
        self.jobs.append(job)
        return job

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for moment, request in [arrival for arrival in self._arrivals if arrival[0] <= self.now]:
            self._arrivals.remove((moment, request))
            self._accept(request, moment)

    def describe(self, job_id: str) -> JobsResponse:
        found = tuple(job for job in self.jobs if job.job_id == job_id)
        return self.step("describe", lambda: JobsResponse(jobs_detail=found))

    def list(self, request: Any, since: datetime) -> Iterator[Any]:
        return self.step("list", lambda: iter(self._list(request, since)))

    def _list(self, request: Any, since: datetime) -> list[Any]:
        if not self.listable:
            raise PermissionDeniedError("no", status=403, code="AccessDenied")
        return [
            job
            for job in self.jobs
            if job.creation_time
            and since <= job.creation_time
            and job.creation_time.timestamp() <= self.now - self.lag
            # batch jobs cannot be listed by input
            and (isinstance(request, BatchRequest) or job.input.object == request.input.object)
        ]

    def verify_no_result(self, job: Job) -> bool:
        return job.state in ("Failed", "Cancel")

    def verify_ended(self, job: Job) -> bool:
        return job.job_state.is_terminal

    def cancel(self, job_id: str) -> None:
        self.step("cancel", lambda: self.set_state(job_id, "Cancel"))

    def set_state(self, job_id: str, state: str) -> None:
        self.jobs = [replace(job, state=state) if job.job_id == job_id else job for job in self.jobs]

    # the store

    def get(self, key: str, default: Any = None) -> Any:
        return self.step("get", lambda: self.stored.get(key, default))

    def set(self, key: str, value: Any) -> None:
        self.step("set", lambda: self.stored.__setitem__(key, value))

    # time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.pass_time(seconds)
        self.on_sleep()

    @property
    def active(self) -> list[str | None]:
        return [job.job_id for job in self.jobs if job.state not in ("Failed", "Cancel")]


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, /, *args: object) -> None:
        self.lines.append(message % args)

    warning = error = info


def submission(world: World, try_number: int = 1, *, clears: int = 0, **changes: Any) -> DurableSubmission:
    store = changes.pop("store", world if world.has_store else None)
    arguments: dict[str, Any] = {
        "job_api": world,
        "submit": world.submit,
        "cancel": world.cancel,
        "before_submission": world.prepare,
        "records": SubmissionRecords(store, try_number),
        "identity": IDENTITY._replace(max_tries=3 + clears),
        "waits": "nobody",
        "may_have_submitted": try_number > 1,
        "clear_discards_record": False,
        "run_start": lambda: START,
        "resubmit_if_unknown": False,
        "log": Log(),
        "clock": lambda: world.now,
        "sleep": world.sleep,
    }
    return DurableSubmission(**(arguments | changes))


def run_task(world: World, request: Any, retry_delay: float, tries: int = 6) -> str | None:
    """Run tries until one ends well, as Airflow does with retries; return the job id that it has."""
    for try_number in range(1, tries + 1):
        try:
            job = submission(world, try_number).get_or_submit(request, PLACE)
        except Crash:
            world.crash_at = None  # once
            world.pass_time(retry_delay)
        except (AmbiguousSubmissionError, ThrottledError):
            world.pass_time(retry_delay)
        else:
            return job.job_id
    raise AssertionError("no try ended well")


# "late": the answer is lost, and the service accepts the job only some time after
ANSWERS = ["ok", "lost before", "lost after", "late", "throttled"]
ARRIVES_LATE = 30.0


@pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
@pytest.mark.parametrize(
    "request_", [REQUEST, OWN_DATA, BATCH, OWN_BATCH], ids=["marker", "own-data", "batch", "own-batch"]
)
@pytest.mark.parametrize("retry_delay", [0.0, 300.0])
@pytest.mark.parametrize("lag", [0.0, LIST_CONSISTENCY_DELAY - 1])
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
    assert bare.calls == ["prepare", "submit"]


@pytest.mark.parametrize("arrives_after", [0, 1, 30, SUBMISSION_VALIDITY - 1, SUBMISSION_VALIDITY + 5, 500])
@pytest.mark.parametrize("retry_after", [0, 5, 59, 300])
def test_a_zombie_that_submits_late_causes_no_second_job(arrives_after: float, retry_after: float) -> None:
    """Try 1 has written its intention and is held up; its supervisor is dead, and try 2 runs beside it."""
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
    """The store of a try that stands still before it says that it has taken over."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.stands, self.may_go_on = threading.Event(), threading.Event()

    def get(self, key: str, default: Any = None) -> Any:
        return self._world.get(key, default)

    def set(self, key: str, value: Any) -> None:
        if key == TRY_KEY:
            self.stands.set()
            assert self.may_go_on.wait(20)
        self._world.set(key, value)


@pytest.mark.parametrize("died_at", [2, 5])  # before and after its intention
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(12))
def test_a_try_that_was_held_up_while_it_took_over_causes_no_second_job(
    died_at: int, when: str, number: int
) -> None:
    """Try 1 dies, try 2 is held up, and goes on to its end when try 3 is at each of its steps in turn."""
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
    assert store.stands.wait(20)

    def let_it_go_on() -> None:
        store.may_go_on.set()
        second.join(20)

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
    def earlier(self, state: str, request: JobRequest = REQUEST, **world: Any) -> World:
        made = World(**world)
        submission(made).get_or_submit(request, PLACE)
        made.set_state("j1", state)
        made.now += 60
        return made

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Submitted", "Running", "Pause", "Success", "Strange"])
    def test_goes_on_with(self, state: str, has_store: bool) -> None:
        world = self.earlier(state, has_store=has_store)
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert len(world.jobs) == 1

    @pytest.mark.parametrize(("has_store", "state"), [(True, "Failed"), (False, "Failed"), (False, "Cancel")])
    def test_submits_anew_after(self, state: str, has_store: bool) -> None:
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
        assert submission(world, 3, clears=1).get_or_submit(request_, PLACE).job_id == "j2"

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

    def test_also_with_the_users_own_data_and_no_id(self) -> None:
        world = self.earlier("Cancel", OWN_DATA)
        del world.stored[STORE_KEY]["job_id"]
        with pytest.raises(JobCancelledError):
            submission(world, 2).get_or_submit(OWN_DATA, PLACE)

    def test_a_request_to_cancel_another_job_is_not_taken_down(self) -> None:
        world = self.earlier("Submitted")
        SubmissionRecords(world, 1).note_cancel_request("j0", world.now)
        world.set_state("j1", "Cancel")
        with pytest.raises(JobCancelledError):
            submission(world, 2).get_or_submit(REQUEST, PLACE)

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Failed", "Cancel"])
    def test_what_ends_before_its_answer_is_found_is_not_paid_for_again(
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
    def test_a_job_that_ended_before_is_not_taken_for_the_one_whose_answer_is_lost(
        self, has_store: bool
    ) -> None:
        world = self.earlier("Failed", has_store=has_store, answers=("ok", "lost before"))
        world.now -= 58  # the list shows what is a minute older than the submission, too
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_another_ones_job_with_the_same_data_is_not_taken_for_the_lost_one(self) -> None:
        world = World(has_store=False, answers=("ok", "lost before"))
        submission(world, identity=IDENTITY._replace(map_index=3)).get_or_submit(OWN_DATA, PLACE)
        world.set_state("j1", "Failed")
        assert submission(world).get_or_submit(OWN_DATA, PLACE).job_id == "j2"

    def test_why_the_job_before_failed_is_logged_without_signatures(self) -> None:
        world, log = self.earlier("Failed"), Log()
        message = "cannot read https://b.cos.r.myqcloud.com/a?q-signature=hunter2"
        world.jobs[0] = replace(world.jobs[0], code="ResourceDownloadFailed", message=message)
        submission(world, 2, log=log).get_or_submit(REQUEST, PLACE)
        (line,) = [line for line in log.lines if "ResourceDownloadFailed" in line]
        assert "Job j1 ended Failed" in line
        assert "hunter2" not in line

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize(("state", "left"), [("Submitted", "Cancel"), ("Running", "Running")])
    def test_a_changed_request_is_a_new_job(self, state: str, left: str, has_store: bool) -> None:
        world = self.earlier(state, has_store=has_store)
        changed = replace(REQUEST, queue_id="p1")
        log = Log()
        assert submission(world, 2, log=log).get_or_submit(changed, PLACE).job_id == "j2"
        assert world.jobs[0].state == left
        assert any("j1" in line and "request has changed" in line for line in log.lines)

    def test_a_cancellation_that_failed_is_tried_again_at_the_next_look(self) -> None:
        world = World(has_store=False)
        run_task(world, REQUEST, 0)
        cancel, failures = world.cancel, [ServerError("busy", status=503)]

        def fails_once(job_id: str) -> None:
            if failures:
                raise failures.pop()
            cancel(job_id)

        world.cancel = fails_once  # type: ignore[method-assign]
        submission(world, 2).get_or_submit(replace(REQUEST, queue_id="p1"), PLACE)
        assert world.active == ["j2"]
        assert world.calls.count("cancel") == 1

    def test_a_changed_request_keeps_the_old_job_if_told_so(self) -> None:
        world = self.earlier("Submitted")
        submission(world, 2, cancel=None).get_or_submit(replace(REQUEST, queue_id="p1"), PLACE)
        assert world.jobs[0].state == "Submitted"

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Running", "Success"])
    def test_cleared(self, state: str, has_store: bool) -> None:
        world = self.earlier(state, has_store=has_store)
        assert submission(world, 2, clears=1).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_cleared_while_waiting_cancels(self) -> None:
        world = self.earlier("Submitted")
        submission(world, 2, clears=1).get_or_submit(REQUEST, PLACE)
        assert world.active == ["j2"]

    def test_a_retry_after_a_clear_goes_on_with_the_new_job(self) -> None:
        world = self.earlier("Running", has_store=False)
        submission(world, 2, clears=1).get_or_submit(REQUEST, PLACE)
        world.now += 60
        assert submission(world, 3, clears=1).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_a_job_that_is_not_known_any_more(self) -> None:
        world = self.earlier("Running")
        world.jobs.clear()
        before = world.now
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert world.now - before >= 100, "only after the grace period"

    def test_another_task_instances_job_is_not_taken(self) -> None:
        world = World(has_store=False)
        submission(world, identity=IDENTITY._replace(map_index=3)).get_or_submit(REQUEST, PLACE)
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_an_earlier_runs_job_with_the_users_own_data_is_not_taken(self) -> None:
        world = World(has_store=False)
        submission(world, identity=IDENTITY._replace(run_id="earlier")).get_or_submit(OWN_DATA, PLACE)
        world.now += 600
        later = datetime.fromtimestamp(world.now, UTC)
        assert submission(world, 2, run_start=later.timestamp).get_or_submit(OWN_DATA, PLACE).job_id == "j2"

    def test_duplicates_are_reported_and_the_oldest_is_taken(self) -> None:
        world = self.earlier("Running", has_store=False)
        second = with_user_data(REQUEST, IDENTITY.idempotency_key(fingerprint(REQUEST, PLACE), "nobody"))
        world.jobs.append(
            replace(
                world.jobs[0],
                job_id="j9",
                creation_time=datetime.fromtimestamp(START + 5, UTC),
                operation=second.operation,
            )
        )
        log = Log()
        assert submission(world, 2, log=log).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert any("Suspected duplicates of job j1" in line and "j9" in line for line in log.lines)


class TestBatches:
    """What differs from jobs: names, when cancelling helps, and what may not be handed back."""

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("retry_delay", [0.0, 300.0])
    def test_one_batch_even_if_user_data_is_not_handed_back(
        self, monkeypatch: pytest.MonkeyPatch, has_store: bool, retry_delay: float
    ) -> None:
        monkeypatch.setattr(World, "echoes_user_data", False)
        test_one_job_for_every_crash_and_answer(has_store, BATCH, retry_delay, 0.0)

    @pytest.mark.parametrize("echoes", [True, False])
    @pytest.mark.parametrize(
        "other",
        [
            replace(BATCH, name="other"),
            replace(BATCH, input=BatchInput(prefix="in/2/")),
            replace(BATCH, input=BatchInput(url_file="in/")),
            replace(BATCH, operation=replace(BATCH.operation, output=Output(voice_object="x/${jobid}"))),  # type: ignore[type-var]
            replace(BATCH, operation=replace(BATCH.operation, job_param=BatchJobParam(template_id="t1"))),  # type: ignore[type-var]
        ],
    )
    def test_another_tasks_batch_is_not_taken(
        self, monkeypatch: pytest.MonkeyPatch, other: BatchRequest, echoes: bool
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
        submission(world, 2).get_or_submit(replace(BATCH, name="changed"), PLACE)
        assert world.active == ["j2"]

    def test_a_batch_that_has_ended_well_is_gone_on_with(self) -> None:
        world = World()
        submission(world).get_or_submit(BATCH, PLACE)
        world.set_state("j1", "Success")
        assert submission(world, 2).get_or_submit(BATCH, PLACE).job_id == "j1"
        world.set_state("j1", "Failed")
        assert submission(world, 3).get_or_submit(BATCH, PLACE).job_id == "j2"


def test_preparing_comes_before_a_new_submission_only() -> None:
    world = World()
    submission(world).get_or_submit(REQUEST, PLACE)
    assert world.calls.index("prepare") < world.calls.index("set") < world.calls.index("submit")
    world.calls.clear()
    submission(world, 2).get_or_submit(REQUEST, PLACE)
    assert "prepare" not in world.calls


def test_a_refusal_by_preparing_intends_nothing() -> None:
    class Refusing(World):
        def prepare(self, request: Any) -> None:
            raise LookupError("no input")

    world = Refusing()
    with pytest.raises(LookupError):
        submission(world).get_or_submit(REQUEST, PLACE)
    assert world.stored == {}


class TestListingDenied:
    def test_fails_with_what_to_do(self) -> None:
        world = World(answers=("lost before",))
        world.listable = False
        with pytest.raises(AmbiguousSubmissionError, match="ci:DescribeMediaJobs"):
            submission(world).get_or_submit(REQUEST, PLACE)
        assert not world.jobs

    def test_submits_again_if_told_so(self) -> None:
        world = World(answers=("lost before",))
        world.listable = False
        assert submission(world, resubmit_if_unknown=True).get_or_submit(REQUEST, PLACE).job_id == "j1"


def parsed(identity: TaskIdentity, waits: str = "nobody") -> IdempotencyKey:
    key = IdempotencyKey.parse(identity.idempotency_key("f" * 64, waits))
    assert key is not None
    return key


class TestIdempotencyKey:
    def test_is_readable_and_within_the_limits(self) -> None:
        marker = IDENTITY.idempotency_key("ab" * 32, "worker")
        assert "dag=separate run=manual__2027-01-15T08:00:00+00:00 task=submit map=-1 " in marker
        assert " deployment=prod " in marker
        assert " max_tries=3 waits=worker request=abababababab " in marker
        for identity in (
            IDENTITY,
            TaskIdentity("d" * 999, "r" * 999, "t" * 999, 10**9, "p" * 999, 10**9),
            TaskIdentity("分离", "ru n\n", "\ud800", -1, "", 0),
        ):
            text = identity.idempotency_key("f" * 64, "worker")
            assert len(text) <= USER_DATA_MAX
            assert text.isascii()
            assert text.isprintable()

    @pytest.mark.parametrize(
        "other",
        [
            IDENTITY._replace(dag_id="separat"),
            IDENTITY._replace(run_id="x"),
            IDENTITY._replace(task_id="x"),
            IDENTITY._replace(map_index=0),
            IDENTITY._replace(deployment="staging"),
            IDENTITY._replace(max_tries=4),
        ],
    )
    def test_differs_between_task_instances(self, other: TaskIdentity) -> None:
        assert not parsed(IDENTITY).is_same_request(parsed(other))
        assert parsed(IDENTITY).is_same_request(parsed(IDENTITY._replace()))

    def test_does_not_depend_on_who_waits(self) -> None:
        assert parsed(IDENTITY, waits="worker").is_same_request(parsed(IDENTITY, waits="triggerer"))

    def test_is_another_one_for_each_submission(self) -> None:
        assert parsed(IDENTITY).nonce != parsed(IDENTITY).nonce

    def test_differs_where_shortening_makes_ids_alike(self) -> None:
        long = [IDENTITY._replace(dag_id="d" * 300 + end).digest for end in "ab"]
        assert long[0] != long[1]
        alike = [TaskIdentity(dag_id, "r", "t", -1, "", 0).digest for dag_id in "分离"]
        assert alike[0] != alike[1]

    def test_is_not_what_a_user_may_write(self) -> None:
        """Two tasks separate one input, each in its own way, with data that begin as a marker does."""
        operation: Any = replace(OWN_DATA.operation, user_data="airflow nightly")  # type: ignore[type-var]
        first = replace(OWN_DATA, operation=operation)
        second = replace(
            first, operation=replace(operation, output=replace(operation.output, voice_object="out/b"))
        )
        world = World(has_store=False)
        submission(world, identity=IDENTITY._replace(task_id="other")).get_or_submit(first, PLACE)
        # a retry without a store looks for what the try before it may have submitted
        assert submission(world, 2).get_or_submit(second, PLACE).job_id == "j2"

    def test_never_replaces_the_users_data(self) -> None:
        assert with_user_data(OWN_DATA, "m") is OWN_DATA
        assert with_user_data(REQUEST, "m").operation.user_data == "m"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"user_data": "order 8"}, False),
        ({"user_data": None}, True),  # the service may leave it out
        ({"output": None}, True),  # what is not handed back cannot differ
        ({"output": Output(voice_object="out/other")}, False),
        ({"voice_separate": VoiceSeparate(audio_mode="IsBackground")}, False),
        (
            {"voice_separate": VoiceSeparate(audio_mode="IsAudio", audio_config=AudioConfig(bitrate=64))},
            False,
        ),
        ({"voice_separate": VoiceSeparate(audio_mode="IsAudio")}, True),
    ],
)
def test_which_job_answers_a_request_with_the_users_own_data(change: dict[str, Any], same: bool) -> None:
    operation = replace(OWN_DATA.operation, **change)  # type: ignore[type-var]
    job = Job(job_id="j1", input=Input(object="in/song.mp3"), operation=operation)
    assert is_job_of(job, OWN_DATA) is same
    assert not is_job_of(replace(job, input=Input(object="in/other")), OWN_DATA)


@pytest.mark.parametrize(
    "change",
    [
        {"input": None},
        {"input": Input(object="in%2Fsong.mp3")},
        {"input": BatchInput(object="in/")},
        {"name": None},
    ],
)
@pytest.mark.parametrize("kind", [Job, BatchJob])
def test_the_marker_counts_however_the_service_spells_the_rest(kind: Any, change: dict[str, Any]) -> None:
    request = REQUEST if kind is Job else BATCH
    marked = with_user_data(request, IDENTITY.idempotency_key("f" * 64, "worker"))
    given = {"name": "other", "input": request.input} if kind is BatchJob else {"input": request.input}
    job = kind(
        job_id="j1", operation=marked.operation, **{k: v for k, v in (given | change).items() if k in given}
    )
    assert is_job_of(job, marked)
    other: Any = replace(
        marked.operation, user_data=IDENTITY._replace(max_tries=4).idempotency_key("f" * 64, "worker")
    )  # type: ignore[type-var]
    assert not is_job_of(replace(job, operation=other), marked)


@pytest.mark.parametrize("stored", [None, "text", 5, {"max_tries": 0}, {"unknown": 1}, []])
def test_what_is_no_record_is_ignored(stored: Any) -> None:
    assert SubmissionRecord.from_json(stored) is None


def test_a_record_of_a_later_version_of_the_provider_is_read() -> None:
    world = World()
    submission(world).get_or_submit(REQUEST, PLACE)
    world.stored[STORE_KEY]["added_later"] = 1
    world.listable = False
    assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j1"


class TestOtherDeployments:
    """Two Airflows run the same DAG with the same run ids on one bucket."""

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("request_", [REQUEST, BATCH], ids=["job", "batch"])
    def test_neither_takes_the_others_job(self, request_: Any, has_store: bool) -> None:
        world = World(has_store=has_store)
        staging = IDENTITY._replace(deployment="staging")
        submission(world, identity=staging).get_or_submit(request_, PLACE)
        world.stored.clear()  # each has a store of its own
        assert submission(world, 2).get_or_submit(request_, PLACE).job_id == "j2"

    @pytest.mark.parametrize("has_store", [True, False])
    def test_neither_cancels_the_others_job(self, has_store: bool) -> None:
        world = World(has_store=has_store)
        other_codec = replace(REQUEST, operation=replace(REQUEST.operation, template_id="t1"))  # type: ignore[type-var]
        staging = IDENTITY._replace(deployment="staging")
        submission(world, identity=staging).get_or_submit(other_codec, PLACE)
        world.stored.clear()
        submission(world, 2).get_or_submit(REQUEST, PLACE)
        assert world.active == ["j1", "j2"]

    def test_one_deployment_shares_its_jobs(self) -> None:
        world = World(has_store=False)
        submission(world).get_or_submit(REQUEST, PLACE)
        assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j1"


class TestCopiedUserData:
    """Somebody submits a job by hand, and copies the UserData of this task's job into it."""

    def copied(self, world: World, request: JobRequest) -> None:
        user_data = world.jobs[0].operation.user_data
        copy = replace(request, operation=replace(request.operation, user_data=user_data))  # type: ignore[type-var]
        world._accept(copy, world.now + 1)

    @pytest.mark.parametrize("has_store", [True, False])
    def test_is_not_taken(self, has_store: bool) -> None:
        world, log = World(has_store=has_store), Log()
        submission(world).get_or_submit(REQUEST, PLACE)
        self.copied(world, REQUEST)
        world.set_state("j1", "Failed")
        world.now += 100
        if has_store:
            del world.stored[STORE_KEY]["job_id"]
        assert submission(world, 2, log=log).get_or_submit(REQUEST, PLACE).job_id == "j3"
        assert any("Job j2 has the UserData of job j1" in line for line in log.lines)

    def test_is_not_cancelled(self) -> None:
        world = World(has_store=False)
        submission(world).get_or_submit(REQUEST, PLACE)
        self.copied(world, REQUEST)
        world.now += 100
        submission(world, 2).get_or_submit(replace(REQUEST, queue_id="p1"), PLACE)
        assert [job.state for job in world.jobs] == ["Cancel", "Submitted", "Submitted"]


class TestClearedWhileAWorkerWaits:
    """Airflow ends the process, and begins a try with another ``max_tries`` (3.1 or newer)."""

    def interrupted(self, state: str, *, has_store: bool, waits: str = "worker") -> World:
        world = World(has_store=has_store)
        submission(world, waits=waits).get_or_submit(REQUEST, PLACE)
        world.set_state("j1", state)
        world.now += 60
        return world

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Running", "Submitted", "Strange"])
    def test_its_job_is_waited_for_until_it_ends(self, state: str, has_store: bool) -> None:
        world, log = self.interrupted(state, has_store=has_store), Log()
        second = submission(world, 2, clears=1, waits="worker", log=log)
        assert second.get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert any("cleared while it waited for job j1" in line for line in log.lines)
        # also by the retries of that try
        assert submission(world, 3, clears=1, waits="worker").get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert len(world.jobs) == 1

    def test_also_before_its_id_was_recorded(self) -> None:
        world = World(answers=("lost after",))
        world.crash_at = (6, "before")
        with pytest.raises(Crash):
            submission(world, waits="worker").get_or_submit(REQUEST, PLACE)
        assert world.calls[-1] == "list"
        world.crash_at = None
        world.set_state("j1", "Running")
        assert submission(world, 2, clears=1).get_or_submit(REQUEST, PLACE).job_id == "j1"

    def test_one_that_was_cancelled_before_its_id_was_recorded_is_replaced(self) -> None:
        """The clear asks for a new job, whoever has cancelled the old one."""
        world = self.interrupted("Cancel", has_store=True)
        del world.stored[STORE_KEY]["job_id"]
        assert submission(world, 2, clears=1, waits="worker").get_or_submit(REQUEST, PLACE).job_id == "j2"

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Success", "Failed", "Cancel"])
    def test_a_job_that_has_ended_is_not_taken(self, state: str, has_store: bool) -> None:
        world = self.interrupted(state, has_store=has_store)
        assert submission(world, 2, clears=1, waits="worker").get_or_submit(REQUEST, PLACE).job_id == "j2"

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("waits", ["triggerer", "nobody"])
    def test_a_clear_while_no_worker_waits_asks_for_a_new_job(self, waits: str, has_store: bool) -> None:
        world = self.interrupted("Running", has_store=has_store, waits=waits)
        assert submission(world, 2, clears=1, waits=waits).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_a_clear_after_a_wait_that_ended_by_itself_asks_for_a_new_job(self) -> None:
        world = self.interrupted("Running", has_store=True)
        SubmissionRecords(world, 1).note_end_of_wait("j1")
        assert submission(world, 2, clears=1, waits="worker").get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_a_changed_request_is_a_new_job(self) -> None:
        world = self.interrupted("Running", has_store=True)
        changed = replace(REQUEST, queue_id="p1")
        assert submission(world, 2, clears=1, waits="worker").get_or_submit(changed, PLACE).job_id == "j2"


def test_a_job_is_looked_for_since_its_submission_however_late_it_was_found() -> None:
    """A retry goes on with a job 70 s after its submission; then the service does not find its id."""
    world = World()
    submission(world).get_or_submit(REQUEST, PLACE)
    world.now += 70
    submission(world, 2).get_or_submit(REQUEST, PLACE)
    assert world.stored[STORE_KEY]["since"] == START
    describe, forgotten = world.describe, JobsResponse(non_exist_job_ids=("j1",))
    world.describe = lambda job_id: forgotten if world.now < START + 300 else describe(job_id)  # type: ignore[method-assign]
    assert submission(world, 3).get_or_submit(REQUEST, PLACE).job_id == "j1"
    assert len(world.jobs) == 1


class TestAListWithoutUserData:
    """What the service leaves out of a list is asked for, and what it leaves out everywhere is not needed."""

    class Service(World):
        describes_user_data = True

        def _list(self, request: Any, since: datetime) -> list[Any]:
            return [self._bare(job) for job in super()._list(request, since)]

        def describe(self, job_id: str) -> JobsResponse:
            answer = super().describe(job_id)
            if self.describes_user_data:
                return answer
            return replace(answer, jobs_detail=tuple(self._bare(job) for job in answer.jobs_detail))

        def _bare(self, job: Any) -> Any:
            return replace(job, operation=replace(job.operation, user_data=None))

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("described", [True, False])
    @pytest.mark.parametrize("request_", [REQUEST, OWN_DATA], ids=["key", "own-data"])
    def test_a_lost_answer_is_paid_once(self, request_: Any, described: bool, has_store: bool) -> None:
        world = self.Service(has_store=has_store, answers=("lost after",))
        world.describes_user_data = described
        assert submission(world).get_or_submit(request_, PLACE).job_id == "j1"
        assert len(world.jobs) == 1

    def test_a_job_that_cannot_be_described_yet_is_not_judged(self) -> None:
        """The service lists another task's job, and does not describe it at the first look."""
        world = self.Service(answers=("ok", "lost before"))
        submission(world, identity=IDENTITY._replace(task_id="other")).get_or_submit(REQUEST, PLACE)
        world.stored.clear()
        describe, looks = world.describe, iter([JobsResponse(non_exist_job_ids=("j1",))])
        world.describe = lambda job_id: next(looks, None) or describe(job_id)  # type: ignore[method-assign]
        assert submission(world).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_nor_is_a_second_one_submitted_while_it_cannot_be_described_at_all(self) -> None:
        world = self.Service(answers=("lost after",))
        world.describe = lambda job_id: JobsResponse(non_exist_job_ids=(job_id,))  # type: ignore[method-assign]
        with pytest.raises(AmbiguousSubmissionError, match="whether job j1 is this task's"):
            submission(world).get_or_submit(REQUEST, PLACE)
        assert len(world.jobs) == 1

    @pytest.mark.parametrize(("described", "is_uncertain"), [(True, False), (False, True)])
    def test_a_job_that_was_found_by_its_request_alone_may_be_somebody_elses(
        self, described: bool, is_uncertain: bool
    ) -> None:
        world = self.Service(answers=("lost after",))
        world.describes_user_data = described
        one = submission(world)
        one.get_or_submit(REQUEST, PLACE)
        assert one.found_by_request is is_uncertain
        assert SubmissionRecords(world, 1).was_found_by_request("j1") is is_uncertain

    def test_another_tasks_job_is_told_by_its_description(self) -> None:
        world = self.Service(answers=("ok", "lost before"))
        submission(world, identity=IDENTITY._replace(task_id="other")).get_or_submit(REQUEST, PLACE)
        world.stored.clear()
        assert submission(world).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_a_job_that_differs_in_any_field_is_another_one(self) -> None:
        world = self.Service(answers=("ok", "lost before"))
        world.describes_user_data = False
        operation: Any = replace(
            REQUEST.operation,  # type: ignore[type-var]
            voice_separate=VoiceSeparate(audio_mode="IsAudio", audio_config=AudioConfig(codec="wav")),
        )
        submission(world).get_or_submit(replace(REQUEST, operation=operation), PLACE)
        world.stored.clear()
        assert submission(world).get_or_submit(REQUEST, PLACE).job_id == "j2"


class TestAListThatFails:
    def world(self, failures: int) -> World:
        world = World(answers=("lost after",))
        listing, errors = world._list, iter([ServerError("away", status=503, code="Busy")] * failures)

        def failing(request: Any, since: datetime) -> list[Any]:
            for error in errors:
                raise error
            return listing(request, since)

        world._list = failing  # type: ignore[method-assign]
        return world

    def test_for_a_while_is_waited_out(self) -> None:
        world, log = self.world(4), Log()
        assert submission(world, log=log).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert len(world.jobs) == 1
        assert any("The job list could not be read, will try again" in line for line in log.lines)

    def test_for_good_says_that_a_job_may_run(self) -> None:
        world = self.world(1000)
        with pytest.raises(AmbiguousSubmissionError, match="It may run and be billed") as caught:
            submission(world).get_or_submit(REQUEST, PLACE)
        assert (caught.value.status, caught.value.code) == (503, "Busy")
        assert world.now - START >= SUBMISSION_VALIDITY + LIST_CONSISTENCY_DELAY


def test_where_a_clear_empties_the_store_a_submission_may_be_on_its_way() -> None:
    """Airflow 3.4: the task is cleared while a worker's submission is held back by the network."""
    world = World(answers=("late",))
    world.crash_at = (6, "before")
    with pytest.raises(Crash):
        submission(world, waits="worker").get_or_submit(REQUEST, PLACE)
    world.crash_at = None
    world.stored.clear()
    second = submission(world, 2, clears=1, waits="worker", clear_discards_record=True)
    assert second.get_or_submit(REQUEST, PLACE).job_id == "j1"
    assert len(world.jobs) == 1


class TestFingerprint:
    """A retry may run with another version of the provider: these digests must stay what they are."""

    @pytest.mark.parametrize(
        ("request_", "digest"),
        [
            (REQUEST, "135e9198c31ee4a5"),
            (OWN_DATA, "c8c760c8248644f3"),
            (BATCH, "879a1bf3374f72b2"),
        ],
        ids=["job", "own-data", "batch"],
    )
    def test_is_the_one_of_this_version(self, request_: Any, digest: str) -> None:
        assert fingerprint(request_, PLACE)[:16] == digest

    def test_does_not_change_with_a_field_that_a_later_version_adds(self) -> None:
        @dataclass(frozen=True, slots=True, kw_only=True)
        class LaterVoiceSeparate(VoiceSeparate):
            added_later: str | None = "its default"

        def later(**values: Any) -> Any:
            parameters = LaterVoiceSeparate(
                audio_mode="IsAudio", audio_config=AudioConfig(codec="mp3", bitrate=128), **values
            )
            return replace(REQUEST, operation=replace(REQUEST.operation, voice_separate=parameters))  # type: ignore[type-var]

        assert fingerprint(later(), PLACE) == fingerprint(REQUEST, PLACE)
        assert fingerprint(later(added_later="given"), PLACE) != fingerprint(REQUEST, PLACE)

    def test_does_not_change_with_a_name_that_the_user_did_not_give(self) -> None:
        def named(name: str | None) -> str:
            return fingerprint(replace(BATCH, name=name), PLACE)

        assert named(DefaultName("dag-task")) == named(DefaultName("made-otherwise")) == named(None)
        assert named("dag-task") != named(DefaultName("dag-task"))

    def test_a_job_that_differs_in_such_a_field_is_another_one(self) -> None:
        @dataclass(frozen=True, slots=True, kw_only=True)
        class LaterVoiceSeparate(VoiceSeparate):
            added_later: str | None = None

        def own_data(value: str | None) -> Any:
            return replace(
                OWN_DATA.operation,  # type: ignore[type-var]
                voice_separate=LaterVoiceSeparate(audio_mode="IsAudio", added_later=value),
            )

        request = replace(OWN_DATA, operation=own_data("one"))
        job = Job(job_id="j1", input=Input(object="in/song.mp3"))
        assert is_job_of(replace(job, operation=own_data("one")), request)
        assert is_job_of(replace(job, operation=own_data(None)), request), "not handed back"
        assert not is_job_of(replace(job, operation=own_data("another")), request)

    @pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(JobRequest)])
    def test_counts_every_field(self, field: str) -> None:
        value: Any = {
            "input": Input(object="in/other.mp3"),
            "operation": Operation(template_id="t1"),
            "callback_mq_config": CallbackMqConfig(mq_name="n"),
            "callback_kafka_config": CallbackKafkaConfig(topic="t"),
        }.get(field, "another")
        assert fingerprint(replace(REQUEST, **{field: value}), PLACE) != fingerprint(REQUEST, PLACE)


class TestWhatIsSaid:
    def test_a_search_says_how_long_it_takes_and_how_it_ended(self) -> None:
        world, log = World(answers=("lost before",)), Log()
        submission(world, log=log).get_or_submit(REQUEST, PLACE)
        first, until, none = log.lines
        assert "It is unknown" in first or "reset" in first
        assert first.endswith("Looking for the job before submitting again")
        assert "until 08:01:10 UTC" in until
        assert "none was accepted" in none

    def test_the_person_is_not_told_to_look_while_the_operator_does(self) -> None:
        error = AmbiguousSubmissionError("unknown", hint="Look for it in the job list yourself")
        world, log = World(), Log()
        world._submit = raises(error, world._submit)  # type: ignore[method-assign]
        submission(world, log=log).get_or_submit(REQUEST, PLACE)
        assert not any("yourself" in line for line in log.lines)
        assert error.hint, "it is for the error that ends the try"

    def test_a_search_that_finds_the_job_says_so(self) -> None:
        world, log = World(answers=("lost after",), lag=5), Log()
        submission(world, log=log).get_or_submit(REQUEST, PLACE)
        assert log.lines[-1] == "Found job j1 (Submitted), submitted before"

    def test_a_store_that_fails_before_the_submission_is_named(self) -> None:
        world = World()
        world.get = raises(RuntimeError("500 from Airflow"), world.get)  # type: ignore[method-assign]
        with pytest.raises(StateStoreError, match=r"task state store could not be read: .*500 from Airflow"):
            submission(world).get_or_submit(REQUEST, PLACE)
        assert not world.jobs

    def test_a_store_that_fails_after_the_submission_does_not_lose_the_job(self) -> None:
        world, log = World(), Log()
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


def raises(error: Exception, then: Callable[..., Any]) -> Callable[..., Any]:
    """Return what raises the error once."""
    errors = iter([error])

    def call(*arguments: Any) -> Any:
        for one in errors:
            raise one
        return then(*arguments)

    return call
