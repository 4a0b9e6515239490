"""How requests are checked against the documented rules, and how broken rules are reported.

DAG files load this module, so it loads neither the models nor the XML library.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.fields import type_mismatches
from airflow_provider_ci.protocol.names import ID, NOT_XML, is_object_key, object_address, redact_address

_TYPE_NAMES: dict[type, str] = {str: "a string", int: "an integer"}
_NAME_CHARACTERS = "\u3400-\u9fffA-Za-z0-9_-"
_VALUE_LENGTH_MAX = 120  # a longer value is shortened in messages


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule: the field by its path in the request, its value, and what is allowed."""

    field: str
    value: object
    allowed: str

    def __str__(self) -> str:
        value = repr(self.value)
        if len(value) > _VALUE_LENGTH_MAX:
            value = f"{value[:100]}… ({len(value)} characters)"
        return f"{self.field} is {value}, allowed: {self.allowed}"


def raise_if_any(problems: Iterable[Problem | str]) -> None:
    """Raise an error that names every problem, if there is any.

    :raises RequestValidationError: there is at least one problem.
    """
    if sentences := [str(problem) for problem in problems]:
        raise RequestValidationError(sentences)


def type_problems(request: Any) -> list[Problem]:
    """Return a problem for each value whose type is not that of its field."""
    return [
        Problem(field, value, _TYPE_NAMES.get(kind, kind.__name__))
        for field, value, kind in type_mismatches(request)
    ]


def id_problems(field: str, value: object, *, optional: bool = False) -> Iterator[Problem]:
    """Yield a problem if ``value`` cannot be an id.

    :param optional: accept ``None``.
    """
    if value is None and optional:
        return
    if not (isinstance(value, str) and ID.fullmatch(value)):
        yield Problem(field, value, "letters, digits, _ and -, at most 128")


def choice_problems(
    field: str, value: object, allowed: Collection[object], *, optional: bool = False
) -> Iterator[Problem]:
    """Yield a problem if ``value`` is not one of ``allowed``.

    :param optional: accept ``None``.
    """
    if value is None and optional:
        return
    if value not in allowed:
        yield Problem(field, value, join_values(allowed))


def text_problems(field: str, value: str | None) -> Iterator[Problem]:
    """Yield a problem if ``value`` is empty or has characters that XML cannot carry."""
    if not value or NOT_XML.search(value):
        yield Problem(field, value, "a string that is not empty and has no control characters")


def key_problems(field: str, key: str | None) -> Iterator[Problem]:
    """Yield a problem if ``key`` cannot be the key of a file that is read or written."""
    if not is_object_key(key) or str(key).endswith("/"):
        allowed = "an object key that neither begins nor ends with / and has no control characters"
        yield Problem(field, key, allowed)


def address_problem(field: str, address: str) -> Problem:
    """Return the problem of a complete address in a field for an object key."""
    bucket, key = object_address(address) or (None, "")
    bucket_apart = f", and the bucket, {bucket!r}, apart from it" if bucket else ""
    return Problem(field, redact_address(address), f"an object key, here {key!r}{bucket_apart}")


def name_problems(name: str | None, max_length: int, *, asterisk: bool) -> Iterator[Problem]:
    """Yield a problem if ``name`` cannot be the ``Name`` of a template, queue or batch job.

    :param asterisk: whether the name may have an asterisk.
    """
    characters = ("*" if asterisk else "") + _NAME_CHARACTERS
    if not name or len(name) > max_length or not re.fullmatch(f"[{characters}]+", name):
        shown = "_ - *" if asterisk else "_ -"
        yield Problem("Name", name, f"Chinese, letters, digits, {shown}, at most {max_length} characters")


def check_id(field: str, value: object) -> None:
    """Check that ``value`` can be an id, before it becomes part of a path.

    :raises RequestValidationError: it cannot.
    """
    raise_if_any(id_problems(field, value))


def check_choice(field: str, value: object, allowed: Collection[object]) -> None:
    """Check that ``value`` is one of ``allowed``.

    :raises RequestValidationError: it is not.
    """
    raise_if_any(choice_problems(field, value, allowed))


def check_list(field: str, values: object) -> None:
    """Check that ``values`` is a list. A string is not: each of its characters would count as an entry.

    :raises RequestValidationError: it is no list.
    """
    if isinstance(values, str):
        raise RequestValidationError([f"{field} is the string {values!r}, allowed: a list"])
    if isinstance(values, bytes | bytearray | Mapping) or not isinstance(values, Iterable):
        raise RequestValidationError([f"{field} is {values!r}, allowed: a list"])


def join_values(values: Collection[object]) -> str:
    """Return the values as a message lists them."""
    return ", ".join(map(str, values))
