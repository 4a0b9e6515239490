"""The rules for names of buckets, regions, templates, queues and jobs, for ids and for object keys
(436/13312, 436/6224, 436/13324).
"""

from __future__ import annotations

import re

from tencent_ci_emulator.http.rules import Rule, matches

BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9]{5,20}")
REGION_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def is_xml_text(text: str) -> bool:
    """Return whether XML can carry a text."""
    return not _NOT_XML.search(text)


def is_plain_text(text: str) -> bool:
    """Return whether a text has no control characters and nothing that XML cannot carry."""
    return is_xml_text(text) and not _CONTROL.search(text)


def is_object_key(key: str) -> bool:
    """Return whether a text can be the key of an object that is a file, and XML can carry it.

    The console allows no slash at either end (1045/43605).
    """
    return bool(key) and not key.startswith("/") and not key.endswith("/") and is_plain_text(key)


def name_rule(most: int, further_characters: str = "") -> Rule:
    """Return the rule for a name of at most ``most`` characters (436/84510, 460/42324, 460/80155)."""
    pattern = re.compile(rf"[\u3400-\u9fffA-Za-z0-9_{re.escape(further_characters)}-]{{1,{most}}}")
    allowed = f"Chinese, letters, digits, _ - {further_characters}, at most {most}"
    return matches(pattern, allowed, is_required=True)


BUCKET = matches(BUCKET_NAME, "<name>-<appid>, for instance demo-1250000000", is_required=True)
REGION = matches(REGION_NAME, "a region, for instance ap-guangzhou", is_required=True)
ID = matches(re.compile(r"[A-Za-z0-9_-]{1,128}"), "letters, digits, _ and -, at most 128")
OBJECT_KEY = Rule("an object key without a slash at either end", is_object_key)
PLAIN_TEXT = Rule("a text without control characters", is_plain_text, is_required=True)
