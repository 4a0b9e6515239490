"""The request for one item of a bulk task, built by the same code as that of a single job.

DAG files load this module, so it loads neither the models nor the XML library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.argument_errors import name_argument
from airflow_provider_ci.operators.job_request import INPUT_ARGUMENTS, request_problems
from airflow_provider_ci.protocol.job_rules import output_field
from airflow_provider_ci.protocol.job_types.job_type import Need
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.result_keys import (
    INPUT_PLACEHOLDERS,
    KnownInputs,
    key_of_url,
    placeholder_problem,
    replace_input_placeholders,
)
from airflow_provider_ci.protocol.rules import Problem, join_values, raise_if_any
from airflow_provider_ci.protocol.tree import Tree, find, find_text, structure_problems

if TYPE_CHECKING:
    from airflow_provider_ci.operators.bulk_sources import Item
    from airflow_provider_ci.operators.job_request import JobRequestOperator
    from airflow_provider_ci.protocol.wire import Endpoint

_TREES = ("input_elements", "operation")
# Besides the elements of the operator
_ITEM_ARGUMENTS = (
    *INPUT_ARGUMENTS,
    *_TREES,
    *("job_level", "queue_id", "callback_url", "callback_format", "callback_type"),
)


def build_item_request(operator: Any, endpoint: Endpoint, item: Item) -> Tree:
    """Return the checked request for one item.

    :raises RequestValidationError: names each argument that cannot be used.
    """
    raise_if_any(_item_problems(operator, item))
    view = with_arguments_of(operator, item)
    try:
        request, problems = view.assemble_request(endpoint)
        raise_if_any([*problems, *_user_data_problems(request), *_placeholder_problems(request)])
        request = _replace_placeholders(request)
        raise_if_any(request_problems(request, endpoint.bucket))
    except RequestValidationError as error:
        raise RequestValidationError([name_argument(each, view) for each in error.problems]) from None
    return request


def unchecked_item_request(operator: JobRequestOperator, endpoint: Endpoint, item: Item) -> Tree:
    """Return the request for one item that has been checked before."""
    request, _ = with_arguments_of(operator, item).assemble_request(endpoint)
    return _replace_placeholders(request)


def item_arguments(operator: Any) -> tuple[str, ...]:
    """Return the arguments that an item may have."""
    return tuple(dict.fromkeys((*_ITEM_ARGUMENTS, *operator.elements)))


def input_object_of(operator: JobRequestOperator, item: object) -> str | None:
    """Return the key of an item's input, if it has one."""
    key = item
    if isinstance(item, Mapping):
        in_elements = find(item, "input_elements.Object") or find(operator.input_elements, "Object")
        key = item.get("input_object") or in_elements
    return key if isinstance(key, str) and key else None


def _item_problems(operator: Any, item: object) -> Iterator[Problem | str]:
    if not isinstance(item, dict):
        if not (isinstance(item, str) and item):
            yield Problem("the item", item, "a key, or a dict with arguments of the item")
        return
    arguments = item_arguments(operator)
    allowed = f"allowed: {join_values(arguments)}"
    unknown = sorted(map(str, item.keys() - set(arguments)))
    problems = [f"{name!r} is no argument of an item, {allowed}" for name in unknown] or [
        *map(str, structure_problems(item))
    ]
    yield from problems
    if not problems and not _is_json(item):
        yield Problem("the item", item, "a dict that JSON can represent, as the manifest has to")


def _is_json(item: dict[Any, Any]) -> bool:
    try:
        json.dumps(item)
    except TypeError:
        return False
    return True


def with_arguments_of(operator: JobRequestOperator, item: Item) -> JobRequestOperator:
    """Return a light copy of an operator with the arguments of one item in place of its own."""
    own: Mapping[str, Any] = {"input_object": item} if isinstance(item, str) else item
    view = object.__new__(type(operator))
    attributes = vars(view)
    attributes |= vars(operator)
    for name, value in own.items():
        attributes[name] = _merge(attributes.get(name), value) if name in _TREES else value
    # the item's own values come from no template; in a tree there may be some of the task, which do
    replaced = own.keys() - set(_TREES)
    templates = operator.templated_arguments
    attributes["templated_arguments"] = {name: templates[name] for name in templates if name not in replaced}
    return view


def _merge(common: Any, own: Any) -> Any:
    """Return a tree of elements with those of an item in place of the task's."""
    if not (isinstance(common, Mapping) and isinstance(own, Mapping)):
        return own
    return {**common, **{name: _merge(common.get(name), value) for name, value in own.items()}}


def _user_data_problems(request: Tree) -> Iterator[Problem]:
    user_data = find(request, "Operation.UserData")
    if user_data is not None:
        allowed = "None, because the idempotency key of each item takes its place"
        yield Problem("Operation.UserData", user_data, allowed)


def _placeholder_problems(request: Tree) -> Iterator[Problem]:
    """Yield the misspelt placeholders in the keys of results, before those of the input are replaced."""
    kind = job_type(request["Tag"])
    replaced = INPUT_PLACEHOLDERS if _input_key(request) else ()
    inputs = KnownInputs(job_placeholders=kind.placeholders, replaced_before=replaced)
    for element, key in kind.result_keys(request["Operation"]).items():
        if allowed := placeholder_problem(key, inputs):
            yield Problem(output_field(kind, element), key, allowed)


def _input_key(request: Tree) -> str | None:
    """Return the key of the input, or what counts as the key of a URL; ``None`` if there is no input."""
    if key := find_text(request, "Input.Object"):
        return key
    if url := find_text(request, "Input.Url"):
        return key_of_url(url)
    # in place of one that is missing, which is the problem then, and not the placeholders
    return "input" if job_type(request["Tag"]).input is Need.REQUIRED else None


def _replace_placeholders(request: dict[str, Any]) -> dict[str, Any]:
    """Return the request with the placeholders of the input replaced in the keys of its results."""
    kind, input_key = job_type(request["Tag"]), _input_key(request)
    operation = request["Operation"]
    if not input_key or not any("${Input" in key for key in kind.result_keys(operation).values()):
        return request
    output = {
        element: _replace_in(value, input_key) if element in kind.output_objects.values() else value
        for element, value in operation["Output"].items()
    }
    return {**request, "Operation": {**operation, "Output": output}}


def _replace_in(value: Any, input_key: str) -> Any:
    """Replace in a key, or in those of several streams."""
    if isinstance(value, str):
        return replace_input_placeholders(value, input_key)
    if isinstance(value, Mapping):
        return {name: _replace_in(child, input_key) for name, child in value.items()}
    return [_replace_in(each, input_key) for each in value] if isinstance(value, list | tuple) else value
