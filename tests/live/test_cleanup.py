"""What the kit leaves behind: nothing, however it ends, and whatever is not its own.

``tests/e2e/test_live_killed.py`` has processes that get signals.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service
from live.journal import Created, Journal, Place, name_endpoint
from live.requests import AbortUpload, DeleteBucket, DeleteObject, ListUploads
from live.run import Run
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator
from tests.live.account import KEYS, OTHER_BUCKET, Account
from tests.live.kit import Kit, VirtualTime, virtual_emulator
from tests.patience import wait_until

ONLY = ("--yes", "--only", "progress", "misspelt_placeholder", "template_not_found")
BATCH = ("--yes", "--only", "batch_user_data")


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
        emulator.faults.add("delete_object", key="*.wav", status=403, code="AccessDenied")
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
            super().sleep(0)  # until the emulator has done what it has begun, such as a batch job's job
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


@pytest.mark.parametrize("options", [(), ("--bucket", OTHER_BUCKET)], ids=["own bucket", "other bucket"])
def test_a_batch_job_is_cancelled_and_then_its_jobs(
    options: tuple[str, ...], kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No document says what a cancelled batch job's jobs do: here they wait on, and the list lacks them.

    The batch job is not cancelled at once, either.
    """
    monkeypatch.setattr("tencent_ci_emulator.jobs.job_store.JobStore.cancel_batch", lambda *_: None)
    settings = {"buckets": (OTHER_BUCKET,), "queue_seconds": 60}
    with virtual_emulator({"list_lag_seconds": 20}, **settings) as emulator:
        emulator.faults.add("cancel_batch", first=6, status=403, code="AccessDenied")
        account = Account(emulator, tmp_path, monkeypatch)
        clock = ImpatientUser(emulator, 1)
        outcome = kit.run(emulator, *BATCH, "--poll", "2", *options, clock=clock)
        assert (outcome.status, kit.journal_files()) == (130, [])
        assert "cancelled a batch job" in outcome.said
        assert "Nothing is left." in outcome.said
        assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Cancel"]
        cancelled = [
            record.operation for record in emulator.ledger.requests() if "cancel" in record.operation
        ]
        assert cancelled == [*["cancel_batch"] * 7, "cancel"]
        account.assert_untouched()


def test_a_batch_job_that_cannot_be_cancelled_is_named(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,), queue_seconds=600) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        for operation in ("cancel", "cancel_batch"):
            emulator.faults.add(operation, status=403, code="AccessDenied")
        outcome = kit.run(emulator, *BATCH, "--patience", "10", "--bucket", OTHER_BUCKET)
        assert (outcome.status, outcome.observed) == (1, {"batch_user_data": True})
        assert (
            outcome.said.count("jobs of the run have not ended yet") == 2
        )  # for the batch job, and the prefix
        assert "cancelled a batch job" not in outcome.said

        emulator.faults.clear()
        assert (kit.run(emulator, "--clean").status, kit.journal_files()) == (0, [])
        assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Cancel"]
        account.assert_untouched()


def test_batch_jobs_of_the_owner_are_not_cancelled(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,), queue_seconds=60) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        operation = {
            "Tag": "VoiceSeparate",
            "JobParam": {"VoiceSeparate": {"AudioMode": "IsAudio"}},
            "Output": {"AuObject": "out/${jobid}.${ext}"},
        }
        request = {"Name": "owners", "Type": "Job", "Input": {"Prefix": "in/"}, "Operation": operation}
        owners, _ = account.hook.batches.create(request, bucket=OTHER_BUCKET)

        def states() -> dict[str | None, str]:
            batches = account.hook.batches.list(bucket=OTHER_BUCKET)
            return {batch.name: str(batch.job_state) for batch in batches if batch.job_state != "Cancel"}

        add = Journal.add

        def add_owners(journal: Journal, kind: str, name: str) -> Created:
            """Edit the journal."""
            if kind == "batch":
                add(journal, kind, owners.job_id or "")
            return add(journal, kind, name)

        monkeypatch.setattr(Journal, "add", add_owners)
        options = (*BATCH, "--bucket", OTHER_BUCKET, "--poll", "2")
        outcome = kit.run(emulator, *options, clock=ImpatientUser(emulator, 1))
        assert (outcome.status, states(), kit.journal_files()) == (130, {"owners": "Running"}, [])
        assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Submitted", "Cancel"]
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


@pytest.mark.parametrize(("lost", "only"), [("job", ONLY), ("batch", BATCH)])
def test_a_job_that_was_accepted_when_the_run_was_killed_is_cancelled(
    lost: str, only: tuple[str, ...], kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is not known, and the list lacks it for a while."""
    add = Journal.add

    def add_no_id(journal: Journal, kind: str, name: str) -> Created:
        if kind == lost:
            emulator.clock.advance(0)
            raise KeyboardInterrupt
        return add(journal, kind, name)

    monkeypatch.setattr(Journal, "add", add_no_id)
    settings = {"buckets": (OTHER_BUCKET,), "queue_seconds": 60}
    with virtual_emulator({"list_lag_seconds": 10}, **settings) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        outcome = kit.run(emulator, *only, "--bucket", OTHER_BUCKET)
        assert outcome.status == 130
        assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Cancel"]
        assert {batch.state for batch in account.hook.batches.list(bucket=OTHER_BUCKET)} <= {"Cancel"}
        assert kit.journal_files() == []
        account.assert_untouched()


@pytest.mark.parametrize("only", ["misspelt_placeholder", "batch_user_data"])
def test_results_that_come_after_the_removal_are_removed_later(
    only: str, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,), run_seconds=100) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        options = ("--only", only, "--patience", "10", "--bucket", OTHER_BUCKET)
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


class UserAfterAirflow(ImpatientUser):
    """Presses Ctrl-C when the process in the place of Airflow is ready."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        super().__init__(emulator, 1)
        self._folder = folder

    def sleep(self, seconds: float) -> None:
        if seconds >= 2:
            wait_until(lambda: any(self._folder.glob("*.airflow/submissions/ready")))
        super().sleep(seconds)


@pytest.mark.parametrize(("noted", "is_left"), [(None, False), ("null", False), ("", True)])
def test_what_airflow_has_not_submitted_is_not_left(
    noted: str | None, is_left: bool, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process in the place of Airflow has not begun with a submission, has an error, or has no response."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, sys\n"
        "folder = pathlib.Path(json.loads(os.environ['CI_LIVE_RUN'])['notes'])\n"
        f"noted = {noted!r}\n"
        "if noted is not None:\n"
        "    (folder / 'speech_recognition').write_text(noted)\n"
        "(folder / 'ready').touch()\n"
        "sys.stdin.read()\n"
    )
    program.chmod(0o700)
    only = ("--yes", "--only", "input_formats", "--poll", "2")
    with virtual_emulator({"listed_tags": {"SpeechRecognition": False}}) as emulator:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(program))
            outcome = kit.run(emulator, *only, clock=UserAfterAirflow(emulator, kit.journals))
        assert (outcome.status, len(kit.journal_files())) == (130, int(is_left))
        assert ("submission SpeechRecognition speech_recognition (" in outcome.said) == is_left
        assert "submission MediaInfo" not in outcome.said
        assert emulator.buckets() == [emulator.bucket]


OWN_BUCKET: tuple[str, ...] = ()
SHARED_BUCKET = ("--bucket", OTHER_BUCKET)


@pytest.mark.parametrize("operation", ["list_objects", "delete_bucket"])
def test_a_single_response_without_the_bucket_does_not_prove_that_it_is_gone(
    operation: str, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        emulator.faults.add(operation, first=1, status=404, code="NoSuchBucket")
        outcome = kit.run(emulator, "--yes", "--only", "unknown_job")
        assert (outcome.status, kit.journal_files()) == (0, [])
        account.assert_untouched()


@pytest.mark.parametrize("code", ["NoSuchBucket", "PageNotFound"])
def test_a_list_that_is_not_found_does_not_prove_that_the_bucket_is_gone(
    code: str, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        emulator.faults.add("list_objects", status=404, code=code)
        outcome = kit.run(emulator, "--yes", "--only", "unknown_job")
        (left,) = account.new_buckets()
        assert (outcome.status, len(kit.journal_files())) == (1, 1)
        assert f"bucket {left}" in outcome.said
        emulator.faults.clear()
        assert kit.run(emulator, "--clean").status == 0
        account.assert_untouched()


@pytest.mark.parametrize("options", [OWN_BUCKET, SHARED_BUCKET])
def test_a_bucket_that_its_owner_has_deleted_is_not_left(
    options: tuple[str, ...], kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        emulator.faults.add("delete_object", key="*.wav", status=403, code="AccessDenied")
        emulator.faults.add("delete_template", status=403, code="AccessDenied")
        assert kit.run(emulator, "--yes", "--only", "template_not_found", *options).status == 1
        emulator.faults.clear()
        bucket = OTHER_BUCKET if options else account.new_buckets().pop()
        for each in account.hook.list_objects(bucket=bucket):
            account.hook.call(DeleteObject(each.key), bucket=bucket)
        account.hook.call(DeleteBucket(), bucket=bucket)

        cleaned = kit.run(emulator, "--clean")
        assert (cleaned.status, kit.journal_files()) == (0, [])
        assert "Nothing is left." in cleaned.said


@pytest.mark.parametrize("options", [OWN_BUCKET, SHARED_BUCKET])
def test_nothing_is_looked_for_at_another_endpoint(
    options: tuple[str, ...], kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator, virtual_emulator() as other:
        account = Account(emulator, tmp_path, monkeypatch)
        emulator.faults.add("delete_object", key="*.wav", status=403, code="AccessDenied")
        assert kit.run(emulator, "--yes", "--only", "unknown_job", *options).status == 1
        emulator.faults.clear()

        refused = kit.run(other, "--clean")
        assert (refused.status, len(kit.journal_files()), other.ledger.count()) == (1, 1, 0)
        for part in (f"of a run at {emulator.url} (", f"leads to {other.url} (", "--conn-id", "endpoint_url"):
            assert part in refused.said

        assert kit.run(emulator, "--clean").status == 0
        account.assert_untouched()


@dataclass(frozen=True, slots=True)
class BeginUpload(ApiRequest[None]):
    """``POST /<key>?uploads`` (436/7746)."""

    key: str
    purpose: ClassVar[str] = "begin the upload"
    cam_actions: ClassVar[tuple[str, ...]] = ("cos:InitiateMultipartUpload",)

    def http_request(self) -> HttpRequest:
        params = (("uploads", ""),)
        return HttpRequest(method="POST", service=Service.COS, path=f"/{self.key}", params=params)

    def parse(self, response: HttpResponse) -> None:
        assert response.is_success


@pytest.mark.parametrize("options", [OWN_BUCKET, SHARED_BUCKET])
def test_unfinished_uploads_are_aborted(
    options: tuple[str, ...], kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether CI leaves such uploads is not known. Those of the owner stay."""
    open_services = Run._open_services

    def begin_uploads(run: Run) -> None:
        open_services(run)
        place = run.journal.place
        for name in ("left.mp3", "left & 语音.mp3"):
            run.hook.call(BeginUpload(f"{place.prefix}out/{name}"), bucket=place.bucket)

    monkeypatch.setattr(Run, "_open_services", begin_uploads)
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        account.hook.call(BeginUpload("out/owner.mp3"), bucket=OTHER_BUCKET)
        outcome = kit.run(emulator, "--yes", "--only", "unknown_job", *options)
        assert (outcome.status, kit.journal_files()) == (0, [])
        uploads = account.hook.call(ListUploads(""), bucket=OTHER_BUCKET)
        assert [upload.key for upload in uploads] == ["out/owner.mp3"]
        account.hook.call(AbortUpload(uploads[0]), bucket=OTHER_BUCKET)
        account.assert_untouched()


@pytest.mark.parametrize("options", [OWN_BUCKET, SHARED_BUCKET])
def test_a_job_that_cannot_be_looked_up_is_named_until_it_has_ended(
    options: tuple[str, ...], kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response to its submission was lost, and its type is not listed."""
    observed = {"listed_tags": {"NoiseReduction": False}}
    with virtual_emulator(observed, buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        emulator.faults.add("submit", first=1, when="after", drop=True)
        outcome = kit.run(emulator, "--yes", "--only", "same_result_key", *options)
        assert (outcome.status, len(emulator.ledger.accepted_jobs())) == (1, 1)
        assert "Nothing is left" not in outcome.said
        assert "submission NoiseReduction same_key (bucket " in outcome.said
        assert "ends by itself, and costs at most 1 minute of NoiseReduction" in outcome.said
        assert "Correct the field" not in outcome.said
        assert "UTC: run the command again then" in outcome.said
        assert kit.run(emulator, "--clean").status == 1

        assert isinstance(emulator.clock, VirtualClock)
        emulator.clock.advance(3600)
        cleaned = kit.run(emulator, "--clean")
        assert (cleaned.status, kit.journal_files()) == (0, [])
        assert "such a job has ended and has cost at most 1 minute of NoiseReduction" in cleaned.said
        assert "Nothing is left." in cleaned.said
        account.assert_untouched()


TOKEN = "airflow-ci-live-0123456789ab"


@pytest.fixture
def leave(kit: Kit) -> Callable[[Emulator, Account, str, str], None]:
    """Leave the journal of a run that was killed, with one entry, in the owner's bucket."""

    def write(emulator: Emulator, account: Account, kind: str, name: str) -> None:
        endpoint = account.hook.settings.endpoint(OTHER_BUCKET)
        place = Place(
            endpoint=name_endpoint(endpoint),
            bucket=OTHER_BUCKET,
            region=endpoint.region,
            prefix=f"{TOKEN}/",
            has_own_bucket=False,
        )
        assert isinstance(emulator.clock, VirtualClock)
        kit.journals.mkdir(exist_ok=True)
        journal = Journal.create(kit.journals, TOKEN, place, VirtualTime(emulator.clock))
        journal.add("prefix", place.prefix)
        journal.add(kind, name)
        journal.close()

    return write


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("submission", "SpeechRecognition speech_recognition", "may lack jobs of the type SpeechRecognition"),
        ("job", "j0123456789abcdef0123456789abcdef", "the service returns no such job"),
        (
            "batch",
            "b0123456789abcdef0123456789abcdef",
            "the service returns no such batch job). Such a job ends",
        ),
        ("batch", "b0123456789abcdef0123456789abcdef", "and costs at most 1 minute of VoiceSeparate"),
    ],
)
def test_a_list_that_shows_no_job_does_not_prove_that_there_is_none(
    kind: str,
    name: str,
    reason: str,
    kit: Kit,
    leave: Callable[[Emulator, Account, str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        leave(emulator, account, kind, name)
        for _ in range(2):
            outcome = kit.run(emulator, "--clean")
            assert (outcome.status, len(kit.journal_files())) == (1, 1)
            assert reason in outcome.said
        assert isinstance(emulator.clock, VirtualClock)
        emulator.clock.advance(3600)
        assert (kit.run(emulator, "--clean").status, kit.journal_files()) == (0, [])
        account.assert_untouched()


def test_a_job_that_a_list_shows_is_cancelled_although_lists_may_lack_its_type(
    kit: Kit,
    leave: Callable[[Emulator, Account, str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,), queue_seconds=600) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        parameters = {"EngineModelType": "16k_en", "ChannelNum": 1, "ResTextFormat": 1}
        for key in (f"{TOKEN}/out/text.txt", "out/owner.txt"):
            job: Tree = {
                "Tag": "SpeechRecognition",
                "Input": {"Object": KEYS[1]},
                "Operation": {"SpeechRecognition": parameters, "Output": {"Object": key}},
            }
            account.hook.submit_job(job, bucket=OTHER_BUCKET)
        leave(emulator, account, "submission", "SpeechRecognition speech_recognition")
        assert (kit.run(emulator, "--clean").status, kit.journal_files()) == (0, [])
        assert [job.state for job in emulator.ledger.accepted_jobs()] == ["Cancel", "Submitted"]
        account.assert_untouched()


def test_jobs_that_have_not_ended_are_left_although_their_bucket_is_gone(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_emulator(buckets=(OTHER_BUCKET,), run_seconds=100) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        outcome = kit.run(emulator, "--yes", "--only", "misspelt_placeholder", "--patience", "10")
        assert (outcome.status, len(kit.journal_files())) == (1, 1)
        assert "jobs of the run have not ended yet: 1" in outcome.said
        assert account.new_buckets() == set()

        assert isinstance(emulator.clock, VirtualClock)
        emulator.clock.advance(3600)
        assert (kit.run(emulator, "--clean").status, kit.journal_files()) == (0, [])
        account.assert_untouched()
