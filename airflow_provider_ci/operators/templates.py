"""Templates in arguments: which values Airflow renders, and which rendered strings show that it failed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

#: The end of a message about a template that rendered ``None``.
NONE_RENDERED = "a template rendered None, so what it reads is not there"

_TEMPLATE = re.compile(r"\{[{%#]")
_LAZY_SEQUENCE = re.compile(r"Lazy\w*Sequence\(.*\)")
_NONE_AS_PATH_SEGMENT = re.compile(r"(?:^|/)None(?:/|$)")
_NONE_BETWEEN_SEPARATORS = re.compile(r"(?:^|[/_.=-])None(?=[/_.-]|$)")
_CONCATENATING_TOKENS = (
    *(("operator", value) for value in ("~", "%", "+")),
    *(("name", value) for value in ("format", "join")),
)


def is_literal(value: Any) -> bool:
    """Tell whether Airflow leaves a value as it is when it renders the task's arguments.

    It replaces templates, outputs of other tasks and functions.
    """
    if isinstance(value, str):
        return not _TEMPLATE.search(value)
    if isinstance(value, bytes):
        return True
    if isinstance(value, dict):
        return all(map(is_literal, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_literal, value))
    is_iterator = isinstance(value, Iterable)  # to look into it would use it up
    is_rendered = hasattr(value, "iter_references") or hasattr(value, "template_fields")
    return not (callable(value) or is_iterator or is_rendered)


def is_rendered_collection(text: str) -> bool:
    """Tell whether a string is what Python makes of a list, tuple, dict or set, or Airflow of XComs."""
    if _LAZY_SEQUENCE.fullmatch(text):
        return True
    shown = text.strip()
    if shown[:1] + shown[-1:] not in ("[]", "()", "{}"):
        return False
    try:
        return isinstance(ast.literal_eval(shown), list | tuple | dict | set)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def is_native_value(text: str, value: Any) -> bool:
    """Tell whether Airflow makes ``value`` of a string without templates, in a DAG with
    ``render_template_as_native_obj``: 1.1 of ``1.10``, ``None`` of an empty one.
    """
    if isinstance(value, str):
        return False
    if text == "":
        return value is None
    try:
        native = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return type(native) is type(value) and bool(native == value)


def has_rendered_none_inside(template: Any, text: str) -> bool:
    """Tell whether a part of a template has become ``None`` within ``text``, as in ``out/None/voice.mp3``.

    A value that a template reads may have ``None`` in it, such as the title of a song. So ``None`` in a value
    counts only as a segment of a path, and between other separators only if an expression puts strings
    together, as ``{{ a ~ "-" ~ b }}`` does.
    """
    if not isinstance(template, str) or "None" not in text:
        return False
    parts = _TemplateParts.of(template)
    match = re.fullmatch("(.*?)".join(map(re.escape, parts.copied)), text, re.DOTALL)
    values = match.groups() if match else (text,)  # without a match, any part may be a value
    if match and "None" in values:
        return True
    is_precise = match and not parts.concatenates
    pattern = _NONE_AS_PATH_SEGMENT if is_precise else _NONE_BETWEEN_SEPARATORS
    is_written_in_template = any(map(pattern.search, parts.strings))
    return not is_written_in_template and any(map(pattern.search, values))


@dataclass
class _TemplateParts:
    """The parts of a template.

    :param copied: the strings that Jinja copies, before, between and after what it evaluates. Whether it
        copies a string between the first and the last statement is unknown: that part counts as one value.
    :param strings: all strings in the template, those in expressions too.
    :param concatenates: whether an expression or a statement may put strings together.
    """

    copied: list[str] = field(default_factory=lambda: [""])
    strings: list[str] = field(default_factory=list)
    concatenates: bool = False

    @classmethod
    def of(cls, template: str) -> _TemplateParts:
        from jinja2 import Environment

        tokens = list(Environment(autoescape=True).lex(template))
        statements = [index for index, (_, kind, _) in enumerate(tokens) if kind.startswith("block_")]
        first, last = (statements[0], statements[-1]) if statements else (len(tokens), -1)
        parts = cls(concatenates=bool(statements))
        for index, (_, kind, value) in enumerate(tokens):
            is_in_statements = first <= index <= last
            if kind == "data":
                parts.strings.append(value)
                if not is_in_statements:
                    parts.copied[-1] += value
            elif kind == "string":
                parts.strings.append(value[1:-1])
            elif index == first or (kind == "variable_begin" and not is_in_statements):
                parts.copied.append("")
            elif (kind, value) in _CONCATENATING_TOKENS:
                parts.concatenates = True
        return parts
