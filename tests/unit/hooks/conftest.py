from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.hooks import clock, credentials
from airflow_provider_ci.hooks.ci import TencentCIHook
from tests.conftest import CREDENTIALS
from tests.scripted_server import ScriptedServer
from tests.unit.hooks import fakes


@pytest.fixture
def make_hook(server: ScriptedServer, connection: Callable[..., str]) -> Any:
    """Return a function that makes hooks for the scripted server; they are closed at the end."""
    hooks: list[TencentCIHook] = []

    def make(**extra: Any) -> TencentCIHook:
        extra = {"connect_timeout": 2, "read_timeout": 5} | extra
        hooks.append(TencentCIHook(connection(extra.pop("url", server.url), **extra)))
        return hooks[-1]

    yield make
    for hook in hooks:
        hook.close()


@pytest.fixture
def hook(make_hook: Callable[..., TencentCIHook]) -> TencentCIHook:
    return make_hook(security_token=CREDENTIALS.token)


@pytest.fixture
def pauses(mocker: MockerFixture) -> list[float]:
    """The hook's pauses between attempts, which take no time; the jitter is its largest."""
    pauses: list[float] = []
    mocker.patch.object(TencentCIHook, "sleep", pauses.append)
    mocker.patch("random.uniform", lambda least, most: most)
    return pauses


@pytest.fixture
def metadata(mocker: MockerFixture) -> Iterator[fakes.Metadata]:
    """The metadata service of a machine with a role."""
    with fakes.serving(fakes.Metadata()) as service:
        mocker.patch("airflow_provider_ci.hooks.instance_role.METADATA_URL", service.url + fakes.PREFIX)
        yield service


@pytest.fixture
def sts() -> Iterator[fakes.STS]:
    """STS, which knows the tests' keys."""
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
