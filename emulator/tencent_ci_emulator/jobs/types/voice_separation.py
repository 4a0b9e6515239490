"""Voice separation: its parameters, their rules, and its work (460/84794, 436/84510, 436/120977).

Without ``AudioMode`` both voice and background are made, those that have an output. A stem of the mode that
has no output is not written, and an output for a stem that the mode does not have is ignored. ``MediaInfo``
and the MD5s are measured from the files written; ``MediaInfo.Format`` is the first result's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from tencent_ci_emulator.http.rules import Problems, one_number_of, one_of, read_number, whole_number
from tencent_ci_emulator.http.xml import Element, parse, text_of
from tencent_ci_emulator.jobs.job_output import (
    JobAtWork,
    JobOutput,
    describe_files,
    expand_placeholders,
    new_files,
    read_input,
)
from tencent_ci_emulator.media import EXTENSIONS, Stem, describe, separate
from tencent_ci_emulator.objects.names import OBJECT_KEY
from tencent_ci_emulator.objects.object_store import ObjectStore

VOICE_SEPARATE = "VoiceSeparate"
DEFAULT_CODEC = "aac"

_VOICE_AND_BACKGROUND = (Stem.VOICE, Stem.BACKGROUND)
_MUSIC_MODE = "MusicMode"
#: The stems that each ``AudioMode`` produces. The default is not documented; here it is both
STEMS_OF_MODE = {
    None: _VOICE_AND_BACKGROUND,
    "IsAudio": (Stem.VOICE,),
    "IsBackground": (Stem.BACKGROUND,),
    "AudioAndBackground": _VOICE_AND_BACKGROUND,
    _MUSIC_MODE: (*_VOICE_AND_BACKGROUND, Stem.BASS, Stem.DRUMS),
}
#: The elements of ``Output`` that hold a stem's object key
OUTPUT_OF_STEM = {
    Stem.VOICE: "AuObject",
    Stem.BACKGROUND: "Object",
    Stem.BASS: "BassObject",
    Stem.DRUMS: "DrumObject",
}

_MODE = {"AudioMode": one_of(*filter(None, STEMS_OF_MODE))}
_MUSIC_CODECS = ("mp3", "wav", "aac")
_SAMPLE_RATES = (11025, 22050, 32000, 44100, 48000, 96000)
_CHANNELS = (1, 2, 4, 5, 6, 8)
# Sample rates and channels of each codec. No page has a rule for wav: all documented rates are allowed
_CODECS: dict[str, tuple[Collection[int], Collection[int]]] = {
    "aac": (_SAMPLE_RATES, _CHANNELS),
    "mp3": (_SAMPLE_RATES[:-1], (1, 2)),
    "flac": (_SAMPLE_RATES, _CHANNELS),
    "amr": ((8000,), (1,)),
    "wav": ((8000, *_SAMPLE_RATES), _CHANNELS),
}


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a separation; ``None`` means the default.

    :param numbers: sample rate in Hz, bitrate in kbit/s, channels.
    """

    mode: str | None
    codec: str | None
    numbers: tuple[int | None, ...]

    @classmethod
    def read(cls, separate: Element | None) -> Parameters:
        """Read a ``VoiceSeparate`` element that follows the rules.

        The mode for music ignores all of the encoding but the codec.
        """
        config = separate.find("AudioConfig") if separate is not None else None
        names = ("Samplerate", "Bitrate", "Channels")
        mode = text_of(separate, "AudioMode")
        numbers = () if mode == _MUSIC_MODE else tuple(read_number(text_of(config, name)) for name in names)
        return cls(mode, text_of(config, "Codec"), numbers)


def check_parameters(separate: Element, problems: Problems, prefix: str = "") -> None:
    """Note the rules that a ``VoiceSeparate`` element breaks; ``prefix`` is its path and a dot."""
    problems.check(separate, _MODE, prefix)
    config, prefix = separate.find("AudioConfig"), f"{prefix}AudioConfig."
    is_music_mode = text_of(separate, "AudioMode") == _MUSIC_MODE
    codec = (text_of(config, "Codec") or DEFAULT_CODEC).lower()
    codecs = _MUSIC_CODECS if is_music_mode else tuple(_CODECS)
    if codec not in codecs:
        problems.check(config, {"Codec": one_of(*codecs)}, prefix)
        return
    problems.check(config, {"Bitrate": whole_number(8, 1000, " kbit/s")}, prefix)
    if not is_music_mode:
        sample_rates, channels = _CODECS[codec]
        rules = {"Samplerate": one_number_of(sample_rates), "Channels": one_number_of(channels)}
        problems.check(config, rules, prefix)


def check_outputs(operation: Element, problems: Problems) -> None:
    """Note missing, malformed and equal object keys of the results.

    A mode needs the keys of voice and background where it produces them; without a mode, one of the two is
    enough. Bass and drums need none, and keys of stems that the mode does not produce are ignored.
    """
    output, mode = operation.find("Output"), text_of(operation, f"{VOICE_SEPARATE}/AudioMode")
    problems.check(output, dict.fromkeys(OUTPUT_OF_STEM.values(), OBJECT_KEY), "Operation.Output.")
    keys = {stem: text_of(output, name) for stem, name in OUTPUT_OF_STEM.items()}
    if mode is None and not any(keys[stem] for stem in _VOICE_AND_BACKGROUND):
        problems.add_sentence("Operation.Output needs Object, AuObject or both")
    if mode is not None:
        needed = [stem for stem in STEMS_OF_MODE.get(mode, ()) if stem in _VOICE_AND_BACKGROUND]
        for name in [OUTPUT_OF_STEM[stem] for stem in needed if not keys[stem]]:
            problems.add_sentence(f"Operation.Output.{name} is missing: AudioMode {mode} needs an object key")
    named = [key for key in keys.values() if key]
    if len(set(named)) < len(named):
        problems.add_sentence(
            "Operation.Output has the same object key twice: one result would overwrite the other"
        )


def separate_voice(job: JobAtWork, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job.

    :raises JobFailedError: the input is missing or unusable.
    """
    request = parse(job.request)
    parameters = Parameters.read(request.find(f"Operation/{VOICE_SEPARATE}"))
    output = request.find("Operation/Output")
    keys = _result_keys(job, output, parameters)
    with new_files(objects) as new:
        paths = {stem: new.add() for stem in keys}
        method = read_input(
            job,
            objects,
            lambda source: separate(
                source, paths, parameters.codec, *parameters.numbers, on_progress=on_progress
            ),
        )
        facts = [describe(path) for path in paths.values()]
        # One Format, of the first result, and one Audio for each, as in the documents' samples
        info = {"Format": facts[0][0], "Stream": {"Audio": [stream for _, stream in facts]}}
        files = {keys[stem]: path for stem, path in paths.items()}
        return JobOutput(method, files, {"MediaInfo": info, "MediaResult": describe_files(output, files)})


def _result_keys(job: JobAtWork, output: Element | None, parameters: Parameters) -> dict[Stem, str]:
    """Return the object keys of the stems that the mode produces and the request names."""
    extension = EXTENSIONS[(parameters.codec or DEFAULT_CODEC).lower()]
    return {
        stem: expand_placeholders(job, pattern, extension)
        for stem in STEMS_OF_MODE[parameters.mode]
        if (pattern := text_of(output, OUTPUT_OF_STEM[stem]))
    }
