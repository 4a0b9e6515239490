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


class Message(NamedTuple):
    """A text of the source: the error class that it is raised with, or the level that it is logged at."""

    kind: str
    text: str
    place: str

    @property
    def letters(self) -> int:
        """How much of it is fixed."""
        return len(re.sub(r"\W", "", self.text.replace(FILLED, "")))


def messages() -> list[Message]:
    """Return every message of the package."""
    return [message for file in sorted(PACKAGE.rglob("*.py")) for message in _of(file)]


def _of(file: Path) -> Iterator[Message]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        text = _text(node.args[0])
        if text is None:
            continue
        place = f"{file.relative_to(PACKAGE.parent)}:{node.lineno}"
        if name.endswith(("Error", "SensorTimeout")):
            yield Message(name, text, place)
        elif name in _LEVELS and isinstance(node.func, ast.Attribute):
            yield Message(name, _FORMAT.sub(FILLED, text), place)


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text(node.left) or FILLED) + (_text(node.right) or FILLED)
    return None
