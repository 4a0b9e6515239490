from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import CIHook
from tests.conftest import CREDENTIALS
from tests.scripted_server import ScriptedServer


@pytest.fixture
def make_hook(server: ScriptedServer, connection: Callable[..., str]) -> Any:
    """Return a function that makes hooks for the scripted server; they are closed at the end."""
    hooks: list[CIHook] = []

    def make(**extra: Any) -> CIHook:
        extra = {"connect_timeout": 2, "read_timeout": 5} | extra
        hooks.append(CIHook(connection(extra.pop("url", server.url), **extra)))
        return hooks[-1]

    yield make
    for hook in hooks:
        hook.close()


@pytest.fixture
def hook(make_hook: Callable[..., CIHook]) -> CIHook:
    return make_hook(security_token=CREDENTIALS.token)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which are not waited for; the jitter is its largest."""
    pauses: list[float] = []
    clock = SimpleNamespace(sleep=pauses.append, time=time.time)
    monkeypatch.setattr("airflow_provider_ci.hooks.ci.time", clock)
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    return pauses
