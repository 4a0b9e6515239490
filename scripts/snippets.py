"""Keeps the code blocks of the pages equal to files that are tested: ``make snippets``.

A marker in the line before a fenced block says where its text comes from:

``<!-- snippet: example_dags/example_voice_separate.py#howto_sensor_job -->``
    the lines of that file between ``# [START howto_sensor_job]`` and ``# [END howto_sensor_job]``, dedented.
``<!-- run by: tests/integration/test_callbacks.py -->``
    the page itself; that test runs the block as it stands there.

``tests/lint/test_docs_snippets.py`` compares, this command rewrites.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_SKIPPED = {"build", "dist", "node_modules"}
_BLOCK = re.compile(
    r"^(?:<!-- (?P<kind>snippet|run by): (?P<source>\S+) -->\n)?```(?P<language>[a-z]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block: its language, its text, and what its marker says, if it has one."""

    language: str
    code: str
    kind: str | None
    source: str | None


def pages() -> list[Path]:
    """Return every Markdown file of the repository."""
    found = ROOT.rglob("*.md")
    return sorted(page for page in found if not _is_skipped(page.relative_to(ROOT)))


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for found in _BLOCK.finditer(text):
        yield Block(found["language"], found["code"], found["kind"], found["source"])


def excerpt(source: str) -> str:
    """Return the lines that ``path#name`` means.

    :raises ValueError: the file has not exactly one such excerpt.
    """
    path, _, name = source.partition("#")
    lines = (ROOT / path).read_text("utf-8").splitlines(keepends=True)
    bounds = [n for n, line in enumerate(lines) if line.strip() in (f"# [START {name}]", f"# [END {name}]")]
    if len(bounds) != 2:
        raise ValueError(f"{path} has {len(bounds)} markers of {name!r}, not one START and one END")
    return textwrap.dedent("".join(lines[bounds[0] + 1 : bounds[1]])).strip("\n") + "\n"


def refreshed(text: str) -> str:
    """Return a page whose excerpts are those of the files."""

    def replaced(found: re.Match[str]) -> str:
        if found["kind"] != "snippet":
            return found[0]
        head = found[0][: found.start("code") - found.start()]
        return f"{head}{excerpt(found['source'])}```"

    return _BLOCK.sub(replaced, text)


def _is_skipped(path: Path) -> bool:
    return any(part.startswith(".") or part in _SKIPPED for part in path.parts)


def main() -> int:
    """Rewrite the pages whose excerpts are not those of the files, and name them."""
    for page in pages():
        text = page.read_text("utf-8")
        if (new := refreshed(text)) != text:
            page.write_text(new, "utf-8")
            print(page.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
