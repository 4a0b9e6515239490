"""docs/permissions.md allows what the kit does. Without a permission to remove, nothing is paid for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.hooks.attempts import Attempts
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.jobs import SubmitJob
from airflow_provider_ci.protocol.objects import GetObject
from live import requests
from live.plan import PAID_JOBS
from tencent_ci_emulator.server import Emulator
from tests.lint.test_permissions import ROLE, allowed
from tests.live.account import OTHER_BUCKET, Account
from tests.live.kit import BY_HOOK, Kit, virtual_emulator
from tests.live.test_cleanup import ImpatientUser


def test_the_page_allows_what_the_kit_requests_and_no_more(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[ApiRequest[Any]] = []
    sign: Callable[..., Any] = Attempts.sign

    def note(attempts: Attempts, *arguments: Any) -> Any:
        sent.append(attempts._request)
        return sign(attempts, *arguments)

    monkeypatch.setattr(Attempts, "sign", note)
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        assert kit.run(emulator, "--yes", "--only", *BY_HOOK).status == 0
        for is_lost in (False, True):  # jobs that have to be cancelled, and one that has to be looked for
            if is_lost:
                emulator.faults.add("create_batch", first=1, when="after", drop=True)
            only = ("--only", "progress", "batch_id_length")
            kit.run(emulator, "--yes", *only, clock=ImpatientUser(emulator, 1))
        assert kit.run(emulator, "--yes", "--only", "progress", "--bucket", OTHER_BUCKET).status == 0
    calls = {type(each) for each in sent} | {
        each
        for each in vars(requests).values()
        if isinstance(each, type) and issubclass(each, ApiRequest) and hasattr(each, "cam_actions")
    }
    calls.add(GetObject)  # of an input by its URL, and of the results of Airflow's jobs
    actions = {action for call in calls for action in call.cam_actions} - {*SubmitJob.cam_actions}
    actions |= {job_type(job.tag).submit_action for job in PAID_JOBS}
    assert set(allowed("make live")) == actions | {ROLE}


#: The calls that removal needs, in the order in which a run tries them: which one is refused, and its action
REFUSALS = {
    "cos:GetBucket": {"operation": "list_objects"},
    "cos:DeleteObject": {"operation": "delete_object"},
    "cos:ListMultipartUploads": {"operation": "list_objects", "nth": 2},
    "cos:AbortMultipartUpload": {"operation": "multipart"},
    "cos:DeleteBucket": {"operation": "delete_bucket"},
    "ci:DeleteMediaTemplate": {"operation": "delete_template"},
}


def run_refused(kit: Kit, emulator: Emulator, action: str, *options: str) -> str:
    """Run without a permission; return what the kit says. Nothing is paid for."""
    emulator.faults.add(**REFUSALS[action], status=403, code="AccessDenied")
    outcome = kit.run(emulator, "--yes", "--only", *BY_HOOK, *options)
    assert (outcome.status, outcome.report) == (1, {})
    assert emulator.ledger.accepted_jobs() == []
    assert "nothing was paid for. docs/permissions.md has the policy." in outcome.said
    assert action in outcome.said
    return outcome.said


@pytest.mark.parametrize("action", [each for each in REFUSALS if each.startswith("cos:")])
def test_what_could_not_be_removed_is_not_paid_for(action: str, kit: Kit) -> None:
    with virtual_emulator() as emulator:
        said = run_refused(kit, emulator, action)
        assert f"CAM policy allows {action}, and then the SecretKey" in said
        assert "audio service" not in said
        is_left = action in ("cos:GetBucket", "cos:DeleteBucket")
        assert ("This is left; " in said) == is_left
        assert len(emulator.buckets()) == 1 + is_left
        emulator.faults.clear()
        assert kit.run(emulator, "--clean").status == 0
        assert emulator.buckets() == [emulator.bucket]


@pytest.mark.parametrize("action", [each for each in REFUSALS if each != "cos:DeleteBucket"])
def test_nor_in_a_bucket_that_existed(
    action: str, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        uploads = emulator.ledger.count("put_object")
        run_refused(kit, emulator, action, "--bucket", OTHER_BUCKET)
        if action.startswith("cos:"):
            assert emulator.ledger.count("put_object") == uploads
        emulator.faults.clear()
        assert kit.run(emulator, "--clean").status == 0
        account.assert_untouched()
