"""Templates on the emulator: however many tasks want one, whatever answers get lost, there is one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.operators.template import TencentCITemplateOperator
from airflow_provider_ci.operators.voice_separate_template import VoiceSeparateTemplateOperator
from tencent_ci_emulator.server import Emulator
from tests.airflow_version import IS_AIRFLOW_2
from tests.job_samples import has_all, job_of


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


#: The element of a job's operation whose content a template of each type has
TEMPLATES = {
    "Concat": "ConcatTemplate",
    "Tts": "TtsTpl",
    "HighSpeedHd": "Transcode",
    "TranscodePro": "Transcode",
    **{
        tag: tag
        for tag in (
            *("Animation", "NoiseReduction", "PicProcess", "SmartCover", "Snapshot", "SpeechRecognition"),
            *("SuperResolution", "Transcode", "VideoEnhance", "VideoMontage", "VideoProcess"),
            *("VideoTargetRec", "VoiceSeparate"),
        )
    },
}


@pytest.mark.parametrize("tag", TEMPLATES)
def test_templates_of_every_type(
    hook: TencentCIHook, emulator: Emulator, make_context: Callable[..., Any], tag: str
) -> None:
    # a job by one of these two is a Transcode job (1045/49782)
    job_tag = "Transcode" if tag in ("HighSpeedHd", "TranscodePro") else tag
    job = job_of(job_tag, "by-template", f"https://{emulator.bucket}.cos.{emulator.region}.myqcloud.com")
    element = TEMPLATES[tag]
    parameters = job["operation"].pop(element)

    def keep(**changes: Any) -> str:
        operator = TencentCITemplateOperator(
            task_id="template", tag=tag, name="mine-声", parameters={element: {**parameters, **changes}}
        )
        try:
            return operator.execute({})
        finally:
            operator.hook.close()

    first = keep()
    assert keep() == first
    assert emulator.ledger.count("update_template") == 0, "it has these parameters already"
    (template,) = hook.templates.list(tag=tag)
    assert template.tag == tag
    assert has_all(template.parameters, parameters)

    assert keep(Further="value") == first
    (changed,) = hook.templates.list(tag=tag)
    assert has_all(changed.parameters, {**parameters, "Further": "value"})

    job["operation"]["TemplateId"] = first
    operator = TencentCIJobOperator(task_id="job", **job)
    (described,) = hook.describe_jobs([operator.execute(make_context())]).jobs_detail
    operator.hook.close()
    assert described.operation is not None
    assert (described.operation["TemplateId"], described.operation["TemplateName"]) == (first, "mine-声")
    assert element not in described.operation, "the template has it"
