"""What buckets, regions, ids and object keys may look like (436/13312, 436/6224, 436/13324)."""

from __future__ import annotations

import re

BUCKET = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9]{5,20}")
REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: Names of templates and queues: Chinese, letters, digits, ``_``, ``-`` and ``*`` (436/84510, 460/42324)
NAME = re.compile(r"[\u3400-\u9fffA-Za-z0-9_*-]+")
#: Names of batch jobs (460/80155)
BATCH_NAME = re.compile(r"[\u3400-\u9fffA-Za-z0-9_-]{1,128}")

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def is_xml_text(text: str) -> bool:
    """Return whether XML can carry a text."""
    return not _NOT_XML.search(text)


def is_object_key(key: str) -> bool:
    """Return whether a text can be the key of an object that is a file, and XML can carry it.

    The console allows no slash at either end (1045/43605).
    """
    return bool(key) and not key.startswith("/") and not key.endswith("/") and is_plain_text(key)


def is_plain_text(text: str) -> bool:
    """Return whether a text has no control characters and nothing that XML cannot carry."""
    return is_xml_text(text) and not _CONTROL.search(text)
