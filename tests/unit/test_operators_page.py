"""docs/operators.md: what it says to import is there."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "operators.md").read_text("utf-8")


def test_every_import_that_is_named_works() -> None:
    named = re.findall(r"^\| `(\w+)` \| `(airflow_provider_ci[\w.]+)` \|$", PAGE, re.MULTILINE)
    assert len(named) >= 7
    for name, module in named:
        assert getattr(import_module(module), name).__module__ == module
