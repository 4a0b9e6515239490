"""The kit of ``make live``, with emulators that differ from what is assumed, one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from live.clock import Clock
from live.observations import OBSERVATIONS
from live.plan import PAID_JOBS
from tencent_ci_emulator.server import Emulator
from tests.live.account import OTHER_BUCKET, Account
from tests.live.deviations import DEVIATIONS, DEVIATIONS_IN_AIRFLOW, is_noticed, label
from tests.live.kit import BY_HOOK, Kit, Outcome, kit, report_of, virtual_emulator
from tests.patience import PATIENCE

__all__ = ["kit"]


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=label)
def test_the_kit_notices_the_only_thing_that_differs(deviation: tuple[str, Any], kit: Kit) -> None:
    name, value = deviation
    with virtual_emulator({name: value}) as emulator:
        outcome = kit.run(emulator, "--yes", "--only", *BY_HOOK)
        assert len(emulator.ledger.accepted_jobs()) <= 12
        assert emulator.buckets() == [emulator.bucket]
    assert outcome.status == 0
    assert list(outcome.deviations) == [name]
    assert is_noticed(outcome.deviations[name], value)


def test_an_emulator_that_behaves_as_reported_is_observed_in_the_same_way(kit: Kit, tmp_path: Path) -> None:
    """All that differs at once, as far as one behaviour does not hide another."""
    hiding = {"unbound_bucket": {"status": 403, "code": "AccessDenied"}, "misspelt_placeholder": "removed"}
    with virtual_emulator({**dict(reversed(DEVIATIONS)), **hiding}) as emulator:
        first = kit.run(emulator, "--yes", "--only", *BY_HOOK)
    assert len(first.deviations) >= 10
    report = tmp_path / "first.json"
    kit.report.rename(report)
    with virtual_emulator(report) as emulator:
        second = kit.run(emulator, "--yes", "--only", *BY_HOOK)
    assert second.observed.keys() == first.observed.keys()
    assert [
        name for name in first.observed if not is_noticed(second.observed[name], first.observed[name])
    ] == []
    assert second.report["not_observed"].keys() == first.report["not_observed"].keys()


def run_with_airflow(
    kit: Kit, as_observed: Mapping[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Outcome:
    """Run all of the kit. The account's own objects stay as they are, and the plan is kept to."""
    settings: dict[str, Any] = {"queue_seconds": 5, "run_seconds": 8, "buckets": (OTHER_BUCKET,)}
    with Emulator(as_observed=report_of(as_observed), **settings) as emulator:
        account = Account(emulator, folder, monkeypatch)
        outcome = kit.run(emulator, "--yes", "--patience", str(2 * PATIENCE), clock=Clock())
        jobs = emulator.ledger.accepted_jobs()
        account.assert_untouched()
    assert outcome.report["paid_jobs"] == len(jobs) <= 12
    planned = Counter(job.tag for job in PAID_JOBS)
    assert Counter(job.tag for job in jobs) <= planned
    assert kit.journal_files() == []
    return outcome


def test_a_complete_run_finds_everything_as_assumed(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run_with_airflow(kit, {}, tmp_path, monkeypatch)
    assert (outcome.status, outcome.deviations) == (0, {})
    assert set(outcome.observed) == {each.name for each in OBSERVATIONS if each.is_tried}
    assert outcome.report["operators"] == {job.operator: "Success" for job in PAID_JOBS if job.operator}


@pytest.mark.parametrize("deviation", DEVIATIONS_IN_AIRFLOW, ids=label)
def test_a_complete_run_notices_the_only_thing_that_differs(
    deviation: tuple[str, Any], kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, value = deviation
    outcome = run_with_airflow(kit, {name: value}, tmp_path, monkeypatch)
    assert list(outcome.deviations) == [name]
    assert is_noticed(outcome.deviations[name], value)


def test_a_connection_of_the_users_airflow(kit: Kit, airflow_db: None) -> None:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with virtual_emulator() as emulator:
        extra = emulator.connection["extra"]
        connection = Connection(
            conn_id="my_account",
            conn_type="tencent_ci",
            login=emulator.secret_id,
            password=emulator.secret_key,
            extra=extra,
        )
        with create_session() as session:
            session.add(connection)
        try:
            named = kit.run(emulator, "--yes", "--conn-id", "my_account", "--only", "unknown_job")
            unknown = kit.run(emulator, "--conn-id", "no_account", "--only", "unknown_job")
        finally:
            with create_session() as session:
                session.query(Connection).filter_by(conn_id="my_account").delete()
    assert (named.status, [*named.observed]) == (0, ["unknown_job"])
    assert (unknown.status, unknown.said) == (2, unknown.said)
    assert "Airflow has no connection 'no_account'" in unknown.said
