"""The body of DELETE Multiple Objects (436/8289)."""

from __future__ import annotations

from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.http.xml import XMLError, parse, text_of

_MAX_KEYS = 1000


def read_deletion(body: bytes) -> tuple[list[str], bool]:
    """Return the keys of the objects to delete, and whether the response is to name only failures.

    :raises ServiceError: the body is not such a list, or names more than 1,000 objects.
    """
    try:
        root = parse(body)
    except XMLError as error:
        raise ServiceError(400, "MalformedXML", str(error)) from None
    objects = root.findall("Object")
    keys = [key for each in objects if (key := each.findtext("Key"))]
    if root.tag != "Delete" or not 1 <= len(objects) <= _MAX_KEYS or len(keys) < len(objects):
        message = f"the body must be a Delete with 1 to {_MAX_KEYS} Object elements, each with a Key"
        raise ServiceError(400, "MalformedXML", message)
    return keys, (text_of(root, "Quiet") or "").lower() == "true"
