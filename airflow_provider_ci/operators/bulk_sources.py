"""Where the items of a bulk task come from: a list, the objects under a prefix, or a manifest."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from airflow_provider_ci.exceptions import NotFoundError, RequestValidationError
from airflow_provider_ci.operators.argument_errors import argument_error
from airflow_provider_ci.operators.rendered_arguments import read_arguments
from airflow_provider_ci.operators.templates import NONE_RENDERED, is_rendered_collection
from airflow_provider_ci.protocol.names import is_object_key, object_address, redact_address
from airflow_provider_ci.protocol.result_keys import EXTENSIONS, KnownInputs, can_begin_with, key_pattern
from airflow_provider_ci.protocol.rules import Problem, raise_if_any

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.protocol.objects import ListedObject
    from airflow_provider_ci.submission.tracking import Log

T = TypeVar("T")

#: A key, or the arguments that differ from those of the task.
Item: TypeAlias = str | Mapping[str, Any]

_ITEM_LIST = "a list of keys, or of dicts with the arguments of one item each"
_PATTERN_LIST = "a list of patterns such as '*.mp3'"
# Two ids without a common character, because a pattern may have one
_SAMPLES_OF_JOB_ID = (f"j{'0' * 32}", f"z{'123456789abcdef1' * 2}")


@dataclass(frozen=True)
class Selection:
    """The objects that a bulk task takes: those whose keys begin with ``prefix``, match one of ``include``
    unless there is none, and match none of ``exclude``. In a pattern, ``*`` matches slashes, too.
    """

    prefix: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, key: str) -> bool:
        """Tell whether the task takes an object. It takes no folder, which consoles store as an object."""
        return key.startswith(self.prefix) and self._matches(key)

    def may_take(self, key: str) -> bool:
        """Tell whether the task may take an object whose key still has placeholders."""
        fixed = key.partition("${")[0]
        may_begin = fixed.startswith(self.prefix) or (
            self.prefix.startswith(fixed)
            and can_begin_with(key_pattern(key, KnownInputs(), None), self.prefix)
        )
        return may_begin and any(
            self._matches(key.replace("${jobid}", job_id).replace("${ext}", extension))
            for job_id in _SAMPLES_OF_JOB_ID
            for extension in EXTENSIONS
        )

    def _matches(self, key: str) -> bool:
        if key.endswith("/") or (self._included and not self._included.match(key)):
            return False
        return not (self._excluded and self._excluded.match(key))

    @cached_property
    def _included(self) -> re.Pattern[str] | None:
        return _compile(self.include)

    @cached_property
    def _excluded(self) -> re.Pattern[str] | None:
        return _compile(self.exclude)


def _compile(patterns: Iterable[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else None


@dataclass(frozen=True, slots=True)
class ItemSource:
    """The items of a bulk task, as they were read.

    :param selection: what the next run of the task may take as an item.
    :param suspects: of objects under a prefix those that are empty or may be archived, by the number of their
        item; ``None`` if the source says nothing about the objects.
    :param manifest: key of the manifest that has the items.
    """

    items: Sequence[Item]
    selection: Selection | None = None
    suspects: Mapping[int, ListedObject] | None = None
    manifest: str | None = None


def read_source(operator: Any, hook: TencentCIHook, log: Log) -> ItemSource:
    """Read the items of a bulk task from the one source that it has.

    :param operator: has exactly one of ``input_objects``, ``prefix`` and ``input_manifest``.
    :raises RequestValidationError: the source has no items, more than ``max_jobs``, or cannot be read.
    :raises NotFoundError: there is no such manifest, or nothing under the prefix. A later try may find it.
    """
    names = read_arguments(operator, ("prefix", "input_manifest"))
    if names["prefix"]:
        return _read_prefix(operator, hook, names["prefix"], log)
    if names["input_manifest"]:
        return _read_input_manifest(operator, hook, names["input_manifest"])
    return ItemSource(_read_list(operator))


def _read_list(operator: Any) -> list[Item]:
    value = operator.input_objects
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
        raise argument_error("input_objects", value, f"{_ITEM_LIST}{_reason(value)}")
    items = [*_at_most(operator, "input_objects", value)]
    if not items:
        raise argument_error("input_objects", items, "at least one item")
    return items


def _reason(value: Any) -> str:
    """Return why a template did not render to a list, if that shows."""
    if value in (None, "None"):
        return f"; {NONE_RENDERED}"
    is_text = isinstance(value, str) and is_rendered_collection(value)
    return "; a template rendered text: pass the other task's .output" if is_text else ""


def _read_prefix(operator: Any, hook: TencentCIHook, prefix: str, log: Log) -> ItemSource:
    raise_if_any(_prefix_problems(prefix))
    selection = Selection(prefix, _read_patterns(operator, "include"), _read_patterns(operator, "exclude"))
    keys, suspects, counter = list[Item](), dict[int, Any](), _Counter()
    listed = counter.count(hook.list_objects(prefix, **operator.bucket_and_region))
    taken = (each for each in listed if selection.takes(each.key))
    for each in _at_most(operator, f"prefix {prefix!r}", taken):
        if not each.size or each.may_be_archived:
            suspects[len(keys)] = each
        keys.append(each.key)
    if not keys:
        raise NotFoundError(
            f"No job was submitted: of the {counter.total} objects under the prefix {prefix!r}, none is"
            " taken",
            hint="Check prefix, include and exclude, and that the upload has finished",
        )
    log.info("%d of the %d objects under %r are taken", len(keys), counter.total, prefix)
    return ItemSource(keys, selection, suspects)


def _prefix_problems(prefix: str) -> Iterator[Problem]:
    if not is_object_key(prefix):
        yield Problem("prefix", prefix, "a prefix of object keys, which does not begin with /")
    elif address := object_address(prefix):
        yield Problem("prefix", redact_address(prefix), f"a prefix of object keys, here {address.key!r}")


@dataclass
class _Counter:
    total: int = field(default=0)

    def count(self, values: Iterable[T]) -> Iterator[T]:
        for value in values:
            self.total += 1
            yield value


def _read_patterns(operator: Any, name: str) -> tuple[str, ...]:
    value = getattr(operator, name)
    if value is None or value == "":
        return ()
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise argument_error(name, value, f"{_PATTERN_LIST}{_reason(value)}")
    if not all(isinstance(pattern, str) and pattern for pattern in value):
        raise argument_error(name, [*value], _PATTERN_LIST)
    return tuple(value)


def _read_input_manifest(operator: Any, hook: TencentCIHook, key: str) -> ItemSource:
    from airflow_provider_ci.hooks.manifest import read_input_manifest

    lines = read_input_manifest(hook, key, **operator.bucket_and_region)
    items: list[Item] = [*_at_most(operator, f"input_manifest {key!r}", lines)]
    raise_if_any([] if items else [f"input_manifest {key!r} has no lines, allowed: at least one"])
    return ItemSource(items, manifest=key)


def _at_most(operator: Any, name: str, items: Iterable[T]) -> Iterator[T]:
    """Yield the items, unless there are more than the task may have.

    :param name: of their source.
    :raises RequestValidationError: there are more.
    """
    limit = operator.max_jobs
    for count, item in enumerate(items):
        if count == limit:
            shown = len(items) if isinstance(items, Sequence) else f"more than {limit}"
            raise RequestValidationError([f"{name} has {shown} items, allowed: at most {limit} (max_jobs)"])
        yield item
