"""docs/security.md: the tests that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text("utf-8")


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`((?:unit|fuzz|e2e|integration|emulator)/[\w/]+\.py)((?:::\w+)*)`", PAGE)
    assert len(named) > 20
    for path, parts in named:
        text = (TESTS / path).read_text("utf-8")
        for part in filter(None, parts.split("::")):
            assert re.search(rf"(?:def|class) {part}\b", text), f"{path}::{part}"
