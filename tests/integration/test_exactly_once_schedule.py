"""Exactly one accepted job, whatever dies, whenever, and however the submission is answered: the real
operator, hook and trigger against the emulator, through every point at which a process can die.
"""

from __future__ import annotations

import json
import random
import wave
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.results import job_result
from airflow_provider_ci.submission.durable_submission import LIST_CONSISTENCY_DELAY
from tests.integration.simulated_tries import LATE, MODES, RETRIES, Task, World, simulated_world

#: What becomes of a submission. One that is held back for 90 seconds finds its signature expired. To the code
#: above the transport a timeout is a reset.
ANSWERS: dict[str, dict[str, Any]] = {
    "ok": {},
    "reset before": {"drop": True},
    "reset after": {"drop": True, "when": "after"},
    "500 before": {"status": 500},
    "500 after": {"status": 500, "when": "after"},
    "503 before": {"status": 503},
    "503 after": {"status": 503, "when": "after"},
    "429": {"status": 429, "retry_after": 2},
    "garbage": {"garbage": 200},
    "cut off": {"truncate": 60},
    "late": {LATE: 55.0},
    "too late": {LATE: 90.0},
}
# One of each kind; what a task does about the others is the same
_KINDS = ("ok", "reset before", "reset after", "429", "late", "too late")
# The ways in which a job comes into hand: from the answer, or from the list
_WAYS = ("ok", "late")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    media = tmp_path_factory.mktemp("media") / "short.wav"
    with wave.open(str(media), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(800))
    with simulated_world(media) as made:
        yield made


@pytest.fixture(autouse=True)
def same_jitter() -> None:
    random.seed(0)


def begin(world: World, *answers: str) -> None:
    """Begin a case whose submissions are answered so."""
    world.begin()
    # as long as it may last, but for the whole seconds of creation times
    world.emulator.faults.add("list", list_consistency_delay=LIST_CONSISTENCY_DELAY - 1)
    world.submissions = [ANSWERS[answer] for answer in answers]


def assert_one_job(world: World, task: Task, case: object) -> None:
    accepted = world.accepted()
    assert [job.job_id for job in accepted] == [task.ti.xcom["return_value"]], (
        case,
        world.steps,
        task.errors,
    )
    if task.arguments.get("wait_for_completion"):
        assert task.ti.xcom["job"] == job_result(described(accepted[0].job_id)), case
        assert set(task.ti.xcom["job"]["outputs"]) == {"voice"}


def described(job_id: str) -> Any:
    hook = TencentCIHook()
    try:
        return hook.describe_jobs([job_id]).jobs_detail[0]
    finally:
        hook.close()


def dies_at(mode: str) -> tuple[str, ...]:
    """Return the answers with which a try dies at every moment.

    Modes differ only once the job is in hand; from then on it matters only in which way it came.
    """
    return _KINDS if mode == "submit-only" else _WAYS


def moments(steps: list[str], mode: str) -> list[int]:
    """Return the steps to die before. Between looks that follow one another only time passes: the second and
    the last of them stand for the others.
    """
    alike = [steps[number - 2 : number + 2] == ["list"] * 4 for number in range(len(steps))]
    in_hand = 0 if mode == "submit-only" else steps.index("xcom return_value")
    return [number for number in range(in_hand, len(steps)) if not alike[number]]


@pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_one_job_for_every_answer(world: World, answer: str, has_store: bool) -> None:
    begin(world, answer)
    task = Task(world, "submit-only", has_store=has_store)
    task.run()
    assert_one_job(world, task, answer)


@pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("user_data", [None, "order 7"], ids=["key", "own-data"])
def test_one_job_for_every_crash(world: World, mode: str, has_store: bool, user_data: str | None) -> None:
    cases = 0
    for answer in dies_at(mode):
        begin(world, answer)
        task = Task(world, mode, has_store=has_store, user_data=user_data)
        task.run()
        steps = list(world.steps)
        assert_one_job(world, task, answer)
        # how the job is recognised makes no difference once it is in hand
        for number in moments(steps, mode) if user_data is None else [len(steps) - 1]:
            for fails in (False, True) if steps[number] in ("poll", "event") else (False,):
                begin(world, answer)
                world.dies_before = number
                task = Task(world, mode, has_store=has_store, user_data=user_data)
                task.triggerer_death_fails = fails
                task.run()
                assert world.dies_before is None, "it died"
                assert_one_job(world, task, (answer, number, steps[number], fails))
                cases += 1
    assert cases >= 2


TRY = st.fixed_dictionaries(
    {
        "answers": st.lists(st.sampled_from([*ANSWERS]), max_size=3),
        "dies_after": st.none() | st.integers(0, 25),
        "list": st.sampled_from([{}, {"first": 2, "status": 503}, {"first": 1, "drop": True}]),
        "describe": st.sampled_from([{}, {"first": 7, "status": 503}]),
        "then": st.sampled_from(["retry", "retry", "clear", "change"]),
        "pause": st.sampled_from([0.0, 20.0, 300.0]),
    }
)


@settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    mode=st.sampled_from([*MODES]),
    has_store=st.booleans(),
    triggerer_death_fails=st.booleans(),
    tries=st.lists(TRY, min_size=1, max_size=3),
)
def test_one_job_for_each_request_that_was_asked_for(
    world: World, mode: str, has_store: bool, triggerer_death_fails: bool, tries: list[dict[str, Any]]
) -> None:
    """After bad tries, and clears and changes of the request between them, a good one."""
    begin(world)
    task = Task(world, mode, has_store=has_store)
    task.triggerer_death_fails = triggerer_death_fails
    asked = 1
    for number, one in enumerate(tries):
        world.submissions = [ANSWERS[answer] for answer in one["answers"]]
        for operation in ("list", "describe"):
            if one[operation]:
                world.emulator.faults.add(operation, **one[operation])
        if one["dies_after"] is not None:
            world.dies_before = len(world.steps) + one["dies_after"]
        task.attempt()
        world.dies_before = None
        world.sleep(one["pause"])
        if one["then"] == "clear":
            task.clear()
        elif one["then"] == "change":
            task.arguments["voice_object"] = f"out/{number}/${{jobid}}.${{ext}}"
        asked += one["then"] != "retry"
    world.submissions = []
    job_id = task.run()

    world.emulator.faults.clear()

    jobs = world.accepted()
    markers = Counter(job.user_data for job in jobs)
    assert max(markers.values()) == 1, (markers, world.steps)
    assert len(jobs) <= asked
    assert described(job_id).operation["Output"]["AuObject"] == task.arguments["voice_object"]
    assert f" max_tries={task.ti.max_tries} " in described(job_id).user_data


@pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
@pytest.mark.parametrize("retries", [0, RETRIES - 1, RETRIES + 1])
def test_editing_the_retries_between_two_tries_is_no_clear(
    world: World, has_store: bool, retries: int
) -> None:
    """Airflow's database keeps the ``max_tries`` that the task instance was created with."""
    begin(world)
    task = Task(world, "submit-only", has_store=has_store)
    task.run()
    steps = list(world.steps)
    begin(world)
    task = Task(world, "submit-only", has_store=has_store)
    world.dies_before = steps.index("submit") + 1
    task.attempt()
    task.arguments["retries"] = retries
    task.run()
    assert_one_job(world, task, retries)


class TestTwoAirflows:
    """They run the same DAG with the same run ids on one bucket, each with a database of its own."""

    @pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
    @pytest.mark.parametrize("differs", [{}, {"channels": 1}], ids=["same request", "another request"])
    def test_each_has_a_job_of_its_own(self, world: World, differs: dict[str, Any], has_store: bool) -> None:
        begin(world)
        other = Task(world, "sync", has_store=has_store, **differs)
        world.sleep(0.001)  # no two runs start in the same microsecond
        task = Task(world, "sync", has_store=has_store)
        other.run()
        world.dies_before = len(world.steps) + 1 + 4 * has_store  # before the submission
        task.attempt()
        task.run()
        jobs = world.accepted()
        assert [job.job_id for job in jobs] == [other.job_id, task.job_id]
        assert {job.state for job in jobs} == {"Success"}, "none was cancelled"

    def test_share_their_jobs_if_the_connection_says_so(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin(world)
        connection = world.emulator.connection
        extra = connection["extra"] | {"deployment": "blue-green"}
        monkeypatch.setenv("AIRFLOW_CONN_SHARED", json.dumps(connection | {"extra": extra}))
        blue = Task(world, "submit-only", has_store=False, tencent_ci_conn_id="shared")
        world.sleep(0.001)
        green = Task(world, "submit-only", has_store=False, tencent_ci_conn_id="shared")
        blue.run()
        green.ti.try_number = 1  # a retry
        assert green.run() == blue.job_id
        assert len(world.accepted()) == 1


class TestTaskInstancesThatAskForTheSame:
    """Two of them, of which the first one's submission goes wrong and its process dies."""

    @pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
    @pytest.mark.parametrize("other", [{"map_index": 1}, {"run_id": "another"}], ids=["map-index", "run"])
    def test_never_share_a_job(self, world: World, other: dict[str, Any], has_store: bool) -> None:
        for answer in ("ok", "reset before", "late"):
            for dies_after in range(3):  # just before, or just after the submission
                begin(world, answer)
                first = Task(world, "submit-only", has_store=has_store, map_index=0)
                second = Task(world, "submit-only", has_store=has_store, **({"map_index": 0} | other))
                world.dies_before = dies_after + 3 * has_store
                first.attempt()
                world.dies_before = None
                second.run()
                first.run()
                accepted = [job.job_id for job in world.accepted()]
                assert sorted(accepted) == sorted([first.job_id, second.job_id]), (answer, dies_after)

    @pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
    def test_may_share_one_if_the_user_gave_both_the_same_data(self, world: World, has_store: bool) -> None:
        begin(world, "reset before")
        first, second = (
            Task(world, "submit-only", has_store=has_store, map_index=index, user_data="order 7")
            for index in (0, 1)
        )
        world.dies_before = 1 + 3 * has_store  # before it looks for the job
        first.attempt()
        second.run()
        assert first.run() == second.job_id, "docs/one-paid-job.md says so"
        assert len(world.accepted()) == 1

    @pytest.mark.parametrize(
        ("has_store", "shared"), [(True, False), (False, True)], ids=["store", "no-store"]
    )
    def test_how_long_such_data_stays_mistakable(self, world: World, has_store: bool, shared: bool) -> None:
        """With the store since a minute before the submission, without since the run began."""
        begin(world)
        first, second = (
            Task(world, "submit-only", has_store=has_store, map_index=index, user_data="order 7")
            for index in (0, 1)
        )
        second.run()
        world.sleep(120)
        world.submissions = [ANSWERS["reset before"]]
        world.dies_before = len(world.steps) + 1 + 3 * has_store
        first.attempt()
        assert (first.run() == second.job_id) is shared


class TestCleared:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("has_store", [True, False], ids=["store", "no-store"])
    def test_after_success_a_new_job(self, world: World, mode: str, has_store: bool) -> None:
        begin(world)
        task = Task(world, mode, has_store=has_store)
        first = task.run()
        task.clear()
        second = task.run()
        jobs = world.accepted()
        assert [job.job_id for job in jobs] == [first, second]
        # a job that nobody waits for any more and that has not begun is not worth its price
        waiting = mode == "submit-only" and has_store
        assert [job.state for job in jobs] == ["Cancel" if waiting else "Success", "Success"]

    @pytest.mark.parametrize("run_has_finished", [True, False])
    def test_with_the_users_data_and_no_store_a_job_from_before_may_be_taken(
        self, world: World, run_has_finished: bool
    ) -> None:
        """Nothing tells the two apart but the time at which the run began, which a clear only changes if the
        run has finished.
        """
        begin(world)
        task = Task(world, "submit-only", has_store=False, user_data="order 7")
        first = task.run()
        world.sleep(300)
        task.clear(of_finished_run=run_has_finished)
        assert (task.run() != first) is run_has_finished, "docs/one-paid-job.md says so"
        assert len(world.accepted()) == 1 + run_has_finished
