"""Voice separation (人声分离): its parameters, the keys of its results, and the documented rules for both.

DAG files load this module, so it loads neither the other models nor the XML library.

Sources: 436/84510 and 436/120977 (parameters), 460/84794 (results).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.fields import LightModel
from airflow_provider_ci.protocol.names import is_object_key, object_address
from airflow_provider_ci.protocol.result_keys import (
    KnownInputs,
    cos_problem,
    may_be_equal,
    placeholder_problem,
)
from airflow_provider_ci.protocol.rules import (
    Problem,
    address_problem,
    choice_problems,
    join_values,
    key_problems,
    name_problems,
    raise_if_any,
    type_problems,
)

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.jobs import Operation, Output
    from airflow_provider_ci.protocol.templates import TemplateRequest

_EMPTY: Any = LightModel()

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
_BITRATE_MIN, _BITRATE_MAX = 8, 1000  # kbit/s

#: The fields of the results' keys, and how messages name them.
OUTPUTS = {
    "background_object": "Object (background)",
    "voice_object": "AuObject (voice)",
    "bass_object": "BassObject",
    "drum_object": "DrumObject",
}
#: The results' names in XCom, and the fields of their keys (460/84794).
RESULT_FIELDS = {
    "voice": "voice_object",
    "background": "background_object",
    "bass": "bass_object",
    "drums": "drum_object",
}
_REQUIRED_OUTPUTS = {
    "IsAudio": ("voice_object",),
    "IsBackground": ("background_object",),
    "AudioAndBackground": ("background_object", "voice_object"),
    "MusicMode": ("background_object", "voice_object"),
}
# An unknown mode may have any of the results
_POSSIBLE_OUTPUTS = {**_REQUIRED_OUTPUTS, "MusicMode": tuple(OUTPUTS)}
TEMPLATE_NAME_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioConfig:
    """Encoding of the results: ``samplerate`` in Hz, ``bitrate`` in kbit/s, ``channels`` a count."""

    codec: str | None = None
    samplerate: int | None = None
    bitrate: int | None = None
    channels: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceSeparate:
    """The parameters. ``audio_mode`` is one of ``AUDIO_MODES``."""

    audio_mode: str | None = None
    audio_config: AudioConfig | None = None


def parameter_problems(parameters: VoiceSeparate, parent: str) -> Iterator[Problem]:
    """Yield the documented rules that the parameters break.

    :param parent: path of the element that has the parameters, for instance ``Operation.VoiceSeparate.``.
    """
    mode, config = parameters.audio_mode, parameters.audio_config or _EMPTY
    yield from choice_problems(f"{parent}AudioMode", mode, AUDIO_MODES, optional=True)
    path = f"{parent}AudioConfig"
    codec = (config.codec or DEFAULT_CODEC).lower()
    if mode == "MusicMode" and codec not in _MUSIC_MODE_CODECS:
        yield Problem(f"{path}.Codec", config.codec, f"{join_values(_MUSIC_MODE_CODECS)} with MusicMode")
        return
    if codec not in CODECS:
        yield Problem(f"{path}.Codec", config.codec, join_values(CODECS))
        return
    if config.bitrate is not None and not _BITRATE_MIN <= config.bitrate <= _BITRATE_MAX:
        yield Problem(f"{path}.Bitrate", config.bitrate, f"{_BITRATE_MIN} to {_BITRATE_MAX} (kbit/s)")
    if mode == "MusicMode":
        return  # the service ignores the other values then
    for name, value, allowed in (
        ("Samplerate", config.samplerate, _SAMPLE_RATES_BY_CODEC[codec]),
        ("Channels", config.channels, _CHANNELS_BY_CODEC[codec]),
    ):
        if value is not None and value not in allowed:
            yield Problem(f"{path}.{name}", value, f"{join_values(allowed)} with codec {codec}")


def output_key_problems(output: Output, audio_mode: str | None) -> Iterator[Problem]:
    """Yield the rules that the keys of the results break and for which the service would reject the request.

    :param audio_mode: ``None`` if it is not known, because a template has it.
    """
    keys = {name: getattr(output, name) for name in OUTPUTS}
    for name, key in keys.items():
        if key is not None:
            yield from key_problems(_output_field(name), key)
    required = _REQUIRED_OUTPUTS.get(audio_mode or "", ())
    for name in required:
        if not keys[name]:
            allowed = f"an object key, because AudioMode is {audio_mode}"
            yield Problem(_output_field(name), keys[name], allowed)
    if not required and not keys["background_object"] and not keys["voice_object"]:
        yield Problem("Operation.Output.Object and AuObject", None, "at least one of the two")
    given = [key for key in keys.values() if key]
    if len(set(given)) < len(given):
        allowed = "different keys, or one result would overwrite another"
        yield Problem("Operation.Output's object keys", given, allowed)


def result_problems(operation: Operation, inputs: KnownInputs) -> Iterator[Problem]:
    """Yield problems for which results would be lost, although the service would accept and bill the job.

    :param inputs: what is known about the inputs, whose names may become part of the keys.
    """
    parameters = operation.voice_separate
    extension = result_extension(operation.template_id, parameters)
    mode = parameters.audio_mode if operation.template_id is None and parameters is not None else None
    valid_keys = {}
    for name, key in keys_by_field(operation).items():
        field = _output_field(name)
        if name not in _POSSIBLE_OUTPUTS.get(mode or "", OUTPUTS):
            yield Problem(field, key, f"no key, because AudioMode {mode} makes no such result")
        elif object_address(key):
            yield address_problem(field, key)
        elif allowed := placeholder_problem(key, inputs) or cos_problem(key, inputs, extension):
            yield Problem(field, key, allowed)
        else:
            valid_keys[name] = key
    for one, other in combinations(valid_keys, 2):
        first, second = valid_keys[one], valid_keys[other]
        if first != second and may_be_equal(first, second, inputs, extension):
            allowed = (
                f"a key that can never be that of {OUTPUTS[one]}, {first!r},"
                " or one result would overwrite another"
            )
            yield Problem(_output_field(other), second, allowed)


def keys_by_field(operation: Operation) -> dict[str, str]:
    """Return the keys of the results by their fields, without those that cannot be object keys."""
    output = operation.output or _EMPTY
    return {name: key for name in OUTPUTS if is_object_key(key := getattr(output, name))}


def result_extension(template_id: str | None, parameters: VoiceSeparate | None) -> str | None:
    """Return what replaces ``${ext}``; ``None`` if it is not known, because a template has the codec."""
    if template_id is not None or parameters is None:
        return None
    return ((parameters.audio_config or _EMPTY).codec or DEFAULT_CODEC).lower()


def _output_field(name: str) -> str:
    return f"Operation.Output.{OUTPUTS[name]}"


def check_template(template: TemplateRequest) -> None:
    """Check a template with parameters of voice separation.

    :raises RequestValidationError: naming every field that breaks a rule, its value and what is allowed.
    """
    raise_if_any(type_problems(template) or _template_problems(template))


def _template_problems(template: TemplateRequest) -> Iterator[Problem]:
    if template.tag != VOICE_SEPARATE:
        yield Problem("Tag", template.tag, VOICE_SEPARATE)
    yield from name_problems(template.name, TEMPLATE_NAME_MAX, asterisk=True)
    if template.audio_mode is None:
        yield Problem("AudioMode", None, "a mode; a template must name one")
    if template.audio_config is None:
        yield Problem("AudioConfig", None, "a container, which may be empty; the service demands it")
    parameters: Any = LightModel(audio_mode=template.audio_mode, audio_config=template.audio_config)
    yield from parameter_problems(parameters, "")
