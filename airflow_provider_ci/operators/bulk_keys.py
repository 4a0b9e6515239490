"""Refuses results of a bulk task that would overwrite each other or an input, or become inputs of the next
run: each is paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from airflow_provider_ci.protocol.job_rules import output_field
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.result_keys import EXTENSIONS
from airflow_provider_ci.protocol.rules import Problem
from airflow_provider_ci.protocol.tree import Tree, find_text

if TYPE_CHECKING:
    from airflow_provider_ci.operators.bulk_sources import Selection

_EXT = "${ext}"
# What may replace it if a template has the codec or the container
_POSSIBLE_EXTENSIONS = (
    *EXTENSIONS,
    *("m4a", "ogg", "mp4", "mkv", "mov", "avi", "flv", "ts", "webm", "m3u8", "gif", "webp", "jpg", "png"),
)


class BulkKeys:
    """The keys of all inputs and results of a bulk task.

    :param bucket: of the inputs.
    :param selection: what the next run may take as an input.
    :param input_manifest: key of the manifest that has the items.
    :param label: returns how a message names an item.
    """

    def __init__(
        self,
        bucket: str,
        selection: Selection | None,
        input_manifest: str | None,
        label: Callable[[int], str],
    ) -> None:
        self._bucket = bucket
        self._selection = selection
        self._input_manifest = input_manifest
        self._label = label
        self._inputs = _KeyIndex()
        self._results = _KeyIndex()

    def add(self, index: int, request: Tree) -> Iterator[Problem]:
        """Add the keys of an item, and yield the problems that they have with those of the items before.

        :param request: whose own keys have been compared with each other.
        """
        input_key = find_text(request, "Input.Object")
        results = [*_results_of(request, self._bucket)]
        for field, bucket, key in results:
            yield from self._result_problems(field, bucket, key)
        if input_key:
            other = self._results.find(self._bucket, input_key)
            if other is not None:
                allowed = f"another key than that of a result of {self._label(other)}, which overwrites it"
                yield Problem("Input.Object", input_key, allowed)
            self._inputs.add(self._bucket, input_key, index)
        for _, bucket, key in results:
            self._results.add(bucket, key, index)

    def _result_problems(self, field: str, bucket: str, key: str) -> Iterator[Problem]:
        other = self._results.find(bucket, key)
        if other is not None:
            allowed = (
                f"another key than that of {self._label(other)} in bucket {bucket!r}, or one result would"
                " overwrite the other; for instance one with ${jobid}, or with ${InputPath} and"
                " ${InputNameAndExt}"
            )
            yield Problem(field, key, allowed)
        other = self._inputs.find(bucket, key)
        if other is not None:
            yield Problem(field, key, f"another key than that of the input of {self._label(other)}")
        if bucket != self._bucket:
            return
        if key == self._input_manifest:
            yield Problem(field, key, "another key than that of input_manifest")
        if self._selection and self._selection.may_take(key):
            yield Problem(field, key, _not_taken(self._selection))

    def manifest_problems(self, key: str) -> Iterator[Problem]:
        """Yield the problems that the key of the result manifest has with all others."""
        for keys, what in ((self._inputs, "the input"), (self._results, "a result")):
            other = keys.find(self._bucket, key)
            if other is not None:
                yield Problem(
                    "manifest_object", key, f"another key than that of {what} of {self._label(other)}"
                )
        if key == self._input_manifest:
            yield Problem("manifest_object", key, "another key than that of input_manifest")
        if self._selection and self._selection.takes(key):
            yield Problem("manifest_object", key, _not_taken(self._selection))


def _not_taken(selection: Selection) -> str:
    return (
        f"a key that does not begin with the prefix {selection.prefix!r}, that exclude matches, or in another"
        " bucket; or the next run would take it as an input"
    )


def _results_of(request: Tree, bucket: str) -> Iterator[tuple[str, str, str]]:
    """Yield field, bucket and key of each result. Of the placeholders, ``${ext}`` is replaced if it is known.

    :param bucket: of the input.
    """
    kind, operation = job_type(request["Tag"]), request["Operation"]
    extension = kind.extension(operation)
    stored_in = find_text(operation, "Output.Bucket") or bucket
    for element, key in kind.result_keys(operation).items():
        yield (
            output_field(kind, element),
            stored_in,
            key if extension is None else key.replace(_EXT, extension),
        )


class _KeyIndex:
    """Which item a key belongs to. It keeps hashes, which take a fifth of the memory: among 100,000 keys two
    have the same one with a probability below 1 in a billion.
    """

    def __init__(self) -> None:
        self._items: dict[int, int] = {}

    def add(self, bucket: str, key: str, index: int) -> None:
        """Add the key of an item, unless it has the id of the job, by which it differs from all others."""
        if "${jobid}" not in key:
            self._items.setdefault(hash((bucket, key)), index)

    def find(self, bucket: str, key: str) -> int | None:
        """Return the item that has this key, or one that may become the same."""
        for each in (key, *_other_spellings(key)):
            index = self._items.get(hash((bucket, each)))
            if index is not None:
                return index
        return None


def _other_spellings(key: str) -> Iterator[str]:
    """Yield the keys that one with an unknown extension may become, or such keys that may become ``key``."""
    if _EXT in key:
        for extension in _POSSIBLE_EXTENSIONS:
            yield key.replace(_EXT, extension)
        return
    stem, dot, extension = key.rpartition(".")
    if dot and extension.isalnum():
        yield f"{stem}.{_EXT}"
