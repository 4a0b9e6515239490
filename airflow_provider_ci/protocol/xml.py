"""XML in and out: a hardened parser and the one generic mapping between dataclasses and elements.

A dataclass field ``au_object`` is the element ``AuObject``; :func:`element` overrides the name and adds
spellings that are accepted too. Supported field types: ``str``, ``int``, ``float``, ``datetime``, a nested
dataclass, each ``| None``, and ``tuple[T, ...]`` for repeated elements.

Reading is tolerant, as the service's documents contradict each other (order, missing, empty or repeated
elements, unknown elements, ``-`` for a time that is not known yet); writing is exact.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from lxml import etree

from airflow_provider_ci.protocol.names import NOT_XML

T = TypeVar("T")
Element = etree._Element


def _new_parser() -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        remove_blank_text=True,
    )


# Making one takes as long as reading a short document
_PARSER = _new_parser()
# lxml lets one thread at a time use a parser: an event loop would wait for a large document in another thread
_SHORT = 64 * 1024

#: A page of 100 jobs is about 260 kB; anything larger than this is not an answer of this service.
MAX_BYTES = 8 * 1024 * 1024

#: What is read in the place of a character that XML cannot carry.
REPLACEMENT = "\ufffd"
_CHARACTER_REFERENCE = re.compile("&#([^;&<>\\s]{0,20});?")
# What is written as an entity is none of them: it has no meaning, and the document is refused
_BARE_AMPERSAND = re.compile(r"&(?!#|[A-Za-z_:][\w:.-]*;)")
# A page of 100 jobs is far smaller; more would hold an event loop up
_REPAIRED_BYTES_MAX = 1024 * 1024
_REPAIRED_REFERENCES_MAX = 20_000
_BEFORE_MARKUP = "\ufeff\x00 \t\r\n"

#: The service's clock: every time it prints carries this offset.
SERVICE_ZONE = timezone(timedelta(hours=8))


class XMLError(ValueError):
    """Text that is not the XML expected here."""


def element(name: str, *also: str) -> dict[str, Any]:
    """Return field metadata for an element ``name`` that CamelCase does not give, read under ``also`` as
    well.
    """
    return {"element": (name, *also)}


def parse_document(data: bytes, *, max_bytes: int = MAX_BYTES) -> Element:
    """Parse a document from an untrusted source and return its root element.

    Only UTF-8 is read, whatever the declaration says, so that a document type cannot hide in another
    encoding; a document type is refused, hence no entity is ever defined, expanded or fetched.

    :raises XMLError: too large, not UTF-8, with a document type, or not well-formed.
    """
    if len(data) > max_bytes:
        raise XMLError(f"the document has {len(data)} bytes, more than {max_bytes}")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise XMLError(f"the document is not UTF-8: {error.reason} at byte {error.start}") from None
    if b"<!DOCTYPE" in data:
        raise XMLError("the document has a document type (DTD), which is refused")
    try:
        return etree.fromstring(data, _PARSER if len(data) <= _SHORT else _new_parser())
    except etree.XMLSyntaxError as error:
        raise XMLError(f"the document is not well-formed XML: {error}") from None


def parse_response(data: bytes, *, max_bytes: int = MAX_BYTES) -> Element:
    """Parse a document of the service, as far as it can be read, and return its root element.

    :func:`parse_document` comes first. But one text with a character that XML cannot carry (the message of a
    failed job may quote anything) must not make all other jobs of the document unreadable. So such
    characters, references to them and bytes that are not UTF-8 are replaced by U+FFFD, a bare ``&`` stands
    for itself, and whitespace before the declaration is skipped. Document types, entities and sizes are
    refused all the same.

    :raises XMLError: as of :func:`parse_document`, and this did not help.
    """
    try:
        return parse_document(data, max_bytes=max_bytes)
    except XMLError as error:
        if len(data) > min(max_bytes, _REPAIRED_BYTES_MAX) or data.count(b"&") > _REPAIRED_REFERENCES_MAX:
            raise
        try:
            return parse_document(_repaired(data))
        except XMLError:
            raise error from None


def _repaired(data: bytes) -> bytes:
    text = data.decode("utf-8", "replace").lstrip(_BEFORE_MARKUP)
    text = NOT_XML.sub(REPLACEMENT, text)
    text = _CHARACTER_REFERENCE.sub(lambda found: found[0] if _is_readable(found) else REPLACEMENT, text)
    return _BARE_AMPERSAND.sub("&amp;", text).encode("utf-8")


def _is_readable(reference: re.Match[str]) -> bool:
    digits = reference[1]
    try:
        number = int(digits[1:], 16) if digits.startswith("x") else int(digits)
        return reference[0].endswith(";") and digits.isalnum() and not NOT_XML.search(chr(number))
    except (ValueError, OverflowError):  # no number, or one of no character
        return False


def read(cls: type[T], source: Element, *, strict: bool = False) -> T:
    """Build a ``cls`` from the children of ``source``.

    Elements that ``cls`` does not know are skipped, empty ones count as absent. Where one value is expected
    and several come, the first that is not empty is taken. A number or time that cannot be read becomes
    ``None``.

    :param strict: raise instead of dropping such a number or time.
    :raises XMLError: with ``strict``, naming the element and its text.
    """
    slots = _reading_plan(cls)
    values: dict[str, Any] = {}
    repeated: dict[str, list[Any]] = {}
    for child in source:
        tag = child.tag
        slot = slots.get(tag) or slots.get(local_name(tag))
        if slot is None:
            continue
        value = _nested(slot, child, strict) if slot.nested else _leaf(slot, child, strict)
        if value is None:
            continue
        if slot.repeated:
            repeated.setdefault(slot.field, []).append(value)
        elif slot.field not in values:
            values[slot.field] = value
    for name, items in repeated.items():
        values[name] = tuple(items)
    return cls(**values)


def to_element(obj: Any, tag: str) -> Element:
    """Return ``obj`` as an element: ``None`` is left out, ``""`` is an empty element, a tuple repeats.

    :raises XMLError: a text has characters that XML cannot carry, naming the element.
    """
    root = etree.Element(tag)
    _fill(root, obj)
    return root


def to_bytes(root: Element) -> bytes:
    """Return the document as sent: UTF-8 with declaration."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def to_dict(obj: Any) -> dict[str, Any]:
    """Return a dataclass as JSON-native data under its field names; absent fields are left out."""
    return {
        field.name: _plain(value)
        for field in dataclasses.fields(obj)
        if (value := getattr(obj, field.name)) is not None and value != ()
    }


def mistyped(obj: Any, at: str = "") -> Iterator[tuple[str, Any, type]]:
    """Yield path, value and expected type of every value that is not what its field is annotated as.

    A ``bool`` is no ``int`` here: equal to 0 or 1, it would be written as ``True``.
    """
    for slot in _slots(type(obj)):
        value = getattr(obj, slot.field)
        for item in value if slot.repeated else (value,):
            if item is None or (type(item) is slot.kind and not slot.nested):
                continue
            if not isinstance(item, slot.kind) or isinstance(item, bool):
                yield f"{at}{slot.names[0]}", item, slot.kind
            elif slot.nested:
                yield from mistyped(item, f"{at}{slot.names[0]}.")


def format_time(moment: datetime) -> str:
    """Return an aware time as the service writes it, ``2025-01-02T03:04:05+0800``.

    :raises ValueError: the time has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(SERVICE_ZONE).strftime("%Y-%m-%dT%H:%M:%S%z")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _fill(root: Element, obj: Any) -> None:
    for slot in _slots(type(obj)):
        value = getattr(obj, slot.field)
        for item in value if slot.repeated else (value,):
            if item is not None:
                _append(root, slot, item)


def _append(root: Element, slot: _Slot, value: Any) -> None:
    child = etree.SubElement(root, slot.names[0])
    if slot.nested:
        _fill(child, value)
        return
    text = format_time(value) if isinstance(value, datetime) else str(value)
    try:
        child.text = text
    except ValueError:
        raise XMLError(f"{slot.names[0]}: {text!r} has characters that XML cannot carry") from None


def local_name(tag: Any) -> str:
    """Return a tag without its namespace."""
    return str(tag).rpartition("}")[2]


def element_name(field: dataclasses.Field[Any]) -> str:
    """Return the name under which a field is written."""
    return _names(field)[0]


def _names(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    camel = "".join(part[:1].upper() + part[1:] for part in field.name.split("_"))
    names: tuple[str, ...] = field.metadata.get("element", (camel,))
    return names


@dataclasses.dataclass(frozen=True, slots=True)
class _Slot:
    """A field as elements: the first of ``names`` is written, all are read."""

    field: str
    names: tuple[str, ...]
    kind: type
    repeated: bool
    nested: bool
    #: Reads a text; ``None``: it is kept
    convert: Callable[[str], Any] | None


def _nested(slot: _Slot, child: Element, strict: bool) -> Any:
    # <Video/> means that there is no video stream, not an empty one
    return read(slot.kind, child, strict=strict) if len(child) else None


def _leaf(slot: _Slot, child: Element, strict: bool) -> Any:
    text = child.text
    if not text or text.isspace():
        return None
    if slot.convert is None:
        return text
    try:
        return slot.convert(text)
    except ValueError:
        if strict:
            raise XMLError(f"{local_name(child.tag)} has the value {text!r}, which cannot be read") from None
        return None


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


# Looking the types of fields up takes far longer than anything else here
_slots_of: dict[type, tuple[_Slot, ...]] = {}
_reading_plans: dict[type, dict[Any, _Slot]] = {}


def _slots(cls: Any) -> tuple[_Slot, ...]:
    slots = _slots_of.get(cls)
    if slots is None:
        hints = typing.get_type_hints(cls)
        slots = _slots_of[cls] = tuple(_slot(field, hints[field.name]) for field in dataclasses.fields(cls))
    return slots


def _slot(field: dataclasses.Field[Any], hint: Any) -> _Slot:
    kind, repeated = _kind(hint)
    nested = dataclasses.is_dataclass(kind)
    return _Slot(field.name, _names(field), kind, repeated, nested, _CONVERTERS.get(kind))


def _reading_plan(cls: type) -> dict[Any, _Slot]:
    plan = _reading_plans.get(cls)
    if plan is None:
        plan = _reading_plans[cls] = {name: slot for slot in _slots(cls) for name in slot.names}
    return plan


def _kind(hint: Any) -> tuple[type, bool]:
    """Return the leaf type of ``T | None`` or ``tuple[T, ...]``, and whether it repeats."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False
