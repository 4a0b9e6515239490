"""docs/assumptions.md has every question that ``make live`` settles, once."""

from __future__ import annotations

import re

from live.observations import OBSERVATIONS
from scripts.snippets import ROOT

PAGE = (ROOT / "docs" / "assumptions.md").read_text("utf-8")


def test_it_has_every_observation_once() -> None:
    first_cells = [line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| `")]
    named = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(each.name for each in OBSERVATIONS)
