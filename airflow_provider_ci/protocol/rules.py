"""How requests are checked against the documented rules, and how broken rules are reported.

DAG files load this module, so it loads neither the models nor the XML library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.names import (
    ID,
    NOT_XML,
    is_address,
    is_object_key,
    key_rule_violation,
    object_address,
    redact_address,
    redact_addresses,
)

_NAME_CHARACTERS = "\u3400-\u9fffA-Za-z0-9_-"
_SCALARS = (str, int, float)
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_VALUE_LENGTH_MAX = 120  # a longer value is shortened in messages


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule: the field by its path in the request, its value, and what is allowed.

    Addresses in the value are shown without what may be a secret.
    """

    field: str
    value: object
    allowed: str

    def __str__(self) -> str:
        text = self.value if isinstance(self.value, str) else None
        value = redact_addresses(repr(self.value)) if text is None else repr(redact_addresses(text))
        if len(value) > _VALUE_LENGTH_MAX:
            value = f"{value[:100]}… ({len(value)} characters)"
        return f"{self.field} is {value}, allowed: {self.allowed}"


def raise_if_any(problems: Iterable[Problem | str]) -> None:
    """Raise an error that names every problem, if there is any.

    :raises RequestValidationError: there is at least one problem.
    """
    if sentences := [str(problem) for problem in problems]:
        raise RequestValidationError(sentences)


def problems_of(check: Callable[..., None], *arguments: Any) -> list[str]:
    """Return the problems that a check raises."""
    try:
        check(*arguments)
    except RequestValidationError as error:
        return [*error.problems]
    return []


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


def text_problems(field: str, value: object) -> Iterator[Problem]:
    """Yield a problem if ``value`` is empty or has characters that XML cannot carry."""
    if not isinstance(value, str) or not value or NOT_XML.search(value):
        yield Problem(field, value, "a string that is not empty and has no control characters")


def key_problems(field: str, key: str | None) -> Iterator[Problem]:
    """Yield a problem if ``key`` cannot be the key of a file that is read or written."""
    if not is_object_key(key) or str(key).endswith("/"):
        allowed = "an object key that neither begins nor ends with / and has no control characters"
        yield Problem(field, key, allowed)


def file_key_problems(field: str, key: str | None) -> Iterator[Problem]:
    """Yield a problem if no file can have this key: as :func:`key_problems`, or because it is a complete
    address, or COS rejects it.
    """
    if key is not None and is_address(key):
        yield address_problem(field, key)
        return
    problems = list(key_problems(field, key))
    yield from problems
    if not problems and (allowed := key_rule_violation(str(key))):
        yield Problem(field, key, allowed)


def address_problem(field: str, address: str) -> Problem:
    """Return the problem that a field for an object key has a complete address, such as ``cos://…``."""
    bucket, key = object_address(address) or (None, "")
    bucket_hint = f", and the bucket, {bucket!r}, apart from it" if bucket else ""
    return Problem(field, redact_address(address), f"an object key, here {key!r}{bucket_hint}")


def name_problems(name: object, max_length: int, *, asterisk: bool) -> Iterator[Problem]:
    """Yield a problem if ``name`` cannot be the ``Name`` of a template, queue or batch job.

    :param asterisk: whether the name may have an asterisk.
    """
    characters = ("*" if asterisk else "") + _NAME_CHARACTERS
    if not isinstance(name, str) or len(name) > max_length or not re.fullmatch(f"[{characters}]+", name):
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


@dataclass(frozen=True, slots=True)
class Rule:
    """What an element without children may be. Numbers may be strings, as a template renders them.

    :param allowed: completes "allowed:" in a message.
    :param accepts: tells whether a value is allowed.
    :param is_text: the value is a string, not a number or a boolean.
    """

    allowed: str
    accepts: Callable[[Any], bool]
    is_required: bool = False
    is_text: bool = True

    def problems(self, field: str, value: object) -> Iterator[Problem]:
        """Yield a problem if ``value`` is not allowed."""
        if value is None and not self.is_required:
            return
        if not isinstance(value, _SCALARS) or not self.accepts(value):
            yield Problem(field, value, self.allowed)


def as_number(value: object) -> float | None:
    """Return a number, also one that is a string; ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value):  # float() reads 1_0 and 1e3 too
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 300 digits
        return None
    return number if math.isfinite(number) else None


def as_integer(value: object) -> int | None:
    """Return an integer, also one that is a string; ``None`` for anything else.

    44100.0 is not an integer: it would be sent with the ``.0``.
    """
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def one_of(*values: str, is_required: bool = False) -> Rule:
    """Return the rule for one of some strings."""
    return Rule(join_values(values), lambda value: value in values, is_required)


def one_number_of(*values: int, is_required: bool = False) -> Rule:
    """Return the rule for one of some integers."""
    return Rule(join_values(values), lambda value: as_integer(value) in values, is_required, is_text=False)


def any_integer() -> Rule:
    """Return the rule for any integer."""
    return Rule("an integer", lambda value: as_integer(value) is not None, is_text=False)


def integer(least: int, most: int, unit: str = "", *, is_required: bool = False) -> Rule:
    """Return the rule for an integer from ``least`` to ``most``.

    :param unit: is shown in messages, for instance ``kbit/s``.
    """

    def accepts(value: object) -> bool:
        number = as_integer(value)
        return number is not None and least <= number <= most

    shown = f" ({unit})" if unit else ""
    return Rule(f"an integer from {least} to {most}{shown}", accepts, is_required, is_text=False)


def number(least: float, most: float = math.inf, unit: str = "", *, is_required: bool = False) -> Rule:
    """Return the rule for a number from ``least`` to ``most``."""

    def accepts(value: object) -> bool:
        found = as_number(value)
        return found is not None and least <= found <= most

    limit = f"a number from {least:g} to {most:g}" if most < math.inf else f"a number, at least {least:g}"
    return Rule(f"{limit} ({unit})" if unit else limit, accepts, is_required, is_text=False)


def boolean(*, is_required: bool = False) -> Rule:
    """Return the rule for true or false, as a boolean or as the service spells it."""

    def accepts(value: object) -> bool:
        return isinstance(value, bool) or value in ("true", "false")

    return Rule("true, false", accepts, is_required, is_text=False)


def string(allowed: str = "a string that is not empty", *, is_required: bool = False) -> Rule:
    """Return the rule for any string that is not empty."""
    return Rule(allowed, lambda value: isinstance(value, str) and bool(value.strip()), is_required)
