"""The work of one job: read the input object, process it, describe and store the results."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tencent_ci_emulator.http.xml import Element, build, parse, text_of, to_bytes
from tencent_ci_emulator.jobs.job_store import JobFailedError, StoredJob
from tencent_ci_emulator.jobs.voice_separation import (
    DEFAULT_CODEC,
    OUTPUT_OF_STEM,
    STEMS_OF_MODE,
    VOICE_SEPARATE,
    Parameters,
)
from tencent_ci_emulator.media import EXTENSIONS, Method, Stem, UnsupportedMediaError, describe, separate
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject

#: A header of results that names the method of separation; the real service has no such header
METHOD_HEADER = "x-cos-meta-separated-by"

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class JobOutput:
    """Result files that are not objects: make them objects with :func:`publish`, or :meth:`discard` them.

    :param files: by their object keys.
    :param result: the document ``Operation`` with the result's elements.
    :param method: how the input was processed.
    """

    files: dict[str, Path]
    result: bytes
    method: str

    def discard(self) -> None:
        """Delete the files."""
        for path in self.files.values():
            path.unlink(missing_ok=True)


def process(job: StoredJob, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job. ``on_progress`` stops it by raising.

    :raises JobFailedError: the input is missing or unusable.
    """
    if job.tag == VOICE_SEPARATE:
        return _separate_voice(job, objects, on_progress)
    return _copy_input(job, objects)


def publish(job: StoredJob, output: JobOutput, objects: ObjectStore, now: float) -> None:
    """Make the result files objects of the output bucket."""
    bucket = text_of(parse(job.request), "Operation/Output/Bucket") or job.bucket
    headers = {METHOD_HEADER: output.method}
    for key, path in output.files.items():
        objects.put(bucket, key, path, md5=_md5(path), modified=now, headers=headers)


def _separate_voice(job: StoredJob, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    request = parse(job.request)
    parameters = Parameters.read(request.find(f"Operation/{VOICE_SEPARATE}"))
    output = request.find("Operation/Output")
    keys = _result_keys(job, output, parameters)
    paths = {stem: objects.make_incoming_path() for stem in keys}
    with ExitStack() as on_error:
        for path in paths.values():
            on_error.callback(path.unlink, missing_ok=True)
        method = _separate_input(job, objects, paths, parameters, on_progress)
        facts = [describe(path) for path in paths.values()]
        # One Format, of the first result, and one Audio for each, as in the documents' samples
        info = {"Format": facts[0][0], "Stream": {"Audio": [stream for _, stream in facts]}}
        files = {keys[stem]: path for stem, path in paths.items()}
        job_output = JobOutput(files, _describe_result(output, files, info), method)
        on_error.pop_all()
        return job_output


def _separate_input(
    job: StoredJob,
    objects: ObjectStore,
    paths: dict[Stem, Path],
    parameters: Parameters,
    on_progress: Callable[[float], None],
) -> Method:
    source = _find_input(job, objects)
    while True:
        try:
            return separate(
                source.path, paths, parameters.codec, *parameters.numbers, on_progress=on_progress
            )
        except UnsupportedMediaError as error:
            message = f"the input object cannot be processed: {error}"
            raise JobFailedError("ResourceNotSupported", message) from None
        except FileNotFoundError:
            # Deleted since it was looked up, or overwritten: then its content is another file
            previous, source = source, _find_input(job, objects)
            if source.path == previous.path:
                raise JobFailedError("InternalError", "the input object has lost its content") from None


def _copy_input(job: StoredJob, objects: ObjectStore) -> JobOutput:
    """Stand in for work that is not implemented: the result, if the job has one, is a copy of the input."""
    output = parse(job.request).find("Operation/Output")
    pattern, path = text_of(output, "Object"), objects.make_incoming_path()
    source = _find_input(job, objects).path if job.input_object else None
    if pattern is None:
        return JobOutput({}, to_bytes(build("Operation")), "nothing")
    try:
        shutil.copyfile(source or os.devnull, path)
    except FileNotFoundError:
        raise JobFailedError("ResourceNotFound", f"the input object {job.input_object} was deleted") from None
    extension = job.input_object.rpartition("/")[2].rpartition(".")[2]
    files = {_expand(job, pattern, extension): path}
    return JobOutput(files, _describe_result(output, files, None), "nothing, it is a copy of the input")


def _find_input(job: StoredJob, objects: ObjectStore) -> StoredObject:
    source = objects.get(job.bucket, job.input_object)
    if source is None:
        message = f"the input object {job.input_object} does not exist in bucket {job.bucket}"
        raise JobFailedError("ResourceNotFound", message)
    return source


def _result_keys(job: StoredJob, output: Element | None, parameters: Parameters) -> dict[Stem, str]:
    """Return the object keys of the stems that the mode produces and the request names."""
    extension = EXTENSIONS[(parameters.codec or DEFAULT_CODEC).lower()]
    return {
        stem: _expand(job, pattern, extension)
        for stem in STEMS_OF_MODE[parameters.mode]
        if (pattern := text_of(output, OUTPUT_OF_STEM[stem]))
    }


def _expand(job: StoredJob, pattern: str, extension: str) -> str:
    """Replace the placeholders of an object key, in one pass: the input's name may look like one.

    Some are for the jobs of a batch job only (460/80155; ``InputName`` and others from samples).
    """
    values = {"jobid": job.id, "ext": extension}
    if job.batch_id is not None:
        folder, _, name = job.input_object.rpartition("/")
        values |= {
            "InventoryTriggerJobId": job.batch_id,
            "InputPath": folder,
            "InputName": name.rpartition(".")[0] or name,
            "InputNameAndExt": name,
        }
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), pattern)


def _describe_result(output: Element | None, files: dict[str, Path], info: dict[str, Any] | None) -> bytes:
    """Return the result's elements. ``ObjectPrefix`` is always there, and always empty."""
    written = {
        "Bucket": text_of(output, "Bucket"),
        "Region": text_of(output, "Region"),
        "ObjectPrefix": "",
        "ObjectName": sorted(files),
        "Md5Info": [{"ObjectName": key, "Md5": _md5(files[key])} for key in sorted(files)],
    }
    result = {"MediaInfo": info, "MediaResult": {"OutputFile": written}}
    return to_bytes(build("Operation", result))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
