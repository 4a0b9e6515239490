"""Speech synthesis by eSpeak NG, whose library and voices come with the extra ``synthesis``.

Speech is Chinese if the text has a Chinese character, and English otherwise, at 16,000 Hz, mono.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from av.audio.frame import AudioFrame

from tencent_ci_emulator.media.audio import AudioConverter, AudioWriter
from tencent_ci_emulator.media.encodings import Encoding

METHOD = "speech synthesis, by eSpeak NG"
#: The sample rate of results, in Hz
RATE = 16_000
#: Codec and kind of file of each format
FORMATS = {"wav": ("wav", "wav"), "mp3": ("mp3", "mp3"), "pcm": ("wav", "s16le")}

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: give the samples to a callback, and return at the end
_DO_NOT_EXIT = 0x8000  # of the process, if files are missing
_UTF8 = 1
_SPEED, _VOLUME = 1, 2  # espeak_PARAMETER
_USUAL_WORDS_A_MINUTE = 175
_USUAL_VOLUME = 100
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
# The library has one state for the whole process
_lock = threading.Lock()


class UnspeakableTextError(ValueError):
    """A text has no words."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks, and how.

    :param language: a voice of eSpeak NG, with a variant or without: ``cmn+f2``.
    :param speed: in percent.
    :param volume: in percent.
    """

    language: str
    speed: int = 100
    volume: int = 100


@dataclass(frozen=True, slots=True)
class _Library:
    """The loaded library, and the sample rate of its speech in Hz."""

    functions: ctypes.CDLL
    rate: int


def is_installed() -> bool:
    """Return whether the extra is there."""
    return importlib.util.find_spec("espeakng_loader") is not None


def synthesize(
    text: str,
    target: Path,
    audio_format: str,
    voice: Voice,
    *,
    on_progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Write a text as speech: mono, at :data:`RATE`.

    :param audio_format: one of :data:`FORMATS`.
    :raises UnspeakableTextError: it has no words.
    """
    codec, container = FORMATS[audio_format]
    encoding = Encoding.choose(codec, RATE, source_channels=1, source_bitrate=None)
    if not any(one.isalnum() for one in text):  # it would be silence
        raise UnspeakableTextError("the text has no words")
    rate, samples = _speak(text, voice, on_progress)
    converter = AudioConverter(encoding.sample_rate, encoding.layout)
    with AudioWriter(target, replace(encoding, container=container)) as writer:
        for frame in [*converter.convert(_to_frame(samples, rate)), *converter.flush()]:
            writer.write(frame)


@functools.cache
def _load() -> _Library:
    from espeakng_loader import get_data_path, get_library_path

    functions = ctypes.CDLL(get_library_path())
    rate = functions.espeak_Initialize(_SYNCHRONOUS, 0, get_data_path().encode(), _DO_NOT_EXIT)
    if rate <= 0:
        raise RuntimeError("eSpeak NG could not load its voices")
    return _Library(functions, rate)


def _speak(text: str, voice: Voice, on_progress: Callable[[float], None]) -> tuple[int, bytes]:
    """Return the sample rate and the 16-bit samples of a text."""
    samples, problems = bytearray(), list[BaseException]()

    def take(new: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if count > 0:
            samples.extend(ctypes.string_at(new, count * 2))
        try:
            on_progress(0.0)  # how long the speech will be is not known
        except BaseException as error:
            problems.append(error)
        return len(problems)  # anything but zero ends the speech

    callback, encoded = _Callback(take), text.replace("\0", " ").encode()
    with _lock:
        library = _load()
        functions = library.functions
        functions.espeak_SetSynthCallback(callback)
        if functions.espeak_SetVoiceByName(voice.language.encode()) != 0:
            raise RuntimeError(f"eSpeak NG has no voice {voice.language}")
        functions.espeak_SetParameter(_SPEED, _USUAL_WORDS_A_MINUTE * voice.speed // 100, 0)
        functions.espeak_SetParameter(_VOLUME, _USUAL_VOLUME * voice.volume // 100, 0)
        functions.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, 0, 0, _UTF8, None, None)
    for problem in problems:
        raise problem
    return library.rate, bytes(samples)


def _to_frame(samples: bytes, rate: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
    frame.sample_rate = rate
    frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
    return frame
