"""Rules for the elements of a request, as tables, and the problems that a request has with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from tencent_ci_emulator.http.errors import invalid_argument
from tencent_ci_emulator.http.xml import Element, text_of

_QUOTED_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule for the text of one element.

    :param allowed: in words, for the error message.
    :param accepts: returns whether a text is allowed.
    :param is_required: the element must be there and must not be blank.
    :param is_secret: the error message does not quote the text.
    """

    allowed: str
    accepts: Callable[[str], object]
    is_required: bool = False
    is_secret: bool = False


#: The rules of several elements, by their path
Rules = Mapping[str, Rule]


def one_of(*values: object, is_required: bool = False) -> Rule:
    """Return the rule that a text is one of some values."""
    texts = [str(value) for value in values]
    return Rule(", ".join(texts), lambda text: text in texts, is_required)


def matches(pattern: re.Pattern[str], allowed: str, *, is_required: bool = False) -> Rule:
    """Return the rule that a text matches a pattern."""
    return Rule(allowed, pattern.fullmatch, is_required)


def whole_number(least: int, most: int, unit: str = "") -> Rule:
    """Return the rule that a text is a whole number within bounds."""
    return Rule(f"{least} to {most}{unit}", lambda text: read_number(text) in range(least, most + 1))


def decimal(least: float, most: float, unit: str = "", *, is_required: bool = False) -> Rule:
    """Return the rule that a text is a number within bounds, perhaps with decimals."""

    def accepts(text: str) -> bool:
        number = read_decimal(text)
        return number is not None and least <= number <= most

    return Rule(f"{least:g} to {most:g}{unit}", accepts, is_required)


def one_number_of(numbers: Collection[int]) -> Rule:
    """Return the rule that a text is one of some whole numbers, with or without zeros in front."""
    return Rule(", ".join(map(str, numbers)), lambda text: read_number(text) in numbers)


def read_number(text: str | None) -> int | None:
    """Return a whole number of at most nine digits, ``None`` for any other text."""
    return int(text) if text and re.fullmatch("[0-9]{1,9}", text) else None


def read_decimal(text: str | None) -> float | None:
    """Return a number of at most nine digits before and after its point, ``None`` for any other text."""
    return float(text) if text and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None


class Problems:
    """The broken rules of one request, collected so that one response names all of them."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    def add(self, field: str, value: object, allowed: str) -> None:
        """Note a field whose value breaks a rule."""
        quoted = repr(value)
        if len(quoted) > _QUOTED_CHARACTERS:
            quoted = f"{quoted[:_QUOTED_CHARACTERS]}…"
        self.add_sentence(f"{field} is {quoted}, allowed: {allowed}")

    def add_sentence(self, sentence: str) -> None:
        """Note a broken rule in other words."""
        self._sentences.append(sentence)

    def check(self, parent: Element | None, rules: Rules, prefix: str = "") -> None:
        """Note the elements below ``parent`` that break their rules.

        :param prefix: the path of ``parent``, with a dot at its end.
        """
        for path, rule in rules.items():
            text = text_of(parent, path)
            field = prefix + path.replace("/", ".")
            if text is None and not rule.is_required:
                continue
            if text is None:
                self.add_sentence(f"{field} is missing, allowed: {rule.allowed}")
            elif not rule.accepts(text) and rule.is_secret:
                self.add_sentence(f"{field} must be {rule.allowed}")
            elif not rule.accepts(text):
                self.add(field, text, rule.allowed)

    def raise_if_any(self, prefix: str = "") -> None:
        """Refuse the request if a problem was noted.

        :param prefix: of the message; names one of several operations.
        :raises ServiceError: naming all problems.
        """
        if self._sentences:
            raise invalid_argument(prefix + "; ".join(self._sentences))


def require_single_elements(parent: Element, *names: str) -> None:
    """Refuse child elements that are there more than once.

    :raises ServiceError: naming them.
    """
    repeated = [name for name in names if len(parent.findall(name)) > 1]
    if repeated:
        raise invalid_argument(f"repeated elements, of which one is allowed: {', '.join(repeated)}")
