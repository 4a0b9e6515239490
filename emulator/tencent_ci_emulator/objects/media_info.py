"""The call ``GET /<key>?ci-process=videoinfo`` (460/38935): what is in a media file."""

from __future__ import annotations

from tencent_ci_emulator.http.service_errors import ServiceFault
from tencent_ci_emulator.http.xml import build, to_bytes
from tencent_ci_emulator.media.inspect import inspect
from tencent_ci_emulator.media.source import UnsupportedMediaError
from tencent_ci_emulator.objects.object_store import StoredObject


def media_info(stored: StoredObject) -> bytes:
    """Return the body of the answer.

    :raises ServiceFault: it is no media file; which code the service gives then is not documented.
    """
    try:
        info = inspect(stored.path)
    except UnsupportedMediaError as error:
        raise ServiceFault(400, "ResourceNotSupported", f"the object cannot be read: {error}") from None
    return to_bytes(build("Response", {"MediaInfo": info}))
