"""One running Airflow for all tests of this folder, and the services that its connections lead to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tencent_ci_emulator.clock import VirtualClock
from tests.e2e import postgres_redis
from tests.e2e.airflow_stack import NOTICES_KILLS, AirflowStack
from tests.e2e.cluster import cluster as run_cluster
from tests.e2e.fault_service import FaultyService
from tests.e2e.services import Service, serve
from tests.patience import SLOWNESS

BACKEND = os.environ.get("CI_E2E_BACKEND", "local")
DAGS = Path(__file__).parent / "dags"
SETTINGS = {
    **NOTICES_KILLS,
    "AIRFLOW__CORE__PARALLELISM": "16",
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests more time than others before they are taken for hung."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(1800 * SLOWNESS))


@pytest.fixture(scope="session")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose jobs stay ``Submitted`` until the test lets time pass: connection ``held``."""
    settings = {"queue_seconds": 1800, "run_seconds": 1800, "queue_max_concurrent": 100}
    # ahead of the true time for as long as the tests take: a retry looks for jobs that were made since its
    # earlier try's submission, and this clock stands still
    clock = VirtualClock(start=time.time() + 2 * 3600)
    with serve("held", tmp_path_factory.mktemp("held"), clock=clock, **settings) as service:
        yield service


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that does its jobs at once: connection ``quick``."""
    with serve("quick", tmp_path_factory.mktemp("quick")) as service:
        yield service


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyService]:
    """A service that goes wrong, and is killed: connection ``faulty``."""
    with FaultyService(tmp_path_factory.mktemp("faulty"), seed=1) as service:
        yield service


@pytest.fixture(scope="session")
def services(held: Service, quick: Service, faulty: FaultyService) -> dict[str, str]:
    """The connections to all of them, as environment."""
    return held.environment | quick.environment | faulty.environment


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest,
    services: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AirflowStack]:
    """A running Airflow: on one machine, or with ``CI_E2E_BACKEND=celery`` that of :func:`cluster`."""
    if BACKEND == "celery":
        yield request.getfixturevalue("cluster")
        return
    home = tmp_path_factory.mktemp("airflow")
    with AirflowStack(home, DAGS, services | SETTINGS) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(services: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """A running Airflow with two Celery workers, two triggerers, PostgreSQL and Redis."""
    if reason := postgres_redis.missing():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("cluster")
    with run_cluster(home, DAGS, services | SETTINGS) as running:
        yield running
