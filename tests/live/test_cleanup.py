"""What the kit leaves behind: nothing, however it ends, and whatever is not its own.

``tests/e2e/test_live_killed.py`` has processes that get signals.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from live.journal import Created, Journal
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator
from tests.live.account import KEYS, OTHER_BUCKET, Account
from tests.live.kit import Kit, VirtualTime, virtual_emulator

ONLY = ("--yes", "--only", "progress", "misspelt_placeholder", "template_not_found")


def test_in_a_bucket_that_existed_only_the_prefix_is_removed(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        outcome = kit.run(emulator, *ONLY, "--bucket", OTHER_BUCKET)
        assert outcome.status == 0
        assert set(outcome.observed) == {"progress", "misspelt_placeholder", "template_not_found"}
        assert {record.operation for record in emulator.ledger.requests()}.isdisjoint(
            ("create_bucket", "delete_bucket", "open_asr", "open_media", "close_asr", "close_media")
        )
        account.assert_untouched()


def test_jobs_of_the_owner_are_not_cancelled(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,), queue_seconds=60) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        transcode = {"Container": {"Format": "mp3"}, "Audio": {"Codec": "mp3"}}
        operation = {"Transcode": transcode, "Output": {"Object": "out/owner.mp3"}}
        owners = {"Tag": "Transcode", "Input": {"Object": KEYS[1]}, "Operation": operation}
        account.hook.submit_job(owners, bucket=OTHER_BUCKET)
        options = (*ONLY, "--bucket", OTHER_BUCKET, "--poll", "2")
        outcome = kit.run(emulator, *options, clock=ImpatientUser(emulator, 1))
        assert outcome.status == 130
        states = [job.state for job in emulator.ledger.accepted_jobs()]
        assert states == ["Submitted", "Cancel", "Cancel"]
        account.assert_untouched()


def test_what_cannot_be_removed_is_named_on_the_terminal_only(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        emulator.faults.add("delete_object", status=403, code="AccessDenied")
        outcome = kit.run(emulator, *ONLY)
        (left,) = account.new_buckets()
        assert outcome.status == 1
        assert f"bucket {left}" in outcome.said
        assert "AccessDenied" in outcome.said
        assert f"{left.removesuffix('-1250000000')}/in/speech.wav" in outcome.said
        assert left not in kit.report.read_text()
        assert len(kit.journal_files()) == 1

        emulator.faults.clear()
        cleaned = kit.run(emulator, "--clean")
        assert (cleaned.status, kit.journal_files()) == (0, [])
        account.assert_untouched()
        assert "no run has left a journal" in kit.run(emulator, "--clean").said


def test_a_template_that_is_left_is_removed(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        emulator.faults.add("delete_template", first=1, status=403, code="AccessDenied")
        outcome = kit.run(emulator, "--yes", "--bucket", OTHER_BUCKET, "--only", "template_not_found")
        assert outcome.status == 0
        assert "AccessDenied" in outcome.report["not_observed"]["template_not_found"]
        account.assert_untouched()


class ImpatientUser(VirtualTime):
    """Presses Ctrl-C when the kit begins to wait, and as often after that as ``times`` allows."""

    def __init__(self, emulator: Emulator, times: int) -> None:
        assert isinstance(emulator.clock, VirtualClock)
        super().__init__(emulator.clock)
        self._times = times

    def sleep(self, seconds: float) -> None:
        if seconds >= 2 and self._times:  # not between two submissions
            self._times -= 1
            raise KeyboardInterrupt
        super().sleep(seconds)


def test_jobs_that_the_list_lacks_are_cancelled(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator({"list_lag_seconds": 600}, buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        outcome = kit.run(emulator, *ONLY, "--poll", "2", clock=ImpatientUser(emulator, 1))
        assert outcome.status == 130
        assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Cancel", "Cancel"]
        assert kit.journal_files() == []
        account.assert_untouched()


def test_a_second_ctrl_c_says_what_is_left(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        outcome = kit.run(emulator, *ONLY, "--poll", "2", clock=ImpatientUser(emulator, 2))
        (left,) = account.new_buckets()
        assert outcome.status == 130
        assert "Interrupted again" in outcome.said
        for line in (f"bucket {left}", "job j", "service asr", "template airflow-ci-live-"):
            assert line in outcome.said
        assert kit.run(emulator, "--clean").status == 0
        account.assert_untouched()


def test_an_error_of_the_kit_removes_everything(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault of the kit")

    monkeypatch.setattr("live.run.Run._submit", fail)
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        outcome = kit.run(emulator, *ONLY)
        assert (outcome.status, outcome.report) == (1, {})
        assert "a fault of the kit" in outcome.said
        assert kit.journal_files() == []
        account.assert_untouched()


def test_a_bucket_that_may_not_be_created_is_the_end(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        emulator.faults.add("create_bucket", status=403, code="AccessDenied")
        outcome = kit.run(emulator, *ONLY)
        assert outcome.status == 1
        assert "make live ARGS='--bucket" in outcome.said
        assert (kit.journal_files(), emulator.ledger.accepted_jobs()) == ([], [])


def test_a_job_that_was_accepted_when_the_run_was_killed_is_cancelled(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is not known, and the list lacks it for a while."""
    add = Journal.add

    def add_no_job(journal: Journal, kind: str, name: str) -> Created:
        if kind == "job":
            raise KeyboardInterrupt
        return add(journal, kind, name)

    monkeypatch.setattr(Journal, "add", add_no_job)
    settings = {"buckets": (OTHER_BUCKET,), "queue_seconds": 60}
    with virtual_emulator({"list_lag_seconds": 10}, **settings) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        outcome = kit.run(emulator, *ONLY, "--bucket", OTHER_BUCKET)
        assert outcome.status == 130
        assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Cancel"]
        assert kit.journal_files() == []
        account.assert_untouched()


def test_results_that_come_after_the_removal_are_removed_later(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,), run_seconds=100) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        options = ("--only", "misspelt_placeholder", "--patience", "10", "--bucket", OTHER_BUCKET)
        outcome = kit.run(emulator, "--yes", *options)
        assert outcome.status == 1
        assert "A job may still write a result there (jobs of the run have not ended yet: 1)" in outcome.said

        assert kit.run(emulator, "--clean", "--patience", "600").status == 0
        assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Success"]
        assert kit.journal_files() == []
        account.assert_untouched()


@pytest.mark.parametrize("operation", ["delete_template", "close_asr"])
def test_what_cannot_be_removed_from_a_bucket_ends_with_it(
    operation: str, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        emulator.faults.add(operation, status=403, code="AccessDenied")
        outcome = kit.run(emulator, "--yes", "--only", "template_not_found")
        assert (outcome.status, kit.journal_files()) == (0, [])
        assert "was removed with its bucket only: " in outcome.said
        account.assert_untouched()


def test_an_error_of_the_kit_in_one_removal_does_not_stop_the_others(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault of the kit")

    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        with monkeypatch.context() as patch:
            patch.setattr("live.cleanup.Cleanup._delete_template", fail)
            options = ("--only", "template_not_found", "--bucket", OTHER_BUCKET)
            outcome = kit.run(emulator, "--yes", *options)
        assert outcome.status == 1
        assert "an error in the kit: RuntimeError('a fault of the kit')" in outcome.said
        account.assert_untouched()
        assert kit.run(emulator, "--clean").status == 0


def test_a_terminal_that_has_gone_stops_no_removal(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``make live | tee log``: Ctrl-C ends tee, too."""
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)

        def lose_terminal(*_: object, **__: object) -> None:
            if emulator.ledger.accepted_jobs():
                raise BrokenPipeError

        with monkeypatch.context() as patch:
            patch.setattr("builtins.print", lose_terminal)
            outcome = kit.run(emulator, *ONLY)
        assert (outcome.status, kit.journal_files()) == (0, [])
        assert set(outcome.observed) == {"progress", "misspelt_placeholder", "template_not_found"}
        account.assert_untouched()
