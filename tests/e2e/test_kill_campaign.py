"""A short form of the campaign, which is also a command."""

from __future__ import annotations

import os
import sys

import pytest

from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.kill_campaign import WAYS, campaign
from tests.e2e.services import Service

TASKS = int(os.environ.get("CI_KILL_TASKS", "34"))


@pytest.mark.parametrize("way", WAYS)
def test_each_task_pays_for_one_job(
    stack: AirflowStack, quick: Service, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    report = campaign(stack, quick, way, TASKS, seed=7)
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert (report.state, report.tasks, report.never) == ("success", TASKS, 0)
    assert report.tries > TASKS, "nobody was killed"
    if way == "killed_naive":
        assert report.twice, "the kills do not come around submission: they prove nothing"
    else:
        assert (report.accepted, report.twice) == (TASKS, 0)
