"""Reads the extra fields of a connection, and reports what is wrong with one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_ci.exceptions import ConfigurationError

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")
# Tokens are secret, and a URL may hold a password
_HIDDEN = ("security_token", "endpoint_url", "sts_endpoint_url", "callback_base_url", "callback_secret")


def to_string(value: object) -> str | None:
    """Return the string that Airflow or JSON has read as a string, number or boolean.

    ``None`` for other types, and for a number whose text would not be written like that.
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
    """The extra fields of a connection. An empty field counts as missing.

    Each method raises :class:`ConfigurationError` for a value that is not allowed.
    """

    conn_id: str
    values: Mapping[str, Any]

    def string(self, name: str) -> str | None:
        """Return a string.

        From a URI, Airflow's database model reads ``20260101`` as a number and ``true`` as a boolean; they
        become strings again.
        """
        value = self.values.get(name)
        if value is None or value == "":
            return None
        text = to_string(value)
        if text is None or text != text.strip() or not text.isprintable():
            raise self._error(name, value, "a string without whitespace around it")
        return text

    def matching(self, name: str, pattern: re.Pattern[str], allowed: str) -> str | None:
        """Return a string that matches ``pattern``, which ``allowed`` describes."""
        value = self.string(name)
        if value is not None and not pattern.fullmatch(value):
            raise self._error(name, value, allowed)
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """Return one of ``choices``."""
        value = self.string(name)
        if value is not None and value not in choices:
            raise self._error(name, value, ", ".join(choices))
        return value

    def token(self, name: str) -> str | None:
        """Return a string that a header can carry."""
        value = self.string(name)
        if value is not None and not value.isascii():
            raise self._error(name, value, "a string of ASCII characters")
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean, which may also be written as a word."""
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        word = str(value).strip().lower()
        if word not in (*_TRUE, *_FALSE):
            raise self._error(name, value, "true, false")
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
            raise self._error(name, value, allowed)
        return number

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """Return an integer within bounds."""
        allowed = f"an integer from {minimum} to {maximum}"
        number = self.number(name, default, allowed)
        if number != int(number) or not minimum <= number <= maximum:
            raise self._error(name, self.values.get(name), allowed)
        return int(number)

    def _error(self, name: str, value: object, allowed: str) -> ConfigurationError:
        shown = "a value not shown" if name in _HIDDEN else repr(value)
        return ConfigurationError(f"Connection {self.conn_id!r}: extra {name} is {shown}, allowed: {allowed}")
