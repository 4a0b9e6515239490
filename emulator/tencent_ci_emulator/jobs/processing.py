"""The work behind one job: read the input object, separate it, describe and store the results."""

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

from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.xml import Element, build, parse, text_of, to_bytes
from tencent_ci_emulator.jobs.job_store import StoredJob
from tencent_ci_emulator.jobs.voice_separation import (
    DEFAULT_CODEC,
    OUTPUT_OF_STEM,
    STEMS_OF_MODE,
    VOICE_SEPARATE,
    Parameters,
)
from tencent_ci_emulator.media import (
    EXTENSIONS,
    Method,
    Stem,
    UnsupportedMediaError,
    describe,
    separate,
)
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject

#: Says of a result how it was separated; the real service has no such header
METHOD_HEADER = "x-cos-meta-separated-by"

# All at once, so that a placeholder in an input's name is left alone
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


class JobFailedError(Exception):
    """The job ends ``Failed`` with this ``Code`` and ``Message``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Finished:
    """Results on disk, not yet objects: publish them with :func:`publish`, or :meth:`discard` them.

    :param contents: the files by their object keys.
    :param result: the document ``Operation`` with what came of the job.
    :param method: how the input was processed.
    """

    contents: dict[str, Path]
    result: bytes
    method: str

    def discard(self) -> None:
        """Delete the files."""
        for path in self.contents.values():
            path.unlink(missing_ok=True)


def process(job: StoredJob, objects: ObjectStore, on_progress: Callable[[float], None]) -> Finished:
    """Do the job's work. ``on_progress`` stops it by raising.

    :raises JobFailedError: the input is missing or unusable.
    """
    if job.tag == VOICE_SEPARATE:
        return _separate_voice(job, objects, on_progress)
    return _copy_input(job, objects)


def publish(job: StoredJob, finished: Finished, objects: ObjectStore, now: float) -> None:
    """Make the results objects of the output bucket."""
    bucket = text_of(parse(job.request), "Operation/Output/Bucket") or job.bucket
    for key, path in finished.contents.items():
        headers = {METHOD_HEADER: finished.method}
        objects.put(bucket, key, path, md5=_md5(path), modified=now, headers=headers)


def _separate_voice(job: StoredJob, objects: ObjectStore, on_progress: Callable[[float], None]) -> Finished:
    operation = parse(job.request).find("Operation")
    separate_element = operation.find(VOICE_SEPARATE) if operation is not None else None
    parameters = Parameters.read(separate_element, Problems())
    output = operation.find("Output") if operation is not None else None
    keys = result_keys(job, output, parameters)
    source = _input(job, objects)
    paths = {stem: objects.incoming() for stem in keys}
    with ExitStack() as on_error:
        for path in paths.values():
            on_error.callback(path.unlink, missing_ok=True)
        while (method := _separate(source.path, paths, parameters, on_progress)) is None:
            # Deleted since it was looked up, or overwritten: then there is another file for it
            before, source = source, _input(job, objects)
            if source.path == before.path:
                raise JobFailedError("InternalError", "the input object has lost its content")
        facts = [describe(path) for path in paths.values()]
        # One Format, of the first result, and one Audio for each, as in the documents' samples
        info = {"Format": facts[0][0], "Stream": {"Audio": [stream for _, stream in facts]}}
        contents = {keys[stem]: path for stem, path in paths.items()}
        finished = Finished(contents, _result(output, contents, info), method)
        on_error.pop_all()
        return finished


def _copy_input(job: StoredJob, objects: ObjectStore) -> Finished:
    """Stand in for work that is not done here: the result, if the job has one, is a copy of the input."""
    output = parse(job.request).find("Operation/Output")
    key, path = text_of(output, "Object"), objects.incoming()
    source = _input(job, objects).path if job.input_object else None
    if key is None:
        return Finished({}, to_bytes(build("Operation")), "nothing")
    try:
        shutil.copyfile(source or os.devnull, path)
    except FileNotFoundError:
        raise JobFailedError("ResourceNotFound", f"the input object {job.input_object} was deleted") from None
    extension = job.input_object.rpartition("/")[2].rpartition(".")[2]
    contents = {_expand(job, key, extension): path}
    return Finished(contents, _result(output, contents, None), "nothing, it is a copy of the input")


def result_keys(job: StoredJob, output: Element | None, parameters: Parameters) -> dict[Stem, str]:
    """Return the keys of the stems that the mode produces and the request names, placeholders expanded."""
    extension = EXTENSIONS[(parameters.codec or DEFAULT_CODEC).lower()]
    return {
        stem: _expand(job, pattern, extension)
        for stem in STEMS_OF_MODE[parameters.mode]
        if (pattern := text_of(output, OUTPUT_OF_STEM[stem]))
    }


def _expand(job: StoredJob, pattern: str, extension: str) -> str:
    values = {"jobid": job.id, "ext": extension, **_batch_values(job)}
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), pattern)


def _batch_values(job: StoredJob) -> dict[str, str]:
    """Placeholders that only a batch job's jobs have (460/80155; ``InputName`` and the like from samples)."""
    if job.batch_id is None:
        return {}
    folder, _, name = job.input_object.rpartition("/")
    return {
        "InventoryTriggerJobId": job.batch_id,
        "InputPath": folder,
        "InputName": name.rpartition(".")[0] or name,
        "InputNameAndExt": name,
    }


def _input(job: StoredJob, objects: ObjectStore) -> StoredObject:
    source = objects.get(job.bucket, job.input_object)
    if source is None:
        raise JobFailedError(
            "ResourceNotFound", f"the input object {job.input_object} does not exist in bucket {job.bucket}"
        )
    return source


def _separate(
    source: Path, paths: dict[Stem, Path], parameters: Parameters, on_progress: Callable[[float], None]
) -> Method | None:
    """Return how the source was separated, ``None`` if there is no such file.

    :raises JobFailedError: it is unusable.
    """
    # In MusicMode the documents let everything but the codec be ignored
    encoding = (parameters.sample_rate, parameters.bitrate, parameters.channels)
    settings = (None, None, None) if parameters.is_music_mode else encoding
    try:
        return separate(source, paths, parameters.codec, *settings, on_progress=on_progress)
    except UnsupportedMediaError as error:
        raise JobFailedError(
            "ResourceNotSupported", f"the input object cannot be processed: {error}"
        ) from None
    except FileNotFoundError:
        return None


def _result(output: Element | None, contents: dict[str, Path], info: dict[str, Any] | None) -> bytes:
    """Return what came of a job; ``ObjectPrefix`` is always there, and always empty."""
    written = {
        "Bucket": text_of(output, "Bucket"),
        "Region": text_of(output, "Region"),
        "ObjectPrefix": "",
        "ObjectName": sorted(contents),
        "Md5Info": [{"ObjectName": key, "Md5": _md5(contents[key])} for key in sorted(contents)],
    }
    result = {"MediaInfo": info, "MediaResult": {"OutputFile": written}}
    return to_bytes(build("Operation", result))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
