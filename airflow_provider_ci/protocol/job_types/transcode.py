"""Transcoding (音视频转码): the documented rules of container, audio, video and time interval.

Sources: 1045/73062 (job), 1045/49911 (template, the fullest table), 1045/49945. Without the element ``Video``
the result has no picture, without ``Audio`` no sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from airflow_provider_ci.protocol import rules
from airflow_provider_ci.protocol.job_types.job_type import JobType
from airflow_provider_ci.protocol.rules import Problem, Rule
from airflow_provider_ci.protocol.tree import Tree, find_text, find_tree, format_value

TRANSCODE = "Transcode"
_AUDIO_CONTAINERS = ("aac", "mp3", "flac", "amr", "adts", "m4a", "wav")
_VIDEO_CONTAINERS = ("mp4", "hls", "mkv", "ts", "flv", "avi", "mov", "dash", "webm")
_SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)
_CHANNELS_BY_CODEC = {
    **dict.fromkeys(("aac", "flac"), (1, 2, 4, 5, 6, 8)),
    **dict.fromkeys(("mp3", "opus", "pcm_s16le"), (1, 2)),
    "vorbis": (2,),
    "amr": (1,),
}
# Not DigitalWatermark, in which the service says whether it has written one
_BESIDE_TEMPLATE = ("Watermark", "WatermarkTemplateId", "RemoveWatermark", "Subtitles", "FreeTranscode")
_RATES_BY_CODEC = {"amr": (8000,), "opus": (8000, 16000, 24000, 48000)}


def _is_size(value: object) -> bool:
    size = rules.as_integer(value)
    return size is not None and 128 <= size <= 4096 and size % 2 == 0


def _or_auto(rule: Rule) -> Rule:
    return Rule(f"{rule.allowed}, auto", lambda value: value == "auto" or rule.accepts(value), is_text=False)


_SIZE = Rule("an even integer from 128 to 4096 (pixels)", _is_size, is_text=False)
_RULES = {
    "Container.Format": rules.one_of(*_VIDEO_CONTAINERS, *_AUDIO_CONTAINERS, is_required=True),
    "TimeInterval.Start": rules.number(0, unit="seconds"),
    "TimeInterval.Duration": rules.number(0, unit="seconds"),
    "Audio.Codec": rules.one_of("aac", "mp3", "flac", "amr", "Vorbis", "opus", "pcm_s16le"),
    "Audio.Samplerate": rules.one_number_of(*_SAMPLE_RATES),
    "Audio.Bitrate": rules.integer(8, 1000, "kbit/s"),
    "Audio.Channels": rules.one_number_of(1, 2, 4, 5, 6, 8),
    "Video.Codec": rules.one_of("H.264", "H.265", "VP8", "VP9", "AV1"),
    "Video.Width": _SIZE,
    "Video.Height": _SIZE,
    "Video.Fps": rules.number(0.01, 60),
    "Video.Bitrate": _or_auto(rules.integer(10, 50000, "kbit/s")),
    "Video.Crf": rules.number(0.01, 51),
}


def _relation_problems(operation: Tree) -> Iterator[Problem]:
    parameters = find_tree(operation, TRANSCODE)
    if operation.get(TRANSCODE) is None:
        return
    container, audio = find_text(parameters, "Container.Format"), find_tree(parameters, "Audio")
    if container is None:
        yield Problem("Operation.Transcode.Container.Format", None, _RULES["Container.Format"].allowed)
    if parameters.get("Audio") is None and parameters.get("Video") is None:
        allowed = "at least one of them, or the result would have neither sound nor picture"
        yield Problem("Operation.Transcode.Audio and Video", None, allowed)
    video = find_tree(parameters, "Video")
    if container in _AUDIO_CONTAINERS and video and format_value(video.get("Remove")) != "true":
        name, value = next(iter(video.items()))
        allowed = f"no value, because a file of format {container} has no picture"
        yield Problem(f"Operation.Transcode.Video.{name}", value, allowed)
    codec = (find_text(audio, "Codec") or "").lower()
    for name, allowed_by_codec in (("Channels", _CHANNELS_BY_CODEC), ("Samplerate", _RATES_BY_CODEC)):
        values = allowed_by_codec.get(codec)
        if audio.get(name) is not None and values and rules.as_number(audio[name]) not in values:
            allowed = f"{rules.join_values(values)} with codec {codec}"
            yield Problem(f"Operation.Transcode.Audio.{name}", audio[name], allowed)


TRANSCODE_TYPE = JobType(
    tag=TRANSCODE,
    parameters=(TRANSCODE, *_BESIDE_TEMPLATE),
    beside_template=_BESIDE_TEMPLATE,
    needs_parameters=True,
    rules=MappingProxyType({f"{TRANSCODE}.{name}": rule for name, rule in _RULES.items()}),
    relation_problems=_relation_problems,
    is_listed=True,
    is_in_batches=True,
)
