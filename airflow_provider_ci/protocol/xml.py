"""Reads and writes XML: a hardened parser, dataclasses made of elements (:mod:`.fields`), and trees
(:mod:`.tree`).

Reading is tolerant, because the service's documents contradict each other (order; missing, empty, repeated
and unknown elements; ``-`` for a time that is not known yet). Writing is exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, TypeVar

from lxml import etree

from airflow_provider_ci.protocol.fields import ElementSpec, element_specs
from airflow_provider_ci.protocol.names import NOT_XML
from airflow_provider_ci.protocol.tree import format_value, is_element_name, repeated_in

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


# Making a parser takes as long as reading a short document
_PARSER = _new_parser()
# lxml lets one thread at a time use a parser. With one parser for all documents, an event loop would wait for
# a large document of another thread
_SHARED_PARSER_MAX = 64 * 1024

#: The largest response that is read. A page of 100 voice separations has about 260 kB, the transcript of the
#: longest recording 3 to 9 MB.
MAX_BYTES = 16 * 1024 * 1024

#: Replaces a character that XML cannot carry.
REPLACEMENT = "\ufffd"
_CHARACTER_REFERENCE = re.compile("&#([^;&<>\\s]{0,20});?")
# Document types are refused, so only XML's own entities are defined
_BARE_AMPERSAND = re.compile(r"&(?!#|(?:lt|gt|amp|quot|apos);)")
# A < with which neither a tag nor a comment nor a declaration begins
_BARE_LESS_THAN = re.compile(r"<(?![^\W\d]|[:/!?])")
# An unterminated section reaches to the end of the document, or many of them would make the search slow
_CDATA = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
# Repairing more would block an event loop too long
_REPAIRED_BYTES_MAX = 1024 * 1024
_REPAIRED_REFERENCES_MAX = 20_000
_ESCAPED = re.compile("[&<>\r]")
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
        return etree.fromstring(data, _PARSER if len(data) <= _SHARED_PARSER_MAX else _new_parser())
    except etree.XMLSyntaxError as error:
        raise XMLError(f"the document is not well-formed XML: {error}") from None


def parse_response(data: bytes, *, max_bytes: int = MAX_BYTES) -> Element:
    """Parse a document of the service, repair it if it is not well-formed, and return its root element.

    The message of a failed job may quote anything. One such text must not make all other jobs of the document
    unreadable. So, if :func:`parse_document` fails:

    - U+FFFD replaces characters that XML cannot carry, references to them, and bytes that are not UTF-8.
    - Markup without meaning counts as text: ``&``, also before an unknown entity (``&nbsp;``); ``]]>``; ``<``
      before anything with which no tag begins; all that is in a CDATA section, even a document type.
    - Whitespace before the declaration is skipped.

    Elsewhere a document type is still refused, hence no entity is defined, expanded or fetched. A message
    with tags stays unreadable, unless each is closed: which of them are the service's would be a guess.

    :raises XMLError: as :func:`parse_document` does, if the document cannot be repaired.
    """
    try:
        return parse_document(data, max_bytes=max_bytes)
    except XMLError as error:
        is_too_long = len(data) > min(max_bytes, _REPAIRED_BYTES_MAX)
        if is_too_long or data.count(b"&") > _REPAIRED_REFERENCES_MAX:
            raise
        try:
            return parse_document(_repair(data))
        except XMLError:
            raise error from None


def _repair(data: bytes) -> bytes:
    """Return the document as :func:`parse_response` describes.

    :raises XMLError: there is so much to replace that reading the result would take long.
    """
    text = NOT_XML.sub(REPLACEMENT, data.decode("utf-8", "replace").lstrip(_BEFORE_MARKUP))
    # split returns text outside and inside of CDATA sections by turns
    parts = _CDATA.split(text)
    parts[::2] = map(_repair_markup, parts[::2])
    parts[1::2] = [escape(part, quote=False) for part in parts[1::2]]
    repaired = "".join(parts).encode("utf-8")
    if repaired.count(b"&") > _REPAIRED_REFERENCES_MAX:
        raise XMLError(f"more than {_REPAIRED_REFERENCES_MAX} characters would have to be replaced")
    return repaired


def _repair_markup(text: str) -> str:
    text = _CHARACTER_REFERENCE.sub(lambda found: found[0] if _is_readable(found) else REPLACEMENT, text)
    text = _BARE_LESS_THAN.sub("&lt;", _BARE_AMPERSAND.sub("&amp;", text))
    return text.replace("]]>", "]]&gt;")


def _is_readable(reference: re.Match[str]) -> bool:
    digits = reference[1]
    try:
        number = int(digits[1:], 16) if digits.startswith("x") else int(digits)
        return reference[0].endswith(";") and digits.isalnum() and not NOT_XML.search(chr(number))
    except (ValueError, OverflowError):  # not a number, or not the number of a character
        return False


def read(cls: type[T], source: Element) -> T:
    """Return a ``cls`` with the values of the children of ``source``.

    Unknown elements are skipped, and empty ones count as absent. If an element for one value is repeated, the
    first that is not empty counts. A number or time that cannot be read becomes ``None``.
    """
    specs = _specs_by_name(cls)
    values: dict[str, Any] = {}
    repeated: dict[str, list[Any]] = {}
    for child in source:
        tag = child.tag
        spec = specs.get(tag) or specs.get(local_name(tag))
        if spec is None:
            continue
        value = _read_nested(spec, child) if spec.nested else _read_value(spec, child)
        if value is None:
            continue
        if spec.repeated:
            repeated.setdefault(spec.field, []).append(value)
        elif spec.field not in values:
            values[spec.field] = value
    for name, items in repeated.items():
        values[name] = tuple(items)
    return cls(**values)


class ElementTree(Mapping[str, Any]):
    """An element as a tree (:mod:`.tree`), which is built on first access: most responses are only asked for
    the state of a job, however many elements it has.
    """

    __slots__ = ("_element", "_tree")

    def __init__(self, element: Element) -> None:
        self._element: Element | None = element
        self._tree: dict[str, Any] = {}

    def _load(self) -> dict[str, Any]:
        element = self._element
        if element is not None:
            self._tree = _children(element)
            self._element = None
        return self._tree

    def __getitem__(self, name: str) -> Any:
        return self._load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())

    def __repr__(self) -> str:
        return repr(self._load())

    def __hash__(self) -> int:  # so that a frozen dataclass with such a field is hashable
        return hash(frozenset(self))

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (self._load(),)


def _children(element: Element) -> dict[str, Any]:
    """Return the children of an element as a tree. An empty element is ``""``, and is left out of a list."""
    repeated = repeated_in(local_name(element.tag))
    tree: dict[str, Any] = {}
    for child in element:
        name = local_name(child.tag)
        value: Any = _children(child) if len(child) else child.text or ""
        if value.__class__ is str and value.isspace():
            value = ""
        if name in repeated:
            entries = tree.setdefault(name, [])
            if value != "":
                entries.append(value)
        elif name not in tree or tree[name] == "":
            tree[name] = value
        elif value != "":  # not documented, but nothing may get lost
            if not isinstance(tree[name], list):
                tree[name] = [tree[name]]
            tree[name].append(value)
    return tree


def tree_to_bytes(tree: Mapping[str, Any], tag: str) -> bytes:
    """Return a document in UTF-8 with the tree as its root element ``tag``: see :mod:`.tree`.

    :raises XMLError: a name or a value cannot be written as XML; naming the element.
    """
    parts = ["<?xml version='1.0' encoding='UTF-8'?>\n"]
    _write(tag, tree, parts)
    return "".join(parts).encode()


def _write(name: str, value: Any, parts: list[str]) -> None:
    if isinstance(value, Mapping):
        parts.append(f"<{name}>")
        for child_name, child in value.items():
            if not is_element_name(child_name):
                raise XMLError(f"{child_name!r} cannot be the name of an element")
            if isinstance(child, str):  # most are
                _write_text(child_name, child, parts)
            else:
                _write(child_name, child, parts)
        parts.append(f"</{name}>")
    elif isinstance(value, list | tuple):
        for each in value:
            _write(name, each, parts)
    elif value is not None:
        _write_text(name, format_value(value), parts)


def _write_text(name: str, text: str, parts: list[str]) -> None:
    if NOT_XML.search(text):
        raise XMLError(f"{name}: {text!r} has characters that XML cannot carry")
    parts.append(f"<{name}>{_escape(text)}</{name}>")


def _escape(text: str) -> str:
    # a parser reads a carriage return as a line feed
    return escape(text, quote=False).replace("\r", "&#13;") if _ESCAPED.search(text) else text


def local_name(tag: Any) -> str:
    """Return a tag without its namespace."""
    name = str(tag)
    return name.rpartition("}")[2] if name[:1] == "{" else name


def _read_nested(spec: ElementSpec, child: Element) -> Any:
    if not len(child):  # <Video/> means that there is no video stream, not an empty one
        return None
    return ElementTree(child) if spec.kind is Mapping else read(spec.kind, child)


def _read_value(spec: ElementSpec, child: Element) -> Any:
    text = child.text
    if not text or text.isspace():
        return None
    if spec.convert is None:
        return text
    try:
        return spec.convert(text)
    except ValueError:
        return None


_specs_by_class: dict[type, dict[Any, ElementSpec]] = {}


def _specs_by_name(cls: type) -> dict[Any, ElementSpec]:
    if cls not in _specs_by_class:
        _specs_by_class[cls] = {name: spec for spec in element_specs(cls) for name in spec.names}
    return _specs_by_class[cls]
