"""Retries and deferral in real Airflow (``dag.test()``), on the emulator: one accepted job for each task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.server import Emulator
from tests.airflow_version import needs_no_state_store, needs_state_store
from tests.integration.airflow_runs import dags_in, tries, xcom
from tests.integration.virtual_time import emulator_in_virtual_time
from tests.recording import SHORT

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
    """A hook on the emulator, whose bucket holds the recording."""
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    hook.upload_file(SHORT, "in/speech_over_music.mp3")
    yield hook
    hook.close()


@pytest.mark.parametrize("dag_id", ["accepted_sync", "accepted_deferrable", "pushed_deferrable"])
def test_a_retry_continues_with_the_job_of_the_try_that_died(
    dags: dict[str, Any], hook: TencentCIHook, dag_id: str
) -> None:
    dag_run = dags[dag_id].test()

    assert dag_run.state == "success"
    assert tries(dag_run)["separate"] == ("success", 2)
    job_ids = [job.job_id for job in hook.list_jobs()]
    assert len(job_ids) == 1, "one accepted job"
    assert xcom(dag_run, "separate") == job_ids[0]
    assert set(xcom(dag_run, "separate", "job")["outputs"]) == {"voice", "background"}


@pytest.fixture
def may_not_list(hook: TencentCIHook, emulator: Emulator) -> None:
    """Keys that may submit and describe jobs, and not list them."""
    emulator.faults.add("list", status=403, code="AccessDenied")


@needs_state_store
@pytest.mark.usefixtures("may_not_list")
def test_a_retry_continues_with_the_recorded_job_without_a_list(
    dags: dict[str, Any], emulator: Emulator
) -> None:
    dag_run = dags["pushed_submit_only"].test()
    assert dag_run.state == "success"
    assert tries(dag_run)["separate"] == ("success", 2)
    assert len(emulator.ledger.accepted_jobs()) == 1
    assert emulator.ledger.count("list") == 0


@needs_no_state_store
@pytest.mark.usefixtures("may_not_list")
def test_a_retry_without_store_and_list_fails_rather_than_pays(
    dags: dict[str, Any], emulator: Emulator
) -> None:
    dag_run = dags["pushed_submit_only"].test()
    assert dag_run.state == "failed"
    assert tries(dag_run)["separate"] == ("failed", 3), "each retry looks, as it may be allowed to by then"
    assert len(emulator.ledger.accepted_jobs()) == 1
    assert emulator.ledger.count("submit") == 1


@pytest.mark.parametrize(
    ("dag_id", "when", "effect"),
    [
        ("plain_submit_only", "before", {"status": 503, "code": "ServiceUnavailable"}),
        ("plain_deferrable", "after", {"drop": True}),
    ],
)
def test_after_a_lost_response_the_job_is_looked_for(
    dags: dict[str, Any],
    hook: TencentCIHook,
    emulator: Emulator,
    dag_id: str,
    when: str,
    effect: dict[str, Any],
) -> None:
    """Every other way in which it may be lost is in ``test_exactly_once_schedule.py``."""
    emulator.faults.add("submit", nth=1, when=when, **effect)
    dag_run = dags[dag_id].test()
    assert dag_run.state == "success"
    accepted = emulator.ledger.accepted_jobs()
    assert len(accepted) == 1
    assert xcom(dag_run, "separate") == next(hook.list_jobs()).job_id
    assert emulator.ledger.count("submit") == (1 if when == "after" else 2)


def test_without_durable_a_retry_pays_again(dags: dict[str, Any], hook: TencentCIHook) -> None:
    dag_run = dags["not_durable"].test()
    assert dag_run.state == "success"
    assert len(list(hook.list_jobs())) == 2


def test_a_second_run_gets_its_own_job(dags: dict[str, Any], hook: TencentCIHook) -> None:
    first, second = dags["pushed_submit_only"].test(), dags["pushed_submit_only"].test()
    assert xcom(first, "separate") != xcom(second, "separate")
    assert len(list(hook.list_jobs())) == 2


def test_an_operator_inside_another_task_is_refused(
    dags: dict[str, Any],
    hook: TencentCIHook,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dag_run = dags["nested"].test()
    assert dag_run.state == "failed"
    assert list(hook.list_jobs()) == [], "nothing was sent"
    assert "is executed inside task 'loop'" in caplog.text + capsys.readouterr().out


def test_operator_and_sensor_deferred(dags: dict[str, Any], hook: TencentCIHook) -> None:
    dag_run = dags["all_deferred"].test()
    assert dag_run.state == "success"
    job_ids = [xcom(dag_run, "separate", map_index=index) for index in (0, 1)]
    assert sorted(job_ids) == sorted(str(job.job_id) for job in hook.list_jobs())
    assert [result["job_id"] for result in xcom(dag_run, "sense")] == job_ids
    assert all(result["outputs"]["voice"]["md5"] for result in xcom(dag_run, "sense"))


@pytest.mark.parametrize("dag_id", ["deadline", "without_triggerer_late"])
def test_the_deadline_cancels_a_waiting_job(
    dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch, dag_id: str
) -> None:
    with emulator_in_virtual_time(queue_seconds=600) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
        hook = TencentCIHook()
        dag_run = dags[dag_id].test()
        assert dag_run.state == "failed"
        assert [job.state for job in hook.list_jobs()] == ["Cancel"]
        hook.close()


def test_jobs_that_ended_while_no_triggerer_ran_count(
    dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(queue_seconds=1) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
        hook = TencentCIHook()
        hook.upload_file(SHORT, "in/speech_over_music.mp3")
        dag_run = dags["without_triggerer"].test()
        assert dag_run.state == "success"
        submitted = {job.job_id for job in hook.list_jobs()}
        assert len(submitted) == 2
        assert {xcom(dag_run, "separate", map_index=index) for index in range(2)} == submitted
        results = [xcom(dag_run, "separate", "job", map_index=index) for index in range(2)]
        assert {result["job_id"] for result in results} == submitted
        assert {result["state"] for result in results} == {"Success"}
        hook.close()
