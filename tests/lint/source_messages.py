"""The messages that the source can log or raise, read from it without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "airflow_provider_ci"
#: Stands for what a message is filled with.
FILLED = "\0"
_FORMAT = re.compile(r"%[-+ #0-9.]*[srdfg]")
_LEVELS = ("info", "warning", "error")
_IMPERATIVES = (
    "add|allow|ask|authorise|bind|cancel|check|clear|contact|correct|enter|find|give|grant|install|leave|let|list|look|name"
    "|open|permit|put|raise|remove|report|restart|restore|resume|see|send|set|shorten|submit|synchronise|unpause"
    "|use|wait|write"
)
# A sentence or clause that begins with an imperative
_ADVICE = re.compile(rf"(?:^|[.:;,] )(?:and |or )?(?:{_IMPERATIVES})\b", re.IGNORECASE)
# What is allowed in place of a wrong value; what the provider or Airflow does next by itself
_WHAT_FOLLOWS = re.compile(
    r"[,;] allowed: |\bagain\b|\bkeep trying|\b[Rr]etry|\b(next|later) try (finds|continues)|\bretrying in"
    r"|\blooking (for|in)\b|\bstill waiting|\bnothing to do\b",
    re.IGNORECASE,
)


class Message(NamedTuple):
    """A text of the source: the error class that it is raised with, or the level that it is logged at."""

    kind: str
    text: str
    place: str
    hints: tuple[str, ...] = ()

    @property
    def letters(self) -> int:
        """How much of it is fixed."""
        return len(re.sub(r"\W", "", self.text.replace(FILLED, "")))

    @property
    def says_what_to_do(self) -> bool:
        """Whether it, or each hint that it may have, says what to do or what follows by itself."""
        return is_advice(self.text) or (bool(self.hints) and all(map(is_advice, self.hints)))


def is_advice(text: str) -> bool:
    """Tell whether a text says what its reader has to do, or what follows without that."""
    return bool(_ADVICE.search(text) or _WHAT_FOLLOWS.search(text))


def messages() -> list[Message]:
    """Return every message of the package."""
    return [message for file in sorted(PACKAGE.rglob("*.py")) for message in _of(file)]


def _of(file: Path) -> Iterator[Message]:
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        text = _text(node.args[0])
        if text is None:
            continue
        place = f"{file.relative_to(PACKAGE.parent)}:{node.lineno}"
        if name.endswith(("Error", "SensorTimeout")):
            yield Message(name, text, place, tuple(_hints(node, tree)))
        elif name in _LEVELS and isinstance(node.func, ast.Attribute):
            yield Message(name, _FORMAT.sub(FILLED, text), place)


def _hints(call: ast.Call, tree: ast.Module) -> Iterator[str]:
    """Yield the hints of an error. One that is computed, of which nothing is known here, is empty."""
    for keyword in call.keywords:
        for name, value in _named(keyword):
            if name == "hint":
                yield from _values(value, tree)


def _named(keyword: ast.keyword) -> Iterator[tuple[object, ast.expr]]:
    """Yield an argument, or those of ``**details | {…}``."""
    if keyword.arg is not None:
        yield keyword.arg, keyword.value
        return
    for node in ast.walk(keyword.value):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                yield getattr(key, "value", None), value


def _values(node: ast.expr, tree: ast.Module) -> Iterator[str]:
    """Yield the texts that an expression may have: its own, or those assigned to its name in the module."""
    if not isinstance(node, ast.Name):
        yield _text(node) or ""
        return
    assigned = [
        each.value
        for each in ast.walk(tree)
        if isinstance(each, ast.Assign) and any(getattr(one, "id", "") == node.id for one in each.targets)
    ]
    yield from [_text(value) or "" for value in assigned] or [""]


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text(node.left) or FILLED) + (_text(node.right) or FILLED)
    return None
