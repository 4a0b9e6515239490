"""Templates on the emulator: however many tasks want one, whatever answers get lost, there is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.voice_separate_template import VoiceSeparateTemplateOperator
from tencent_ci_emulator.server import Emulator
from tests.airflow_version import IS_AIRFLOW_2


@pytest.fixture
def hook(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[TencentCIHook]:
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    yield hook
    hook.close()


def run(**changes: Any) -> str:
    arguments = {"name": "stems", "audio_mode": "IsAudio", "codec": "mp3"} | changes
    operator = VoiceSeparateTemplateOperator(task_id="template", **arguments)
    try:
        return operator.execute({})
    finally:
        operator.hook.close()


def let_operators_run_in_this_thread() -> None:
    """Do what Airflow 2 does in the main thread only, when it is imported."""
    if IS_AIRFLOW_2:
        from airflow.models.baseoperator import ExecutorSafeguard

        ExecutorSafeguard._sentinel.callers = {}


def test_several_tasks_at_once_leave_one_template(hook: TencentCIHook, emulator: Emulator) -> None:
    # each has looked, and found none, before the first is created
    emulator.faults.add("create_template", delay=0.5)
    with ThreadPoolExecutor(4, initializer=let_operators_run_in_this_thread) as threads:
        ids = set(threads.map(lambda _: run(), range(4)))
    assert ids == {template.template_id for template in hook.templates.list()}
    assert len(ids) == 1
    assert emulator.ledger.count("create_template") > 1, "they did meet"


def test_a_changed_dag_updates_the_template(hook: TencentCIHook) -> None:
    first = run()
    assert run(codec="flac", bitrate="") == first
    (template,) = hook.templates.list()
    assert template.parameters["AudioConfig"]["Codec"] == "flac"


@pytest.mark.parametrize("operation", ["create_template", "update_template"])
def test_after_a_lost_response_there_is_one_template(
    hook: TencentCIHook, emulator: Emulator, operation: str
) -> None:
    if operation == "update_template":
        run(codec="aac")
    emulator.faults.add(operation, nth=1, drop=True, when="after")
    template_id = run()
    assert [template.template_id for template in hook.templates.list()] == [template_id]
