"""The call ``GET /<key>?ci-process=videoinfo`` (460/38935): what is in a media file."""

from __future__ import annotations

from lxml import etree

from airflow_provider_ci.emulator.audio.inspect import inspect
from airflow_provider_ci.emulator.audio.source import UnsupportedMediaError
from airflow_provider_ci.emulator.errors import ServiceFault
from airflow_provider_ci.emulator.objects import StoredObject
from airflow_provider_ci.protocol.xml import to_bytes, to_element


def media_info(stored: StoredObject) -> bytes:
    """Return the body of the answer.

    :raises ServiceFault: it is no media file; which code the service gives then is not documented.
    """
    try:
        info = inspect(stored.path)
    except UnsupportedMediaError as error:
        raise ServiceFault(400, "ResourceNotSupported", f"the object cannot be read: {error}") from None
    root = etree.Element("Response")
    root.append(to_element(info, "MediaInfo"))
    return to_bytes(root)
