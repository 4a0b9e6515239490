"""XML: a parser for requests, and a writer for responses.

Documents are trees of lxml elements, so that unknown elements are kept and echoed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from lxml import etree

Element = etree._Element

#: The time zone of all times that the service prints
SERVICE_ZONE = timezone(timedelta(hours=8))
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%z"


class XMLError(ValueError):
    """The document is not XML, or not XML that is accepted here."""


def parse(data: bytes) -> Element:
    """Return the root element of a document.

    It must be UTF-8, whatever its declaration says. A document type is refused, so that no entity is ever
    defined, expanded or fetched.

    :raises XMLError: the document is not UTF-8, not well-formed, or has a document type.
    """
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise XMLError("the document is not UTF-8") from None
    if b"<!DOCTYPE" in data:
        raise XMLError("the document has a document type (DTD), which is refused")
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        remove_blank_text=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise XMLError(f"the document is not well-formed XML: {error}") from None


def to_bytes(root: Element) -> bytes:
    """Return a document as it is sent: UTF-8 with a declaration."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def build(tag: str, content: Any = "") -> Element:
    """Return an element with this content.

    A mapping becomes children: no child for ``None``, several children for a list. An element is copied under
    the new name. Anything else becomes text.

    :raises ValueError: a text has characters that XML cannot carry.
    """
    if isinstance(content, Element):
        element = copy.deepcopy(content)
        element.tag, element.tail = tag, None
        return element
    element = etree.Element(tag)
    if isinstance(content, Mapping):
        append(element, content)
    else:
        element.text = str(content)
    return element


def append(parent: Element, children: Mapping[str, Any]) -> None:
    """Append children to an element, by the rules of :func:`build`."""
    for name, content in children.items():
        for one in content if isinstance(content, (list, tuple)) else (content,):
            if one is not None:
                parent.append(build(name, one))


def remove(parent: Element, *names: str) -> None:
    """Remove the children of these names."""
    for child in [child for child in parent if child.tag in names]:
        parent.remove(child)


def text_of(parent: Element | None, path: str) -> str | None:
    """Return the first text at a path that is not blank, ``None`` if there is none."""
    texts = (found.text for found in parent.iterfind(path)) if parent is not None else ()
    return next((text for text in texts if text and not text.isspace()), None)


def printable(text: str) -> str:
    """Return a text with the characters replaced that are not printable, some of which XML cannot carry."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def shift_times(root: Element, offset: str) -> None:
    """Write the times in a document with another offset from UTC, such as ``+0000``."""
    zone = datetime.strptime(offset, "%z").tzinfo
    if zone == SERVICE_ZONE:
        return
    for element in root.iter("CreationTime", "StartTime", "EndTime", "CreateTime", "UpdateTime"):
        with suppress(ValueError):  # StartTime may be a parameter, too: seconds
            time = datetime.strptime(element.text or "", _TIME_FORMAT)
            element.text = time.astimezone(zone).strftime(_TIME_FORMAT)


def service_time(seconds: float | None) -> str | None:
    """Return a time as the service prints it: whole seconds, in its zone."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), SERVICE_ZONE).strftime(_TIME_FORMAT)
