"""``NoiseReduction`` (460/84796, 1045/73375; template 460/94315): mono, as ``wav``, ``mp3`` or ``m4a``.

The template's page and the SDKs write ``Samplerate``, the job's pages ``SampleRate``: both are read here.
An input of more than 10 MB fails, as documented.
"""

from __future__ import annotations

from collections.abc import Callable

from tencent_ci_emulator.http.rules import one_number_of, one_of, read_number
from tencent_ci_emulator.http.xml import parse, text_of
from tencent_ci_emulator.jobs.job_output import (
    JobAtWork,
    JobOutput,
    expand_placeholders,
    find_object,
    new_files,
    read_input,
)
from tencent_ci_emulator.jobs.job_store import JobFailedError
from tencent_ci_emulator.media.noise import FORMATS, reduce_noise
from tencent_ci_emulator.objects.object_store import ObjectStore

_SAMPLE_RATES = one_number_of((8000, 12000, 16000, 24000, 32000, 44100, 48000))
_MOST_BYTES = 10 * 1024**2
_DEFAULT_FORMAT = "wav"
_DEFAULT_SAMPLE_RATE = 16_000

#: The rules of the parameters
RULES = {"Format": one_of(*FORMATS), "Samplerate": _SAMPLE_RATES, "SampleRate": _SAMPLE_RATES}


def reduce_noise_of_input(
    job: JobAtWork, objects: ObjectStore, on_progress: Callable[[float], None]
) -> JobOutput:
    """Do the work of a job. Its answer describes no result: the only key is the echoed one.

    :raises JobFailedError: the input is missing, too large or unusable.
    """
    if find_object(job.bucket, job.input_object, objects).size > _MOST_BYTES:
        raise JobFailedError("ResourceNotSupported", "the input object is larger than 10 MB")
    request = parse(job.request)
    parameters = request.find("Operation/NoiseReduction")
    audio_format = text_of(parameters, "Format") or _DEFAULT_FORMAT
    rate = text_of(parameters, "Samplerate") or text_of(parameters, "SampleRate")
    with new_files(objects) as new:
        path = new.add()
        method = read_input(
            job,
            objects,
            lambda source: reduce_noise(
                source,
                path,
                audio_format,
                read_number(rate) or _DEFAULT_SAMPLE_RATE,
                on_progress=on_progress,
            ),
        )
        key = expand_placeholders(job, text_of(request, "Operation/Output/Object") or "", audio_format)
        return JobOutput(method, {key: path}, message="SUCCESS")
