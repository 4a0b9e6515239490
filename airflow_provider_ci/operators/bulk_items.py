"""The items of a bulk task: the request for each, built by the same code as that of a single job, and the
checks that come before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.argument_errors import name_argument
from airflow_provider_ci.operators.job_request import INPUT_ARGUMENTS, request_problems
from airflow_provider_ci.protocol.job_rules import output_field
from airflow_provider_ci.protocol.job_types.job_type import STREAMS, JobType
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.result_keys import (
    INPUT_PLACEHOLDERS,
    KnownInputs,
    key_of_url,
    placeholder_problem,
    replace_input_placeholders,
)
from airflow_provider_ci.protocol.rules import Problem, join_values, raise_if_any
from airflow_provider_ci.protocol.tree import Tree, find_text, find_tree
from airflow_provider_ci.submission.idempotency_key import fingerprint

if TYPE_CHECKING:
    from logging import Logger

    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.job_request import JobRequestOperator
    from airflow_provider_ci.protocol.wire import Endpoint

#: A key, or the arguments that differ from those of the task.
Item: TypeAlias = str | Mapping[str, Any]

#: Digits of a fingerprint that identify an item, as in an idempotency key.
FINGERPRINT_LENGTH = 12
_BYTES = FINGERPRINT_LENGTH // 2

_TREES = ("input_elements", "operation")
# Besides the elements of the operator
_ITEM_ARGUMENTS = (
    *INPUT_ARGUMENTS,
    *_TREES,
    *("job_level", "queue_id", "callback_url", "callback_format", "callback_type"),
)


class BulkItems:
    """The requests of a bulk task, by the position of their items. Each is built anew when it is asked for,
    because 100,000 of them would not fit into memory; of an item only six bytes are kept besides itself.

    :param items: as the user wrote them.
    :param fingerprints: six bytes for each.
    """

    def __init__(
        self, operator: Any, endpoint: Endpoint, items: Sequence[Item], fingerprints: bytes | bytearray
    ) -> None:
        self._operator = operator
        self._endpoint = endpoint
        self._items = items
        self._fingerprints = fingerprints

    def __len__(self) -> int:
        return len(self._items)

    def item(self, index: int) -> Item:
        """Return an item as the user wrote it."""
        return self._items[index]

    def fingerprint(self, index: int) -> str:
        """Return the 12 hexadecimal digits that identify the item among those of this task."""
        return self._fingerprints[index * _BYTES : (index + 1) * _BYTES].hex()

    def request(self, index: int) -> Tree:
        """Return the request for an item, without ``UserData``. May be called by several threads."""
        return build_item_request(self._operator, self._endpoint, self._items[index])

    def name(self, index: int) -> str:
        """Return how a message names an item: by the key of its input, or else by its number from 1."""
        return self.input_object(index) or f"item {index + 1}"

    def input_object(self, index: int) -> str | None:
        """Return the key of an item's input, if it has one."""
        item = self._items[index]
        key = item if isinstance(item, str) else item.get("input_object")
        return key if isinstance(key, str) and key else None


def read_items(
    operator: Any,
    hook: TencentCIHook,  # noqa: ARG001
    endpoint: Endpoint,
    log: Logger,  # noqa: ARG001
) -> BulkItems:
    """Return the items of a bulk task's one source, each of them checked.

    :param endpoint: the inputs' bucket and region.
    :raises RequestValidationError: names the items that cannot work, and why.
    """
    items = operator.input_objects
    location = f"{endpoint.bucket} {endpoint.region}"
    fingerprints = bytearray()
    for item in items:
        request = build_item_request(operator, endpoint, item)
        fingerprints += bytes.fromhex(fingerprint(request, location)[:FINGERPRINT_LENGTH])
    return BulkItems(operator, endpoint, items, fingerprints)


def build_item_request(operator: Any, endpoint: Endpoint, item: Item) -> Tree:
    """Return the checked request for one item.

    :raises RequestValidationError: names each argument that cannot be used.
    """
    raise_if_any(_item_problems(operator, item))
    view: JobRequestOperator = _view_of(operator, item)
    try:
        request, problems = view.assemble_request(endpoint)
        kind = job_type(request["Tag"])
        problems += map(str, _placeholder_problems(request, kind))
        if not problems:
            request = _replace_placeholders(request, kind)
            problems += request_problems(request, endpoint.bucket)
        raise_if_any(problems)
    except RequestValidationError as error:
        raise RequestValidationError([name_argument(each, view) for each in error.problems]) from None
    return request


def item_arguments(operator: Any) -> tuple[str, ...]:
    """Return the arguments that an item may have."""
    return tuple(dict.fromkeys((*_ITEM_ARGUMENTS, *operator.elements)))


def _item_problems(operator: Any, item: object) -> Iterator[Problem | str]:
    if isinstance(item, str):
        return
    if not isinstance(item, Mapping):
        yield Problem("the item", item, "a key, or a dict of arguments")
        return
    allowed = item_arguments(operator)
    for name in item:
        if name not in allowed:
            yield f"{name} is no argument of an item, allowed: {join_values(allowed)}"


def _view_of(operator: Any, item: Item) -> Any:
    """Return a light copy of an operator with the arguments of one item in place of its own."""
    own: Mapping[str, Any] = {"input_object": item} if isinstance(item, str) else item
    view = object.__new__(type(operator))
    attributes = vars(view)
    attributes |= dict.fromkeys((*INPUT_ARGUMENTS, "input_elements"))
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


def _placeholder_problems(request: Tree, kind: JobType) -> Iterator[Problem]:
    """Yield the misspelt placeholders in the keys of results, before those of the input are replaced."""
    inputs = KnownInputs(
        job_placeholders=kind.placeholders, replaced_before=INPUT_PLACEHOLDERS if _input_key(request) else ()
    )
    for element, key in kind.result_keys(request["Operation"]).items():
        if allowed := placeholder_problem(key, inputs):
            yield Problem(output_field(kind, element), key, allowed)


def _input_key(request: Tree) -> str | None:
    """Return the key of the input, or what counts as the key of a URL."""
    if key := find_text(request, "Input.Object"):
        return key
    url = find_text(request, "Input.Url")
    return key_of_url(url) if url else None


def _replace_placeholders(request: dict[str, Any], kind: JobType) -> dict[str, Any]:
    """Return the request with the placeholders of the input replaced in the keys of its results."""
    input_key = _input_key(request)
    output = find_tree(request, "Operation.Output")
    if not input_key or not any("${Input" in key for key in kind.result_keys(request["Operation"]).values()):
        return request

    def replace(value: Any) -> Any:
        return replace_input_placeholders(value, input_key) if isinstance(value, str) else value

    replaced = {**output}
    for element in kind.output_objects.values():
        if element in replaced:
            replaced[element] = (
                _replace_in_streams(replaced[element], replace)
                if element == STREAMS
                else replace(replaced[element])
            )
    return {**request, "Operation": {**request["Operation"], "Output": replaced}}


def _replace_in_streams(streams: Any, replace: Any) -> Any:
    """Replace in the key of each stream: ``StreamExtract`` has a dict with ``Index`` and ``Object`` each."""
    if isinstance(streams, list | tuple):
        return [_replace_in_streams(each, replace) for each in streams]
    if isinstance(streams, Mapping) and "Object" in streams:
        return {**streams, "Object": replace(streams["Object"])}
    return streams
