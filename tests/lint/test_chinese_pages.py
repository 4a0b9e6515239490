"""The Chinese pages keep up with the English ones. Messages: see ``test_troubleshooting_page.py``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_ci.get_provider_info import CONN_FIELDS
from scripts.snippets import ROOT, blocks
from scripts.translated import (
    Section,
    chinese_pages,
    current,
    english_of,
    main,
    recorded,
    sections,
    with_record,
)
from tests.lint.test_docs_links import slug

CHINESE = chinese_pages()
each_page = pytest.mark.parametrize("chinese", CHINESE, ids=lambda page: page.name)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_OTHER_PAGES = re.compile(r"\A(# .+\n)\n(\[(?:中文|English)\].*\n)")


def text(page: Path) -> str:
    return page.read_text("utf-8")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


# -- What has changed since it was translated


def changed_sections(chinese: str, english: str) -> list[str]:
    """Return the headings of the sections that are not as the Chinese page has recorded them."""
    before, now = recorded(chinese), current(english)
    changed = [heading for digest, heading in now if (digest, heading) not in before]
    removed = [heading for _, heading in before if heading not in [heading for _, heading in now]]
    moved = [heading for _, heading in now] if before != now and not changed + removed else []
    return changed + removed + moved


@each_page
def test_no_section_has_changed_since_it_was_translated(chinese: Path) -> None:
    english = english_of(chinese)
    changed = changed_sections(text(chinese), text(english))
    assert not changed, (
        f"{name(english)} has changed since it was translated, in: {'; '.join(changed)}"
        f" (git log -p --word-diff {name(english)}). Translate this in {name(chinese)}, then record it:"
        f" .venv/bin/python -m scripts.translated {name(chinese)}"
    )


ENGLISH = "# Page\n\nIntroduction.\n\n## One\n\nFirst\ntext, [a link](there.md).\n\n## Two\n\nSecond.\n"
RECORDED = with_record("# 页\n", ENGLISH, "page.md")


def test_a_record_is_replaced_not_repeated() -> None:
    assert changed_sections(RECORDED, ENGLISH) == []
    assert with_record(RECORDED, ENGLISH, "page.md") == RECORDED


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Second.", "Another.", ["Two"]),
        ("Introduction.", "", ["Page"]),
        ("## Two", "## Three", ["Three", "Two"]),
        ("\n## Two\n\nSecond.\n", "", ["Two"]),
        ("Second.\n", "Second.\n\n## Three\n", ["Three"]),
        ("First\ntext", "First text", []),
        ("(there.md)", "(elsewhere.md)", []),
        ("Second.", "Second.\n\n```bash\n# a comment, not a heading\n```\n", []),
    ],
)
def test_what_counts_as_a_change(old: str, new: str, expected: list[str]) -> None:
    assert old in ENGLISH
    assert changed_sections(RECORDED, ENGLISH.replace(old, new)) == expected


def test_another_order_is_a_change() -> None:
    head, one, two = re.split("(?=^## )", ENGLISH, flags=re.MULTILINE)
    assert changed_sections(RECORDED, head + two + one) == ["Page", "Two", "One"]


def test_a_page_without_a_record_is_not_translated() -> None:
    assert changed_sections("# 页\n", ENGLISH) == ["Page", "One", "Two"]


@pytest.mark.parametrize("names", [[], ["docs/operators.md"], ["docs/zh-CN/operators.md", "README.md"]])
def test_only_chinese_pages_get_a_record(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT / name) for name in names]) == 2
    assert "Name Chinese pages" in capsys.readouterr().out


# -- What is the same in both languages


def linked_at_the_top(page: Path) -> list[Path]:
    found = _OTHER_PAGES.match(text(page))
    assert found, f"no link to the other language below the heading of {name(page)}"
    return [(page.parent / target).resolve() for target in _LINK.findall(found[2])]


@each_page
def test_each_links_the_other_at_its_top(chinese: Path) -> None:
    """And a Chinese page all others, as the rest of its links may lead to English pages."""
    english, *others = linked_at_the_top(chinese)
    assert english == english_of(chinese)
    assert linked_at_the_top(english) == [chinese]
    assert set(others) == set(CHINESE) - {chinese, ROOT / "README.zh-CN.md"}


def paired(chinese: Path) -> list[tuple[Section, Section]]:
    """Return the sections of both pages, without the links at the top."""
    both = [sections(_OTHER_PAGES.sub(r"\1", text(page))) for page in (english_of(chinese), chinese)]
    levels = [[section.level for section in page] for page in both]
    assert levels[0] == levels[1], f"{name(chinese)} has other headings than {name(english_of(chinese))}"
    return list(zip(*both, strict=True))


def code_blocks(page: Path) -> list[tuple[str, str | None, str]]:
    """Return the code blocks without what is translated: comments of a shell, captions below an output."""
    translated = re.compile(r"^# .*\n|  +# .*$|^└.*\n", re.MULTILINE)
    return [
        (one.language, one.source, translated.sub("", one.code) if one.language != "python" else one.code)
        for one in blocks(text(page))
    ]


@each_page
def test_code_blocks(chinese: Path) -> None:
    assert code_blocks(chinese) == code_blocks(english_of(chinese))


def rows(section: Section) -> list[str]:
    """Return the rows of tables, and the items of lists that begin with code, each on one line."""
    found = re.findall(r"^(?:\|.*|- `.*(?:\n  .*)*)", section.text, re.MULTILINE)
    return [" ".join(row.split()) for row in found]


def first_cell(row: str) -> str:
    return re.split(r" \| |: |：", row)[0]


def codes(some: str) -> list[str]:
    """Return what is in code, where a placeholder such as ``<account>`` is translated."""
    return sorted({re.sub("<[^>]+>", "<>", code) for code in re.findall(r"`([^`]+)`", some)})


def differences(english: Section, chinese: Section) -> list[tuple[str, object, object]]:
    """Return where two sections have other words in code: row, first cell, the text beside the tables."""
    both = (rows(english), rows(chinese))
    if len(both[0]) != len(both[1]):
        return [(f"rows below {english.heading}", len(both[0]), len(both[1]))]
    found: list[tuple[str, object, object]] = []
    for row, other in zip(*both, strict=True):
        found.append((row, codes(row), codes(other)))
        found.append((row, codes(first_cell(row)), codes(first_cell(other))))
    beside = [re.sub(r"^\|.*$", "", section.text, flags=re.MULTILINE) for section in (english, chinese)]
    found.append((english.heading, codes(beside[0]), codes(beside[1])))
    return [one for one in found if one[1] != one[2]]


@each_page
def test_tables_and_words_in_code(chinese: Path) -> None:
    assert [one for pair in paired(chinese) for one in differences(*pair)] == []


@pytest.mark.parametrize(
    "text",
    [
        "对 `a` 和 `b` 的说明。\n\n| `x` | `y` |\n",
        "对 `a` 的说明。\n\n| `x` | |\n",
        "对 `a` 的说明。\n\n| `y` | `x` |\n",
        "对 `a` 的说明。\n\n| `x` | `y` |\n| `z` | |\n",
    ],
)
def test_what_counts_as_a_difference(text: str) -> None:
    english = Section(1, "Page", "About `a`.\n\n| `x` | `y` |\n")
    assert differences(english, Section(1, "页", "对 `a` 的说明。\n\n| `x` | 有 `y` |\n")) == []
    assert differences(english, Section(1, "页", text)) != []


def test_lists_are_compared_by_items() -> None:
    english = Section(1, "Page", "- `x`: about\n  `y`\n- `z`: about `w`\n")
    assert differences(english, Section(1, "页", "- `x`：有 `y`\n- `z`：有 `w`\n")) == []
    assert differences(english, Section(1, "页", "- `x`：有 `w`\n- `z`：有 `y`\n")) != []
    assert differences(english, Section(1, "页", "- `z`：有 `w`\n- `x`：有 `y`\n")) != []
    assert differences(english, Section(1, "页", "- `y`：有 `x`\n- `z`：有 `w`\n")) != []


def translated_target(target: str, english: Path, chinese: Path) -> tuple[Path, str] | str:
    """Return where a link of an English page leads in its translation."""
    path, _, anchor = target.partition("#")
    if "://" in path:
        return target
    page = (english.parent / path).resolve() if path else english
    other = next((one for one in CHINESE if english_of(one) == page), None)
    if not other:
        return page, anchor
    anchors = {slug(one.heading): slug(other.heading) for one, other in paired(other)}
    return other, anchors[anchor] if anchor else ""


def leads_to(target: str, page: Path) -> tuple[Path, str] | str:
    path, _, anchor = target.partition("#")
    return target if "://" in path else ((page.parent / path).resolve() if path else page, anchor)


@each_page
def test_links_lead_to_chinese_pages_where_there_are_some(chinese: Path) -> None:
    english = english_of(chinese)
    for section, other in paired(chinese):
        expected = {translated_target(target, english, chinese) for target in _LINK.findall(section.text)}
        assert {leads_to(target, chinese) for target in _LINK.findall(other.text)} == expected, other.heading


def test_every_field_of_the_connection_is_explained_by_its_label() -> None:
    page = text(ROOT / "docs" / "zh-CN" / "connections.md")
    missing = [
        name for name, field in CONN_FIELDS.items() if f"| {field['label']} | extra `{name}` |" not in page
    ]
    assert missing == []


@each_page
def test_chinese_is_not_wrapped(chinese: Path) -> None:
    """A line end between two Chinese characters would be shown as a blank."""
    shown = re.sub(r"^```.*?^```$", "", text(chinese), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"[\u4e00-\u9fff，。：；、]\n[\u4e00-\u9fff`(（]", shown) == []
