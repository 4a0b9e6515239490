"""Whether and when Airflow retries a refused submission (``dag.test()``), on the emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.server import Emulator
from tests.airflow_version import HAS_RETRY_POLICIES
from tests.integration.airflow_runs import dags_in, tries
from tests.integration.virtual_time import emulator_in_virtual_time
from tests.recording import SHORT

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture(scope="session")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(Path(__file__).resolve().parents[1] / "dags")


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with emulator_in_virtual_time() as running:
        extra = running.connection["extra"] | {"max_attempts": 1}
        monkeypatch.setenv(
            "AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(running.connection | {"extra": extra})
        )
        upload(SHORT, "in/a.mp3")
        yield running


def upload(file: Path, key: str) -> None:
    with TencentCIHook() as hook:
        hook.upload_file(file, key)


def refuse_once(emulator: Emulator, status: int, code: str) -> None:
    emulator.faults.add("submit", nth=1, status=status, code=code)


@pytest.mark.skipif(not HAS_RETRY_POLICIES, reason="Airflow before 3.3 has no policies")
@pytest.mark.parametrize(
    ("status", "code", "ends"),
    [
        (429, "SlowDown", ("success", 2)),
        (403, "QueueSaturated", ("success", 2)),
        (403, "AccessDenied", ("failed", 1)),
        (404, "TemplateNotFound", ("failed", 1)),
    ],
)
def test_the_policy_decides(
    dags: dict[str, Any], emulator: Emulator, status: int, code: str, ends: tuple[str, int]
) -> None:
    refuse_once(emulator, status, code)
    dag_run = dags["retry_policy"].test()
    assert tries(dag_run)["separate"] == ends
    assert len(emulator.ledger.accepted_jobs()) == (ends[0] == "success")


@pytest.mark.parametrize("dag_id", ["retries_and_policy", "retries_alone", "retries_alone_deferrable"])
@pytest.mark.parametrize("content", [None, "this is no media file"], ids=["no input", "no media"])
def test_a_job_that_would_fail_again_is_paid_once(
    dags: dict[str, Any], emulator: Emulator, tmp_path: Path, dag_id: str, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "text").write_text(content)
        upload(tmp_path / "text", "in/bad.mp3")
    dag_run = dags[dag_id].test()
    assert tries(dag_run)["separate"] == ("failed", 1)
    assert len(emulator.ledger.accepted_jobs()) == 1


@pytest.mark.parametrize("dag_id", ["retries_and_policy", "retries_alone"])
@pytest.mark.parametrize("code", ["ResourceDownloadFailed", "InternalError"])
def test_a_job_that_may_succeed_is_paid_for_again(
    dags: dict[str, Any], emulator: Emulator, dag_id: str, code: str
) -> None:
    emulator.faults.add("job", nth=1, code=code, message="try again")
    upload(SHORT, "in/bad.mp3")
    dag_run = dags[dag_id].test()
    assert tries(dag_run)["separate"] == ("success", 2)
    assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Failed", "Success"]


@pytest.mark.parametrize("dag_id", ["retries_and_policy", "retries_alone"])
@pytest.mark.parametrize(
    "refusal",
    [{"status": 400, "code": "ResourceDownloadFailed"}, {"status": 404, "body": "<html>A gateway</html>"}],
    ids=["no download", "gateway"],
)
def test_a_refusal_that_may_pass_is_retried(
    dags: dict[str, Any], emulator: Emulator, dag_id: str, refusal: dict[str, Any]
) -> None:
    upload(SHORT, "in/bad.mp3")
    emulator.faults.add("submit", nth=1, **refusal)
    assert tries(dags[dag_id].test())["separate"] == ("success", 2)
    assert len(emulator.ledger.accepted_jobs()) == 1


@pytest.mark.parametrize("dag_id", ["retries_and_policy", "retries_alone"])
def test_a_retry_looks_for_a_job_that_was_not_found(
    dags: dict[str, Any], emulator: Emulator, dag_id: str
) -> None:
    upload(SHORT, "in/bad.mp3")
    emulator.faults.add("describe", first=125, status=200, body="<Response/>")
    dag_run = dags[dag_id].test()
    assert tries(dag_run)["separate"] == ("success", 2)
    assert len(emulator.ledger.accepted_jobs()) == 1


def test_a_refused_field_is_not_retried(dags: dict[str, Any], emulator: Emulator) -> None:
    refuse_once(emulator, 400, "InvalidArgument")
    dag_run = dags["retry_policy"].test()
    assert tries(dag_run)["separate"] == ("failed", 1)
