from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.hooks import clock, credentials
from airflow_provider_ci.hooks.ci import TencentCIHook
from tests.conftest import CREDENTIALS
from tests.patience import PATIENCE
from tests.scripted_server import ScriptedServer
from tests.unit.hooks import fakes
from tests.unit.hooks.transports import Send, by_hook, by_loop


@pytest.fixture
def make_hook(server: ScriptedServer, connection: Callable[..., str]) -> Any:
    """Return a function that makes hooks for the scripted server; they are closed at the end."""
    hooks: list[TencentCIHook] = []

    def make(**extra: Any) -> TencentCIHook:
        extra = {"connect_timeout": PATIENCE, "read_timeout": PATIENCE} | extra
        hooks.append(TencentCIHook(connection(extra.pop("url", server.url), **extra)))
        return hooks[-1]

    yield make
    for hook in hooks:
        hook.close()


@pytest.fixture
def hook(make_hook: Callable[..., TencentCIHook]) -> TencentCIHook:
    return make_hook(security_token=CREDENTIALS.token)


@pytest.fixture(params=[by_hook, by_loop], ids=["hook", "loop"])
def send(request: pytest.FixtureRequest) -> Send:
    """Run the test with each transport."""
    return request.param


@pytest.fixture
def pauses(mocker: MockerFixture) -> list[float]:
    """The pauses of both transports between attempts, which take no time; the jitter is its largest."""
    pauses: list[float] = []
    really_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.extend([seconds] if seconds else [])
        await really_sleep(0)

    mocker.patch.object(TencentCIHook, "sleep", pauses.append)
    mocker.patch("asyncio.sleep", sleep)
    mocker.patch("random.uniform", lambda least, most: most)
    return pauses


@pytest.fixture
def metadata(mocker: MockerFixture) -> Iterator[fakes.Metadata]:
    """The metadata service of a machine with a role."""
    with fakes.serving(fakes.Metadata()) as service:
        mocker.patch("airflow_provider_ci.hooks.instance_role.METADATA_URL", service.url + fakes.PREFIX)
        mocker.patch("airflow_provider_ci.hooks.instance_role.TIMEOUTS", (PATIENCE, PATIENCE))
        yield service


@pytest.fixture
def sts(mocker: MockerFixture) -> Iterator[fakes.STS]:
    """STS, which knows the tests' keys."""
    mocker.patch("airflow_provider_ci.hooks.sts.TIMEOUTS", (PATIENCE, PATIENCE))
    with fakes.serving(fakes.STS(keys={CREDENTIALS.secret_id: CREDENTIALS.secret_key})) as service:
        yield service


@pytest.fixture(autouse=True)
def fresh_process(mocker: MockerFixture) -> Iterator[None]:
    """Forget the credentials and clocks of other tests."""
    process = credentials._Process()
    mocker.patch.object(credentials, "_process", process)
    mocker.patch.object(clock, "_clocks", {})
    yield
    process.threads.shutdown()
