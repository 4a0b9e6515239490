"""One running Airflow for all tests of this folder, and the services that its connections lead to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_ci.emulator.clock import VirtualClock
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.fault_service import FaultyService
from tests.e2e.services import Service, serve


@pytest.fixture(scope="session")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose jobs stay ``Submitted`` until the test lets time pass: connection ``held``."""
    settings = {"queue_seconds": 1800, "run_seconds": 1800, "queue_max_concurrent": 100}
    with serve("held", tmp_path_factory.mktemp("held"), clock=VirtualClock(), **settings) as service:
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
def stack(
    held: Service, quick: Service, faulty: FaultyService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowStack]:
    """A running Airflow."""
    home, dags = tmp_path_factory.mktemp("airflow"), Path(__file__).parent / "dags"
    settings = {"AIRFLOW__CORE__PARALLELISM": "16", "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
    services = held.environment | quick.environment | faulty.environment
    with AirflowStack(home, dags, services | settings) as running:
        yield running
