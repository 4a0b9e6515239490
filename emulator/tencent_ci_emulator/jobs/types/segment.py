"""``Segment`` (1045/48936; further elements from Tencent's Go SDK): a recording in pieces of equal length.

It is cut where a picture is stored completely, or at any packet of sound. It is encoded anew only if the
kind of file cannot hold the streams. Not ``hls``. Pieces are numbered from 0, and ``MediaInfo`` is that of
the first one.
"""

from __future__ import annotations

from collections.abc import Callable

from tencent_ci_emulator.http.rules import Problems, Rules, one_of, read_decimal, read_number, whole_number
from tencent_ci_emulator.http.xml import Element, text_of
from tencent_ci_emulator.jobs.job_output import (
    JobAtWork,
    JobOutput,
    describe_names,
    describe_place,
    describe_unapplied,
    has_number,
    name_series,
    new_files,
    read_input,
)
from tencent_ci_emulator.jobs.types.transcode import PLAYLISTS, SECONDS, refuse_playlist
from tencent_ci_emulator.media.copying import cut_into_pieces
from tencent_ci_emulator.media.media_info import inspect
from tencent_ci_emulator.objects.object_store import ObjectStore

#: The rules of the parameters
RULES: Rules = {
    "Format": one_of("aac", "mp3", "flac", "mp4", "ts", "mkv", "avi", "hls", "m3u8", is_required=True),
    "Duration": whole_number(5, 999_999_999, " seconds"),
    "StartTime": SECONDS,
    "EndTime": SECONDS,
}
_APPLIED = {f"Segment/{name}" for name in RULES}


def check_output(operation: Element, problems: Problems) -> None:
    """Note an object key without a number, of which all pieces would be one."""
    is_list = text_of(operation, "Segment/Format") in PLAYLISTS
    has_pieces = text_of(operation, "Segment/Duration") is not None and not is_list
    if has_pieces and not has_number(text_of(operation, "Output/Object") or ""):
        problems.add_sentence("Operation.Output.Object needs ${Number}, because Segment has a Duration")


def cut_input(job: JobAtWork, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job.

    :raises JobFailedError: the input is missing or unusable.
    :raises NotProcessedError: the result would be a playlist.
    """
    operation = job.operation
    parameters, output = operation.find("Segment"), operation.find("Output")
    kind = text_of(parameters, "Format") or ""
    refuse_playlist(kind)
    seconds = read_number(text_of(parameters, "Duration"))
    start, end = (read_decimal(text_of(parameters, name)) for name in ("StartTime", "EndTime"))
    with new_files(objects) as new:
        paths = read_input(
            job,
            objects,
            lambda source: cut_into_pieces(
                source, new.add, kind, seconds, start or 0.0, end or None, on_progress=on_progress
            ),
        )
        prefix, keys = name_series(job, text_of(output, "Object") or "", kind, len(paths))
        files = dict(zip(keys, paths, strict=True))
        written = {**describe_place(output), **describe_names(keys, files, prefix)}
        result = {"MediaInfo": inspect(paths[0]), "MediaResult": {"OutputFile": written}}
        return JobOutput("FFmpeg's muxers", files, result, describe_unapplied(operation, _APPLIED))
