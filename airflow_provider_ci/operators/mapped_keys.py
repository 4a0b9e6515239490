"""Whether the instances of a mapped task write results to one key, as far as the DAG tells."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from airflow_provider_ci.operators.arguments import is_settled
from airflow_provider_ci.operators.base_voice_separate import RESULTS

# What sets results with the same key apart
_PLACES = ("bucket", "output_bucket", "tencent_ci_conn_id")
_OF_THE_EXTENSION = ("codec", "template_id")

# Names in templates of what all instances in one DAG run have in common, and of what tells them apart
_OF_THE_RUN = (
    *("run_id", "dag_run", "params", "ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz"),
    *("logical_date", "execution_date", "data_interval_start", "data_interval_end"),
)
_OF_THE_INSTANCE = ("ti", "task_instance", "map_index", "task")
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
# {{ run_id }}, {{ params.out }}, {{ dag_run.conf['out'] }}, {{ logical_date | ds }}. Calls may differ
_SAME_IN_THE_RUN = re.compile(
    rf"""-?\s*({"|".join(_OF_THE_RUN)})(\.[A-Za-z]\w*|\[\s*('[^']*'|"[^"]*")\s*\])*\s*"""
    r"(\|\s*(ds|ds_nodash|ts|ts_nodash|ts_nodash_with_tz)\s*)?-?"
)


class Sharing(Enum):
    """Whether an instance of a mapped task writes a result to the key of another instance."""

    NO = "no"
    PERHAPS = "perhaps"
    CERTAIN = "certain"


def sharing_of(operator: Any, of_the_dag: Any, name: str, map_index: int) -> Sharing:
    """Tell whether an instance of a mapped task writes a result to the key of another instance.

    What the DAG file holds is certain, and templates of what all instances of a DAG run have in common. How
    many values another task hands over is not known: more than one, or why map over them?

    :param operator: the instance, with its rendered arguments.
    :param of_the_dag: the task of the DAG, which is mapped, or in a mapped task group.
    :param name: the argument that holds the result's key.
    """
    key = getattr(operator, name)
    if not isinstance(key, str) or not key.strip() or "${jobid}" in key:
        return Sharing.NO
    apart = (*_PLACES, *(_OF_THE_EXTENSION if "${ext}" in key else ()))
    written = {each: _as_written(operator, each) for each in (name, *apart)}
    expand_input = getattr(of_the_dag, "expand_input", None)
    if expand_input is not None:
        over = expand_input.value
        others = _others(over, written, name, map_index, of_the_dag)
    else:
        over = _mapped_over_by_group(of_the_dag)
        others = Sharing.CERTAIN if _number_of_instances(over) > 1 else Sharing.NO
    if others is Sharing.NO or any(_tells_instances_apart(value, over) for value in written.values()):
        return Sharing.NO
    return others if all(map(_is_same_in_the_run, written.values())) else Sharing.PERHAPS


def _as_written(operator: Any, name: str) -> Any:
    """Return an argument as the DAG file has it, before its templates are rendered."""
    return operator.templated_arguments.get(name, getattr(operator, name))


def _others(over: Any, written: Mapping[str, Any], name: str, map_index: int, mapped: Any) -> Sharing:
    """Tell whether another instance has this one's arguments as they are written."""
    if isinstance(over, Mapping):
        return _others_in_product(over, written)
    if isinstance(over, Sequence):
        return _others_in_list(over, written, name, map_index)
    # the output of another task, which may hold any argument that partial() does not
    fixed = {**mapped.dag.default_args, **mapped.partial_kwargs}
    return Sharing.PERHAPS if fixed.get(name) == written[name] else Sharing.NO


def _others_in_product(over: Mapping[str, Any], written: Mapping[str, Any]) -> Sharing:
    """Tell it of ``expand()``, which combines each value of an argument with each of the others."""
    alike = []
    for argument, values in over.items():
        if argument not in written:
            alike.append(_number_of(values))
        elif isinstance(values, list | tuple):
            alike.append(values.count(written[argument]))
        else:  # another task's output
            return Sharing.NO
    return Sharing.CERTAIN if math.prod(alike) > 1 else Sharing.NO


def _others_in_list(over: Sequence[Any], written: Mapping[str, Any], name: str, map_index: int) -> Sharing:
    """Tell it of ``expand_kwargs()``, whose dicts are those of the instances."""
    own = over[map_index]
    if not isinstance(own, Mapping):  # another task's output
        return Sharing.NO

    def places(of: Mapping[str, Any]) -> dict[str, Any]:
        return {each: of[each] for each in written if each in of and each != name}

    def writes_to_the_key(of: Mapping[str, Any]) -> bool:
        return own[name] in map(of.get, RESULTS) if name in own else name not in of

    alike = [
        each
        for each in over
        if isinstance(each, Mapping) and places(each) == places(own) and writes_to_the_key(each)
    ]
    return Sharing.CERTAIN if len(alike) > 1 else Sharing.NO


def _mapped_over_by_group(task: Any) -> Any:
    group = task.get_closest_mapped_task_group() if hasattr(task, "get_closest_mapped_task_group") else None
    return getattr(getattr(group, "_expand_input", None), "value", ())


def _number_of_instances(over: Any) -> int:
    return math.prod(map(_number_of, over.values())) if isinstance(over, Mapping) else _number_of(over)


def _number_of(values: Any) -> int:
    return len(values) if isinstance(values, Sequence | Mapping) else 2


def _tells_instances_apart(written: Any, over: Any) -> bool:
    """Tell whether a template, or what is handed over in its place, is made to differ between instances."""
    if not isinstance(written, str):
        return not is_settled(written)
    dicts = [over] if isinstance(over, Mapping) else over if isinstance(over, Sequence) else ()
    are_params_mapped = any("params" in each for each in dicts if isinstance(each, Mapping))
    names = (*_OF_THE_INSTANCE, *(("params",) if are_params_mapped else ()))
    return not is_settled(written) and re.search(rf"\b({'|'.join(names)})\b", written) is not None


def _is_same_in_the_run(written: Any) -> bool:
    if not isinstance(written, str):
        return True
    rest = _EXPRESSION.sub(lambda found: "" if _SAME_IN_THE_RUN.fullmatch(found[1]) else found[0], written)
    return is_settled(rest)
