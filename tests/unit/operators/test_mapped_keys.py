"""Whether instances of a mapped task write their results to one key."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, XComArg, task

from airflow_provider_ci.operators.mapped_keys import Collision, check_result_keys, find_collision
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from tests.conftest import Logs

NONE, POSSIBLE, CERTAIN = Collision
TWO = ["in/a.mp3", "in/b.mp3"]


@task
def other_task() -> list[Any]:
    """Return what is unknown before the DAG runs."""
    return []


# Values of another task
OUTPUTS = {"input_object": "in/x.mp3", "voice_object": "out/x.mp3", "bucket": "x-1250000001"}


def collision(fixed: dict[str, Any], over: Any, map_index: int = 0, **of_the_dag: Any) -> Collision:
    """Return the collision of an instance's ``voice_object``, whose templates are not rendered.

    :param over: returns a dict, for ``expand()``, or anything else, for ``expand_kwargs()``.
    """
    with DAG(dag_id="mapped", schedule=None, **of_the_dag):
        given = over()
        partial = VoiceSeparateOperator.partial(task_id="separate", **fixed)
        mapped: Any = partial.expand(**given) if isinstance(given, dict) else partial.expand_kwargs(given)
    if isinstance(given, dict):
        arguments = {
            name: OUTPUTS[name] if isinstance(values, XComArg) else values[0]
            for name, values in given.items()
        }
    elif isinstance(given, list):
        arguments = given[map_index]
    else:
        known = {*fixed, *of_the_dag.get("default_args", ())}
        arguments = {name: OUTPUTS[name] for name in ("input_object", "voice_object") if name not in known}
    return find_collision(mapped.unmap(arguments), mapped, "voice_object", map_index)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("out/voice.mp3", CERTAIN),
        ("out/${ext}", CERTAIN),
        ("out/{{ run_id }}.mp3", CERTAIN),
        ("{{ds}}/{{- ts_nodash -}}", CERTAIN),
        ("{{ params.out }}", CERTAIN),
        ("{{ params['out'] }}-{{ dag_run.conf[\"out\"] }}", CERTAIN),
        ("{{ logical_date | ds_nodash }}", CERTAIN),
        ("{{ data_interval_start.year }}", CERTAIN),
        ("out/${jobid}.mp3", NONE),
        ("{{ run_id }}/${jobid}", NONE),
        ("out/{{ ti.map_index }}.mp3", NONE),
        ("out/{{ task_instance.map_index }}.mp3", NONE),
        ("out/{{ task.input_object }}.mp3", NONE),
        ("{% if ti.map_index %}a{% endif %}", NONE),
        ("out/{{ macros.uuid.uuid4() }}.mp3", POSSIBLE),
        ("out/{{ var.value.out }}.mp3", POSSIBLE),
        ("out/{{ logical_date.now() }}.mp3", POSSIBLE),
        ("out/{{ params.out | random }}.mp3", POSSIBLE),
        ("out/{{ my_macro }}.mp3", POSSIBLE),
        ("out/{{ run_id + my_macro() }}.mp3", POSSIBLE),
        ("out/{# #}.mp3", POSSIBLE),
        ("{% set a = b %}out", POSSIBLE),
    ],
)
def test_the_key_decides(key: str, expected: Collision) -> None:
    assert collision({"voice_object": key}, lambda: {"input_object": TWO}) is expected
    assert collision({}, lambda: {"input_object": TWO, "voice_object": [key]}) is expected
    assert collision({}, lambda: [{"input_object": each, "voice_object": key} for each in TWO]) is expected
    assert collision({"voice_object": key}, lambda: [{"input_object": each} for each in TWO]) is expected
    assert collision({}, lambda: {"input_object": TWO}, default_args={"voice_object": key}) is expected
    assert collision({"voice_object": key}, lambda: {"input_object": TWO[:1]}) is NONE


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ({"codec": ["mp3", "wav"]}, NONE),
        ({"codec": ["mp3", "mp3"]}, CERTAIN),
        ({"codec": ["mp3", "wav"], "input_object": TWO}, CERTAIN),
        ({"bucket": ["a-1250000001", "b-1250000001"]}, NONE),
        ({"output_bucket": ["a-1250000001"], "input_object": TWO}, CERTAIN),
        ({"template_id": ["t1", "t2"]}, NONE),
        ({"samplerate": [44100, 48000]}, CERTAIN),
    ],
    ids=str,
)
def test_results_differ_by_bucket_or_extension(over: dict[str, list[Any]], expected: Collision) -> None:
    fixed = {
        "voice_object": "out/voice.${ext}",
        **({} if "input_object" in over else {"input_object": TWO[0]}),
    }
    assert collision(fixed, lambda: over) is expected


def test_a_codec_without_extension_in_the_key_makes_no_difference() -> None:
    fixed = {"voice_object": "out/voice.mp3", "input_object": TWO[0]}
    assert collision(fixed, lambda: {"codec": ["mp3", "wav"]}) is CERTAIN


@pytest.mark.parametrize(("map_index", "expected"), [(0, CERTAIN), (1, CERTAIN), (2, NONE)])
def test_of_dicts_only_those_with_one_key_collide(map_index: int, expected: Collision) -> None:
    keys = ["out/a.mp3", "out/a.mp3", "out/b.mp3"]
    assert (
        collision({"input_object": TWO[0]}, lambda: [{"voice_object": key} for key in keys], map_index)
        is expected
    )


def test_of_dicts_another_result_may_have_the_key() -> None:
    dicts = [
        {"voice_object": "out/a.mp3", "background_object": "out/b.mp3"},
        {"voice_object": "out/b.mp3", "background_object": "out/a.mp3"},
    ]
    assert collision({"input_object": TWO[0]}, lambda: dicts) is CERTAIN


def test_of_dicts_another_bucket_is_another_object() -> None:
    buckets = ["a-1250000001", "b-1250000001"]
    fixed = {"input_object": TWO[0], "voice_object": "out/a.mp3"}
    assert collision(fixed, lambda: [{"output_bucket": bucket} for bucket in buckets]) is NONE


def test_outputs_of_other_tasks() -> None:
    assert collision({"voice_object": "out/a.mp3"}, lambda: {"input_object": other_task()}) is CERTAIN
    assert collision({}, lambda: {"input_object": TWO, "voice_object": other_task()}) is NONE
    bucket = collision({"voice_object": "out/a.mp3"}, lambda: {"input_object": TWO, "bucket": other_task()})
    assert bucket is NONE
    assert collision({"voice_object": "out/a.mp3"}, other_task) is POSSIBLE
    assert collision({}, other_task, default_args={"voice_object": "out/a.mp3"}) is POSSIBLE
    assert collision({"input_object": TWO[0]}, other_task) is NONE


def test_params_may_be_mapped_over() -> None:
    fixed = {"voice_object": "{{ params.out }}"}
    assert collision(fixed, lambda: [{"input_object": each, "params": {"out": each}} for each in TWO]) is NONE


def test_a_template_for_the_bucket() -> None:
    over = {"input_object": TWO}
    fixed = {"voice_object": "out/voice.mp3"}
    assert collision({**fixed, "output_bucket": "{{ ti.map_index }}-1250000001"}, lambda: over) is NONE
    assert collision({**fixed, "output_bucket": "{{ var.value.bucket }}"}, lambda: over) is POSSIBLE
    assert collision({**fixed, "output_bucket": "{{ params.bucket }}"}, lambda: over) is CERTAIN


def test_no_key_is_no_collision() -> None:
    fixed = {"voice_object": "", "background_object": "out/${jobid}.mp3"}
    assert collision(fixed, lambda: {"input_object": TWO}) is NONE


@pytest.mark.parametrize(
    ("key", "warns"),
    [
        ("out/{{ my_macro() }}", True),
        ("out/{{ ti.map_index }}", False),
        ("out/{{ my_macro() }}/${jobid}", False),
    ],
)
def test_a_possible_collision_is_logged(logs: Logs, key: str, warns: bool) -> None:
    with DAG(dag_id="mapped", schedule=None):
        mapped = VoiceSeparateOperator.partial(task_id="separate", voice_object=key).expand(input_object=TWO)
    instance: Any = mapped.unmap({"input_object": TWO[0]})
    check_result_keys(instance, {"ti": SimpleNamespace(map_index=0)})
    said = [line for line in logs.at("warning") if "another instance of this mapped task" in line]
    assert bool(said) == warns
