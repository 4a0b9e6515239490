"""Refuses a result key that several instances of a mapped task write to: each is paid for, and one remains.

An instance is compared with the others by its arguments as the DAG file has them, since the rendered
arguments of the others are not known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from airflow_provider_ci.operators.argument_errors import TaskArgumentError
from airflow_provider_ci.operators.templates import is_literal
from airflow_provider_ci.protocol.job_types.known_types import job_type

# Results with the same key are different objects if one of these differs
_BUCKET_ARGUMENTS = ("output_bucket", "operation.Output.Bucket", "bucket", "tencent_ci_conn_id")
# These may decide which extension a key gets
_EXTENSION_ARGUMENTS = (
    *("codec", "format", "container_format", "output_file_type"),
    *("template_id", "operation"),
)

# Variables of templates that have one value for all instances in a DAG run, and those that differ
_SAME_IN_RUN = (
    *("run_id", "dag_run", "params", "ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz"),
    *("logical_date", "execution_date", "data_interval_start", "data_interval_end"),
)
_DIFFERENT_IN_RUN = ("ti", "task_instance", "map_index", "task")
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
# {{ run_id }}, {{ params.out }}, {{ dag_run.conf['out'] }}, {{ logical_date | ds }}. A call may differ
_SAME_EXPRESSION = re.compile(
    rf"""-?\s*({"|".join(_SAME_IN_RUN)})(\.[A-Za-z]\w*|\[\s*('[^']*'|"[^"]*")\s*\])*\s*"""
    r"(\|\s*(ds|ds_nodash|ts|ts_nodash|ts_nodash_with_tz)\s*)?-?"
)


class Collision(Enum):
    """Whether two instances of a mapped task write a result to the same key."""

    NONE = "none"
    POSSIBLE = "possible"
    CERTAIN = "certain"


def check_result_keys(operator: Any, context: Any) -> None:
    """Refuse keys that another instance of a mapped task certainly writes to, and warn of possible ones.

    :raises TaskArgumentError: names each such key.
    """
    map_index = getattr(context.get("ti"), "map_index", -1)
    if map_index < 0 or not operator.has_dag() or operator.task_id not in operator.dag.task_dict:
        return
    dag_task = operator.dag.task_dict[operator.task_id]
    names = result_arguments(operator)
    collisions = {name: find_collision(operator, dag_task, name, map_index) for name in names}
    placeholders = job_type(operator.tag).placeholders
    hint = "${jobid}" if placeholders is None or "jobid" in placeholders else "{{ ti.map_index }}"
    problems = [
        f"{name} is {_value(vars(operator), name)!r} in more than one instance of this mapped task, whose"
        " results would overwrite each other, allowed: a key that differs between them, for instance by"
        f" {hint}"
        for name, collision in collisions.items()
        if collision is Collision.CERTAIN
    ]
    if problems:
        raise TaskArgumentError(problems)
    for name, collision in collisions.items():
        if collision is Collision.POSSIBLE:
            operator.log.warning(
                "%s is %r: if it is the same in another instance of this mapped task, their results overwrite"
                " each other, and each is paid for. Put %s into the key",
                name,
                _value(vars(operator), name),
                hint,
            )


def result_arguments(operator: Any) -> tuple[str, ...]:
    """Return the arguments for the keys of results; ``operation.Output.Object`` is a part of one."""
    kind = job_type(operator.tag)
    paths = {f"Output.{element}" for element in kind.output_objects.values()}
    own = [name for name, path in operator.elements.items() if path in paths]
    in_operation = (f"operation.Output.{element}" for element in sorted(kind.result_keys(operator.operation)))
    return (*own, *in_operation)


def find_collision(operator: Any, dag_task: Any, argument: str, map_index: int) -> Collision:
    """Return whether another instance of a mapped task writes to the key of this one's result.

    It compares literals, and templates that read only what is the same in the DAG run.

    :param operator: the instance, with its rendered arguments.
    :param dag_task: the task of the DAG, which is mapped, or in a mapped task group.
    :param argument: the argument for the result's key.
    """
    key = _value(vars(operator), argument)
    if not isinstance(key, str) or not key.strip() or "${jobid}" in key:
        return Collision.NONE
    unrendered = _arguments_that_decide(operator, argument, key)
    expand_input = getattr(dag_task, "expand_input", None)
    is_in_mapped_group = expand_input is None
    if is_in_mapped_group:
        expand_input = _expand_input_of_group(dag_task)
    mapped_over = getattr(expand_input, "value", ())
    if any(_differs_between_instances(value, mapped_over) for value in unrendered.values()):
        return Collision.NONE
    if is_in_mapped_group:
        with_same_key = _count_instances(mapped_over)
    elif isinstance(mapped_over, Mapping):
        with_same_key = _count_equal_in_expand(mapped_over, unrendered)
    elif isinstance(mapped_over, Sequence):
        results = result_arguments(operator)
        with_same_key = _count_equal_in_expand_kwargs(mapped_over, unrendered, argument, map_index, results)
    else:  # the output of another task, which may hold any argument that partial() does not
        fixed = {**dag_task.dag.default_args, **dag_task.partial_kwargs}
        return Collision.POSSIBLE if _value(fixed, argument) == unrendered[argument] else Collision.NONE
    if with_same_key < 2:
        return Collision.NONE
    return Collision.CERTAIN if all(map(_is_same_in_run, unrendered.values())) else Collision.POSSIBLE


def _arguments_that_decide(operator: Any, argument: str, key: str) -> dict[str, Any]:
    """Return the arguments that decide which object a result becomes, as the DAG file has them."""
    arguments = {**vars(operator), **operator.templated_arguments}
    names = [argument, *_BUCKET_ARGUMENTS]
    if "${ext}" in key:
        names += [name for name in _EXTENSION_ARGUMENTS if name in arguments]
    return {name: _value(arguments, name) for name in names}


def _value(arguments: Mapping[str, Any], name: str) -> Any:
    """Return an argument, or a part of one such as ``operation.Output.StreamExtract[0].Object``.

    If a template or another task's output stands for the argument or for a dict in it, the part is not known
    yet. Then that template or output is returned.
    """
    argument, *path = name.replace("[", ".").replace("]", "").split(".")
    value = arguments.get(argument)
    for element in path:
        if isinstance(value, list | tuple):
            value = value[int(element)] if element.isdecimal() and int(element) < len(value) else None
        elif isinstance(value, Mapping) and not element.isdecimal():
            value = value.get(element)
        elif not isinstance(value, Mapping):  # the only one of a repeated element need not be in a list
            break
    return value


def _has(arguments: Mapping[str, Any], name: str) -> bool:
    return name.partition(".")[0] in arguments


def _expand_input_of_group(task: Any) -> Any:
    find_group = getattr(task, "get_closest_mapped_task_group", None)
    return getattr(find_group and find_group(), "_expand_input", None)


def _count_instances(mapped_over: Any) -> int:
    if isinstance(mapped_over, Mapping):
        return math.prod(map(_count, mapped_over.values()))
    return _count(mapped_over)


def _count(values: Any) -> int:
    """Return how many values there are; of another task's output, 2: unknown, but probably several."""
    return len(values) if isinstance(values, Sequence | Mapping) else 2


def _count_equal_in_expand(mapped_over: Mapping[str, Any], unrendered: Mapping[str, Any]) -> int:
    """Return how many instances have these arguments. ``expand()`` combines each value of an argument with
    each value of the others.
    """
    equal = 1
    for argument, values in mapped_over.items():
        names = [name for name in unrendered if name.partition(".")[0] == argument]
        if not names:
            equal *= _count(values)
        elif not isinstance(
            values, list | tuple
        ):  # another task's output: nothing is known, so nothing counts
            return 0
        else:
            equal *= sum(
                all(_value({argument: value}, name) == unrendered[name] for name in names) for value in values
            )
    return equal


def _count_equal_in_expand_kwargs(
    mapped_over: Sequence[Any],
    unrendered: Mapping[str, Any],
    argument: str,
    map_index: int,
    results: Sequence[str],
) -> int:
    """Return how many instances have these arguments. ``expand_kwargs()`` has a dict for each instance.

    :param results: the arguments for the keys of results.
    """
    own = mapped_over[map_index]
    if not isinstance(own, Mapping):  # another task's output: nothing is known, so nothing counts
        return 0

    def other_arguments(instance: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: _value(instance, name) for name in unrendered if _has(instance, name) and name != argument
        }

    def writes_to_own_key(instance: Mapping[str, Any]) -> bool:
        if _has(own, argument):  # the same key for another result overwrites it, too
            return _value(own, argument) in [_value(instance, name) for name in results]
        return not _has(instance, argument)  # both have the key that is in partial()

    dicts = [instance for instance in mapped_over if isinstance(instance, Mapping)]
    return sum(
        other_arguments(instance) == other_arguments(own) and writes_to_own_key(instance)
        for instance in dicts
    )


def _differs_between_instances(unrendered: Any, mapped_over: Any) -> bool:
    """Tell whether a template, or another task's output, is meant to differ between instances."""
    if is_literal(unrendered):
        return False
    if isinstance(unrendered, Mapping):
        return any(_differs_between_instances(part, mapped_over) for part in unrendered.values())
    if isinstance(unrendered, list | tuple):
        return any(_differs_between_instances(part, mapped_over) for part in unrendered)
    if not isinstance(unrendered, str):
        return True
    dicts = mapped_over if isinstance(mapped_over, Sequence) else [mapped_over]
    has_mapped_params = any("params" in instance for instance in dicts if isinstance(instance, Mapping))
    names = (*_DIFFERENT_IN_RUN, "params") if has_mapped_params else _DIFFERENT_IN_RUN
    return re.search(rf"\b({'|'.join(names)})\b", unrendered) is not None


def _is_same_in_run(unrendered: Any) -> bool:
    if isinstance(unrendered, Mapping):
        return all(map(_is_same_in_run, unrendered.values()))
    if isinstance(unrendered, list | tuple):
        return all(map(_is_same_in_run, unrendered))
    if not isinstance(unrendered, str):
        return True
    rest = _EXPRESSION.sub(lambda found: "" if _SAME_EXPRESSION.fullmatch(found[1]) else found[0], unrendered)
    return is_literal(rest)
