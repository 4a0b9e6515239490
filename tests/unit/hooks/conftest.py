from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

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
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which are not waited for; the jitter is its largest."""
    pauses: list[float] = []
    monkeypatch.setattr(
        "airflow_provider_ci.hooks.ci.time", SimpleNamespace(sleep=pauses.append, time=time.time)
    )
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    return pauses


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[fakes.Metadata]:
    """The metadata service of a machine with a role."""
    with fakes.serving(fakes.Metadata()) as service:
        monkeypatch.setattr("airflow_provider_ci.hooks.metadata.METADATA_URL", service.url + fakes.PREFIX)
        yield service


@pytest.fixture
def sts() -> Iterator[fakes.STS]:
    """STS, which knows the tests' keys."""
    with fakes.serving(fakes.STS(keys={CREDENTIALS.secret_id: CREDENTIALS.secret_key})) as service:
        yield service


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that another test has left: no provider, no clock that was learnt."""
    process = credentials._Process()
    monkeypatch.setattr(credentials, "_process", process)
    monkeypatch.setattr(clock, "_clocks", {})
    yield
    process.threads.shutdown()
