"""Which XML element each field of a dataclass is.

DAG files load this module, so it does not load the XML library.

The field ``bass_object`` is the element ``BassObject``. :func:`element` sets another name, and further names
that are read too. Fields may have the types ``str``, ``int``, ``float``, ``datetime``, a dataclass, a mapping
for a tree (each also ``| None``), and ``tuple[T, ...]`` for repeated elements.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

#: The time zone of all times that the service sends.
SERVICE_ZONE = timezone(timedelta(hours=8))


def element(name: str, *other_names: str) -> dict[str, Any]:
    """Return field metadata for an element whose name is not the field's in CamelCase.

    :param other_names: further names under which the element is read.
    """
    return {"element": (name, *other_names)}


class DefaultName(str):
    """A name that the provider chose, not the user: it is no part of what the user asks for."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ElementSpec:
    """The element of a field: written under the first of ``names``, read under all."""

    field: str
    names: tuple[str, ...]
    kind: type
    repeated: bool
    nested: bool
    #: Converts the element's text; ``None`` for a string
    convert: Callable[[str], Any] | None


def format_time(time: datetime) -> str:
    """Return a time in the service's form and zone, ``2025-01-02T03:04:05+0800``.

    :raises ValueError: the time has no zone.
    """
    if time.tzinfo is None:
        raise ValueError(f"{time!r} has no time zone")
    return time.astimezone(SERVICE_ZONE).strftime("%Y-%m-%dT%H:%M:%S%z")


# A cache, because resolving the types of fields is slow
_specs_by_class: dict[type, tuple[ElementSpec, ...]] = {}


def element_specs(cls: Any) -> tuple[ElementSpec, ...]:
    """Return the elements of a dataclass's fields."""
    if cls not in _specs_by_class:
        hints = typing.get_type_hints(cls)
        specs = (_spec(field, hints[field.name]) for field in dataclasses.fields(cls))
        _specs_by_class[cls] = tuple(specs)
    return _specs_by_class[cls]


def _spec(field: dataclasses.Field[Any], hint: Any) -> ElementSpec:
    kind, repeated = leaf_type(hint)
    nested = dataclasses.is_dataclass(kind) or kind is Mapping
    return ElementSpec(field.name, element_names(field), kind, repeated, nested, _CONVERTERS.get(kind))


def element_names(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    """Return the names of a field's element: it is written under the first, and read under all."""
    camel = "".join(part[:1].upper() + part[1:] for part in field.name.split("_"))
    names: tuple[str, ...] = field.metadata.get("element", (camel,))
    return names


def leaf_type(hint: Any) -> tuple[type, bool]:
    """Return the ``T`` of ``T``, ``T | None`` or ``tuple[T, ...]``, and whether the element is repeated."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    if typing.get_origin(hint) is Mapping:
        return Mapping, False
    return hint, False


def _to_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # for instance 44100.0
        pass
    number = float(text)
    if not number.is_integer():  # also inf and nan
        raise ValueError(text)
    return int(number)


def _to_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # JSON, and so XCom, cannot hold it
        raise ValueError(text)
    return number


def _to_time(text: str) -> datetime | None:
    if text.strip() == "-":  # not known yet
        return None
    time = datetime.fromisoformat(text.strip())
    return time if time.tzinfo else time.replace(tzinfo=SERVICE_ZONE)


_CONVERTERS: Mapping[type, Callable[[str], Any]] = {int: _to_int, float: _to_float, datetime: _to_time}
