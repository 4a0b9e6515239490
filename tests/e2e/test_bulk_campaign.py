"""A short form of the campaign, which is also a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.bulk_campaign import DOOMED, DOOMED_FILES, SHORT_TIMES, WEATHERS, BulkCampaign, running
from tests.e2e.services import Service
from tests.patience import SLOWNESS

FILES = int(os.environ.get("CI_BULK_FILES", "60"))
KILLS = int(os.environ.get("CI_BULK_KILLS", "3"))


@pytest.fixture(scope="module")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AirflowStack, Service]]:
    """An Airflow of its own: other tests must not lose their scheduler.

    It submits so slowly that kills hit the task before it is deferred, after which it has no process.
    """
    settings = SHORT_TIMES | {"CI_E2E_RATE": str(min(30, 50 / SLOWNESS))}
    with running(tmp_path_factory.mktemp("bulk"), settings) as (stack, service):
        yield stack, service


@pytest.mark.parametrize(
    ("way", "weather"), [*zip(("bulk_deferred", "bulk_worker", "bulk_deferred"), WEATHERS, strict=True)]
)
def test_each_item_is_paid_once(
    bulk: tuple[AirflowStack, Service], capsys: pytest.CaptureFixture[str], way: str, weather: str
) -> None:
    stack, service = bulk
    kills = 0 if weather == DOOMED else KILLS
    report = BulkCampaign(stack, service, way, weather, FILES, seed=7).run(kills)
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert report.state == "success", stack.task_logs(way)[-5000:]
    assert (report.repeated, report.missing, report.untrue) == ([], 0, [])
    assert report.accepted == FILES + (DOOMED_FILES if weather == DOOMED else 0)
    assert report.tries > 1, "nobody was killed, and no job has failed"
