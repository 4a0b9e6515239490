"""The plugin: off unless configured, and no reason for the API server not to start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest

from airflow_provider_ci.callback_endpoint import plugin
from airflow_provider_ci.hooks.callback_settings import URL_PREFIX
from tests.airflow_version import HAS_CALLBACK_ENDPOINT
from tests.conftest import Logs

OPTION = "AIRFLOW__TENCENT_CI__CALLBACK_CONN_IDS"


def test_airflow_finds_it() -> None:
    (entry,) = [each for each in entry_points(group="airflow.plugins") if each.name == "tencent_ci_callbacks"]
    assert entry.load() is plugin.TencentCICallbacksPlugin


@pytest.mark.parametrize("value", [None, "", " , "])
def test_it_is_off_unless_configured(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv(OPTION, value)
    assert plugin.configured_apps() == []


@pytest.mark.skipif(not HAS_CALLBACK_ENDPOINT, reason="needs Airflow 3.3")
def test_it_is_on_with_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPTION, "a, b,")
    (app,) = plugin.configured_apps()
    assert app["url_prefix"] == URL_PREFIX
    assert app["app"]._conn_ids == {"a", "b"}


def test_an_older_airflow_says_so(monkeypatch: pytest.MonkeyPatch, logs: Logs) -> None:
    monkeypatch.setenv(OPTION, "a")
    monkeypatch.setattr(plugin, "AIRFLOW_MINOR", (3, 2))
    assert plugin.configured_apps() == []
    (line,) = logs.at("warning")
    assert line.startswith(
        "[tencent_ci] callback_conn_ids is set, but the callback endpoint needs Airflow 3.3"
    )


def test_a_failure_is_a_warning(monkeypatch: pytest.MonkeyPatch, logs: Logs) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no file")

    monkeypatch.setattr(plugin.conf, "get", fail)
    assert plugin.configured_apps() == []
    assert logs.at("warning") == ["The callback endpoint is not available: OSError: no file"]


@pytest.mark.parametrize("conn_ids", ["", "tencent_ci_default"])
def test_a_process_that_loads_it_loads_no_http_library(conn_ids: str) -> None:
    program = (
        "import json, sys; from airflow.plugins_manager import AirflowPlugin; before = {*sys.modules}\n"
        "import airflow_provider_ci.callback_endpoint.plugin\n"
        "print('LOADED' + json.dumps(sorted({*sys.modules} - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, OPTION: conn_ids},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(done.stdout.rpartition("LOADED")[2]))
    heavy = {"aiohttp", "requests", "starlette", "sqlalchemy", "lxml"}
    assert {name.partition(".")[0] for name in loaded} & heavy == set()
