"""docs/security.md names test modules that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text("utf-8")


def test_every_test_module_exists() -> None:
    named = set(re.findall(r"`((?:unit|lint|fuzz|e2e|integration|emulator)/\w[^`]*)`", PAGE))
    assert len(named) > 10
    assert {name for name in named if not (TESTS / name).is_file()} == set()
