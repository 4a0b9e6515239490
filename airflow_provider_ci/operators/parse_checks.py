"""Refuses a task while its DAG is parsed, if its arguments cannot work whatever its templates render to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping
from types import SimpleNamespace
from typing import Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.argument_errors import name_argument, refuse_task_if_any
from airflow_provider_ci.operators.templates import is_literal
from airflow_provider_ci.operators.untemplated_arguments import convert_untemplated_arguments

# Required arguments: without one of them the check would end before it comes to the others
_NEVER_EMPTY = {"name": "example", "tencent_ci_conn_id": "example", "tag": "Example"}
# Stands for a value in a tree that is not known while a DAG is parsed
_UNKNOWN = "not-rendered-yet"
# Elements of Operation and Input that never have children
_TEXTS = ("TemplateId", "UserData", "JobLevel", "Object", "Url", "Lang", "Type", "BasicType")
# In place of the connection's, which is not read while a DAG is parsed
_ENDPOINT = SimpleNamespace(bucket="the-connection-1250000000", region="ap-guangzhou")


def check_when_parsed(operator: Any, owner: type[Any] | None = None) -> None:
    """Refuse a new task whose arguments cannot work whatever its templates render to.

    Call it last in the constructor of an operator. A user's class may set attributes later, or read arguments
    in its own way, so its request is checked only when it runs.

    :param owner: the class of the constructor that calls, if this provider has subclasses of it. Their
        constructors set further arguments afterwards, and check themselves: for them the call does nothing.
    :raises TaskArgumentError: names each such argument, its value and what is allowed.
    """
    if owner not in (None, _provider_class(type(operator))):
        return
    arguments = {name: getattr(operator, name, None) for name in operator.template_fields}
    templated = {name: value for name, value in arguments.items() if not is_literal(value)}
    trees = {name: value for name, value in arguments.items() if name in operator.tree_arguments and value}
    operator.templated_arguments = {**trees, **templated}  # also literal trees: see the class attribute
    problems = _find_problems(operator, vars(operator), templated)
    refuse_task_if_any(operator.task_id, problems)


def _provider_class(operator_class: type[Any]) -> type[Any]:
    """Return the first class of this provider among a class and its bases."""
    return next(each for each in operator_class.__mro__ if each.__module__.startswith("airflow_provider_ci."))


def check_mapped(operator_class: Any, partial: Any) -> None:
    """Refuse a mapped task, if it cannot work whatever it is mapped over.

    :param partial: what the operator's ``partial`` has returned.
    :raises TaskArgumentError: names each such argument, its value and what is allowed.
    """
    values = dict(partial.kwargs)
    unknown = [
        name for name in operator_class.template_fields if name not in values or not is_literal(values[name])
    ]
    problems = _find_problems(operator_class, values, unknown)
    if problems:
        partial._expand_called = True  # or Airflow warns that the task was never mapped
    refuse_task_if_any(values["task_id"], problems)


def _find_problems(operator: Any, values: MutableMapping[str, Any], unknown: Collection[str]) -> list[str]:
    problems = convert_untemplated_arguments(operator, values)
    operator_class = operator if isinstance(operator, type) else type(operator)
    if problems or operator_class is not _provider_class(operator_class):
        return problems
    return _certain_problems(operator_class, values, unknown)


def _certain_problems(
    operator_class: type[Any], values: Mapping[str, Any], unknown: Collection[str]
) -> list[str]:
    """Return the problems that remain whatever the unknown arguments are: empty, or as in each example.

    Where what is allowed depends on other arguments, a problem says it for the last example.
    """
    examples = operator_class.parse_check_examples
    unknown_trees = [name for name in operator_class.tree_arguments if name in unknown]
    if any(_may_have_any_element(values[name]) for name in unknown_trees if name in values):
        return []  # also the elements without which the others cannot work
    mapped_trees = [name for name in unknown_trees if name not in values]

    def problems_if(assumed: Mapping[str, Any], fill_tree: Callable[[Any], Any]) -> list[str]:
        filled = _fill(unknown, values, {**assumed, **_NEVER_EMPTY})
        trees = {
            name: fill_tree(values[name])
            for name in operator_class.tree_arguments
            if isinstance(values.get(name), dict)
        }
        problems = _request_problems(operator_class, {**values, **filled, **trees})
        return [problem for problem in problems if not _may_be_solved_by(mapped_trees, problem)]

    empty = {name: type(value)() for name, value in examples[0].items() if isinstance(value, dict | list)}
    certain = problems_if(empty, without_unknown_values)
    for example in examples:
        if not certain or not unknown:
            return certain
        subjects = {_subject(problem, values) for problem in certain}
        problems = problems_if(example, with_unknown_values)
        certain = [problem for problem in problems if _subject(problem, values) in subjects]
    if "codec" not in unknown:
        return certain
    # the documented rates depend on the codec, and these are the rates for the one that the example has
    rule_of_example = f" with codec {examples[-1].get('codec')}"
    return [problem.replace(rule_of_example, ", depending on codec") for problem in certain]


def _may_have_any_element(tree: Any) -> bool:
    """Tell whether a tree or one of its elements, once it is rendered, may be a dict."""
    if not isinstance(tree, dict):
        return True
    rendered = {name: child for name, child in tree.items() if name not in _TEXTS and not is_literal(child)}
    return any(not isinstance(child, dict | list) or _has_task_output(child) for child in rendered.values())


def _has_task_output(value: Any) -> bool:
    """Tell whether a part of a tree is the output of a task or a function, which may give a dict."""
    if isinstance(value, dict | list):
        return any(map(_has_task_output, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, str) and not is_literal(value)


def _may_be_solved_by(mapped_trees: Collection[str], problem: str) -> bool:
    """Tell whether a problem may not be there once the trees that are mapped over are known.

    Such a problem names one of these trees, or an element, which begins with a capital.
    """
    subject = problem.partition(" ")[0].partition(".")[0]
    return bool(mapped_trees) and (subject in mapped_trees or subject[:1].isupper())


def _subject(problem: str, values: Mapping[str, Any]) -> str:
    """Return the argument and its value, without what is allowed, which may depend on other arguments."""
    subject = problem.partition(", allowed: ")[0]
    if subject.endswith(" is set"):  # beside a template, which replaces the argument
        name = subject.removesuffix(" is set")
        return f"{name} is {values[name]!r}" if name in values else subject
    return subject


def _fill(unknown: Collection[str], values: Mapping[str, Any], assumed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is assumed of the unknown arguments. The literal parts of a dict or a list are known."""
    filled: dict[str, Any] = {}
    for name in unknown:
        value, example = values.get(name), assumed.get(name)
        if isinstance(example, dict) and isinstance(value, dict):
            literals = {key: part for key, part in value.items() if is_literal(part)}
            example = {**dict.fromkeys(value), **example, **literals}
        elif isinstance(example, list) and isinstance(value, list | tuple | set | frozenset):
            example = [part for part in value if is_literal(part)] or example
        filled[name] = example
    return filled


def _request_problems(operator_class: type[Any], values: Mapping[str, Any]) -> list[str]:
    draft = object.__new__(operator_class)
    draft.__dict__.update(values, templated_arguments={})
    try:
        draft.validate_arguments(_ENDPOINT)
    except RequestValidationError as error:
        return [name_argument(problem, draft) for problem in error.problems if _UNKNOWN not in problem]
    return []


def with_unknown_values(value: Any, path: str = "") -> Any:
    """Return a tree with a unique text in place of each value that Airflow renders. A problem that names such
    a text says nothing about the value.
    """
    if isinstance(value, dict):
        return {name: with_unknown_values(child, f"{path}.{name}") for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [with_unknown_values(child, f"{path}.{index}") for index, child in enumerate(value)]
    return value if is_literal(value) else f"{_UNKNOWN}{path}"


def without_unknown_values(value: Any) -> Any:
    """Return a tree without the values that Airflow renders, as if all of them became empty strings."""
    if isinstance(value, dict):
        known = {name: child for name, child in value.items() if _may_be_known(child)}
        return {name: without_unknown_values(child) for name, child in known.items()}
    if isinstance(value, list | tuple):
        return [without_unknown_values(child) for child in value if _may_be_known(child)]
    return value


def _may_be_known(value: Any) -> bool:
    return isinstance(value, dict | list | tuple) or is_literal(value)
