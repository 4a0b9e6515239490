"""The report names nothing of the account."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    InvalidRequestError,
    QueueFullError,
    ServerError,
    ServiceError,
    ThrottledError,
)
from live.facts import Found, NotObservedError, refusal
from live.observations import OBSERVATIONS
from live.report import Report, SecretInReportError
from tests.live.kit import Kit, virtual_emulator

SECRETS = {"AKIDmine", "the-key", "media-1250000001", "1250000001"}


def report_with(value: Any, evidence: str = "seen") -> Report:
    observation = next(each for each in OBSERVATIONS if each.name == "unknown_job")
    report = Report(date="2026-12-01", region="ap-guangzhou")
    report.observations[observation] = Found(value, evidence)
    return report


def test_a_report_without_secrets_is_written() -> None:
    report = report_with({"status": 404, "code": "JobNotFound"})
    assert '"JobNotFound"' in report.as_json(SECRETS)
    assert "**differs**" in report.as_markdown(SECRETS)


@pytest.mark.parametrize(
    "text",
    [
        *sorted(SECRETS),
        "AKIDsomebodyelse",
        "q-signature=1",
        "j0123456789abcdef0123456789abcdef",
        "https://example.org",
        "other.cos.ap-beijing.tencentcos.cn",
        "100000000001",
    ],
)
def test_a_report_with_something_of_the_account_is_refused(text: str) -> None:
    in_value, in_evidence = report_with({"status": 404, "code": text}), report_with("empty", f"it is {text}")
    for write in (in_value.as_json, in_value.as_markdown, in_evidence.as_json):
        with pytest.raises(SecretInReportError):
            write(SECRETS)


@pytest.mark.parametrize("secret", ["AKIDmine/+?", "media-1250000001"])
def test_encoded_secrets_are_found(secret: str) -> None:
    texts = [secret.lower(), quote(secret, safe=""), secret.encode().hex().upper()]
    for before in ("", "x", "xy"):
        quoted = f"{before}{secret}&more".encode()
        texts += [b64encode(quoted).decode(), urlsafe_b64encode(quoted).decode()]
    for text in texts:
        with pytest.raises(SecretInReportError):
            report_with("empty", f"it is {text} there").as_json({secret})


def test_what_names_the_bucket_is_left_out_and_the_rest_is_reported(kit: Kit) -> None:
    code = {"status": 404, "code": "no.job.in.demo-1250000000"}
    with virtual_emulator({"unknown_job": code}) as emulator:
        outcome = kit.run(emulator, "--yes", "--only", "unknown_job", "wrong_region")
    assert outcome.status == 0
    assert set(outcome.observed) == {"wrong_region"}
    assert outcome.report["not_observed"]["unknown_job"].endswith("was left out")
    assert "1250000000" not in kit.report.read_text()


@pytest.mark.parametrize("error", [ThrottledError, ServerError, QueueFullError, AuthenticationError])
def test_a_busy_service_says_nothing_about_the_request(error: type[ServiceError]) -> None:
    with pytest.raises(NotObservedError, match="run it again"):
        refusal(error("busy", status=429, code="TooManyRequests"))


@pytest.mark.parametrize("code", [None, "", "see bucket demo", "a|b", "x" * 65])
def test_a_code_with_text_in_it_is_not_reported(code: str | None) -> None:
    with pytest.raises(NotObservedError, match="without a code that can be reported") as raised:
        refusal(InvalidRequestError("refused", status=400, code=code))
    assert str(raised.value).endswith("code none that can be shown")


def test_a_throttled_submission_is_repeated(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        emulator.faults.add("submit", first=1, status=429, code="TooManyRequests")
        outcome = kit.run(emulator, "--yes", "--only", "long_result_key")
        assert len(emulator.ledger.accepted_jobs()) == outcome.report["paid_jobs"] == 1
    assert (outcome.deviations, outcome.observed) == ({}, {"long_result_key": "accepted"})


@pytest.mark.parametrize(
    ("operation", "only", "what"),
    [("submit", "long_result_key", "its job"), ("create_batch", "batch_id_length", "the batch job")],
)
def test_a_job_of_which_the_response_is_lost_counts_once(
    operation: str, only: str, what: str, kit: Kit
) -> None:
    with virtual_emulator() as emulator:
        emulator.faults.add(operation, first=1, when="after", drop=True)
        outcome = kit.run(emulator, "--yes", "--only", only)
        # a batch job that was found and cancelled may have made no job yet
        least = 0 if operation == "create_batch" else 1
        assert least <= len(emulator.ledger.accepted_jobs()) <= outcome.report["paid_jobs"] == 1
    assert f"it is not known whether {what} was accepted" in outcome.report["not_observed"][only]


def test_a_batch_job_that_is_refused_is_not_observed_and_costs_nothing(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        emulator.faults.add("create_batch", status=403, code="AccessDenied")
        outcome = kit.run(emulator, "--yes", "--only", "batch_id_length", "batch_user_data", "progress")
        assert "list_batches" not in {record.operation for record in emulator.ledger.requests()}
    assert (outcome.status, outcome.report["paid_jobs"], [*outcome.observed]) == (0, 1, ["progress"])
    for reason in outcome.report["not_observed"].values():
        assert reason == "it was refused: PermissionDeniedError, HTTP 403, code AccessDenied"


def test_a_run_names_nothing_of_the_account(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, "--yes", "--only", "progress", "cancel_ended", "unbound_bucket")
        ids = [job.job_id for job in emulator.ledger.accepted_jobs()]
        requests = [record.request_id for record in emulator.ledger.requests()]
        texts = [kit.report.read_text(), outcome.said.partition("### make live")[2].partition("Removing")[0]]
        for text in texts:
            assert "cancel_ended" in text
            for secret in (emulator.secret_id, emulator.secret_key, "1250000000", emulator.bucket):
                assert secret not in text
            assert "airflow-ci-live-" not in text
            assert [each for each in (*ids, *requests) if each in text] == []


def test_an_error_that_names_something_of_the_account_is_left_out() -> None:
    report = report_with("empty")
    report.error = "ServiceError, HTTP 403, code no.job.in.media-1250000001"
    report.leave_out(SECRETS)
    assert report.error.endswith("was left out")
    assert "ended early: what was seen" in report.as_markdown(SECRETS)
