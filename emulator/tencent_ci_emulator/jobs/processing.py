"""The work of one job, by its type."""

from __future__ import annotations

from collections.abc import Callable

from tencent_ci_emulator.http.xml import parse, text_of
from tencent_ci_emulator.jobs.job_output import METHOD_HEADER, JobOutput, Processor, md5_of
from tencent_ci_emulator.jobs.job_store import StoredJob
from tencent_ci_emulator.jobs.types.unprocessed import note_unprocessed
from tencent_ci_emulator.jobs.types.voice_separation import VOICE_SEPARATE, separate_voice
from tencent_ci_emulator.objects.object_store import ObjectStore

#: What does the work of jobs, by their tag
PROCESSORS: dict[str, Processor] = {
    VOICE_SEPARATE: separate_voice,
}


def process(job: StoredJob, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job. ``on_progress`` stops it by raising.

    :raises JobFailedError: the input is missing or unusable.
    """
    return PROCESSORS.get(job.tag, note_unprocessed)(job, objects, on_progress)


def publish(job: StoredJob, output: JobOutput, objects: ObjectStore, now: float) -> None:
    """Make the result files objects of the output bucket."""
    bucket = text_of(parse(job.request), "Operation/Output/Bucket") or job.bucket
    headers = {METHOD_HEADER: output.method}
    for key, path in output.files.items():
        objects.put(bucket, key, path, md5=md5_of(path), modified=now, headers=headers)
