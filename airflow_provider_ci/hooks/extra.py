"""Reads the fields of a connection, and says what is wrong with one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_ci.exceptions import ConfigurationError

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


def as_text(value: object) -> str | None:
    """Return the text of a string, number or truth value that was read from JSON; ``None`` if it is something
    else, or a number that would not be written so.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        text = repr(value)
        return text if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) else None
    return None


@dataclass(frozen=True, slots=True)
class Extra:
    """The extra of a connection; an empty field is one that is not there.

    Each method raises :class:`ConfigurationError` for a value that is not allowed.
    """

    conn_id: str
    values: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """Return a string. Of a URI, Airflow's database model reads ``20260101`` as a number and ``true`` as
        a truth value; they are the string again here.
        """
        value = self.values.get(name)
        if value is None or value == "":
            return None
        text = as_text(value)
        if text is None or text != text.strip() or not text.isprintable():
            raise self._refused(name, value, "a string without whitespace around it")
        return text

    def matching(self, name: str, pattern: re.Pattern[str], allowed: str) -> str | None:
        """Return a text of the form ``pattern``, which ``allowed`` describes."""
        value = self.text(name)
        if value is not None and not pattern.fullmatch(value):
            raise self._refused(name, value, allowed)
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """Return one of ``choices``."""
        value = self.text(name)
        if value is not None and value not in choices:
            raise self._refused(name, value, ", ".join(choices))
        return value

    def token(self, name: str) -> str | None:
        """Return a text that a header can carry."""
        value = self.text(name)
        if value is not None and not value.isascii():
            raise self._refused(name, value, "a text of ASCII characters")
        return value

    def flag(self, name: str) -> bool:
        """Return a truth value, also written as a word."""
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        word = str(value).strip().lower()
        if word not in (*_TRUE, *_FALSE):
            raise self._refused(name, value, "true, false")
        return word in _TRUE

    def number(self, name: str, default: float, allowed: str) -> float:
        """Return a number above 0."""
        value = self.values.get(name)
        if value is None or value == "":
            return default
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(value, bool) or not (math.isfinite(number) and number > 0):
            raise self._refused(name, value, allowed)
        return number

    def count(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number within bounds."""
        allowed = f"a whole number from {least} to {most}"
        number = self.number(name, default, allowed)
        if number != int(number) or not least <= number <= most:
            raise self._refused(name, self.values.get(name), allowed)
        return int(number)

    def _refused(self, name: str, value: object, allowed: str) -> ConfigurationError:
        # an address may hold a password
        hidden = name in ("security_token", "endpoint_url", "sts_endpoint_url")
        given = "a value not shown" if hidden else repr(value)
        return ConfigurationError(f"Connection {self.conn_id!r}: extra {name} is {given}, allowed: {allowed}")
