"""Constants, and what buckets, regions, ids and object keys may look like. Light: DAG files load it.

Source: 1045/43605 (object keys).
"""

from __future__ import annotations

import re

VOICE_SEPARATE = "VoiceSeparate"
#: States of a queue.
ACTIVE = "Active"
PAUSED = "Paused"

BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{0,60}-[0-9]{5,20}")
REGION = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)+")  # one label of a host name
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")

#: What XML 1.0 cannot carry, not even escaped.
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# A line feed at the end, as a template may leave it, is a mistake rather than a part of the key
_NOT_IN_KEY = re.compile(f"{NOT_XML.pattern}|[\t\n\r\x7f]")


def is_object_key(key: object) -> bool:
    """Tell whether COS can hold an object of this key, and XML and a URL can carry it."""
    return isinstance(key, str) and key != "" and not key.startswith("/") and not _NOT_IN_KEY.search(key)
