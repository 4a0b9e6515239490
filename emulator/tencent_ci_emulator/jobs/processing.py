"""The work of one job, by its type."""

from __future__ import annotations

from collections.abc import Callable

from tencent_ci_emulator.http.xml import parse, text_of
from tencent_ci_emulator.jobs.job_output import METHOD_HEADER, JobOutput, NotProcessedError, Processor, md5_of
from tencent_ci_emulator.jobs.job_store import StoredJob
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


def process(job: StoredJob, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job. ``on_progress`` stops it by raising.

    :raises JobFailedError: the input is missing or unusable.
    """
    processor = PROCESSORS.get(job.tag)
    if processor is None:
        return note_unprocessed(job, objects, f"the emulator does not work on jobs of type {job.tag}")
    try:
        return processor(job, objects, on_progress)
    except NotProcessedError as error:
        return note_unprocessed(job, objects, str(error))


def skip(job: StoredJob, objects: ObjectStore, _on_progress: Callable[[float], None]) -> JobOutput:
    """Do no work, whatever the type of the job: notes take the places of its results.

    :raises JobFailedError: the input is missing.
    """
    return note_skipped(job, objects, "the emulator was started with --skip-processing")


def publish(job: StoredJob, output: JobOutput, objects: ObjectStore, now: float) -> None:
    """Store the result files as objects in the output bucket."""
    bucket = text_of(parse(job.request), "Operation/Output/Bucket") or job.bucket
    headers = {METHOD_HEADER: output.method}
    for key, path in output.files.items():
        objects.put(bucket, key, path, md5=md5_of(path), modified=now, headers=headers)
