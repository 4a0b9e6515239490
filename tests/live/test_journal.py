"""Only a journal that a run has written removes anything, and only what that run has created."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from live.clock import Clock
from live.journal import Created, Journal, JournalError, Place
from tests.live.account import OTHER_BUCKET, Account
from tests.live.kit import Kit, virtual_emulator

TOKEN = "airflow-ci-live-0123456789ab"
HOSTS = "ci.ap-guangzhou.myqcloud.com and cos.ap-guangzhou.myqcloud.com"
OWN = {
    "endpoint": HOSTS,
    "bucket": f"{TOKEN}-1250000000",
    "region": "ap-guangzhou",
    "prefix": f"{TOKEN}/",
    "has_own_bucket": True,
}
SHARED = {**OWN, "bucket": OTHER_BUCKET, "has_own_bucket": False}


def write_journal(folder: Path, place: dict[str, Any], kind: str, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{TOKEN}.journal"
    lines = [{"place": place}, {"kind": kind, "name": name, "exists": True, "at": 1e9}]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("place", "kind", "name"),
    [
        ({**OWN, "bucket": OTHER_BUCKET}, "bucket", OTHER_BUCKET),
        (OWN, "bucket", OTHER_BUCKET),
        ({**OWN, "bucket": OTHER_BUCKET}, "bucket", OWN["bucket"]),
        (SHARED, "bucket", OTHER_BUCKET),
        (SHARED, "prefix", "in/"),
        (SHARED, "prefix", ""),
        ({**SHARED, "prefix": "in/"}, "prefix", "in/"),
        (SHARED, "service", "asr"),
        (OWN, "service", "queue"),
        (SHARED, "template", "owners-template"),
        (SHARED, "batch submission", "owners-batch"),
        (SHARED, "object", "notes.txt"),
    ],
)
def test_an_edited_journal_removes_nothing(
    place: dict[str, Any], kind: str, name: str, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_journal(kit.journals, place, kind, name)
    with virtual_emulator(buckets=(OTHER_BUCKET,)) as emulator:
        account = Account(emulator, tmp_path, monkeypatch)
        before = emulator.ledger.count()
        outcome = kit.run(emulator, "--clean")
        assert (outcome.status, emulator.ledger.count()) == (1, before)
        assert f"{path} is no journal" in outcome.said
        assert path.exists()
        account.assert_untouched()


@pytest.mark.parametrize(
    "text", ["", "{}\n", "[]\n", "what?\n", f"{json.dumps({'place': {**OWN, 'more': 1}})}\n"]
)
def test_what_is_no_journal_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / f"{TOKEN}.journal"
    path.write_text(text)
    with pytest.raises(JournalError, match="is no journal"):
        Journal.open(path, Clock())


def test_a_damaged_line_hides_none_of_the_others(tmp_path: Path) -> None:
    path = write_journal(tmp_path, OWN, "bucket", str(OWN["bucket"]))
    first, line = path.read_text().splitlines(keepends=True)
    path.write_text(f"{first}{line[:20]}\n{line}")
    with pytest.raises(JournalError, match="is no journal"):
        Journal.open(path, Clock())


def test_a_line_that_a_kill_has_cut_off_was_not_begun(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, TOKEN, Place(**OWN), Clock())  # type: ignore[arg-type]
    bucket = journal.add("bucket", str(OWN["bucket"]))
    journal.close()
    with journal.path.open("a") as file:
        file.write('{"kind": "servi')
    opened = Journal.open(journal.path, Clock())
    assert opened.existing() == [bucket]
    opened.add("service", "asr")
    opened.close()
    assert Journal.open(journal.path, Clock()).existing() == [bucket, Created("service", "asr")]
