"""The items of a bulk task, and the checks of all of them that come before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.argument_errors import name_argument
from airflow_provider_ci.operators.bulk_keys import BulkKeys
from airflow_provider_ci.operators.bulk_request import (
    build_item_request,
    input_object_of,
    unchecked_item_request,
    with_arguments_of,
)
from airflow_provider_ci.operators.bulk_sources import read_source
from airflow_provider_ci.protocol.names import redact_addresses
from airflow_provider_ci.protocol.rules import raise_if_any
from airflow_provider_ci.submission.idempotency_key import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.bulk_sources import Item, ItemSource
    from airflow_provider_ci.operators.job_request import JobRequestOperator
    from airflow_provider_ci.protocol.objects import ListedObject
    from airflow_provider_ci.protocol.tree import Tree
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.submission.tracking import Log

# Bytes of a fingerprint that identify an item: the 12 hexadecimal digits that an idempotency key has
_FINGERPRINT_BYTES = 6
#: The items whose problems an error names, at most.
PROBLEMS_MAX = 20
# Items that have the same problem, as an error names them
_NAMES_MAX = 3
_SHOWN_MAX = 100  # characters of a key in an error


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
        return unchecked_item_request(self._operator, self._endpoint, self._items[index])

    def name(self, index: int) -> str:
        """Return how a message names an item: by the key of its input, or else by its number from 1."""
        return self.input_object(index) or f"item {index + 1}"

    def input_object(self, index: int) -> str | None:
        """Return the key of an item's input, if it has one."""
        return input_object_of(self._operator, self._items[index])


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
    task = with_arguments_of(operator, {})  # whatever the operator becomes later, the requests stay the same
    checks = _ItemChecks(task, endpoint, source)
    for index in range(len(source.items)):
        checks.add(index)
    checks.raise_if_any(manifest_object)
    return BulkItems(task, endpoint, source, checks.fingerprints)


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
            yield name_argument(str(problem), with_arguments_of(self._operator, self._source.items[index]))

    def _same_job(self, other: int, request: Tree) -> str:
        if build_item_request(self._operator, self._endpoint, self._source.items[other]) == request:
            return f"is the same job as {self._label(other)}, allowed: each job once"
        return (
            f"has by chance the same fingerprint as {self._label(other)}, allowed: an item with any other"
            " argument, or in another task"
        )

    def _label(self, index: int) -> str:
        key = input_object_of(self._operator, self._source.items[index])
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
