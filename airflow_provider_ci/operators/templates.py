"""Jinja templates in arguments: which values are none, and which results show that a template failed."""

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
    """Tell whether a text is what Python shows for a list, tuple, dict or set, or Airflow for XComs."""
    if _LAZY_SEQUENCE.fullmatch(text):
        return True
    shown = text.strip()
    if shown[:1] + shown[-1:] not in ("[]", "()", "{}"):
        return False
    try:
        return isinstance(ast.literal_eval(shown), list | tuple | dict | set)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def has_rendered_none_inside(template: Any, text: str) -> bool:
    """Tell whether a part of a template has become ``None`` within ``text``, as in ``out/None/voice.mp3``.

    What a template reads may have a ``None`` of its own in it, such as the title of a song.
    """
    if not isinstance(template, str) or "None" not in text:
        return False
    parts = _TemplateParts.of(template)
    match = re.fullmatch("(.*?)".join(map(re.escape, parts.copied)), text, re.DOTALL)
    rendered = match.groups() if match else (text,)
    if match and "None" in rendered:
        return True
    is_within_parts = parts.concatenates or match is None
    pattern = _NONE_BETWEEN_SEPARATORS if is_within_parts else _NONE_AS_PATH_SEGMENT
    if any(map(pattern.search, parts.strings)):
        return False
    return any(map(pattern.search, rendered))


@dataclass
class _TemplateParts:
    """The parts of a template.

    ``copied``: texts that Jinja always copies, before, between and after what it evaluates. From the first
    statement to the last, no text is certain to be copied. ``strings``: all texts that are written in the
    template. ``concatenates``: an expression or a statement may put texts together.
    """

    copied: list[str] = field(default_factory=lambda: [""])
    strings: list[str] = field(default_factory=list)
    concatenates: bool = False

    @classmethod
    def of(cls, template: str) -> _TemplateParts:
        from jinja2 import Environment

        tokens = list(Environment(autoescape=True).lex(template))
        statements = [at for at, (_, kind, _) in enumerate(tokens) if kind in ("block_begin", "block_end")]
        first, last = (statements[0], statements[-1]) if statements else (len(tokens), -1)
        parts = cls(concatenates=bool(statements))
        for at, (_, kind, value) in enumerate(tokens):
            is_in_statements = first <= at <= last
            if kind == "data":
                parts.strings.append(value)
                if not is_in_statements:
                    parts.copied[-1] += value
            elif kind == "string":
                parts.strings.append(value[1:-1])
            elif at == first or (kind == "variable_begin" and not is_in_statements):
                parts.copied.append("")
            elif (kind, value) in _CONCATENATING_TOKENS:
                parts.concatenates = True
        return parts
