"""The report names nothing of the account."""

from __future__ import annotations

from typing import Any

import pytest

from live.facts import Found
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


def test_nothing_is_written_if_the_service_names_the_bucket_in_a_code(kit: Kit) -> None:
    with virtual_emulator({"unknown_job": {"status": 404, "code": "no.job.in.demo-1250000000"}}) as emulator:
        outcome = kit.run(emulator, "--only", "unknown_job")
    assert outcome.status == 1
    assert "The report was not written" in outcome.said
    assert not kit.report.exists()


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
