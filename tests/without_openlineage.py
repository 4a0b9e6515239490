"""Importing this makes the process one in which OpenLineage is not installed, for those that say they need
nothing of it. It must come before Airflow.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import importlib_metadata

NAME = "openlineage"


class _Blocked:
    """Finds nothing of OpenLineage, before others do."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        if name.partition(".")[0] == NAME or f"{name}.".startswith(f"airflow.providers.{NAME}."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _hide_distributions(module: Any) -> None:
    all_distributions = module.distributions

    def distributions(**context: Any) -> Iterator[Any]:
        return (each for each in all_distributions(**context) if NAME not in each.metadata["Name"])

    module.distributions = distributions


sys.meta_path.insert(0, _Blocked)  # type: ignore[arg-type]
_hide_distributions(importlib.metadata)
_hide_distributions(importlib_metadata)  # the one that Airflow asks
