"""After the first paid job a report is written, whatever fails after that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.exceptions import CredentialsError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.credentials import RefreshableCredentials
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.wire import Credentials
from live.observations import OBSERVATIONS
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator
from tests.live.kit import Kit, Outcome, VirtualTime, virtual_emulator
from tests.live.test_cleanup import ImpatientUser

ONLY = ("--yes", "--only", "unknown_job", "job_id_length", "list_lag_seconds", "cancel_submitted")


def assert_incomplete(outcome: Outcome, error: str, *, status: int = 1, only: tuple[str, ...] = ONLY) -> None:
    """Assert that there is a report about each question, and that it and the summary name the error."""
    assert (outcome.status, outcome.report["error"]) == (status, error)
    assert f"The run ended early: {error}." in outcome.said
    asked = {each.name for each in OBSERVATIONS}.intersection(only)
    assert outcome.report["observations"].keys() | outcome.report["not_observed"].keys() == asked
    assert "1250000000" not in str(outcome.report)


def test_a_complete_report_has_no_error(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, *ONLY)
    assert (outcome.status, outcome.report["error"]) == (0, None)


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("a fault of the kit")


def test_an_error_of_the_kit_among_the_jobs(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live.watched_jobs.JobWatch.wait", fail)
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, *ONLY)
        assert emulator.buckets() == [emulator.bucket]
    assert_incomplete(outcome, "RuntimeError")
    assert "a fault of the kit" in outcome.said
    assert outcome.report["paid_jobs"] == 2
    assert outcome.observed["job_id_length"] == 33, "what was paid for is observed all the same"


@pytest.mark.parametrize("operation", ["open_asr", None])
def test_an_error_after_a_job_before_a_service_is_open(
    operation: str | None, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = ("--yes", "--only", "unbound_bucket", "unknown_job")
    with virtual_emulator({"unbound_bucket": "accepted"}) as emulator:
        if operation:
            emulator.faults.add(operation, status=403, code="AccessDenied")
        else:
            monkeypatch.setattr("live.airflow_run.AirflowRun.start", fail)
        outcome = kit.run(emulator, *only)
        assert emulator.buckets() == [emulator.bucket]
    error = "PermissionDeniedError, HTTP 403, code AccessDenied" if operation else "RuntimeError"
    assert_incomplete(outcome, error, only=only)
    assert outcome.observed["unbound_bucket"] == "accepted"
    assert outcome.report["paid_jobs"] == 1


def test_credentials_that_fail_after_the_first_paid_job(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    get = RefreshableCredentials.get

    with virtual_emulator() as emulator:

        def get_none(
            credentials: RefreshableCredentials, *, newer_than: Credentials | None = None
        ) -> Credentials:
            if emulator.ledger.accepted_jobs():
                raise CredentialsError("STS cannot be asked")
            return get(credentials, newer_than=newer_than)

        with monkeypatch.context() as patch:
            patch.setattr(RefreshableCredentials, "get", get_none)
            outcome = kit.run(emulator, *ONLY)
        assert outcome.status == 1
        assert "This is left; " in outcome.said
        assert outcome.report["paid_jobs"] >= 1
        assert outcome.observed["job_id_length"] == 33
        assert kit.run(emulator, "--clean").status == 0
        assert emulator.buckets() == [emulator.bucket]


def test_an_interrupted_run_reports_what_it_has_seen(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, *ONLY, "--poll", "2", clock=ImpatientUser(emulator, 1))
        accepted = len(emulator.ledger.accepted_jobs())
    assert_incomplete(outcome, "interrupted", status=130)
    assert outcome.report["paid_jobs"] == accepted == 2
    assert "unknown_job" in outcome.observed
    assert outcome.report["not_observed"]["job_id_length"] == "the run ended before"


def test_a_submission_that_is_interrupted_counts_as_paid(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes between the acceptance of the job and its response."""
    call_paid = TencentCIHook.call_paid

    def interrupt(hook: TencentCIHook, request: ApiRequest[Any], **where: Any) -> None:
        call_paid(hook, request, **where)
        raise KeyboardInterrupt

    monkeypatch.setattr(TencentCIHook, "call_paid", interrupt)
    only = ("--yes", "--only", "progress", "job_id_length")
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, *only)
        assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Cancel"]
    assert_incomplete(outcome, "interrupted", status=130, only=only)
    assert outcome.report["paid_jobs"] == 1


def test_an_error_before_the_first_paid_job_has_no_report(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        emulator.faults.add("open_asr", status=403, code="AccessDenied")
        outcome = kit.run(emulator, *ONLY)
        assert emulator.ledger.accepted_jobs() == []
    assert (outcome.status, outcome.report) == (1, {})


@pytest.mark.parametrize("written", ['["noise_redu', ""])
def test_an_outcome_of_airflow_that_is_not_complete(
    written: str, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process in the place of Airflow ends in the middle of it."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib\n"
        f"written = {written!r}\n"
        "run = json.loads(os.environ['CI_LIVE_RUN'])\n"
        "pathlib.Path(run['outcome']).write_text(written)\n"
        "(pathlib.Path(run['notes']) / 'noise_reduction').touch()\n"
    )
    program.chmod(0o700)
    only = ("--yes", "--only", "samplerate_spelling", "same_result_key")
    with virtual_emulator() as emulator:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(program))
            outcome = kit.run(emulator, *only)
        assert len(emulator.ledger.accepted_jobs()) == 1
        assert emulator.buckets() == [emulator.bucket]
    assert outcome.status == 0
    assert outcome.report["operators"] == {"NoiseReductionOperator": "unseen"}
    assert outcome.report["paid_jobs"] == 2, "it may have submitted its job"
    assert outcome.observed == {"same_result_key": "overwritten"}


class OtherRun(VirtualTime):
    """Another run writes its report into the same file meanwhile."""

    def __init__(self, emulator: Emulator, path: Path) -> None:
        assert isinstance(emulator.clock, VirtualClock)
        super().__init__(emulator.clock)
        self._path = path

    def sleep(self, seconds: float) -> None:
        self._path.write_text("the other's")
        super().sleep(seconds)


def test_a_report_that_exists_meanwhile_is_kept_and_this_one_shown(kit: Kit, tmp_path: Path) -> None:
    report = tmp_path / "same.json"
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, *ONLY, "--report", str(report), clock=OtherRun(emulator, report))
    assert outcome.status == 1
    assert report.read_text() == "the other's"
    assert '"job_id_length": {' in outcome.said.partition("could not be written to")[2]
