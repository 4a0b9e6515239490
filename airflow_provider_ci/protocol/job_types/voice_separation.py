"""Voice separation (人声分离): the documented rules of its parameters and of the keys of its results.

Sources: 436/84510 and 436/120977 (parameters), 460/84794 (results).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from types import MappingProxyType

from airflow_provider_ci.protocol.job_types.job_type import ASR, JobType
from airflow_provider_ci.protocol.result_keys import (
    JOB_PLACEHOLDERS,
    KnownInputs,
    may_be_equal,
)
from airflow_provider_ci.protocol.rules import (
    Problem,
    Rule,
    any_integer,
    as_number,
    integer,
    join_values,
    one_of,
)
from airflow_provider_ci.protocol.tree import Tree, find, find_text, find_tree

#: The ``Tag`` of the jobs.
VOICE_SEPARATE = "VoiceSeparate"

AUDIO_MODES = ("IsAudio", "IsBackground", "AudioAndBackground", "MusicMode")
#: The codec that the service uses if the request names none.
DEFAULT_CODEC = "aac"
_MUSIC_MODE_CODECS = ("mp3", "wav", "aac")
_SAMPLE_RATES = (11025, 22050, 32000, 44100, 48000, 96000)
# No rule is documented for wav, so any value that is documented for another codec is accepted
_SAMPLE_RATES_BY_CODEC = {
    "aac": _SAMPLE_RATES,
    "flac": _SAMPLE_RATES,
    "mp3": _SAMPLE_RATES[:-1],
    "amr": (8000,),
    "wav": (8000, *_SAMPLE_RATES),
}
_CHANNELS = (1, 2, 4, 5, 6, 8)
_CHANNELS_BY_CODEC = {"aac": _CHANNELS, "flac": _CHANNELS, "mp3": (1, 2), "amr": (1,), "wav": _CHANNELS}
CODECS = tuple(_SAMPLE_RATES_BY_CODEC)

#: The keys in ``Output``, and what messages call them.
OUTPUT_LABELS = {
    "Object": "Object (background)",
    "AuObject": "AuObject (voice)",
    "BassObject": "BassObject",
    "DrumObject": "DrumObject",
}
_REQUIRED_OUTPUTS = {
    "IsAudio": ("AuObject",),
    "IsBackground": ("Object",),
    "AudioAndBackground": ("Object", "AuObject"),
    "MusicMode": ("Object", "AuObject"),
}
# An unknown mode may have any of the results
_POSSIBLE_OUTPUTS = {**_REQUIRED_OUTPUTS, "MusicMode": tuple(OUTPUT_LABELS)}
_CODEC = "VoiceSeparate.AudioConfig.Codec"


def _is_codec(value: object) -> bool:
    return isinstance(value, str) and value.lower() in CODECS


RULES = {
    "VoiceSeparate.AudioMode": one_of(*AUDIO_MODES),
    _CODEC: Rule(join_values(CODECS), _is_codec),
    "VoiceSeparate.AudioConfig.Samplerate": any_integer(),
    "VoiceSeparate.AudioConfig.Bitrate": integer(8, 1000, "kbit/s"),
    "VoiceSeparate.AudioConfig.Channels": any_integer(),
}


def _result_problems(operation: Tree, inputs: KnownInputs) -> Iterator[Problem]:
    mode = _audio_mode(operation)
    keys = VOICE_SEPARATION_TYPE.result_keys(operation)
    required = _REQUIRED_OUTPUTS.get(mode or "", ())
    for element in required:
        if not find(operation, f"Output.{element}"):
            yield Problem(output_field(element), None, f"an object key, because AudioMode is {mode}")
    if not required and not {"Object", "AuObject"} & keys.keys():
        yield Problem("Operation.Output.Object and AuObject", None, "at least one of the two")
    for element, key in keys.items():
        if element not in _POSSIBLE_OUTPUTS.get(mode or "", OUTPUT_LABELS):
            yield Problem(
                output_field(element), key, f"no key, because AudioMode {mode} makes no such result"
            )
    extension = result_extension(operation)
    for one, other in combinations(keys, 2):
        if keys[one] != keys[other] and may_be_equal(keys[one], keys[other], inputs, extension):
            allowed = (
                f"a key that can never be that of {OUTPUT_LABELS[one]}, {keys[one]!r},"
                " or one result would overwrite another"
            )
            yield Problem(output_field(other), keys[other], allowed)


def _encoding_problems(operation: Tree) -> Iterator[Problem]:
    path = "Operation.VoiceSeparate.AudioConfig"
    config = find_tree(operation, "VoiceSeparate.AudioConfig")
    mode = find_text(operation, "VoiceSeparate.AudioMode")
    codec = (find_text(config, "Codec") or DEFAULT_CODEC).lower()
    if mode == "MusicMode":  # the service ignores the other values then
        if codec not in _MUSIC_MODE_CODECS:
            yield Problem(
                f"{path}.Codec", config.get("Codec"), f"{join_values(_MUSIC_MODE_CODECS)} with MusicMode"
            )
        return
    for name, allowed in (
        ("Samplerate", _SAMPLE_RATES_BY_CODEC[codec]),
        ("Channels", _CHANNELS_BY_CODEC[codec]),
    ):
        value = config.get(name)
        if value is not None and as_number(value) not in allowed:
            yield Problem(f"{path}.{name}", value, f"{join_values(allowed)} with codec {codec}")


def _audio_mode(operation: Tree) -> str | None:
    """Return the mode; ``None`` if it is not known, because a template has it."""
    return (
        None if operation.get("TemplateId") is not None else find_text(operation, "VoiceSeparate.AudioMode")
    )


def result_extension(operation: Tree) -> str | None:
    """Return what replaces ``${ext}``; ``None`` if it is not known, because a template has the codec."""
    if operation.get("TemplateId") is not None or operation.get("VoiceSeparate") is None:
        return None
    return (find_text(operation, _CODEC) or DEFAULT_CODEC).lower()


def output_field(element: str) -> str:
    """Return how messages name the key of a result."""
    return f"Operation.Output.{OUTPUT_LABELS[element]}"


VOICE_SEPARATION_TYPE = JobType(
    tag=VOICE_SEPARATE,
    parameters=("VoiceSeparate",),
    needs_parameters=True,
    output_objects=MappingProxyType(
        {"voice": "AuObject", "background": "Object", "bass": "BassObject", "drums": "DrumObject"}
    ),
    required_objects=(),
    placeholders=JOB_PLACEHOLDERS,
    rules=MappingProxyType(RULES),
    relation_problems=_encoding_problems,
    result_problems=_result_problems,
    extension=result_extension,
    service=ASR,
    is_listed=True,
    is_in_batches=True,
)
