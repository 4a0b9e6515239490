"""Jobs that are not worked on: they end well, and their result says that nothing was done.

Such a job fails if its input does not exist. Otherwise its ``Message`` begins with ``not processed``, there
is no ``MediaInfo``, and under the key of its result, if ``Output`` names an ``Object``, is a short text
that says the same.
"""

from __future__ import annotations

from collections.abc import Collection

from tencent_ci_emulator.http.xml import parse, text_of
from tencent_ci_emulator.jobs.job_output import (
    JobAtWork,
    JobOutput,
    describe_files,
    expand_placeholders,
    find_object,
    new_files,
)
from tencent_ci_emulator.jobs.job_types import job_type
from tencent_ci_emulator.objects.object_store import ObjectStore

_METHOD = "nothing"


def note_unprocessed(job: JobAtWork, objects: ObjectStore, reason: str) -> JobOutput:
    """Return a result that says that nothing was done, and a note under the key that the request names.

    :raises JobFailedError: the input is missing.
    """
    return _note(job, objects, reason, ("Object",))


def note_skipped(job: JobAtWork, objects: ObjectStore, reason: str) -> JobOutput:
    """Return such a result with a note under every key that the request names.

    :raises JobFailedError: the input is missing.
    """
    elements = parse(job.request).iterfind("Operation/Output/*")
    names = [name for element in elements if (name := str(element.tag)).endswith("Object")]
    return _note(job, objects, reason, names)


def _note(job: JobAtWork, objects: ObjectStore, reason: str, names: Collection[str]) -> JobOutput:
    """Write notes under the keys that elements of ``Output`` hold."""
    if job.input_object:
        find_object(job.bucket, job.input_object, objects)
    message = f"not processed: {reason}"
    output = parse(job.request).find("Operation/Output")
    patterns = [pattern for name in names if (pattern := text_of(output, name))]
    if not patterns:
        return JobOutput(_METHOD, message=message)
    extension = job.input_object.rpartition("/")[2].rpartition(".")[2]
    with new_files(objects) as new:
        files = {expand_placeholders(job, pattern, extension, number=0): new.add() for pattern in patterns}
        for path in files.values():
            path.write_text(f"{message}\n")
        described = describe_files(output, files) if job_type(job.tag).has_media_result else None
        return JobOutput(_METHOD, files, {"MediaResult": described}, message)
