"""URLs as inputs of jobs: those of the emulator's own objects. It downloads nothing from elsewhere."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from tencent_ci_emulator.config import is_loopback
from tencent_ci_emulator.http.service_request import match_service_host
from tencent_ci_emulator.jobs.job_output import JobAtWork, find_object
from tencent_ci_emulator.jobs.job_store import JobFailedError
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject


def find_object_of_url(job: JobAtWork, url: str, objects: ObjectStore, name: str) -> tuple[str, StoredObject]:
    """Return the bucket and the object that a URL names; its port and a signature do not matter.

    :param name: of the URL, for messages.
    :raises JobFailedError: it is of another host, or there is no such object.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise JobFailedError("ResourceNotSupported", f"{name} is no URL") from None
    match = match_service_host(host)
    if match is None and not is_loopback(host):
        message = f"{name} is of the host {host!r}: the emulator downloads nothing from other hosts"
        raise JobFailedError("ResourceNotSupported", message)
    bucket = (match["bucket"] if match else None) or job.bucket
    key = unquote(parts.path.removeprefix("/"))
    return bucket, find_object(bucket, key, objects, f"{name}:")
