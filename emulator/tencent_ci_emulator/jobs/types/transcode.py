"""``Transcode`` (1045/73062, 1045/48941; parameters 1045/49911, 1045/49945).

Done by FFmpeg's decoders and encoders: container, codecs, bitrates, sample rate, channels, size, frame
rate, ``Crf``, ``Gop``, ``Profile``, ``Preset``, ``TimeInterval``, ``AudioMix``, ``AudioMixArray``. Not
``hls`` and ``dash``. A job whose parameters have no ``Video`` has no picture, and one without ``Audio`` no
sound. Pictures have a constant rate, and ``Crf`` 25 without a bitrate. Vorbis is made by FFmpeg's own
encoder, always in stereo. A leap of more than a minute in a film's clock is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tencent_ci_emulator.http.rules import (
    Problems,
    Rules,
    decimal,
    one_number_of,
    one_of,
    read_decimal,
    read_number,
    whole_number,
)
from tencent_ci_emulator.http.xml import Element, text_of
from tencent_ci_emulator.jobs.batch_inputs import key_of
from tencent_ci_emulator.jobs.job_output import (
    JobAtWork,
    JobOutput,
    NotProcessedError,
    describe_files,
    describe_unapplied,
    expand_placeholders,
    find_object,
    new_files,
    read_input,
)
from tencent_ci_emulator.media.clips import Clip
from tencent_ci_emulator.media.encode import encode
from tencent_ci_emulator.media.media_info import inspect
from tencent_ci_emulator.media.mixing import Mix
from tencent_ci_emulator.media.tracks import (
    CONTAINERS,
    PRESETS,
    VIDEO_ENCODERS,
    AudioSettings,
    VideoSettings,
)
from tencent_ci_emulator.objects.object_store import ObjectStore

METHOD = "FFmpeg's decoders and encoders"
#: Formats of more than one file. They are not written here
PLAYLISTS = ("hls", "m3u8", "dash")

_SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)
#: The rules of truth values, and of times
BOOLEAN = one_of("true", "false")
SECONDS = decimal(0, 999_999_999, " seconds")

#: The rules of ``Audio``
AUDIO_RULES: Rules = {
    "Codec": one_of("aac", "mp3", "flac", "amr", "Vorbis", "vorbis", "opus", "pcm_s16le"),
    "Samplerate": one_number_of(_SAMPLE_RATES),
    "Bitrate": whole_number(8, 1000, " kbit/s"),
    "Channels": one_number_of((1, 2, 4, 5, 6, 8)),
    "Remove": BOOLEAN,
}
#: The rules of ``Video``
VIDEO_RULES: Rules = {
    "Codec": one_of(*VIDEO_ENCODERS),
    "Width": whole_number(128, 4096),
    "Height": whole_number(128, 4096),
    "Fps": decimal(0.01, 60),
    "Bitrate": whole_number(10, 50_000, " kbit/s"),
    "Crf": decimal(0, 51),
    "Gop": whole_number(1, 100_000),
    "Remove": BOOLEAN,
}
_RULES: Rules = {
    "Container/Format": one_of(*CONTAINERS, "hls", "dash", is_required=True),
    "TimeInterval/Start": SECONDS,
    "TimeInterval/Duration": SECONDS,
}
_MIX_NAMES = ("AudioMix", "AudioMixArray")
#: The paths of the elements that are applied whenever something is encoded
ENCODING_ELEMENTS = {
    "Container/Format",
    *(f"Audio/{name}" for name in AUDIO_RULES),
    *(f"Video/{name}" for name in (*VIDEO_RULES, "Profile", "Preset", "Maxrate", "Bufsize")),
    *(
        f"{mix}/{name}"
        for mix in _MIX_NAMES
        for name in (
            *("AudioSource", "MixMode", "Replace"),
            *("EffectConfig/EnableStartFadein", "EffectConfig/StartFadeinTime"),
            *("EffectConfig/EnableEndFadeout", "EffectConfig/EndFadeoutTime"),
        )
    ),
}
_APPLIED = {f"Transcode/{path}" for path in {*ENCODING_ELEMENTS, "TimeInterval"}}


def check_transcode(transcode: Element, problems: Problems, prefix: str = "") -> None:
    """Note the rules that parameters break; ``prefix`` is their path and a dot."""
    problems.check(transcode, _RULES, prefix)
    problems.check(transcode.find("Audio"), AUDIO_RULES, f"{prefix}Audio.")
    problems.check(transcode.find("Video"), VIDEO_RULES, f"{prefix}Video.")


def refuse_playlist(container: str) -> None:
    """Refuse to write a playlist.

    :raises NotProcessedError: the container is one.
    """
    if container in PLAYLISTS:
        raise NotProcessedError(f"the emulator does not write {container}")


def transcode(job: JobAtWork, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job.

    :raises JobFailedError: the input is missing or unusable.
    :raises NotProcessedError: the result would be a playlist.
    """
    operation = job.operation
    parameters, output = operation.find("Transcode"), operation.find("Output")
    container = text_of(parameters, "Container/Format") or ""
    refuse_playlist(container)
    start = read_decimal(text_of(parameters, "TimeInterval/Start")) or 0.0
    duration = read_decimal(text_of(parameters, "TimeInterval/Duration"))
    with new_files(objects) as new:
        path = new.add()
        read_input(
            job,
            objects,
            lambda source: encode(
                [Clip(source, start, start + duration if duration else None)],
                path,
                container,
                read_audio(parameters.find("Audio") if parameters is not None else None),
                read_video(parameters.find("Video") if parameters is not None else None),
                mixes=[*read_mixes(job, parameters, objects)],
                on_progress=on_progress,
            ),
        )
        key = expand_placeholders(job, text_of(output, "Object") or "", container)
        result = {"MediaInfo": inspect(path), "MediaResult": describe_files(output, {key: path})}
        return JobOutput(METHOD, {key: path}, result, describe_unapplied(operation, _APPLIED))


def read_audio(audio: Element | None) -> AudioSettings | None:
    """Read an ``Audio`` element; ``None`` if there is none, or if it removes the sound."""
    if audio is None or text_of(audio, "Remove") == "true":
        return None
    return AudioSettings(
        text_of(audio, "Codec"),
        read_number(text_of(audio, "Samplerate")),
        read_number(text_of(audio, "Bitrate")),
        read_number(text_of(audio, "Channels")),
    )


def read_video(video: Element | None) -> VideoSettings | None:
    """Read a ``Video`` element; ``None`` if there is none, or if it removes the picture."""
    if video is None or text_of(video, "Remove") == "true":
        return None
    codec = text_of(video, "Codec")
    return VideoSettings(
        codec,
        read_number(text_of(video, "Width")),
        read_number(text_of(video, "Height")),
        read_decimal(text_of(video, "Fps")),
        read_number(text_of(video, "Bitrate")),
        options=dict(_encoder_options(video, codec)),
    )


def _encoder_options(video: Element, codec: str | None) -> Iterator[tuple[str, str]]:
    """Yield FFmpeg's options for the elements that are for this codec."""
    for name, option in (("Crf", "crf"), ("Gop", "g")):
        if (text := text_of(video, name)) is not None:
            yield option, text
    for name, option in (("Maxrate", "maxrate"), ("Bufsize", "bufsize")):
        if (kbits := read_number(text_of(video, name))) is not None and codec not in ("VP8", "VP9"):
            yield option, str(kbits * 1000)
    profile = text_of(video, "Profile")
    if profile in ("baseline", "main", "high") and codec in (None, "H.264"):
        yield "profile", profile
    preset = text_of(video, "Preset")
    if preset is not None and preset in PRESETS.get(codec or "H.264", ()):
        yield "preset", preset


def read_mixes(job: JobAtWork, parameters: Element | None, objects: ObjectStore) -> Iterator[Mix]:
    """Yield the recordings that are to be mixed with the input.

    :raises JobFailedError: one does not exist.
    """
    for name in _MIX_NAMES:
        for mix in parameters.iterfind(name) if parameters is not None else ():
            source = text_of(mix, "AudioSource") or ""
            key = (key_of(source, job.bucket) or source).removeprefix("/")
            yield Mix(
                find_object(job.bucket, key, objects, f"{name}.AudioSource").path,
                repeats=text_of(mix, "MixMode") != "Once",
                replaces=text_of(mix, "Replace") == "true",
                fade_in=_fade(mix, "EnableStartFadein", "StartFadeinTime"),
                fade_out=_fade(mix, "EnableEndFadeout", "EndFadeoutTime"),
            )


def _fade(mix: Element, switch: str, seconds: str) -> float:
    if text_of(mix, f"EffectConfig/{switch}") != "true":
        return 0.0
    return read_decimal(text_of(mix, f"EffectConfig/{seconds}")) or 0.0
