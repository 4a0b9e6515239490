"""``StreamExtract`` (1045/48939): streams of a recording in files of their own.

A stream is copied into a file of the kind that the key's extension says, otherwise mkv.
"""

from __future__ import annotations

from collections.abc import Callable

from tencent_ci_emulator.http.rules import read_number
from tencent_ci_emulator.http.xml import parse, text_of
from tencent_ci_emulator.jobs.job_output import (
    JobAtWork,
    JobOutput,
    describe_files,
    expand_placeholders,
    new_files,
    read_input,
)
from tencent_ci_emulator.jobs.job_store import JobFailedError
from tencent_ci_emulator.media.copying import extract_streams
from tencent_ci_emulator.media.tracks import CONTAINERS
from tencent_ci_emulator.objects.object_store import ObjectStore

_KIND_OF_OTHER_NAMES = "mkv"  # which holds any stream


def extract_input(job: JobAtWork, objects: ObjectStore, _: Callable[[float], None]) -> JobOutput:
    """Do the work of a job. The kind of each file is that of its key's extension.

    :raises JobFailedError: the input is missing or unusable, or has no such stream.
    """
    output = parse(job.request).find("Operation/Output")
    files, targets = {}, {}
    with new_files(objects) as new:
        for extract in output.iterfind("StreamExtract") if output is not None else ():
            number = read_number(text_of(extract, "Index"))
            if number is None:
                raise JobFailedError("InvalidArgument", "Output.StreamExtract.Index is not a stream's number")
            pattern = text_of(extract, "Object") or ""
            extension = pattern.rpartition(".")[2].lower()
            kind = extension if extension in CONTAINERS else _KIND_OF_OTHER_NAMES
            path = new.add()
            files[expand_placeholders(job, pattern, kind)] = path
            targets[number] = (path, kind)
        read_input(job, objects, lambda source: extract_streams(source, targets))
        return JobOutput("FFmpeg's muxers", files, {"MediaResult": describe_files(output, files)})
