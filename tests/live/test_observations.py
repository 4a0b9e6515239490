"""What the kit finds out, from emulators that differ from what is assumed.

``tests/e2e/test_live.py`` does the same with every deviation, and with Airflow.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_ci.exceptions import ServiceError
from live.observations import OBSERVATIONS
from live.watched_jobs import JobWatch, WatchedJob
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.observed import ObservedBehaviour
from tencent_ci_emulator.server import Emulator
from tests.live.deviations import DEVIATIONS, is_noticed, label
from tests.live.kit import BY_HOOK, Kit, VirtualTime, virtual_emulator

_QUICK = (
    "unknown_job",
    "wrong_region",
    "template_not_found",
    "invalid_argument",
    "listed_tags",
    "progress",
    "batch_id_length",
    "batch_user_data",
)


def test_the_kit_finds_everything_as_assumed(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, "--yes", "--only", *BY_HOOK)
    assert outcome.status == 0
    assert outcome.report["not_observed"] == {}
    assert outcome.deviations == {}
    assert set(outcome.observed) == set(BY_HOOK)


@pytest.mark.parametrize("deviation", [each for each in DEVIATIONS if each[0] in _QUICK], ids=label)
def test_the_kit_notices_what_differs(deviation: tuple[str, Any], kit: Kit) -> None:
    name, value = deviation
    with virtual_emulator({name: value}) as emulator:
        outcome = kit.run(emulator, "--yes", "--only", *_QUICK)
    assert outcome.status == 0
    assert list(outcome.deviations) == [name]
    assert is_noticed(outcome.deviations[name], value)


def test_the_batch_job_makes_one_job_within_the_prefix(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, "--yes", "--only", "batch_id_length", "batch_user_data")
        (job,) = emulator.ledger.accepted_jobs()
        requests = emulator.ledger.requests()
        deleted = {record.path for record in requests if record.operation == "delete_object"}
    assert (job.tag, job.state, outcome.report["paid_jobs"]) == ("VoiceSeparate", "Success", 1)
    (prefix,) = {path.split("/")[1] for path in deleted}
    assert f"/{prefix}/out/batch-{job.job_id}.mp3" in deleted
    evidence = outcome.report["observations"]["batch_id_length"]["evidence"]
    assert evidence == "the id of a batch job, which ended Success"


def test_a_job_before_a_service_is_open_takes_the_place_of_the_cancelled_one(kit: Kit) -> None:
    only = ("--yes", "--only", "unbound_bucket", "cancel_submitted", "callback_kafka_config")
    with virtual_emulator({"unbound_bucket": "accepted"}) as emulator:
        outcome = kit.run(emulator, *only)
        assert len(emulator.ledger.accepted_jobs()) == outcome.report["paid_jobs"] == 1
    assert outcome.observed == {"unbound_bucket": "accepted", "cancel_submitted": "cancelled"}
    assert "no other one was submitted" in outcome.report["not_observed"]["callback_kafka_config"]


def test_a_refusal_before_a_service_is_open_is_followed_by_no_job_that_nobody_asked_for(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, "--yes", "--only", "unbound_bucket")
        assert (outcome.report["paid_jobs"], emulator.ledger.accepted_jobs()) == (0, [])
    assert outcome.deviations == {}


class SlowMachine(VirtualTime):
    """Each pause takes ``seconds`` more than was asked for."""

    def __init__(self, emulator: Emulator, seconds: float) -> None:
        assert isinstance(emulator.clock, VirtualClock)
        super().__init__(emulator.clock)
        self._more = seconds

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds + self._more)


_LAGS = ("list_lag_seconds", "ended_lag_seconds")


@pytest.mark.parametrize(("seconds", "deviations"), [(9.5, []), (10, []), (11.9, [*_LAGS])])
def test_a_lag_is_noticed_above_the_assumed_one(seconds: float, deviations: list[str], kit: Kit) -> None:
    with virtual_emulator(dict.fromkeys(_LAGS, seconds)) as emulator:
        outcome = kit.run(emulator, "--yes", "--only", *_LAGS)
    assert sorted(outcome.deviations) == sorted(deviations)


def test_a_slow_machine_imagines_nothing(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its looks are so far apart that jobs begin, and lags end, between them."""
    cancel = JobWatch.cancel

    def cancel_late(watch: JobWatch, job: WatchedJob) -> ServiceError | None:
        clock.sleep(0)  # until the job has begun
        return cancel(watch, job)

    monkeypatch.setattr(JobWatch, "cancel", cancel_late)
    with virtual_emulator(dict.fromkeys(_LAGS, 8), queue_seconds=0) as emulator:
        clock = SlowMachine(emulator, 5)
        outcome = kit.run(emulator, "--yes", "--only", *BY_HOOK, clock=clock)
    assert (outcome.status, outcome.deviations) == (0, {})
    assert "had probably begun" in outcome.report["not_observed"]["cancel_submitted"]


def test_what_a_person_has_found_is_added_as_the_report_says(kit: Kit) -> None:
    untried = [each.name for each in OBSERVATIONS if not each.is_tried]
    assert "cancelled_job_billed" in untried
    with virtual_emulator() as emulator:
        report = kit.run(emulator, "--yes", "--only", *untried).report
    for name in untried:
        place, _, entry = report["not_observed"][name].partition(" in this file: ")
        assert place.endswith('add to "observations"')
        added = json.loads(f"{{{entry.partition(', with')[0]}}}")
        assert added.keys() == {name}
        report["observations"] |= added
    ObservedBehaviour.read(report)
    report["observations"]["cancelled_job_billed"]["observed"] = True
    assert ObservedBehaviour.read(report).cancelled_job_billed
