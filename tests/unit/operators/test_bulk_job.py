"""The arguments of bulk operators, and what they refuse when a DAG is parsed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_ci.operators.argument_errors import TaskArgumentError
from airflow_provider_ci.operators.bulk_job import TencentCIBulkJobOperator
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator

VOICE = {"voice_object": "out/${InputName}-${jobid}.${ext}", "audio_mode": "IsAudio"}


def task(**arguments: Any) -> VoiceSeparateBulkOperator:
    return VoiceSeparateBulkOperator(task_id="separate", **{**VOICE, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {"input_objects": ["in/a.mp3", {"input_object": "in/b.mp3", "voice_object": "out/b.mp3"}]},
        {"input_objects": "{{ ti.xcom_pull('other') }}", "voice_object": None},
        {"input_objects": ["in/{{ ds }}.mp3"]},
        {"input_objects": [{"input_object": "{{ x }}", "voice_object": "out"}], "voice_object": None},
        {"input_objects": ["in/{{ ds }}.mp3", "in/a.mp3"]},
        {"prefix": "in/", "include": ["*.mp3"], "exclude": ["*/draft-*"]},
        {"prefix": "{{ params.prefix }}"},
        {"input_manifest": "lists/today.jsonl", "voice_object": None},
        {"prefix": "in/", "allow_failed": 0.05, "max_minutes": 90.5, "media_info_samples": "all"},
        {"prefix": "in/", "wait_for_completion": True, "durable": True, "dry_run": "true"},
    ],
)
def test_what_can_work_is_accepted(arguments: dict[str, Any]) -> None:
    operator = task(**arguments)
    assert operator.wait_for_completion is True
    assert operator.deferrable is False
    assert operator.is_dry_run is ("dry_run" in arguments)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "no input is set, allowed: exactly one of input_objects, prefix, input_manifest"),
        ({"prefix": ""}, "no input is set (prefix is ''), allowed: exactly one of "),
        ({"prefix": "in/", "input_objects": ["a"]}, "input_objects and prefix are set, allowed: exactly one"),
        ({"input_objects": []}, "input_objects is [], allowed: at least one item"),
        (
            {"input_objects": ["a"], "include": ["*"]},
            "include is set, allowed: only together with prefix",
        ),
        ({"prefix": "in/", "codec": "mp4"}, "codec is 'mp4', allowed: aac, flac, mp3, amr, wav"),
        ({"prefix": "in/", "voice_object": None}, "voice_object is None, allowed: an object key"),
        ({"input_objects": [{"input_object": "a", "voice_objekt": "b"}]}, "voice_objekt"),
        ({"prefix": "in/", "user_data": "x"}, "user_data is 'x', allowed: None, because the idempotency key"),
        (
            {"prefix": "in/", "wait_for_completion": False},
            "wait_for_completion is False, allowed: True, because a bulk task always waits",
        ),
        ({"prefix": "in/", "durable": False}, "durable is False, allowed: True, because a retry"),
        ({"prefix": "in/", "input_object": "a"}, "input_object is 'a', allowed: in an item of input_objects"),
        ({"prefix": "in/", "allow_failed": 1.5}, "allow_failed is 1.5, allowed: an integer from 0 on, or"),
        ({"prefix": "in/", "allow_failed": True}, "allow_failed is True, allowed: an integer from 0 on, or"),
        ({"prefix": "in/", "max_jobs": 0}, "max_jobs is 0, allowed: an integer from 1 on"),
        ({"prefix": "in/", "max_minutes": 0}, "max_minutes is 0, allowed: a number of minutes above 0"),
        ({"prefix": "in/", "max_active_jobs": 0}, "max_active_jobs is 0, allowed: an integer from 1 on"),
        (
            {"prefix": "in/", "media_info_samples": "some"},
            "media_info_samples is 'some', allowed: an integer from 1 on, or 'all'",
        ),
        (
            {"prefix": "in/", "max_submissions_per_second": 0},
            "max_submissions_per_second is 0, allowed: a number above 0, at most 1000",
        ),
        (
            {"prefix": "in/", "manifest_object": "/done.jsonl"},
            "manifest_object is '/done.jsonl', allowed: an object key that neither begins nor ends with /",
        ),
        (
            {"prefix": "in/", "manifest_object": "x" * 851},
            "allowed: a key of at most 850 bytes in UTF-8; this one has 851",
        ),
        (
            {"prefix": "in/", "manifest_object": "cos://media-1250000001/done.jsonl"},
            "allowed: an object key, here 'done.jsonl'",
        ),
        ({"prefix": "in/", "dry_run": "maybe"}, "dry_run is 'maybe', allowed: True or False"),
        (
            {"prefix": "in/", "max_jobs": "{{ x }}"},
            "allowed: a value, because this argument is not templated",
        ),
    ],
)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(TaskArgumentError) as caught:
        task(**arguments)
    assert problem in str(caught.value)


def test_a_mapped_bulk_task_is_checked_too() -> None:
    partial = VoiceSeparateBulkOperator.partial(task_id="separate", **VOICE)
    partial.expand(input_objects=[["in/a.mp3"], ["in/b.mp3"]])
    with pytest.raises(TaskArgumentError, match="max_jobs is 'many', allowed: an integer from 1 on"):
        VoiceSeparateBulkOperator.partial(task_id="separate", max_jobs="many", **VOICE)


def test_any_type_of_job() -> None:
    operation = {
        "Snapshot": {"Start": "0", "Count": "1"},
        "Output": {"Object": "out/${InputName}-${number}.jpg"},
    }
    operator = TencentCIBulkJobOperator(task_id="x", tag="Snapshot", prefix="in/", operation=operation)
    assert "input_object" not in operator.template_fields
    assert "user_data" not in operator.template_fields
    with pytest.raises(TaskArgumentError, match="operation"):
        TencentCIBulkJobOperator(task_id="x", tag="Snapshot", prefix="in/", operation={"Output": {}})


@pytest.fixture
def with_connection(connection: Callable[..., str]) -> str:
    return connection("http://127.0.0.1:9")


@pytest.mark.usefixtures("with_connection")
class TestTheManifestsKey:
    def key(self, operator: VoiceSeparateBulkOperator, **ids: Any) -> str:
        ti = SimpleNamespace(
            **{
                "dag_id": "songs",
                "run_id": "manual__2026-01-01T00:00:00+00:00",
                "task_id": "group.separate",
                "map_index": -1,
                "max_tries": 2,
                **ids,
            }
        )
        run = SimpleNamespace(start_date=datetime(2026, 1, 1, tzinfo=UTC))
        context: Any = {"ti": ti, "dag_run": run}
        return operator._manifest_location(context)["object"]

    def test_says_whose_it_is(self) -> None:
        key = self.key(task(prefix="in/"))
        assert key.startswith("airflow/songs/manual__2026-01-01T00:00:00+00:00/group.separate-")
        assert key.endswith(".jsonl")

    def test_is_the_users_own(self) -> None:
        assert self.key(task(prefix="in/", manifest_object="lists/done.jsonl")) == "lists/done.jsonl"

    def test_differs_between_task_instances_and_not_between_tries(self) -> None:
        operator = task(prefix="in/")
        keys = {
            self.key(operator),
            self.key(operator, map_index=0),
            self.key(operator, map_index=1),
            self.key(operator, run_id="manual/2"),
            self.key(operator, run_id="manual_2"),
            self.key(operator, task_id="other"),
        }
        assert len(keys) == 6
        assert self.key(operator) == self.key(operator, max_tries=5)

    @pytest.mark.parametrize("name", ["日本語" * 80, "../..", "a b\n", "x" * 900])
    def test_is_an_object_key_whatever_the_ids_are(self, name: str) -> None:
        key = self.key(task(prefix="in/"), run_id=name, dag_id=name)
        assert len(key.encode()) <= 850
        assert key.isascii()
        assert key.isprintable()
        assert not {".", "..", ""} & {*key.split("/")}
