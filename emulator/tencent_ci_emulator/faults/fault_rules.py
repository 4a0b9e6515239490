"""One rule of the fault plan: its fields, what each may be, and the error that says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tencent_ci_emulator.http.operations import OPERATIONS

#: Things that can go wrong besides calls: the execution of a job, and its callback.
JOB, CALLBACK = "job", "callback"

_MOST_BYTES = 1024**2
_WHICH = ("nth", "every", "first", "share")
_PREDICATES = ("id", "operation", *_WHICH, "seed", "job_id", "key")
_ALLOWED_FOR_JOB = frozenset((*_PREDICATES, "code", "message", "delay"))
_ALLOWED_FOR_CALLBACK = frozenset((*_PREDICATES, "callback", "delay"))


class FaultPlanError(ValueError):
    """A plan or rule that is not allowed: names the field, what was given and what is allowed."""

    def __init__(self, field_name: str, given: object, allowed: str) -> None:
        super().__init__(f"{field_name} is {given!r}, allowed: {allowed}")
        self.field = field_name
        self.given = given
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class Rule:
    """Which calls, and what happens to them, in fields that docs/emulator.md explains to users."""

    operations: frozenset[str]
    fields: Mapping[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field's value, ``default`` if it is not set."""
        return self.fields.get(name, default)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a field may be, in words and as a test."""

    allowed: str
    fits: Callable[[Any], bool]


def _is_int(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: Any, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_header(text: Any) -> bool:
    return isinstance(text, str) and bool(text) and text.isascii() and text.isprintable()


def _is_texts(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(_is_header(name) and _is_header(text) for name, text in value.items())
    )


def _is_element_names(value: Any) -> bool:
    return _is_texts(value) and all(part.isidentifier() for names in value.items() for part in names)


def _is_nth(value: Any) -> bool:
    many = value if isinstance(value, list | tuple) else [value]
    return bool(many) and all(_is_int(number, 1) for number in many)


def _one_of(*values: str) -> _Kind:
    return _Kind(", ".join(values), lambda value: value in values)


_TEXT = _Kind("a text that is not empty", lambda value: isinstance(value, str) and bool(value))
_HEADER = _Kind("printable ASCII that is not empty", _is_header)
_SECONDS = _Kind("seconds, 0 to 86400", lambda value: _is_number(value, 0, 86400))
_FLAG = _Kind("true or false", lambda value: isinstance(value, bool))
_COUNT = _Kind("a whole number from 1", lambda value: _is_int(value, 1))
_BYTES = _Kind(f"bytes, 0 to {_MOST_BYTES}", lambda value: _is_int(value, 0, _MOST_BYTES))

#: The fields of a rule besides ``operation``
FIELDS: Mapping[str, _Kind] = {
    "id": _TEXT,
    "nth": _Kind("a whole number from 1, or a list of such", _is_nth),
    "every": _COUNT,
    "first": _COUNT,
    "share": _Kind("a number from 0 to 1", lambda value: _is_number(value, 0, 1)),
    "seed": _Kind("a whole number from 0", lambda value: _is_int(value, 0)),
    "job_id": _TEXT,
    "key": _TEXT,
    "when": _one_of("before", "after"),
    "delay": _SECONDS,
    "drop": _FLAG,
    "status": _Kind("an HTTP status, 200 to 599", lambda value: _is_int(value, 200, 599)),
    "code": _TEXT,
    "message": _TEXT,
    "retry_after": _Kind("seconds, or an HTTP date", lambda value: _is_int(value, 0) or _is_header(value)),
    "headers": _Kind("an object of header names and values, printable ASCII", _is_texts),
    "truncate": _Kind("a whole number of bytes from 0", lambda value: _is_int(value, 0)),
    "body": _Kind("a text", lambda value: isinstance(value, str)),
    "garbage": _BYTES,
    "content_type": _HEADER,
    "list_consistency_delay": _SECONDS,
    "state": _TEXT,
    "elements": _one_of("single", "repeated"),
    "rename": _Kind("an object of element names and their replacements", _is_element_names),
    "empty_times": _FLAG,
    "clock_skew": _Kind("seconds, -10000000 to 10000000", lambda value: _is_number(value, -1e7, 1e7)),
    "expired_token": _FLAG,
    "queue": _one_of("full", "paused"),
    "callback": _one_of("twice", "early", "never"),
}
_EFFECTS = tuple(name for name in FIELDS if name not in (*_PREDICATES, "when", "message", "retry_after"))


def parse_rule(source: Any, at: str) -> Rule:
    """Return a rule from its JSON form; ``at`` names it in errors.

    :raises FaultPlanError: it is not allowed.
    """
    if not isinstance(source, Mapping):
        raise FaultPlanError(at, source, "an object")
    fields = {name: value for name, value in source.items() if name != "operation"}
    operations = _operations(source.get("operation"), f"{at}.operation")
    for name, value in fields.items():
        kind = FIELDS.get(name)
        if kind is None:
            raise FaultPlanError(f"{at}.{name}", value, f"only the fields operation, {', '.join(FIELDS)}")
        if not kind.fits(value):
            raise FaultPlanError(f"{at}.{name}", value, kind.allowed)
    _check_together(source, operations, at)
    return Rule(operations, fields)


def _operations(given: Any, at: str) -> frozenset[str]:
    names = [given] if isinstance(given, str) else given
    if names == ["*"]:
        return frozenset(OPERATIONS)
    known = (*OPERATIONS, JOB, CALLBACK)
    if not isinstance(names, list | tuple) or not names or not all(name in known for name in names):
        raise FaultPlanError(at, given, f"one or a list of {', '.join(known)}; or * for every call")
    if len(names) > 1 and {JOB, CALLBACK} & set(names):
        raise FaultPlanError(at, given, f"{JOB} and {CALLBACK} only alone")
    return frozenset(names)


def _check_together(source: Mapping[str, Any], operations: frozenset[str], at: str) -> None:
    chosen = [name for name in _WHICH if name in source]
    if len(chosen) > 1:
        raise FaultPlanError(f"{at}.{chosen[1]}", source[chosen[1]], f"not together with {chosen[0]}")
    for special, allowed in ((JOB, _ALLOWED_FOR_JOB), (CALLBACK, _ALLOWED_FOR_CALLBACK)):
        for name in source:
            if special in operations and name not in allowed:
                raise FaultPlanError(
                    f"{at}.{name}", source[name], f"for {special} only {', '.join(sorted(allowed))}"
                )
    if "callback" in source and CALLBACK not in operations:
        raise FaultPlanError(f"{at}.callback", source["callback"], f"only with operation {CALLBACK}")
    if JOB in operations and "message" in source and "code" not in source:
        raise FaultPlanError(f"{at}.message", source["message"], "only together with code")
    if JOB not in operations:
        _check_error(source, at)
    if not any(name in source for name in _EFFECTS):
        raise FaultPlanError(at, dict(source), f"at least one effect: {', '.join(_EFFECTS)}")


def _check_error(source: Mapping[str, Any], at: str) -> None:
    for name in ("code", "message", "retry_after"):
        if name in source and "status" not in source:
            raise FaultPlanError(f"{at}.{name}", source[name], "only together with status")
    errors = [name for name in ("status", "queue", "expired_token") if name in source]
    if len(errors) > 1:
        raise FaultPlanError(f"{at}.{errors[1]}", source[errors[1]], f"not together with {errors[0]}")
