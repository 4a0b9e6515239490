"""Bulk tasks in real Airflow (``dag.test()``), on the emulator: one accepted job for each item."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.links.console import TencentCIJobsLink, TencentCIResultsLink
from airflow_provider_ci.operators import bulk_task_submission
from airflow_provider_ci.operators.argument_errors import TaskArgumentError
from airflow_provider_ci.operators.bulk_failures import BulkJobsFailedError
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator
from airflow_provider_ci.submission.bulk_records import BulkRecords
from airflow_provider_ci.triggers.bulk import TencentCIBulkTrigger
from tencent_ci_emulator.server import Emulator
from tests.conftest import Logs
from tests.dags.bulk import BUCKET, KEYS, REQUEST, DiedError, DiesOnFirstTry
from tests.integration.airflow_runs import asset_events, dags_in, tries, xcom
from tests.integration.virtual_time import emulator_in_virtual_time
from tests.recording import SHORT

FAILING = KEYS[3:6]

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture(scope="session")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(Path(__file__).resolve().parents[1] / "dags")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with emulator_in_virtual_time() as running:
        yield running


@pytest.fixture
def hook(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[TencentCIHook]:
    """A hook on the emulator, whose bucket holds twenty recordings."""
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    for key in KEYS:
        hook.upload_file(SHORT, key)
    yield hook
    hook.close()


@pytest.fixture
def paused(hook: TencentCIHook) -> None:
    """A queue in which no job begins."""
    (queue,) = hook.queues.list()
    hook.queues.update(queue.queue_id, state="Paused")


def accepted(emulator: Emulator) -> list[str]:
    return sorted(job.key for job in emulator.ledger.accepted_jobs())


def fail_once(emulator: Emulator, keys: list[str]) -> None:
    for key in keys:
        emulator.faults.add("job", key=key, first=1, code="InternalError", message="try again")


@pytest.fixture
def triggers(
    hook: TencentCIHook, paused: None, monkeypatch: pytest.MonkeyPatch
) -> list[TencentCIBulkTrigger]:
    """The triggers that have begun to wait. No job begins before that, so that tasks are really deferred."""
    (queue,) = hook.queues.list()
    begun: list[TencentCIBulkTrigger] = []
    run = TencentCIBulkTrigger.run

    async def resume_queue_and_run(self: TencentCIBulkTrigger) -> AsyncIterator[Any]:
        begun.append(self)
        hook.queues.update(queue.queue_id, state="Active")
        async for event in run(self):
            yield event

    monkeypatch.setattr(TencentCIBulkTrigger, "run", resume_queue_and_run)
    return begun


@pytest.fixture(params=["by ids", "by the list"])
def way_to_wait(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Few jobs are described, many are counted in the list."""
    if request.param == "by the list":
        for module in ("submission.bulk_waiting", "operators.bulk_wait"):
            monkeypatch.setattr(f"airflow_provider_ci.{module}.FEW", 5)
    return str(request.param)


def check_success(dag_run: Any, hook: TencentCIHook, emulator: Emulator) -> None:
    assert dag_run.state == "success"
    assert accepted(emulator) == KEYS
    result = xcom(dag_run, "separate")
    assert (result["total"], result["succeeded"], result["failed"]) == (20, 20, 0)
    assert (result["submitted"], result["reused"], result["failures"]) == (20, 0, [])
    lines = list(hook.read_manifest(result["manifest"]["object"], md5=result["manifest"]["md5"]))
    assert [line["item"] for line in lines] == KEYS
    for line in lines:
        assert line["state"] == "Success"
        voice = line["outputs"]["voice"]
        assert voice["object"] == f"out/{str(line['input_object'])[3:5]}-{line['job_id']}.mp3"
        assert hook.head_object(voice["object"]).size > 100


@pytest.mark.usefixtures("way_to_wait")
def test_the_log_says_of_a_submission_only_what_is_known_then(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator, logs: Logs
) -> None:
    dags["bulk"].test()
    progress = [line for line in logs.at("info") if line.startswith("Of 20 items ")]
    assert progress[0] == "Of 20 items 0 are submitted, 0 refused or failed"
    assert all("are submitted" in line or " wait or run, " in line for line in progress)


def test_each_item_has_one_job_and_a_line_in_the_manifest(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    check_success(dags["bulk"].test(), hook, emulator)


def test_one_deferral_waits_for_all_jobs(
    dags: dict[str, Any],
    hook: TencentCIHook,
    emulator: Emulator,
    triggers: list[TencentCIBulkTrigger],
    way_to_wait: str,
) -> None:
    check_success(dags["bulk_deferrable"].test(), hook, emulator)
    (trigger,) = triggers
    assert len(trigger.job_ids) == (20 if way_to_wait == "by ids" else 0)


def test_one_asset_event_for_the_run_and_a_link_to_the_folder(
    dags: dict[str, Any], hook: TencentCIHook
) -> None:
    dag_run = dags["bulk"].test()
    manifest = xcom(dag_run, "separate")["manifest"]
    events = dict(asset_events(dag_run, "separate"))
    assert {uri.partition(BUCKET)[2] for uri in events} == {"/out", f"/{manifest['object']}"}
    for extra in events.values():
        assert {name: extra[name] for name in manifest} == manifest
        assert (extra["total"], extra["succeeded"], extra["failed"]) == (20, 20, 0)
    assert f"bucket={BUCKET}" in xcom(dag_run, "separate", TencentCIJobsLink.xcom_key)
    assert xcom(dag_run, "separate", TencentCIResultsLink.xcom_key).endswith("path=%252Fout%252F")


def test_a_prefix_with_patterns(dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator) -> None:
    assert dags["bulk_prefix"].test().state == "success"
    assert accepted(emulator) == KEYS[10:]


@pytest.mark.parametrize("dag_id", ["bulk_retried", "bulk_retried_deferrable"])
def test_three_of_twenty_fail_and_a_retry_pays_for_three(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator, dag_id: str
) -> None:
    fail_once(emulator, FAILING)
    dag_run = dags[dag_id].test()
    assert tries(dag_run)["separate"] == ("success", 2)
    assert accepted(emulator) == sorted([*KEYS, *FAILING])
    result = xcom(dag_run, "separate")
    assert (result["succeeded"], result["submitted"], result["reused"]) == (20, 3, 17)


@pytest.mark.parametrize("dag_id", ["bulk_retried", "bulk_retried_deferrable"])
def test_a_retry_does_not_pay_for_what_would_fail_again(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator, dag_id: str, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("this is no media file")
    hook.upload_file(tmp_path / "text", KEYS[9])
    fail_once(emulator, FAILING)
    dag_run = dags[dag_id].test()
    assert tries(dag_run)["separate"] == ("failed", 2), "the second try leaves nothing to retry"
    assert accepted(emulator) == sorted([*KEYS, *FAILING])
    (failure,) = xcom(dag_run, "separate")["failures"]
    assert (failure["input_object"], failure["code"]) == (KEYS[9], "ResourceNotSupported")


@pytest.mark.parametrize("dag_id", ["bulk_allowed_number", "bulk_allowed_share"])
def test_so_many_may_fail(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator, logs: Logs, dag_id: str
) -> None:
    fail_once(emulator, FAILING)
    dag_run = dags[dag_id].test()
    assert dag_run.state == "success"
    result = xcom(dag_run, "separate")
    assert (result["succeeded"], result["failed"]) == (17, 3)
    assert [failure["input_object"] for failure in result["failures"]] == FAILING
    assert {failure["code"] for failure in result["failures"]} == {"InternalError"}


def test_one_more_may_not(dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator) -> None:
    fail_once(emulator, FAILING)
    dag_run = dags["bulk_allowed_less"].test()
    assert dag_run.state == "failed"
    result = xcom(dag_run, "separate")
    states = [line["state"] for line in hook.read_manifest(result["manifest"]["object"])]
    assert (states.count("Success"), states.count("Failed")) == (17, 3)


def test_after_lost_responses_the_jobs_are_found(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    emulator.faults.add("submit", every=4, when="after", drop=True)
    dag_run = dags["bulk"].test()
    assert dag_run.state == "success"
    assert accepted(emulator) == KEYS


def test_a_retry_finds_the_jobs_of_a_try_that_died(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    dag_run = dags["bulk_dies"].test()
    assert tries(dag_run)["separate"] == ("success", 2)
    assert accepted(emulator) == KEYS
    result = xcom(dag_run, "separate")
    assert (result["submitted"], result["reused"]) == (0, 20)


def test_without_permission_to_write_the_manifest_nothing_is_paid(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    emulator.faults.add("put_object", key="airflow/*", status=403, code="AccessDenied")
    assert dags["bulk"].test().state == "failed"
    assert accepted(emulator) == []


@pytest.mark.usefixtures("paused")
@pytest.mark.parametrize("dag_id", ["bulk_deadline", "bulk_deadline_deferrable"])
def test_a_deadline_cancels_the_jobs_that_have_not_begun(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator, logs: Logs, dag_id: str
) -> None:
    dag_run = dags[dag_id].test()
    assert dag_run.state == "failed"
    assert {job.state for job in hook.list_jobs()} == {"Cancel"}
    result = xcom(dag_run, "separate")
    states = {line["state"] for line in hook.read_manifest(result["manifest"]["object"])}
    assert states == {"Cancel"}


@pytest.fixture(params=["with a store", "without a store"])
def perhaps_a_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Airflow 3.3 there is no store, and Airflow is asked who owns the task."""
    if request.param == "without a store":
        records = property(lambda _: BulkRecords(None, 1))
        monkeypatch.setattr(VoiceSeparateBulkOperator, "records", records)
        monkeypatch.setattr(bulk_task_submission, "refuse_if_overtaken", lambda _: None)


@pytest.mark.usefixtures("perhaps_a_store")
def test_a_manifest_that_was_changed_meanwhile_is_not_believed(
    dags: dict[str, Any],
    hook: TencentCIHook,
    emulator: Emulator,
    triggers: list[TencentCIBulkTrigger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = TencentCIBulkTrigger.run

    async def change_and_run(self: TencentCIBulkTrigger) -> AsyncIterator[Any]:
        if not triggers:
            hook.upload_file(SHORT, self.state["manifest"]["object"])
        async for event in run(self):
            yield event

    monkeypatch.setattr(TencentCIBulkTrigger, "run", change_and_run)
    dag_run = dags["bulk_deferrable"].test()
    assert dag_run.state == "success"
    assert accepted(emulator) == KEYS
    result = xcom(dag_run, "separate")
    assert (result["succeeded"], result["submitted"], result["reused"]) == (20, 0, 20)


def test_jobs_that_somebody_else_cancelled_are_not_submitted_again(
    dags: dict[str, Any],
    hook: TencentCIHook,
    emulator: Emulator,
    triggers: list[TencentCIBulkTrigger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = TencentCIBulkTrigger.run

    async def cancel_and_run(self: TencentCIBulkTrigger) -> AsyncIterator[Any]:
        hook.cancel_jobs([str(job.job_id) for job in hook.list_jobs() if job.input_object in FAILING])
        async for event in run(self):
            yield event

    monkeypatch.setattr(TencentCIBulkTrigger, "run", cancel_and_run)
    dag_run = dags["bulk_retried_deferrable"].test()
    assert tries(dag_run)["separate"] == ("failed", 1)
    assert accepted(emulator) == KEYS
    assert [failure["state"] for failure in xcom(dag_run, "separate")["failures"]] == ["Cancel"] * 3


@pytest.mark.usefixtures("paused")
def test_the_event_of_an_old_trigger_does_not_end_a_new_try(
    hook: TencentCIHook, emulator: Emulator, make_context: Callable[..., Any], logs: Logs
) -> None:
    """SQLite reuses the ids of triggers, and ``dag.test()`` has one trigger at a time."""
    operator = VoiceSeparateBulkOperator(task_id="separate", deferrable=True, **REQUEST)
    context = make_context()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    state = deferred.value.kwargs["state"]  # type: ignore[index]
    old_state = {**state, "manifest": {**state["manifest"], "md5": "0" * 32}}
    event = {"status": "timeout", "state": old_state, "deadline": 1.0, "started_at": 0.0}
    with pytest.raises(TaskDeferred):
        operator.resume_execution("execute_complete", {"event": event, "state": state}, context)
    assert {job.state for job in hook.list_jobs()} == {"Pause"}
    assert any(line.startswith("The event is not about the manifest ") for line in logs.at("warning"))


class JsonStore:
    """Keeps values as Airflow's store does: as JSON, so that a change of what was stored has no effect."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self._values[key]) if key in self._values else default

    def set(self, key: str, value: Any) -> None:
        self._values[key] = json.dumps(value)


@pytest.mark.parametrize(("only_failed", "paid"), [(True, 1), (False, 3)])
def test_a_cleared_task_pays_for_what_failed_or_for_all(
    hook: TencentCIHook,
    emulator: Emulator,
    make_context: Callable[..., dict[str, Any]],
    only_failed: bool,
    paid: int,
) -> None:
    """``dag.test()`` clears no task."""
    fail_once(emulator, KEYS[:1])
    context = make_context()
    context["task_state_store"] = JsonStore()

    def execute() -> Any:
        operator = VoiceSeparateBulkOperator(
            **{
                "task_id": "separate",
                "poll_interval": 1,
                **REQUEST,
                "input_objects": KEYS[:3],
                "only_failed": only_failed,
            }
        )
        return operator.execute(context)  # type: ignore[arg-type]

    with pytest.raises(BulkJobsFailedError, match="1 of 3 items have no successful job: job "):
        execute()
    context["ti"].try_number, context["ti"].max_tries = 2, 1
    result = execute()
    assert (result["succeeded"], result["submitted"], result["reused"]) == (3, paid, 3 - paid)
    assert len(accepted(emulator)) == 3 + paid


def run_of(context: dict[str, Any], **changes: Any) -> SimpleNamespace:
    """Return the DAG run of a context. A clear of one that has ended changes when it started."""
    started = context["ti"].start_date
    run = {"start_date": started, "logical_date": started - timedelta(hours=1), "clear_number": 0}
    return SimpleNamespace(**{**run, **changes})


def clear_after_end(context: dict[str, Any]) -> None:
    context["ti"].try_number, context["ti"].max_tries = 2, 1
    started = context["ti"].start_date + timedelta(minutes=10)
    context["dag_run"] = run_of(context, start_date=started, clear_number=1)


def execute_three(context: dict[str, Any], kind: type = VoiceSeparateBulkOperator, **arguments: Any) -> Any:
    few = {"task_id": "separate", "poll_interval": 1, **REQUEST, "input_objects": KEYS[:3]}
    return kind(**few, **arguments).execute(context)


def test_a_clear_of_an_ended_run_finds_what_a_killed_try_submitted(
    hook: TencentCIHook, emulator: Emulator, make_context: Callable[..., dict[str, Any]]
) -> None:
    """The last try died after its submissions were accepted, before their ids were recorded."""
    context = make_context()
    context["task_state_store"] = JsonStore()
    context["dag_run"] = run_of(context)
    with pytest.raises(DiedError):
        execute_three(context, DiesOnFirstTry)
    assert accepted(emulator) == KEYS[:3]
    clear_after_end(context)
    result = execute_three(context)
    assert (result["submitted"], result["reused"]) == (0, 3)
    assert accepted(emulator) == KEYS[:3]


@pytest.mark.parametrize("deployment", [None, "prod"])
def test_without_a_record_a_clear_of_an_ended_run_pays_for_nothing_twice(
    hook: TencentCIHook,
    emulator: Emulator,
    make_context: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    deployment: str | None,
) -> None:
    if deployment is not None:
        extra = {**emulator.connection["extra"], "deployment": deployment}
        connection = {**emulator.connection, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(connection))
    fail_once(emulator, KEYS[:1])
    context = make_context()
    context["dag_run"] = run_of(context)
    with pytest.raises(BulkJobsFailedError):
        execute_three(context)
    clear_after_end(context)
    if deployment is None:
        with pytest.raises(TaskArgumentError, match="only_failed is True, allowed: False, because job j"):
            execute_three(context)
        assert len(accepted(emulator)) == 3
        assert execute_three(context, only_failed=False)["submitted"] == 3
    else:
        result = execute_three(context)
        assert (result["submitted"], result["reused"]) == (1, 2)
        assert len(accepted(emulator)) == 4


def test_without_a_triggerer_the_jobs_are_looked_at_once_more(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    dag_run = dags["bulk_without_triggerer"].test()
    assert dag_run.state == "success"
    assert accepted(emulator) == KEYS
    assert xcom(dag_run, "separate")["succeeded"] == 20


@pytest.mark.usefixtures("paused")
def test_without_a_triggerer_a_deadline_is_a_deadline(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    dag_run = dags["bulk_without_triggerer_late"].test()
    assert dag_run.state == "failed"
    assert {job.state for job in hook.list_jobs()} == {"Cancel"}


@pytest.mark.usefixtures("paused")
def test_a_killed_task_cancels_what_has_not_begun(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    (queue,) = hook.queues.list()
    save = VoiceSeparateBulkOperator.execute

    def resume_queue_before_retry(self: Any, context: Any) -> Any:
        if context["ti"].try_number > 1:
            assert {job.state for job in hook.list_jobs()} == {"Cancel"}
            hook.queues.update(queue.queue_id, state="Active")
        return save(self, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VoiceSeparateBulkOperator, "execute", resume_queue_before_retry)
        dag_run = dags["bulk_killed"].test()
    assert tries(dag_run)["separate"] == ("success", 2)
    assert accepted(emulator) == sorted(KEYS * 2), "those of the killed try were cancelled before they began"
    assert xcom(dag_run, "separate")["succeeded"] == 20


def test_a_dry_run_pays_nothing(dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator) -> None:
    dag_run = dags["bulk_dry_run"].test()
    assert dag_run.state == "success"
    assert accepted(emulator) == []
    result = xcom(dag_run, "separate")
    minutes = result.pop("media_minutes")
    assert result == {"dry_run": True, "total": 20, "reused": 0, "to_submit": 20, "measured": 20}
    seconds = hook.media_info(KEYS[0]).format.duration  # type: ignore[union-attr]
    assert minutes == pytest.approx(20 * float(seconds or 0) / 60)


@pytest.mark.usefixtures("paused")
def test_a_dry_run_cancels_nothing(dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator) -> None:
    dag_run = dags["bulk_dry_run_of_fewer"].test()
    assert tries(dag_run)["separate"] == ("success", 2)
    assert xcom(dag_run, "separate")["reused"] == 1
    assert {job.state for job in hook.list_jobs()} == {"Pause"}


@pytest.mark.parametrize(
    "dag_id",
    ["bulk_few_minutes", "bulk_many", "bulk_absent", "bulk_nested", "bulk_manifest_without_key"],
)
def test_bad_input_pays_nothing(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator, dag_id: str
) -> None:
    dag_run = dags[dag_id].test()
    assert dag_run.state == "failed"
    ((_, number),) = tries(dag_run).values()
    assert number == 1, "a retry would find the same"
    assert accepted(emulator) == []
    assert emulator.ledger.count("submit") == 0
