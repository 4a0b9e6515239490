"""The Chinese pages keep up with the English ones. Troubleshooting: see ``test_troubleshooting_page.py``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_ci.get_provider_info import CONN_FIELDS
from scripts.snippets import ROOT, blocks

DOCS = ROOT / "docs"
PAIRS = [(ROOT / "README.md", ROOT / "README.zh-CN.md")] + [
    (DOCS / name, DOCS / "zh-CN" / name) for name in ("connections.md", "troubleshooting.md")
]
CHINESE = [ROOT / "README.zh-CN.md", *sorted((DOCS / "zh-CN").glob("*.md"))]


def text(page: Path) -> str:
    return page.read_text("utf-8")


def without_comments(code: str) -> str:
    return re.sub(r"^# .*\n|  +# .*$", "", code, flags=re.MULTILINE)


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda page: page.name)
def test_each_links_the_other_at_its_top(english: Path, chinese: Path) -> None:
    for page, label, other in ((english, "中文", chinese), (chinese, "English", english)):
        target = re.search(rf"\[{label}\]\(([^)]+)\)", "".join(text(page).splitlines(keepends=True)[:4]))
        assert target
        assert (page.parent / target[1]).resolve() == other


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda page: page.name)
def test_both_have_the_same_sections_and_code(english: Path, chinese: Path) -> None:
    levels = [re.findall("^#+", text(page), re.MULTILINE) for page in (english, chinese)]
    assert levels[0] == levels[1]
    code = [
        [without_comments(block.code) for block in blocks(text(page)) if block.language in ("bash", "python")]
        for page in (english, chinese)
    ]
    assert code[0] == code[1]


def test_every_field_of_the_connection_is_explained_by_its_label() -> None:
    page = text(DOCS / "zh-CN" / "connections.md")
    missing = [
        name for name, field in CONN_FIELDS.items() if f"| {field['label']} | extra `{name}` |" not in page
    ]
    assert missing == []


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_chinese_is_not_wrapped(page: Path) -> None:
    """A line end between two Chinese characters would be shown as a blank."""
    shown = re.sub(r"^```.*?^```$", "", text(page), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"[\u4e00-\u9fff，。：；、]\n[\u4e00-\u9fff`(（]", shown) == []
