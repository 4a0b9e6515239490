from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.triggers import poller
from tests.unit.triggers import virtual


@pytest.fixture
def service(mocker: MockerFixture) -> Iterator[virtual.Service]:
    """A service in virtual time, which the poller and the trigger speak to; the jitter is none."""
    service = virtual.Service()
    for module in ("airflow_provider_ci.triggers.poller", "airflow_provider_ci.hooks.aio"):
        mocker.patch(f"{module}.AsyncClient", service.client)
    mocker.patch("airflow_provider_ci.hooks.aio.load_settings", service.load_settings)
    clock = SimpleNamespace(time=virtual.unix_time, monotonic=virtual.now)
    mocker.patch("airflow_provider_ci.triggers.job.time", clock)
    mocker.patch.object(poller.random, "uniform", lambda least, most: (least + most) / 2)
    yield service
    assert service.open == 0
