"""One rule of the fault plan: its fields, the values they may have, and the error that says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tencent_ci_emulator.http.operations import OPERATIONS

#: Two operations that are no calls: the execution of a job, and its callback
JOB, CALLBACK = "job", "callback"

_MAX_GARBAGE = 64 * 1024**2
_SELECTIONS = ("nth", "every", "first", "share")
_PREDICATES = ("id", "operation", *_SELECTIONS, "seed", "job_id", "key")
_FIELDS_BY_OPERATION = {
    JOB: frozenset((*_PREDICATES, "code", "message", "delay", "result")),
    CALLBACK: frozenset((*_PREDICATES, "callback", "delay", "claims", "body", "garbage")),
}


class FaultPlanError(ValueError):
    """A plan or rule that is not allowed: names the field, its value and what is allowed."""

    def __init__(self, field_name: str, value: object, allowed: str) -> None:
        super().__init__(f"{field_name} is {value!r}, allowed: {allowed}")
        self.field = field_name
        self.given = value
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class Rule:
    """The operations that a rule concerns, and its fields, which ``FaultPlan.add`` explains."""

    operations: frozenset[str]
    fields: Mapping[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field's value, ``default`` if it is not set."""
        return self.fields.get(name, default)


@dataclass(frozen=True, slots=True)
class _FieldType:
    """The values that a field may have, in words and as a predicate."""

    allowed: str
    accepts: Callable[[Any], bool]


def _is_int(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: Any, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_header(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()


def _is_header_map(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(_is_header(name) and _is_header(text) for name, text in value.items())


def _is_element_map(value: Any) -> bool:
    return _is_header_map(value) and all(name.isidentifier() for pair in value.items() for name in pair)


def _is_tree(value: Any) -> bool:
    """Return whether a value can become the children of an element."""
    if not isinstance(value, Mapping) or not value:
        return False
    entries = [
        each for child in value.values() for each in (child if isinstance(child, list | tuple) else [child])
    ]
    are_names = all(isinstance(name, str) and name.isidentifier() for name in value)
    return are_names and all(_is_tree(each) or _is_text_or_number(each) for each in entries)


def _is_text_or_number(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _is_nth(value: Any) -> bool:
    numbers = value if isinstance(value, list | tuple) else [value]
    return bool(numbers) and all(_is_int(number, 1) for number in numbers)


def _one_of(*values: str) -> _FieldType:
    return _FieldType(", ".join(values), lambda value: value in values)


_TEXT = _FieldType("a text that is not empty", lambda value: isinstance(value, str) and bool(value))
_SECONDS = _FieldType("seconds, 0 to 86400", lambda value: _is_number(value, 0, 86400))
_FLAG = _FieldType("true or false", lambda value: isinstance(value, bool))
_ELEMENTS = _FieldType("an object of elements: texts, numbers, objects, or lists of these", _is_tree)
_COUNT = _FieldType("a whole number from 1", lambda value: _is_int(value, 1))

#: The fields of a rule besides ``operation``: the values that each may have
FIELDS: Mapping[str, _FieldType] = {
    "id": _TEXT,
    "nth": _FieldType("a whole number from 1, or a list of such", _is_nth),
    "every": _COUNT,
    "first": _COUNT,
    "share": _FieldType("a number from 0 to 1", lambda value: _is_number(value, 0, 1)),
    "seed": _FieldType("a whole number from 0", lambda value: _is_int(value, 0)),
    "job_id": _TEXT,
    "key": _TEXT,
    "when": _one_of("before", "after"),
    "delay": _SECONDS,
    "drop": _FLAG,
    "status": _FieldType("an HTTP status, 200 to 599", lambda value: _is_int(value, 200, 599)),
    "code": _TEXT,
    "message": _TEXT,
    "retry_after": _FieldType(
        "seconds, or an HTTP date", lambda value: _is_int(value, 0) or _is_header(value)
    ),
    "headers": _FieldType("an object of header names and values, printable ASCII", _is_header_map),
    "truncate": _FieldType("a whole number of bytes from 0", lambda value: _is_int(value, 0)),
    "body": _FieldType("a text", lambda value: isinstance(value, str)),
    "garbage": _FieldType(f"bytes, 0 to {_MAX_GARBAGE}", lambda value: _is_int(value, 0, _MAX_GARBAGE)),
    "content_type": _FieldType("printable ASCII that is not empty", _is_header),
    "list_consistency_delay": _SECONDS,
    "state": _TEXT,
    "elements": _one_of("single", "repeated"),
    "rename": _FieldType("an object of element names and their replacements", _is_element_map),
    "empty_times": _FLAG,
    "clock_skew": _FieldType("seconds, -10000000 to 10000000", lambda value: _is_number(value, -1e7, 1e7)),
    "expired_token": _FLAG,
    "queue": _one_of("full", "paused"),
    "callback": _one_of("twice", "never", "early", "late", "out_of_order", "forged"),
    "claims": _ELEMENTS,
    "result": _ELEMENTS,
}
_EFFECTS = tuple(name for name in FIELDS if name not in (*_PREDICATES, "when", "message", "retry_after"))


def parse_rule(source: Any, at: str) -> Rule:
    """Return a rule from its JSON form; ``at`` names it in errors.

    :raises FaultPlanError: it is not allowed.
    """
    if not isinstance(source, Mapping):
        raise FaultPlanError(at, source, "an object")
    operations = _parse_operations(source.get("operation"), f"{at}.operation")
    fields = {name: value for name, value in source.items() if name != "operation"}
    for name, value in fields.items():
        field_type = FIELDS.get(name)
        if field_type is None:
            raise FaultPlanError(f"{at}.{name}", value, f"only the fields operation, {', '.join(FIELDS)}")
        if not field_type.accepts(value):
            raise FaultPlanError(f"{at}.{name}", value, field_type.allowed)
    conflict = next(_find_conflicts(source, operations), None)
    if conflict is not None:
        name, allowed = conflict
        raise FaultPlanError(f"{at}.{name}", source[name], allowed)
    if not any(name in fields for name in _EFFECTS):
        raise FaultPlanError(at, dict(source), f"at least one effect: {', '.join(_EFFECTS)}")
    return Rule(operations, fields)


def _parse_operations(value: Any, at: str) -> frozenset[str]:
    names = [value] if isinstance(value, str) else value
    if names == ["*"]:
        return frozenset(OPERATIONS)
    known = (*OPERATIONS, JOB, CALLBACK)
    if not isinstance(names, list | tuple) or not names or not all(name in known for name in names):
        raise FaultPlanError(at, value, f"one or a list of {', '.join(known)}; or * for every call")
    if len(names) > 1 and {JOB, CALLBACK} & set(names):
        raise FaultPlanError(at, value, f"{JOB} and {CALLBACK} only alone")
    return frozenset(names)


def _find_conflicts(source: Mapping[str, Any], operations: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield the fields that do not go together with the others, each with what is allowed."""
    for alternatives in (_SELECTIONS, ("status", "queue", "expired_token")):
        present = [name for name in alternatives if name in source]
        if len(present) > 1:
            yield present[1], f"not together with {present[0]}"
    for operation, allowed in _FIELDS_BY_OPERATION.items():
        if operation in operations:
            for name in [name for name in source if name not in allowed]:
                yield name, f"for {operation} only {', '.join(sorted(allowed))}"
    for name, operation in (("callback", CALLBACK), ("claims", CALLBACK), ("result", JOB)):
        if name in source and operation not in operations:
            yield name, f"only with operation {operation}"
    needed = "code" if JOB in operations else "status"
    for name in ("code", "message", "retry_after"):
        if name in source and needed not in source:
            yield name, f"only together with {needed}"
