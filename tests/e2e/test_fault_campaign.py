"""A short form of the campaign, which is also a command."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest

from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.fault_campaign import Campaign
from tests.e2e.fault_service import FaultyService
from tests.e2e.fault_storms import STORMS

JOBS = int(os.environ.get("CI_FAULT_JOBS", "24"))
#: Short storms, and none after which a task must look for its job for 70 s. It takes longest to meet a state
#: that is not known: only polls do.
BRISK = tuple(
    replace(storm, seconds=storm.seconds if storm.name == "odd answers" else min(storm.seconds, 4.0))
    for storm in STORMS
    if not storm.unaccepted
)


def test_nothing_is_lost_doubled_or_of_the_wrong_colour(
    stack: AirflowStack, faulty: FaultyService, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Campaign(stack, faulty, "soak", JOBS, seed=303).run(BRISK, lull=1.0)
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert report.truth.wrongs == {}
    assert report.truth.accepted == report.truth.wanted >= JOBS
    assert report.truth.red >= 4, "no job was doomed in each way: nothing is proved of red tasks"
    assert len(report.faults) >= 5, "the weather was too good: nothing is proved"
    assert report.faults["unknown state"], "nothing is proved of states that no document names"
    assert report.complaints == []
    assert report.excesses == []
    assert report.requests_per_job < 40
