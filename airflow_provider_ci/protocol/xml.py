"""XML in and out: a hardened parser and the one generic mapping between dataclasses and elements, as
:mod:`.fields` describes it.

Reading is tolerant, as the service's documents contradict each other (order, missing, empty or repeated
elements, unknown elements, ``-`` for a time that is not known yet); writing is exact.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from html import escape
from typing import Any, TypeVar

from lxml import etree

from airflow_provider_ci.protocol.fields import SERVICE_ZONE as SERVICE_ZONE
from airflow_provider_ci.protocol.fields import Slot, slots
from airflow_provider_ci.protocol.fields import element as element
from airflow_provider_ci.protocol.fields import format_time as format_time
from airflow_provider_ci.protocol.fields import type_mismatches as type_mismatches
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
# No document may define an entity, so that only those of XML itself have a meaning
_BARE_AMPERSAND = re.compile(r"&(?!#|(?:lt|gt|amp|quot|apos);)")
# Neither a tag nor a comment nor a declaration begins so
_BARE_LESS_THAN = re.compile(r"<(?![^\W\d]|[:/!?])")
# One that does not end goes on to the end: looking for each of many anew would take long
_CDATA = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
# A page of 100 jobs is far smaller; more would hold an event loop up
_REPAIRED_BYTES_MAX = 1024 * 1024
_REPAIRED_REFERENCES_MAX = 20_000
_BEFORE_MARKUP = "\ufeff\x00 \t\r\n"


class XMLError(ValueError):
    """Text that is not the XML expected here."""


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
    characters, references to them and bytes that are not UTF-8 are replaced by U+FFFD. What has no meaning
    stands for itself: ``&``, also before the name of an entity (``&nbsp;``), ``]]>``, and ``<`` before
    anything that no tag begins with. So does all that is in a CDATA section, even a document type. Whitespace
    before the declaration is skipped. Elsewhere a document type is refused all the same, hence no entity is
    defined, expanded or fetched; and so is what is too large. A text with tags of its own stays unreadable
    unless each is closed: which of them are the service's would be guessed.

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
    """Return a document in which what cannot be read is replaced.

    :raises XMLError: so much of it that reading the result would take long.
    """
    text = NOT_XML.sub(REPLACEMENT, data.decode("utf-8", "replace").lstrip(_BEFORE_MARKUP))
    # split gives what is outside of CDATA sections at even places, what is in them at odd ones
    parts = _CDATA.split(text)
    parts[::2] = map(_with_readable_markup, parts[::2])
    parts[1::2] = [escape(part, quote=False) for part in parts[1::2]]
    repaired = "".join(parts).encode("utf-8")
    if repaired.count(b"&") > _REPAIRED_REFERENCES_MAX:
        raise XMLError(f"more than {_REPAIRED_REFERENCES_MAX} characters would have to be replaced")
    return repaired


def _with_readable_markup(text: str) -> str:
    text = _CHARACTER_REFERENCE.sub(lambda found: found[0] if _is_readable(found) else REPLACEMENT, text)
    text = _BARE_LESS_THAN.sub("&lt;", _BARE_AMPERSAND.sub("&amp;", text))
    return text.replace("]]>", "]]&gt;")


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
    plan = _reading_plan(cls)
    values: dict[str, Any] = {}
    repeated: dict[str, list[Any]] = {}
    for child in source:
        tag = child.tag
        slot = plan.get(tag) or plan.get(local_name(tag))
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


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _fill(root: Element, obj: Any) -> None:
    for slot in slots(type(obj)):
        value = getattr(obj, slot.field)
        for item in value if slot.repeated else (value,):
            if item is not None:
                _append(root, slot, item)


def _append(root: Element, slot: Slot, value: Any) -> None:
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


def _nested(slot: Slot, child: Element, strict: bool) -> Any:
    # <Video/> means that there is no video stream, not an empty one
    return read(slot.kind, child, strict=strict) if len(child) else None


def _leaf(slot: Slot, child: Element, strict: bool) -> Any:
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


_reading_plans: dict[type, dict[Any, Slot]] = {}


def _reading_plan(cls: type) -> dict[Any, Slot]:
    plan = _reading_plans.get(cls)
    if plan is None:
        plan = _reading_plans[cls] = {name: slot for slot in slots(cls) for name in slot.names}
    return plan
