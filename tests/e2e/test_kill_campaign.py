"""A short form of the campaign, which is also a command."""

from __future__ import annotations

import os
import sys

import pytest

from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.kill_campaign import NAIVE, TAGS, WAYS, campaign
from tests.e2e.services import Service

TASKS = int(os.environ.get("CI_KILL_TASKS", "24"))
#: Every way with the first type; of the other types fewer tasks, each in one of the ways to wait
RUNS = [
    *((way, TAGS[0], TASKS) for way in WAYS),
    *(
        (way, tag, TASKS // 3)
        for way, tag in zip(
            ("killed_worker", "killed_deferred", "killed_sensed", "killed_worker"), TAGS[1:], strict=True
        )
    ),
]


@pytest.mark.parametrize(("way", "tag", "tasks"), RUNS)
def test_each_task_pays_for_one_job(
    stack: AirflowStack, quick: Service, capsys: pytest.CaptureFixture[str], way: str, tag: str, tasks: int
) -> None:
    report = campaign(stack, quick, way, tag, tasks, seed=7)
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert (report.state, report.tasks, report.never) == ("success", tasks, 0)
    assert report.tries > tasks, "nobody was killed"
    if way == NAIVE:
        assert report.twice, "the kills do not come around submission: they prove nothing"
    else:
        assert (report.accepted, report.twice) == (tasks, 0)
