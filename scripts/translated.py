"""Records that a Chinese page translates the English page as it stands now.

``python -m scripts.translated docs/zh-CN/operators.md``

A comment at the end of each Chinese page has a digest of each section of the English page.
``tests/lint/test_chinese_pages.py`` compares, and names the sections that have changed since.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) (.+)$", re.MULTILINE)
_TARGET = re.compile(r"\]\([^)]*\)")
_RECORD = re.compile(r"\n*<!-- translates [^\n]*\n(?P<lines>.*?)-->\n*\Z", re.DOTALL)


class Section(NamedTuple):
    """A heading, and the text up to the next heading, without code blocks and comments."""

    level: int
    heading: str
    text: str


def english_of(chinese: Path) -> Path:
    """Return the page that a Chinese page translates."""
    if chinese.parent == ROOT:
        return ROOT / chinese.name.replace(".zh-CN", "")
    return ROOT / "docs" / chinese.name


def chinese_pages() -> list[Path]:
    """Return every Chinese page."""
    return [ROOT / "README.zh-CN.md", *sorted((ROOT / "docs" / "zh-CN").glob("*.md"))]


def sections(page: str) -> list[Section]:
    """Split a page at its headings."""
    _, *parts = _HEADING.split(_COMMENT.sub("", _FENCE.sub("", page)))
    return [
        Section(len(level), heading.strip(), text)
        for level, heading, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def digest(section: Section) -> str:
    """Return a digest of the words of a section: neither line ends nor targets of links count."""
    words = " ".join(_TARGET.sub("]", section.text).split())
    return hashlib.sha256(words.encode()).hexdigest()[:8]


def recorded(chinese: str) -> list[tuple[str, str]]:
    """Return digest and heading of each section that a Chinese page translates, as it says itself."""
    found = _RECORD.search(chinese)
    lines = found["lines"].splitlines() if found else []
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def current(english: str) -> list[tuple[str, str]]:
    """Return digest and heading of each section of an English page."""
    return [(digest(section), section.heading) for section in sections(english)]


def with_record(chinese: str, english: str, name: str) -> str:
    """Return a Chinese page with a record of the English page, whose name is given."""
    lines = "".join(f"{found} {heading}\n" for found, heading in current(english))
    return f"{_RECORD.sub('', chinese).rstrip()}\n\n<!-- translates {name}\n{lines}-->\n"


def main(names: list[str]) -> int:
    """Record the state of the English pages in the Chinese pages that are named."""
    pages = [Path(name).resolve() for name in names]
    if not pages or set(pages) - set(chinese_pages()):
        print("Name Chinese pages, for instance: python -m scripts.translated docs/zh-CN/operators.md")
        return 2
    for page in pages:
        english = english_of(page)
        name = str(english.relative_to(ROOT))
        page.write_text(with_record(page.read_text("utf-8"), english.read_text("utf-8"), name), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
