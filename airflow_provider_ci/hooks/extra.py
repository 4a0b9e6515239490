"""Reads the fields of a connection, and says what is wrong with one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_ci.exceptions import ConfigurationError

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


@dataclass(frozen=True, slots=True)
class Extra:
    """The extra of a connection; an empty field is one that is not there.

    Each method raises :class:`ConfigurationError` for a value that is not allowed.
    """

    conn_id: str
    values: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """Return a text."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or value != value.strip() or not value.isprintable():
            raise self._refused(name, value, "a text without blanks around it")
        return value

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
