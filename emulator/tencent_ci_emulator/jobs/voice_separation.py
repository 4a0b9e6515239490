"""Voice separation: its parameters and their rules (460/84794, 436/84510, 436/120977)."""

from __future__ import annotations

from dataclasses import dataclass

from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.xml import Element, text_of
from tencent_ci_emulator.media import Stem
from tencent_ci_emulator.objects.names import is_object_key

VOICE_SEPARATE = "VoiceSeparate"
DEFAULT_CODEC = "aac"

_BOTH = (Stem.VOICE, Stem.BACKGROUND)
#: What each ``AudioMode`` produces. The default is not documented; here it is both
STEMS_OF_MODE = {
    None: _BOTH,
    "IsAudio": (Stem.VOICE,),
    "IsBackground": (Stem.BACKGROUND,),
    "AudioAndBackground": _BOTH,
    "MusicMode": (*_BOTH, Stem.BASS, Stem.DRUMS),
}
#: The elements of ``Output`` that hold a stem's object key
OUTPUT_OF_STEM = {
    Stem.VOICE: "AuObject",
    Stem.BACKGROUND: "Object",
    Stem.BASS: "BassObject",
    Stem.DRUMS: "DrumObject",
}

_MUSIC_MODE = "MusicMode"
_MUSIC_CODECS = ("mp3", "wav", "aac")
_SAMPLE_RATES = (8000, 11025, 22050, 32000, 44100, 48000, 96000)
_CHANNELS = (1, 2, 4, 5, 6, 8)


@dataclass(frozen=True, slots=True)
class _CodecRule:
    sample_rates: tuple[int, ...] = _SAMPLE_RATES[1:]
    channels: tuple[int, ...] = _CHANNELS


_CODECS = {
    "aac": _CodecRule(),
    "mp3": _CodecRule(sample_rates=_SAMPLE_RATES[1:-1], channels=(1, 2)),
    "flac": _CodecRule(),
    "amr": _CodecRule(sample_rates=(8000,), channels=(1,)),
    "wav": _CodecRule(
        sample_rates=_SAMPLE_RATES
    ),  # no page has a rule for it: all documented rates are allowed
}


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a separation is to do: ``sample_rate`` in Hz, ``bitrate`` in kbit/s. ``None``: not given."""

    mode: str | None = None
    codec: str | None = None
    sample_rate: int | None = None
    bitrate: int | None = None
    channels: int | None = None

    @classmethod
    def read(cls, separate: Element | None, problems: Problems, at: str = "") -> Parameters:
        """Read a ``VoiceSeparate`` element, and note numbers that cannot be read.

        :param at: path of the element, with a dot at its end.
        """
        config = separate.find("AudioConfig") if separate is not None else None
        numbers = [
            problems.read_number(config, name, f"{at}AudioConfig.{name}")
            for name in ("Samplerate", "Bitrate", "Channels")
        ]
        return cls(text_of(separate, "AudioMode"), text_of(config, "Codec"), *numbers)

    @property
    def is_music_mode(self) -> bool:
        """Whether the mode is the one for music, which ignores all of the encoding but the codec."""
        return self.mode == _MUSIC_MODE


def check_parameters(separate: Element, problems: Problems, at: str = "") -> None:
    """Note the rules that a ``VoiceSeparate`` element breaks; ``at`` is its path with a dot at its end."""
    given = Parameters.read(separate, problems, at)
    problems.check_choice(f"{at}AudioMode", given.mode, [mode for mode in STEMS_OF_MODE if mode])
    codec = (given.codec or DEFAULT_CODEC).lower()
    codecs = _MUSIC_CODECS if given.is_music_mode else tuple(_CODECS)
    if codec not in codecs:
        problems.check_choice(f"{at}AudioConfig.Codec", given.codec, codecs)
        return
    if given.bitrate is not None and not 8 <= given.bitrate <= 1000:
        problems.add(f"{at}AudioConfig.Bitrate", given.bitrate, "8 to 1000 kbit/s")
    if not given.is_music_mode:
        rule = _CODECS[codec]
        problems.check_choice(f"{at}AudioConfig.Samplerate", given.sample_rate, rule.sample_rates)
        problems.check_choice(f"{at}AudioConfig.Channels", given.channels, rule.channels)


def check_outputs(output: Element | None, mode: str | None, problems: Problems) -> None:
    """Note missing, malformed and equal object keys of the results.

    A mode needs the keys of voice and background where it produces them; without a mode, one of the two.
    Bass and drums need none, and keys of stems that the mode does not produce are ignored.
    """
    at = "Operation.Output"
    keys = {stem: text_of(output, name) for stem, name in OUTPUT_OF_STEM.items()}
    for stem, key in keys.items():
        if key is not None and not is_object_key(key):
            problems.add(f"{at}.{OUTPUT_OF_STEM[stem]}", key, "an object key without a slash at either end")
    if mode is None and not any(keys[stem] for stem in _BOTH):
        problems.add_sentence(f"{at} needs Object, AuObject or both")
    for stem in _BOTH if mode else ():
        if stem in STEMS_OF_MODE.get(mode, ()) and not keys[stem]:
            problems.add(f"{at}.{OUTPUT_OF_STEM[stem]}", None, f"an object key, as AudioMode is {mode}")
    given = [key for key in keys.values() if key]
    if len(set(given)) < len(given):
        problems.add_sentence(f"{at} has the same object key twice: one result would overwrite the other")
