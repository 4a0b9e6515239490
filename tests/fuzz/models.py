"""Whether what was read has the types that it is annotated with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from airflow_provider_ci.protocol.fields import leaf_type


def mistyped(model: Any) -> Iterator[tuple[str, object]]:
    """Yield name and value of each field of a dataclass whose value has another type than its annotation."""
    hints = get_type_hints(type(model))
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        kind, is_repeated = leaf_type(hints[field.name])
        if is_repeated != isinstance(value, tuple):
            yield field.name, value
            continue
        for part in value if is_repeated else (value,):
            if part is None and not is_repeated:
                continue
            if not isinstance(part, kind) or isinstance(part, bool):
                yield field.name, part
            elif dataclasses.is_dataclass(part):
                yield from mistyped(part)
            elif isinstance(part, Mapping):
                yield from mistyped_tree(part)


def mistyped_tree(tree: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield name and value of each part of a tree that is no string, tree or list of these."""
    for name, value in tree.items():
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, dict):
                yield from mistyped_tree(part)
            elif not isinstance(part, str):
                yield name, part


def check_model(model: Any) -> None:
    """Assert that a dataclass has the types that it is annotated with, and can become JSON."""
    assert list(mistyped(model)) == []
    json.dumps(dataclasses.asdict(model), allow_nan=False, default=str).encode()
