"""Voice separation: its parameters, its results, and the documented rules for both.

Sources: 436/84510 and 436/120977 (parameters), 460/84794 (results). Light: DAG files load it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.fields import LightModel
from airflow_provider_ci.protocol.names import VOICE_SEPARATE as VOICE_SEPARATE
from airflow_provider_ci.protocol.names import is_object_key, object_address, redact_address
from airflow_provider_ci.protocol.result_keys import (
    KnownInputs,
    cos_problem,
    may_be_alike,
    placeholder_problem,
)
from airflow_provider_ci.protocol.rules import (
    Problem,
    choice_problems,
    listed,
    name_problems,
    raise_if_any,
    type_problems,
)

if TYPE_CHECKING:  # DAG files load this module, and making all models takes too long for them
    from airflow_provider_ci.protocol.jobs import Operation
    from airflow_provider_ci.protocol.templates import TemplateRequest

_NOTHING: Any = LightModel()

AUDIO_MODES = ("IsAudio", "IsBackground", "AudioAndBackground", "MusicMode")
_MUSIC_MODE_CODECS = ("mp3", "wav", "aac")
_SAMPLE_RATES = (11025, 22050, 32000, 44100, 48000, 96000)
# No rule is documented for wav: any documented value passes
_SAMPLE_RATES_OF = {
    "aac": _SAMPLE_RATES,
    "flac": _SAMPLE_RATES,
    "mp3": _SAMPLE_RATES[:-1],
    "amr": (8000,),
    "wav": (8000, *_SAMPLE_RATES),
}
_CHANNELS = (1, 2, 4, 5, 6, 8)
_CHANNELS_OF = {"aac": _CHANNELS, "flac": _CHANNELS, "mp3": (1, 2), "amr": (1,), "wav": _CHANNELS}
CODECS = tuple(_SAMPLE_RATES_OF)
_BITRATES = (8, 1000)
#: What the service takes if no codec is given.
DEFAULT_CODEC = "aac"
#: The results by their fields, as messages name them.
OUTPUTS = {
    "background_object": "Object (background)",
    "voice_object": "AuObject (voice)",
    "bass_object": "BassObject",
    "drum_object": "DrumObject",
}
NEEDED_OUTPUTS = {
    "IsAudio": ("voice_object",),
    "IsBackground": ("background_object",),
    "AudioAndBackground": ("background_object", "voice_object"),
    "MusicMode": ("background_object", "voice_object"),
}
# Of a mode that is not named here, what it makes is not known
_MADE_OUTPUTS = {**NEEDED_OUTPUTS, "MusicMode": tuple(OUTPUTS)}
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
    """The separation's parameters. Modes: ``IsAudio``, ``IsBackground``, ``AudioAndBackground``,
    ``MusicMode``.
    """

    audio_mode: str | None = None
    audio_config: AudioConfig | None = None


def parameter_problems(separate: VoiceSeparate, parent: str) -> Iterator[Problem]:
    """Yield every documented rule that the parameters break; ``parent`` is the path of their container."""
    yield from choice_problems(f"{parent}AudioMode", separate.audio_mode, AUDIO_MODES)
    config = separate.audio_config or _NOTHING
    at = f"{parent}AudioConfig"
    music = separate.audio_mode == "MusicMode"
    codec = (config.codec or DEFAULT_CODEC).lower()
    if codec not in (_MUSIC_MODE_CODECS if music else CODECS):
        allowed = f"{listed(_MUSIC_MODE_CODECS)} with MusicMode" if music else listed(CODECS)
        yield Problem(f"{at}.Codec", config.codec, allowed)
        return
    if config.bitrate is not None and not _BITRATES[0] <= config.bitrate <= _BITRATES[1]:
        yield Problem(f"{at}.Bitrate", config.bitrate, f"{_BITRATES[0]} to {_BITRATES[1]} (kbit/s)")
    if music:  # the service ignores the rest
        return
    for name, value, table in (
        ("Samplerate", config.samplerate, _SAMPLE_RATES_OF),
        ("Channels", config.channels, _CHANNELS_OF),
    ):
        if value is not None and value not in table[codec]:
            yield Problem(f"{at}.{name}", value, f"{listed(table[codec])} with codec {codec}")


def result_problems(operation: Operation, inputs: KnownInputs) -> Iterator[Problem]:
    """Yield what would be accepted and billed, and whose results would be lost all the same.

    :param inputs: what is known of the inputs, whose names may become part of the keys.
    """
    output, separate = operation.output or _NOTHING, operation.voice_separate
    extension = result_extension(operation.template_id, separate)
    mode = separate.audio_mode if operation.template_id is None and separate is not None else None
    keys = {name: key for name in OUTPUTS if is_object_key(key := getattr(output, name))}
    usable = {}
    for name, key in keys.items():
        field = f"Operation.Output.{OUTPUTS[name]}"
        if name not in _MADE_OUTPUTS.get(mode or "", OUTPUTS):
            yield Problem(field, key, f"no key, because AudioMode {mode} makes no such result")
        elif object_address(key):
            yield address_problem(field, key)
        elif allowed := placeholder_problem(key, inputs) or cos_problem(key, inputs, extension):
            yield Problem(field, key, allowed)
        else:
            usable[name] = key
    for one, other in combinations(usable, 2):
        if usable[one] != usable[other] and may_be_alike(usable[one], usable[other], inputs, extension):
            yield Problem(
                f"Operation.Output.{OUTPUTS[other]}",
                usable[other],
                f"a key that can never be that of {OUTPUTS[one]}, {usable[one]!r},"
                " or one result would overwrite another",
            )


def result_extension(template_id: str | None, separate: VoiceSeparate | None) -> str | None:
    """Return what ``${ext}`` stands for; ``None``: unknown, because a template holds the codec."""
    if template_id is not None or separate is None:
        return None
    return ((separate.audio_config or _NOTHING).codec or DEFAULT_CODEC).lower()


def address_problem(field: str, given: str) -> Problem:
    """Return the problem of a whole address where an object key was wanted."""
    address = object_address(given)
    bucket, key = address or (None, "")
    where = f", and the bucket, {bucket!r}, apart from it" if bucket else ""
    return Problem(field, redact_address(given), f"an object key, here {key!r}{where}")


def check_template(template: TemplateRequest) -> None:
    """Refuse a template that breaks a documented rule.

    :raises RequestValidationError: naming every such field, what was given and what is allowed.
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
