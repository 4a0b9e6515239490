"""docs/README.md leads to every page; docs/conf.py makes the site's table of contents of it."""

from __future__ import annotations

import re

import pytest

from scripts.snippets import ROOT

DOCS = ROOT / "docs"
SECTIONS = re.split(r"^## .+$", (DOCS / "README.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
LINKED = [
    (DOCS / target).resolve()
    for section in SECTIONS
    for target in re.findall(r"\]\(([^)#\s]+\.(?:md|rst))\)", section)
]
PAGES = sorted(page for ending in ("md", "rst") for page in DOCS.rglob(f"*.{ending}"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_page_is_in_the_index_once(page) -> None:
    assert LINKED.count(page) == (page != DOCS / "README.md")
