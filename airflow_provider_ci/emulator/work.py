"""The work behind one job: read the input object, separate it, describe and store the results."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_ci.emulator.audio import (
    EXTENSIONS,
    Method,
    Stem,
    UnsupportedMediaError,
    describe,
    separate,
)
from airflow_provider_ci.emulator.audio.encodings import DEFAULT_CODEC
from airflow_provider_ci.emulator.jobs import StoredJob
from airflow_provider_ci.emulator.objects import ObjectStore, StoredObject
from airflow_provider_ci.protocol.models import (
    AudioConfig,
    AudioStream,
    Md5Info,
    MediaFormat,
    MediaInfo,
    MediaResult,
    MediaStream,
    Operation,
    Output,
    OutputFile,
    VoiceSeparate,
)

#: Says of a result how it was separated; the real service has no such header
METHOD_HEADER = "x-cos-meta-separated-by"

# All at once, so that a placeholder in an input's name is left alone
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_BOTH = (Stem.VOICE, Stem.BACKGROUND)

#: What each ``AudioMode`` produces (436/84510). Its default is not documented; here it is both.
STEMS_OF_MODE = {
    None: _BOTH,
    "IsAudio": (Stem.VOICE,),
    "IsBackground": (Stem.BACKGROUND,),
    "AudioAndBackground": _BOTH,
    "MusicMode": (Stem.VOICE, Stem.BACKGROUND, Stem.BASS, Stem.DRUMS),
}


class JobFailedError(Exception):
    """The job ends ``Failed`` with this ``Code`` and ``Message``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Finished:
    """Results on disk, not yet objects: publish them with :func:`publish`, or :meth:`discard` them."""

    contents: dict[str, Path]
    info: MediaInfo
    result: MediaResult
    method: Method

    def discard(self) -> None:
        """Delete the files."""
        for path in self.contents.values():
            path.unlink(missing_ok=True)


def process(job: StoredJob, objects: ObjectStore, on_progress: Callable[[float], None]) -> Finished:
    """Do the job's work. ``on_progress`` stops it by raising.

    :raises JobFailedError: the input is missing or unusable.
    """
    operation = job.request.operation or Operation()
    separation = operation.voice_separate or VoiceSeparate()
    config = separation.audio_config or AudioConfig()
    keys = result_keys(job, operation.output or Output(), separation)
    source = _input(job, objects)
    paths = {stem: objects.incoming() for stem in keys}
    with ExitStack() as on_error:
        for path in paths.values():
            on_error.callback(path.unlink, missing_ok=True)
        music = separation.audio_mode == "MusicMode"
        while (method := _separate(source.path, paths, config, music, on_progress)) is None:
            # Deleted since it was looked up, or overwritten: then there is another file for it
            before, source = source, _input(job, objects)
            if source.path == before.path:
                raise JobFailedError("InternalError", "the input object has lost its content")
        finished = _finished(operation.output or Output(), keys, paths, method)
        on_error.pop_all()
        return finished


def publish(job: StoredJob, finished: Finished, objects: ObjectStore, now: float) -> None:
    """Make the results objects of the output bucket."""
    output = finished.result.output_file or OutputFile()
    sums = {info.object_name: info.md5 for info in output.md5_info}
    for key, path in finished.contents.items():
        objects.put(
            output.bucket or job.bucket,
            key,
            path,
            md5=sums[key] or "",
            modified=now,
            headers={METHOD_HEADER: finished.method},
        )


def result_keys(job: StoredJob, output: Output, separation: VoiceSeparate) -> dict[Stem, str]:
    """Return the keys of the stems that the mode produces and the request names, placeholders expanded."""
    targets = {
        Stem.VOICE: output.au_object,
        Stem.BACKGROUND: output.object,
        Stem.BASS: output.bass_object,
        Stem.DRUMS: output.drum_object,
    }
    codec = (separation.audio_config.codec if separation.audio_config else None) or DEFAULT_CODEC
    values = {"jobid": job.id, "ext": EXTENSIONS[codec.lower()], **_batch_values(job)}
    return {
        stem: _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), pattern)
        for stem in STEMS_OF_MODE[separation.audio_mode]
        if (pattern := targets[stem])
    }


def _batch_values(job: StoredJob) -> dict[str, str]:
    """Placeholders that only a batch job's jobs have (460/80155; ``InputName`` and the like from samples)."""
    if job.batch_id is None:
        return {}
    folder, _, name = ((job.request.input.object if job.request.input else None) or "").rpartition("/")
    return {
        "InventoryTriggerJobId": job.batch_id,
        "InputPath": folder,
        "InputName": name.rpartition(".")[0] or name,
        "InputNameAndExt": name,
    }


def _input(job: StoredJob, objects: ObjectStore) -> StoredObject:
    key = (job.request.input.object if job.request.input else None) or ""
    source = objects.get(job.bucket, key)
    if source is None:
        raise JobFailedError(
            "ResourceNotFound", f"the input object {key} does not exist in bucket {job.bucket}"
        )
    return source


def _separate(
    source: Path,
    paths: dict[Stem, Path],
    config: AudioConfig,
    music: bool,
    on_progress: Callable[[float], None],
) -> Method | None:
    """Return how the source was separated, ``None`` if there is no such file.

    :raises JobFailedError: it is unusable.
    """
    # In MusicMode the documents let everything but the codec be ignored
    settings = (None, None, None) if music else (config.samplerate, config.bitrate, config.channels)
    try:
        return separate(source, paths, config.codec, *settings, on_progress=on_progress)
    except UnsupportedMediaError as error:
        raise JobFailedError(
            "ResourceNotSupported", f"the input object cannot be processed: {error}"
        ) from None
    except FileNotFoundError:
        return None


def _finished(output: Output, keys: dict[Stem, str], paths: dict[Stem, Path], method: Method) -> Finished:
    contents = {keys[stem]: path for stem, path in paths.items()}
    facts = [describe(path) for path in paths.values()]
    names = sorted(contents)
    written = OutputFile(
        bucket=output.bucket,
        region=output.region,
        object_prefix="",
        object_name=tuple(names),
        md5_info=tuple(Md5Info(object_name=name, md5=_md5(contents[name])) for name in names),
    )
    return Finished(contents, _media_info(facts), MediaResult(output_file=written), method)


def _media_info(facts: list[tuple[MediaFormat, AudioStream]]) -> MediaInfo:
    """One ``Format``, of the first result, and one ``Audio`` for each, as in the documents' samples."""
    return MediaInfo(format=facts[0][0], stream=MediaStream(audio=tuple(stream for _, stream in facts)))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
