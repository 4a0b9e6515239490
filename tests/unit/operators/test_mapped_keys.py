"""Which instances of a mapped task are known to write their results to one key."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, XComArg, task

from airflow_provider_ci.operators.mapped_keys import Collision, check_result_keys, find_collision
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from tests.conftest import Logs

NO, PERHAPS, CERTAIN = Collision
TWO = ["in/a.mp3", "in/b.mp3"]


@task
def made_elsewhere() -> list[Any]:
    """Return what is not known before the DAG runs."""
    return []


# What another task may hand over
HANDED_OVER = {"input_object": "in/x.mp3", "voice_object": "out/x.mp3", "bucket": "x-1250000001"}


def sharing(fixed: dict[str, Any], over: Any, map_index: int = 0, **of_the_dag: Any) -> Collision:
    """Tell it of ``voice_object`` of an instance, whose templates are not rendered.

    :param over: gives a dict for ``expand()``, or what is for ``expand_kwargs()``.
    """
    with DAG(dag_id="mapped", schedule=None, **of_the_dag):
        given = over()
        partial = VoiceSeparateOperator.partial(task_id="separate", **fixed)
        mapped: Any = partial.expand(**given) if isinstance(given, dict) else partial.expand_kwargs(given)
    if isinstance(given, dict):
        arguments = {
            name: HANDED_OVER[name] if isinstance(values, XComArg) else values[0]
            for name, values in given.items()
        }
    elif isinstance(given, list):
        arguments = given[map_index]
    else:
        known = {*fixed, *of_the_dag.get("default_args", ())}
        arguments = {
            name: HANDED_OVER[name] for name in ("input_object", "voice_object") if name not in known
        }
    return find_collision(mapped.unmap(arguments), mapped, "voice_object", map_index)


@pytest.mark.parametrize(
    ("key", "shared"),
    [
        ("out/voice.mp3", CERTAIN),
        ("out/${ext}", CERTAIN),
        ("out/{{ run_id }}.mp3", CERTAIN),
        ("{{ds}}/{{- ts_nodash -}}", CERTAIN),
        ("{{ params.out }}", CERTAIN),
        ("{{ params['out'] }}-{{ dag_run.conf[\"out\"] }}", CERTAIN),
        ("{{ logical_date | ds_nodash }}", CERTAIN),
        ("{{ data_interval_start.year }}", CERTAIN),
        ("out/${jobid}.mp3", NO),
        ("{{ run_id }}/${jobid}", NO),
        ("out/{{ ti.map_index }}.mp3", NO),
        ("out/{{ task_instance.map_index }}.mp3", NO),
        ("out/{{ task.input_object }}.mp3", NO),
        ("{% if ti.map_index %}a{% endif %}", NO),
        ("out/{{ macros.uuid.uuid4() }}.mp3", PERHAPS),
        ("out/{{ var.value.out }}.mp3", PERHAPS),
        ("out/{{ logical_date.now() }}.mp3", PERHAPS),
        ("out/{{ params.out | random }}.mp3", PERHAPS),
        ("out/{{ my_macro }}.mp3", PERHAPS),
        ("out/{{ run_id + my_macro() }}.mp3", PERHAPS),
        ("out/{# #}.mp3", PERHAPS),
        ("{% set a = b %}out", PERHAPS),
    ],
)
def test_the_key_decides(key: str, shared: Collision) -> None:
    assert sharing({"voice_object": key}, lambda: {"input_object": TWO}) is shared
    assert sharing({}, lambda: {"input_object": TWO, "voice_object": [key]}) is shared
    assert sharing({}, lambda: [{"input_object": each, "voice_object": key} for each in TWO]) is shared
    assert sharing({"voice_object": key}, lambda: [{"input_object": each} for each in TWO]) is shared
    assert sharing({}, lambda: {"input_object": TWO}, default_args={"voice_object": key}) is shared
    assert sharing({"voice_object": key}, lambda: {"input_object": TWO[:1]}) is NO


@pytest.mark.parametrize(
    ("over", "shared"),
    [
        ({"codec": ["mp3", "wav"]}, NO),
        ({"codec": ["mp3", "mp3"]}, CERTAIN),
        ({"codec": ["mp3", "wav"], "input_object": TWO}, CERTAIN),
        ({"bucket": ["a-1250000001", "b-1250000001"]}, NO),
        ({"output_bucket": ["a-1250000001"], "input_object": TWO}, CERTAIN),
        ({"template_id": ["t1", "t2"]}, NO),
        ({"samplerate": [44100, 48000]}, CERTAIN),
    ],
    ids=str,
)
def test_what_sets_results_apart_must_differ(over: dict[str, list[Any]], shared: Collision) -> None:
    fixed = {
        "voice_object": "out/voice.${ext}",
        **({} if "input_object" in over else {"input_object": TWO[0]}),
    }
    assert sharing(fixed, lambda: over) is shared


def test_a_codec_sets_nothing_apart_whose_key_has_no_extension() -> None:
    fixed = {"voice_object": "out/voice.mp3", "input_object": TWO[0]}
    assert sharing(fixed, lambda: {"codec": ["mp3", "wav"]}) is CERTAIN


@pytest.mark.parametrize(("map_index", "shared"), [(0, CERTAIN), (1, CERTAIN), (2, NO)])
def test_of_dicts_only_those_with_one_key_are_refused(map_index: int, shared: Collision) -> None:
    keys = ["out/a.mp3", "out/a.mp3", "out/b.mp3"]
    assert (
        sharing({"input_object": TWO[0]}, lambda: [{"voice_object": key} for key in keys], map_index)
        is shared
    )


def test_dicts_that_name_another_bucket_are_apart() -> None:
    buckets = ["a-1250000001", "b-1250000001"]
    fixed = {"input_object": TWO[0], "voice_object": "out/a.mp3"}
    assert sharing(fixed, lambda: [{"output_bucket": bucket} for bucket in buckets]) is NO


def test_what_another_task_hands_over() -> None:
    assert sharing({"voice_object": "out/a.mp3"}, lambda: {"input_object": made_elsewhere()}) is CERTAIN
    assert sharing({}, lambda: {"input_object": TWO, "voice_object": made_elsewhere()}) is NO
    bucket = sharing({"voice_object": "out/a.mp3"}, lambda: {"input_object": TWO, "bucket": made_elsewhere()})
    assert bucket is NO
    assert sharing({"voice_object": "out/a.mp3"}, made_elsewhere) is PERHAPS
    assert sharing({}, made_elsewhere, default_args={"voice_object": "out/a.mp3"}) is PERHAPS
    assert sharing({"input_object": TWO[0]}, made_elsewhere) is NO


def test_params_may_be_mapped_over() -> None:
    fixed = {"voice_object": "{{ params.out }}"}
    assert sharing(fixed, lambda: [{"input_object": each, "params": {"out": each}} for each in TWO]) is NO


def test_a_template_of_another_argument_may_set_results_apart() -> None:
    over = {"input_object": TWO}
    fixed = {"voice_object": "out/voice.mp3"}
    assert sharing({**fixed, "output_bucket": "{{ ti.map_index }}-1250000001"}, lambda: over) is NO
    assert sharing({**fixed, "output_bucket": "{{ var.value.bucket }}"}, lambda: over) is PERHAPS
    assert sharing({**fixed, "output_bucket": "{{ params.bucket }}"}, lambda: over) is CERTAIN


def test_a_result_that_is_not_wanted_is_shared_with_none() -> None:
    fixed = {"voice_object": "", "background_object": "out/${jobid}.mp3"}
    assert sharing(fixed, lambda: {"input_object": TWO}) is NO


@pytest.mark.parametrize(
    ("key", "warns"),
    [
        ("out/{{ my_macro() }}", True),
        ("out/{{ ti.map_index }}", False),
        ("out/{{ my_macro() }}/${jobid}", False),
    ],
)
def test_what_is_not_certain_is_said_in_the_log(logs: Logs, key: str, warns: bool) -> None:
    with DAG(dag_id="mapped", schedule=None):
        mapped = VoiceSeparateOperator.partial(task_id="separate", voice_object=key).expand(input_object=TWO)
    instance: Any = mapped.unmap({"input_object": TWO[0]})
    check_result_keys(instance, {"ti": SimpleNamespace(map_index=0)})
    said = [line for line in logs.at("warning") if "another instance of this mapped task" in line]
    assert bool(said) == warns
