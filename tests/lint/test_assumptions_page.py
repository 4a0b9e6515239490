"""docs/assumptions.md has every observation of the service, once."""

from __future__ import annotations

import re
from dataclasses import fields

from scripts.snippets import ROOT
from tencent_ci_emulator.observed import ObservedBehaviour

PAGE = (ROOT / "docs" / "assumptions.md").read_text("utf-8")


def test_it_has_every_observation_once() -> None:
    first_cells = [line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| `")]
    named = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(each.name for each in fields(ObservedBehaviour))
