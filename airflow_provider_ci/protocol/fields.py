"""How the fields of a dataclass are elements of XML. Without the XML library, for DAG files load this.

A field ``bass_object`` is the element ``BassObject``; :func:`element` overrides the name and adds spellings
that are accepted too. Supported field types: ``str``, ``int``, ``float``, ``datetime``, a nested dataclass,
each ``| None``, and ``tuple[T, ...]`` for repeated elements.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

#: The service's clock: every time it prints carries this offset.
SERVICE_ZONE = timezone(timedelta(hours=8))


def element(name: str, *also: str) -> dict[str, Any]:
    """Return field metadata for an element ``name`` that CamelCase does not give, read under ``also`` as
    well.
    """
    return {"element": (name, *also)}


class DefaultName(str):
    """A name that the provider chose, not the user: it is no part of what the user asks for."""

    __slots__ = ()


class LightModel(types.SimpleNamespace):
    """Stands for any model while a request is only checked. A field that was not passed is ``None``.

    DAG files check requests with it, because making the classes of the models takes them too long.
    """

    def __getattr__(self, name: str) -> None:
        """Return ``None`` for a field that was not passed."""
        if name.startswith("__"):
            raise AttributeError(name)

    def __repr__(self) -> str:
        """Return the fields that were passed."""
        return repr(vars(self))


class LightModels:
    """Stands for a module of models: each of its names is :class:`LightModel`."""

    def __getattr__(self, name: str) -> type[LightModel]:
        """Return the class."""
        return LightModel


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """A field as elements: the first of ``names`` is written, all are read."""

    field: str
    names: tuple[str, ...]
    kind: type
    repeated: bool
    nested: bool
    #: Reads a text; ``None``: it is kept
    convert: Callable[[str], Any] | None


def type_mismatches(obj: Any, parent: str = "") -> Iterator[tuple[str, Any, type]]:
    """Yield path, value and expected type of every value that has another type than its field.

    A ``bool`` does not count as an ``int``: it would be written as ``True``. The fields of a
    :class:`LightModel` have no types.
    """
    if isinstance(obj, LightModel):
        return
    for slot in slots(type(obj)):
        value = getattr(obj, slot.field)
        for item in value if slot.repeated else (value,):
            if item is None or (type(item) is slot.kind and not slot.nested):
                continue
            if not isinstance(item, slot.kind) or isinstance(item, bool):
                yield f"{parent}{slot.names[0]}", item, slot.kind
            elif slot.nested:
                yield from type_mismatches(item, f"{parent}{slot.names[0]}.")


def format_time(moment: datetime) -> str:
    """Return an aware time as the service writes it, ``2025-01-02T03:04:05+0800``.

    :raises ValueError: the time has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(SERVICE_ZONE).strftime("%Y-%m-%dT%H:%M:%S%z")


# Looking the types of fields up takes far longer than anything else here
_slots_of: dict[type, tuple[Slot, ...]] = {}


def slots(cls: Any) -> tuple[Slot, ...]:
    """Return the fields of a dataclass as elements."""
    found = _slots_of.get(cls)
    if found is None:
        hints = typing.get_type_hints(cls)
        found = _slots_of[cls] = tuple(_slot(field, hints[field.name]) for field in dataclasses.fields(cls))
    return found


def _slot(field: dataclasses.Field[Any], hint: Any) -> Slot:
    kind, repeated = kind_of(hint)
    nested = dataclasses.is_dataclass(kind)
    return Slot(field.name, element_names(field), kind, repeated, nested, _CONVERTERS.get(kind))


def element_names(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    """Return the names of a field's element: the first is written, all are read."""
    camel = "".join(part[:1].upper() + part[1:] for part in field.name.split("_"))
    names: tuple[str, ...] = field.metadata.get("element", (camel,))
    return names


def kind_of(hint: Any) -> tuple[type, bool]:
    """Return the leaf type of ``T | None`` or ``tuple[T, ...]``, and whether it repeats."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def _to_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # 44100.0
        pass
    number = float(text)
    if not number.is_integer():  # also inf and nan
        raise ValueError(text)
    return int(number)


def _to_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # JSON, and so an XCom, has no such number
        raise ValueError(text)
    return number


def _to_time(text: str) -> datetime | None:
    if text.strip() == "-":  # not known yet
        return None
    moment = datetime.fromisoformat(text.strip())
    return moment if moment.tzinfo else moment.replace(tzinfo=SERVICE_ZONE)


_CONVERTERS: Mapping[type, Callable[[str], Any]] = {int: _to_int, float: _to_float, datetime: _to_time}
