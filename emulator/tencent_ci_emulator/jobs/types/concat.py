"""``Concat`` (1045/48929; structures 1045/49945): recordings one after another.

They are encoded anew with the settings of a transcoding: ``ConcatFragment`` in order, with ``StartTime``
and ``EndTime``, the input at the place ``Index`` among them, or ``Mode`` as in templates. Not ``hls``, and
never without encoding (``DirectConcat``). Other than in a transcoding, sound and pictures stay as they are
unless their elements remove them. Not documented, and so decided here: ``FragmentIndex`` orders the
fragments; the first recording gives size, frame rate and channels; a shorter sound is followed by silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tencent_ci_emulator.http.rules import Problems, Rules, one_of, read_decimal, read_number, whole_number
from tencent_ci_emulator.http.xml import Element, build, text_of
from tencent_ci_emulator.jobs.batch_inputs import key_of
from tencent_ci_emulator.jobs.job_output import (
    JobAtWork,
    JobOutput,
    describe_files,
    describe_unapplied,
    expand_placeholders,
    find_object,
    new_files,
    unsupported_media_fails_the_job,
)
from tencent_ci_emulator.jobs.job_store import JobFailedError
from tencent_ci_emulator.jobs.types.transcode import (
    AUDIO_RULES,
    BOOLEAN,
    ENCODING_ELEMENTS,
    METHOD,
    SECONDS,
    VIDEO_RULES,
    read_audio,
    read_mixes,
    read_video,
    refuse_playlist,
)
from tencent_ci_emulator.media.clips import Clip
from tencent_ci_emulator.media.encode import encode
from tencent_ci_emulator.media.media_info import inspect
from tencent_ci_emulator.media.tracks import AudioSettings, VideoSettings
from tencent_ci_emulator.objects.object_store import ObjectStore

_RULES: Rules = {
    "Container/Format": one_of("mp4", "flv", "hls", "ts", "mp3", "aac", is_required=True),
    "Index": whole_number(0, 999_999_999),
    "DirectConcat": BOOLEAN,
}
_FRAGMENT_RULES: Rules = {
    "FragmentIndex": whole_number(0, 999_999_999),
    "StartTime": SECONDS,
    "EndTime": SECONDS,
    "Mode": one_of("Start", "End"),
}
_APPLIED = {f"ConcatTemplate/{path}" for path in {*ENCODING_ELEMENTS, "ConcatFragment", "Index"}}


def check_concat(concat: Element, problems: Problems, prefix: str = "") -> None:
    """Note the rules that parameters break; ``prefix`` is their path and a dot."""
    problems.check(concat, _RULES, prefix)
    problems.check(concat.find("Audio"), AUDIO_RULES, f"{prefix}Audio.")
    problems.check(concat.find("Video"), VIDEO_RULES, f"{prefix}Video.")
    for number, fragment in enumerate(concat.iterfind("ConcatFragment")):
        field = f"{prefix}ConcatFragment[{number}]"
        problems.check(fragment, _FRAGMENT_RULES, f"{field}.")
        if text_of(fragment, "Url") is None:
            problems.add_sentence(f"{field}.Url is missing")


def concatenate(job: JobAtWork, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job.

    :raises JobFailedError: an input is missing or unusable.
    :raises NotProcessedError: the result would be a playlist.
    """
    operation = job.operation
    parameters, output = operation.find("ConcatTemplate"), operation.find("Output")
    parameters = build("ConcatTemplate") if parameters is None else parameters
    container = text_of(parameters, "Container/Format") or ""
    refuse_playlist(container)
    audio, video = parameters.find("Audio"), parameters.find("Video")
    with new_files(objects) as new:
        path = new.add()
        with unsupported_media_fails_the_job():
            encode(
                _find_clips(job, parameters, objects),
                path,
                container,
                AudioSettings() if audio is None else read_audio(audio),
                VideoSettings() if video is None else read_video(video),
                mixes=[*read_mixes(job, parameters, objects)],
                on_progress=on_progress,
            )
        key = expand_placeholders(job, text_of(output, "Object") or "", container)
        result = {"MediaInfo": inspect(path), "MediaResult": describe_files(output, {key: path})}
        return JobOutput(METHOD, {key: path}, result, describe_unapplied(operation, _APPLIED))


def _find_clips(job: JobAtWork, parameters: Element, objects: ObjectStore) -> list[Clip]:
    """Return the recordings in their order.

    The input is at the place ``Index`` among the fragments. In the form of templates each fragment says if
    it is before the input or after it. That ``FragmentIndex`` orders the fragments is a guess.
    """
    fragments = sorted(
        parameters.iterfind("ConcatFragment"),
        key=lambda fragment: (
            text_of(fragment, "Mode") == "End",
            read_number(text_of(fragment, "FragmentIndex")) or 0,
        ),
    )
    clips = [_find_clip(job, fragment, objects) for fragment in fragments]
    if job.input_object:
        before = [fragment for fragment in fragments if text_of(fragment, "Mode") == "Start"]
        place = len(before) or read_number(text_of(parameters, "Index")) or 0
        clips.insert(place, Clip(find_object(job.bucket, job.input_object, objects).path))
    if not clips:
        raise JobFailedError("InvalidArgument", "there is neither an input object nor a ConcatFragment")
    return clips


def _find_clip(job: JobAtWork, fragment: Element, objects: ObjectStore) -> Clip:
    url = text_of(fragment, "Url") or ""
    key = (key_of(url, job.bucket) or url).removeprefix("/")
    clip = Clip(find_object(job.bucket, key, objects, "the object of ConcatFragment.Url").path)
    start, end = (read_decimal(text_of(fragment, name)) for name in ("StartTime", "EndTime"))
    return replace(clip, start=start or 0.0, end=end or None)
