"""The items of a bulk task: the request for each, built by the same code as that of a single job, and the
checks that come before anything is sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.argument_errors import name_argument
from airflow_provider_ci.operators.bulk_keys import BulkKeys
from airflow_provider_ci.operators.bulk_sources import read_source
from airflow_provider_ci.operators.job_request import INPUT_ARGUMENTS, request_problems
from airflow_provider_ci.protocol.job_rules import output_field
from airflow_provider_ci.protocol.job_types.job_type import Need
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.names import redact_addresses
from airflow_provider_ci.protocol.result_keys import (
    INPUT_PLACEHOLDERS,
    KnownInputs,
    key_of_url,
    placeholder_problem,
    replace_input_placeholders,
)
from airflow_provider_ci.protocol.rules import Problem, join_values, raise_if_any
from airflow_provider_ci.protocol.tree import Tree, find, find_text, structure_problems
from airflow_provider_ci.submission.idempotency_key import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.bulk_sources import Item, ItemSource
    from airflow_provider_ci.operators.job_request import JobRequestOperator
    from airflow_provider_ci.protocol.objects import ListedObject
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.submission.tracking import Log

# Bytes of a fingerprint that identify an item: the 12 hexadecimal digits that an idempotency key has
_FINGERPRINT_BYTES = 6
#: The items whose problems an error names, at most.
PROBLEMS_MAX = 20
# Items that have the same problem, as an error names them
_NAMES_MAX = 3
_SHOWN_MAX = 100  # characters of a key in an error

_TREES = ("input_elements", "operation")
# Besides the elements of the operator
_ITEM_ARGUMENTS = (
    *INPUT_ARGUMENTS,
    *_TREES,
    *("job_level", "queue_id", "callback_url", "callback_format", "callback_type"),
)


class BulkItems:
    """The requests of a bulk task, by the position of their items. Each is built anew when it is asked for,
    because 100,000 of them would not fit into memory: besides the item itself, six bytes are kept of each.

    :param fingerprints: six bytes for each item.
    """

    def __init__(
        self,
        operator: JobRequestOperator,
        endpoint: Endpoint,
        source: ItemSource,
        fingerprints: bytes | bytearray,
    ) -> None:
        self._operator = operator
        self._endpoint = endpoint
        self._items: Sequence[Item] = source.items
        self._fingerprints = fingerprints
        #: Of the objects under a prefix those that are empty or may be archived, by the position of their
        #: item; ``None`` if the items come from elsewhere.
        self.suspects: Mapping[int, ListedObject] | None = source.suspects

    def __len__(self) -> int:
        return len(self._items)

    def item(self, index: int) -> Item:
        """Return an item as the user wrote it."""
        return self._items[index]

    def fingerprint(self, index: int) -> str:
        """Return the 12 hexadecimal digits that identify the item among those of this task."""
        return self._fingerprints[index * _FINGERPRINT_BYTES : (index + 1) * _FINGERPRINT_BYTES].hex()

    def request(self, index: int) -> Tree:
        """Return the request for an item, without ``UserData``. May be called by several threads."""
        request, _ = _view_of(self._operator, self._items[index]).assemble_request(self._endpoint)
        return _replace_placeholders(request)

    def name(self, index: int) -> str:
        """Return how a message names an item: by the key of its input, or else by its number from 1."""
        return self.input_object(index) or f"item {index + 1}"

    def input_object(self, index: int) -> str | None:
        """Return the key of an item's input, if it has one."""
        return _input_object(self._operator, self._items[index])


def read_items(
    operator: Any,
    hook: TencentCIHook,
    endpoint: Endpoint,
    log: Log,
    *,
    manifest_object: str | None = None,
) -> BulkItems:
    """Return the items of a bulk task's one source, each of them checked.

    :param endpoint: the inputs' bucket and region.
    :param manifest_object: key of the manifest that the task writes.
    :raises RequestValidationError: names the items that cannot work, and why.
    """
    source = read_source(operator, hook, log)
    task = _view_of(operator, {})  # whatever the operator becomes later, the requests stay the same
    checks = _ItemChecks(task, endpoint, source)
    for index in range(len(source.items)):
        checks.add(index)
    checks.raise_if_any(manifest_object)
    return BulkItems(task, endpoint, source, checks.fingerprints)


def build_item_request(operator: Any, endpoint: Endpoint, item: Item) -> Tree:
    """Return the checked request for one item.

    :raises RequestValidationError: names each argument that cannot be used.
    """
    raise_if_any(_item_problems(operator, item))
    view = _view_of(operator, item)
    try:
        request, problems = view.assemble_request(endpoint)
        raise_if_any([*problems, *_user_data_problems(request), *_placeholder_problems(request)])
        request = _replace_placeholders(request)
        raise_if_any(request_problems(request, endpoint.bucket))
    except RequestValidationError as error:
        raise RequestValidationError([name_argument(each, view) for each in error.problems]) from None
    return request


def item_arguments(operator: Any) -> tuple[str, ...]:
    """Return the arguments that an item may have."""
    return tuple(dict.fromkeys((*_ITEM_ARGUMENTS, *operator.elements)))


class _ItemChecks:
    """Checks the items one after the other, and collects their problems."""

    def __init__(self, operator: JobRequestOperator, endpoint: Endpoint, source: ItemSource) -> None:
        self._operator = operator
        self._endpoint = endpoint
        self._source = source
        self._location = f"{endpoint.bucket} {endpoint.region}"
        self._keys = BulkKeys(str(endpoint.bucket), source.selection, source.manifest, self._label)
        self._index_by_fingerprint: dict[bytes, int] = {}
        # names of items by their common problem
        self._problems: dict[str, list[str]] = {}
        self.fingerprints = bytearray()
        self._items_with_problems = 0

    def add(self, index: int) -> None:
        """Check one item.

        :raises RequestValidationError: so many items have problems that the rest need not be looked at.
        """
        item = self._source.items[index]
        try:
            request = build_item_request(self._operator, self._endpoint, item)
            raise_if_any(self._problems_with_others(index, request))
        except RequestValidationError as error:
            for problem in error.problems:
                self._problems.setdefault(problem, []).append(self._label(index))
            self._items_with_problems += 1
            if self._items_with_problems == PROBLEMS_MAX and index + 1 < len(self._source.items):
                self._raise(f"the items after item {index + 1} were not checked")

    def raise_if_any(self, manifest_object: str | None) -> None:
        """Raise an error that names all problems, if there is any.

        :raises RequestValidationError: there is at least one.
        """
        if self._problems:
            self._raise()
        if manifest_object:
            raise_if_any(self._keys.manifest_problems(manifest_object))

    def _problems_with_others(self, index: int, request: Tree) -> Iterator[str]:
        digest = bytes.fromhex(fingerprint(request, self._location)[: 2 * _FINGERPRINT_BYTES])
        self.fingerprints += digest
        other = self._index_by_fingerprint.setdefault(digest, index)
        if other != index:
            yield self._same_job(other, request)
            return
        for problem in self._keys.add(index, request):
            yield name_argument(str(problem), _view_of(self._operator, self._source.items[index]))

    def _same_job(self, other: int, request: Tree) -> str:
        if build_item_request(self._operator, self._endpoint, self._source.items[other]) == request:
            return f"is the same job as {self._label(other)}, allowed: each job once"
        return (
            f"has by chance the same fingerprint as {self._label(other)}, allowed: an item with any other"
            " argument, or in another task"
        )

    def _label(self, index: int) -> str:
        key = _input_object(self._operator, self._source.items[index])
        if key is None:
            return f"item {index + 1}"
        shown = redact_addresses(key)  # it may be an address with a password, which is refused
        shown = shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}…"
        return f"item {index + 1} ({shown!r})"

    def _raise(self, *further: str) -> None:
        raise RequestValidationError(
            [*(f"{_join_names(names)}: {problem}" for problem, names in self._problems.items()), *further]
        )


def _join_names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_MAX])
    return shown if len(names) <= _NAMES_MAX else f"{shown} and {len(names) - _NAMES_MAX} more"


def _input_object(operator: JobRequestOperator, item: object) -> str | None:
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


def _view_of(operator: JobRequestOperator, item: Item) -> JobRequestOperator:
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
