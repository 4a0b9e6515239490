"""``Snapshot`` (1045/48938; template 1045/49909): single pictures of a film.

They are jpg, png or webp by the key's extension, in the three modes, with ``Start``, ``TimeInterval``,
``Count``, ``Width``, ``Height`` and ``IsCheckCount``. No sprites. Pictures are numbered from 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tencent_ci_emulator.http.rules import (
    Problems,
    Rules,
    decimal,
    one_of,
    read_decimal,
    read_number,
    whole_number,
)
from tencent_ci_emulator.http.xml import Element, text_of
from tencent_ci_emulator.jobs.job_output import (
    JobAtWork,
    JobOutput,
    NotProcessedError,
    describe_names,
    describe_place,
    describe_unapplied,
    has_number,
    name_series,
    new_files,
    read_input,
)
from tencent_ci_emulator.jobs.types.transcode import BOOLEAN, SECONDS
from tencent_ci_emulator.media.pictures import AVERAGE, INTERVAL, KEY_FRAME, PICTURES, Moments, take_pictures
from tencent_ci_emulator.objects.object_store import ObjectStore

#: The rules of the parameters
RULES: Rules = {
    "Mode": one_of(INTERVAL, AVERAGE, KEY_FRAME),
    "Start": SECONDS,
    "TimeInterval": decimal(0.001, 3600, " seconds"),
    "Count": replace(whole_number(1, 10_000), is_required=True),
    "Width": whole_number(128, 4096),
    "Height": whole_number(128, 4096),
    "IsCheckCount": BOOLEAN,
    "SnapshotOutMode": one_of("OnlySnapshot", "OnlySprite", "SnapshotAndSprite"),
}
_APPLIED = {f"Snapshot/{name}" for name in RULES}
_NO_SPRITES = "the emulator does not make sprites"


def check_output(operation: Element, problems: Problems) -> None:
    """Note an object key without a number, of which all pictures would be one."""
    count, pattern = text_of(operation, "Snapshot/Count"), text_of(operation, "Output/Object")
    if pattern is not None and read_number(count) != 1 and not has_number(pattern):
        problems.add_sentence("Operation.Output.Object needs ${Number}, because Snapshot has a Count above 1")


def take_snapshots(job: JobAtWork, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job.

    :raises JobFailedError: the input is missing or unusable.
    :raises NotProcessedError: nothing but a sprite is asked for.
    """
    operation = job.operation
    parameters, output = operation.find("Snapshot"), operation.find("Output")
    pattern, out_mode = text_of(output, "Object"), text_of(parameters, "SnapshotOutMode")
    if pattern is None or out_mode == "OnlySprite":
        raise NotProcessedError(_NO_SPRITES)
    extension = pattern.rpartition(".")[2].lower()
    picture = extension if extension in PICTURES else "jpg"
    with new_files(objects) as new:
        paths = read_input(
            job,
            objects,
            lambda source: take_pictures(
                source,
                new.add,
                _read_moments(parameters),
                picture,
                read_number(text_of(parameters, "Width")),
                read_number(text_of(parameters, "Height")),
                on_progress=on_progress,
            ),
        )
        prefix, keys = name_series(job, pattern, picture, len(paths))
        files = dict(zip(keys, paths, strict=True))
        # Of snapshots no MD5 is described, and nearly nothing else
        written = {**describe_place(output), **describe_names(keys, files, prefix), "Md5Info": ""}
        result = {"MediaInfo": {"Format": "", "Stream": ""}, "MediaResult": {"OutputFile": written}}
        unapplied = describe_unapplied(operation, _APPLIED)
        has_sprites = text_of(output, "SpriteObject") is not None or out_mode == "SnapshotAndSprite"
        message = "; ".join(filter(None, (unapplied, _NO_SPRITES if has_sprites else "")))
        return JobOutput("FFmpeg's decoders and encoders", files, result, message)


def _read_moments(parameters: Element | None) -> Moments:
    return Moments(
        read_number(text_of(parameters, "Count")) or 1,
        text_of(parameters, "Mode") or INTERVAL,
        read_decimal(text_of(parameters, "Start")) or 0.0,
        read_decimal(text_of(parameters, "TimeInterval")),
        text_of(parameters, "IsCheckCount") == "true",
    )
