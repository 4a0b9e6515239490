"""The work of one job, by its type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tencent_ci_emulator.http.xml import parse, text_of
from tencent_ci_emulator.jobs.job_output import (
    METHOD_HEADER,
    JobAtWork,
    JobOutput,
    NotProcessedError,
    Processor,
    md5_of,
)
from tencent_ci_emulator.jobs.job_store import JobFailedError, StoredJob
from tencent_ci_emulator.jobs.types.concat import concatenate
from tencent_ci_emulator.jobs.types.media_info import inspect_input
from tencent_ci_emulator.jobs.types.noise_reduction import reduce_noise_of_input
from tencent_ci_emulator.jobs.types.segment import cut_input
from tencent_ci_emulator.jobs.types.snapshot import take_snapshots
from tencent_ci_emulator.jobs.types.speech_recognition import SPEECH_RECOGNITION, recognize_speech
from tencent_ci_emulator.jobs.types.stream_extract import extract_input
from tencent_ci_emulator.jobs.types.text_to_speech import speak_text
from tencent_ci_emulator.jobs.types.transcode import transcode
from tencent_ci_emulator.jobs.types.unprocessed import note_skipped, note_unprocessed
from tencent_ci_emulator.jobs.types.voice_separation import VOICE_SEPARATE, separate_voice
from tencent_ci_emulator.jobs.urls import find_object_of_url
from tencent_ci_emulator.objects.object_store import ObjectStore

#: The functions that do the work of jobs, by tag
PROCESSORS: dict[str, Processor] = {
    "Concat": concatenate,
    "MediaInfo": inspect_input,
    "NoiseReduction": reduce_noise_of_input,
    "Segment": cut_input,
    "Snapshot": take_snapshots,
    "StreamExtract": extract_input,
    SPEECH_RECOGNITION: recognize_speech,
    "Transcode": transcode,
    "Tts": speak_text,
    VOICE_SEPARATE: separate_voice,
}


def process(job: JobAtWork, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job. ``on_progress`` stops it by raising.

    :raises JobFailedError: the input is missing or unusable.
    """
    _check_format(job)
    processor = PROCESSORS.get(job.tag)
    if processor is None:
        return note_unprocessed(job, objects, f"the emulator does not work on jobs of type {job.tag}")
    try:
        return processor(_resolve_url(job, objects), objects, on_progress)
    except NotProcessedError as error:
        return note_unprocessed(job, objects, str(error))


def _check_format(job: JobAtWork) -> None:
    extension = job.input_object.rpartition(".")[2].lower()
    if not job.observed.input_formats.get(extension, True):
        message = f"the input object cannot be processed: the service did not read {extension}"
        raise JobFailedError("ResourceNotSupported", message)


def _resolve_url(job: JobAtWork, objects: ObjectStore) -> JobAtWork:
    """Return the job with the object that its URL names as input, unless it names one itself."""
    url = text_of(parse(job.request), "Input/Url")
    if job.input_object or url is None:
        return job
    bucket, found = find_object_of_url(job, url, objects, "Input.Url")
    return replace(job, bucket=bucket, input_object=found.key)


def skip(job: JobAtWork, objects: ObjectStore, _on_progress: Callable[[float], None]) -> JobOutput:
    """Do no work, whatever the type of the job: notes take the places of its results.

    :raises JobFailedError: the input is missing, or of a format that the service did not read.
    """
    _check_format(job)
    return note_skipped(job, objects, "the emulator was started with --skip-processing")


def publish(
    job: StoredJob, output: JobOutput, objects: ObjectStore, now: float, *, keep_existing: bool = False
) -> None:
    """Store the result files as objects in the output bucket.

    :param keep_existing: an object that has the key of a result is kept, and the result is lost.
    """
    bucket = text_of(parse(job.request), "Operation/Output/Bucket") or job.bucket
    headers = {METHOD_HEADER: output.method}
    for key, path in output.files.items():
        if keep_existing and objects.get(bucket, key) is not None:
            path.unlink()
            continue
        objects.put(bucket, key, path, md5=md5_of(path), modified=now, headers=headers)
