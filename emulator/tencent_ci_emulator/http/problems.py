"""Collects what is wrong with a request, so that one response names all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tencent_ci_emulator.http.service_errors import invalid_argument
from tencent_ci_emulator.http.xml import Element, text_of

_QUOTED_CHARACTERS = 100
_DIGITS = 9


class Problems:
    """The broken rules of one request, each with its field, the value, and what is allowed."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, field: str, value: object, allowed: str) -> None:
        """Note a field whose value breaks a rule."""
        shown = repr(value)
        if len(shown) > _QUOTED_CHARACTERS:
            shown = f"{shown[:_QUOTED_CHARACTERS]}…"
        self.add_sentence(f"{field} is {shown}, allowed: {allowed}")

    def add_sentence(self, text: str) -> None:
        """Note a broken rule that needs words of its own."""
        self._texts.append(text)

    def check_choice(self, field: str, value: object, allowed: Collection[object]) -> None:
        """Note a value that is not in a list. An absent value, ``None``, is no problem."""
        if value is not None and value not in allowed:
            self.add(field, value, ", ".join(map(str, allowed)))

    def read_number(self, parent: Element | None, name: str, field: str) -> int | None:
        """Return a child element's whole number, ``None`` if it is absent or is noted as no such number."""
        text = text_of(parent, name)
        if text is None:
            return None
        if text.isascii() and text.isdigit() and len(text) <= _DIGITS:
            return int(text)
        self.add(field, text, "a whole number")
        return None

    def check_single(self, parent: Element, names: Iterable[str]) -> None:
        """Note the child elements that are given more than once."""
        for name in names:
            if len(parent.findall(name)) > 1:
                self.add_sentence(f"{name} is given more than once")

    def refuse_if_any(self, at: str = "") -> None:
        """Refuse the request if a problem was noted.

        :param at: the operation that is meant, if the request has several.
        :raises ServiceError: naming all problems.
        """
        if self._texts:
            raise invalid_argument(f"{at}: {'; '.join(self._texts)}" if at else "; ".join(self._texts))
