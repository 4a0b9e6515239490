"""Every link and anchor of every page leads somewhere."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from scripts.snippets import ROOT, pages

_CODE = re.compile(r"^```.*?^```$|(`+)(?!`).*?(?<!`)\1(?!`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[(?P<text>(?:[^\[\]]|\[[^\]]*\](?:\([^)]*\))?)*)\]\((?P<target>[^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+?)\s*#*$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

#: A link within a page's language, for instance [here](#there).
LINKS = [
    (page, found["target"])
    for page in pages()
    for found in _LINK.finditer(_CODE.sub("x", page.read_text("utf-8")))
]


def slug(heading: str) -> str:
    """Return GitHub's anchor for a heading: small letters, spaces to hyphens, no punctuation."""
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page; GitHub numbers those that repeat."""
    found: dict[str, int] = {}
    all_of_them = set()
    for heading in _HEADING.findall(_FENCE.sub("", page.read_text("utf-8"))):
        name = slug(heading)
        count = found.get(name, 0)
        found[name] = count + 1
        all_of_them.add(f"{name}-{count}" if count else name)
    return all_of_them


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("What it is", "what-it-is"),
        ("`VoiceSeparateOperator`: how?", "voiceseparateoperator-how"),
        ("Time (s), job_level & more", "time-s-job_level--more"),
        ("人声分离：常见问题", "人声分离常见问题"),
        ("[A link](x.md) in it", "a-link-in-it"),
        ("`Job … ended Failed`", "job--ended-failed"),
    ],
)
def test_anchors_are_those_of_github(heading: str, anchor: str) -> None:
    assert slug(heading) == anchor


def test_links_are_seen() -> None:
    assert len(LINKS) > 60
    assert len({page for page, _ in LINKS}) > 5


@pytest.mark.parametrize(
    ("page", "target"), LINKS, ids=[f"{page.relative_to(ROOT)}-{target}" for page, target in LINKS]
)
def test_every_link_leads_somewhere(page: Path, target: str) -> None:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        assert parts.scheme == "https"
        assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc)
        return
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    assert file.is_relative_to(ROOT), "outside the repository"
    assert file.exists(), file
    if parts.fragment:
        assert unquote(parts.fragment) in anchors(file)


@pytest.mark.parametrize("image", sorted((ROOT / "docs" / "images").iterdir()), ids=lambda image: image.name)
def test_every_picture_is_shown_and_small(image: Path) -> None:
    assert any(target.endswith(f"images/{image.name}") for _, target in LINKS)
    assert image.stat().st_size < 150_000
    assert image.read_bytes().startswith(b"\x89PNG")
