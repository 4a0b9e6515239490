"""Speech recognition by PocketSphinx, whose model of English comes with the extra ``recognition``.

Before it, DeepFilterNet takes everything else out of the recording: PocketSphinx hears words in music.
Without the extra ``speech`` hardly a word that is spoken over music is understood. A sentence ends where
the speaker pauses for 0.15 s. There is no punctuation and there are no capital letters.

Measured on ``example_dags/media/announcement_over_music.mp3`` (22 s, 64 words), after separating its voice,
with both extras: 3 wrong words with ``aac``, 2 with ``mp3`` (``tests/emulator/unit/test_recognition.py``
counts them). It takes 6 s on one core, and real voices, rooms and instruments make it worse.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import IO

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from tencent_ci_emulator.media import speech
from tencent_ci_emulator.media.audio import convert_all, make_silence
from tencent_ci_emulator.media.source import audio_frames, expected_seconds, open_media
from tencent_ci_emulator.media.transcript import Sentence, Word

METHOD = "English speech recognition, by PocketSphinx"

_PROGRAM = Path(__file__).with_name("sphinx_process.py")
_RATE = 16_000  # Hz, of the program
_HUNDREDTH = 0.01  # seconds
_PAUSE = 0.15  # seconds; a shorter silence does not end a sentence
_SHARE_OF_READING = 0.2  # of the progress
_SECONDS_BETWEEN_LOOKS = 0.2
_PIPE_BYTES = 65_536


def is_installed() -> bool:
    """Return whether the extra is there."""
    return importlib.util.find_spec("pocketsphinx") is not None


def recognize(
    source: Path, on_progress: Callable[[float], None] = lambda _: None, *, channel: int | None = None
) -> list[Sentence]:
    """Return what is said in a recording; a sentence ends where the speaker pauses.

    :param channel: 0 or 1, of stereo; ``None``: all together.
    :raises UnsupportedMediaError: the source cannot be read or has no audio; the text says why.
    """
    with tempfile.TemporaryFile() as samples:
        seconds = _extract_speech(
            source, samples, channel, lambda done: on_progress(_SHARE_OF_READING * done)
        )
        samples.seek(0)
        sentences: list[Sentence] = []
        position = 0.0

        def report() -> None:
            on_progress(_SHARE_OF_READING + (1 - _SHARE_OF_READING) * min(1.0, position / seconds))

        for line in _run_program(samples, report):
            words, position = json.loads(line)
            sentences += _split_at_pauses(words)
        return sentences


def _extract_speech(
    source: Path, target: IO[bytes], channel: int | None, on_progress: Callable[[float], None]
) -> float:
    """Write the speech of a recording as the program needs it, and return its seconds."""
    resampler = AudioResampler(format="s16", layout="mono", rate=_RATE)
    written = 0
    with open_media(source) as container, ExitStack() as opened:
        stream = container.streams.audio[0]
        library = speech.library()
        enhancer = opened.enter_context(speech.SpeechEnhancer(library)) if library else None
        expected = expected_seconds(container, stream)
        layout = "mono" if channel is None else "stereo"
        frames: Iterator[AudioFrame] = convert_all(audio_frames(container, stream), speech.RATE, layout)
        if channel is not None:
            frames = (_pick_channel(frame, channel) for frame in frames)
        for frame in _enhance(frames, enhancer) if enhancer else frames:
            for converted in resampler.resample(frame):
                target.write(bytes(converted.planes[0])[: converted.samples * 2])
                written += converted.samples
            on_progress(min(1.0, written / _RATE / expected) if expected else 0.0)
    return written / _RATE


def _pick_channel(frame: AudioFrame, channel: int) -> AudioFrame:
    mono = AudioFrame(format="fltp", layout="mono", samples=frame.samples)
    mono.sample_rate = frame.sample_rate
    content = bytes(frame.planes[channel])[: frame.samples * 4]
    mono.planes[0].update(content.ljust(mono.planes[0].buffer_size, b"\0"))
    return mono


def _enhance(frames: Iterator[AudioFrame], enhancer: speech.SpeechEnhancer) -> Iterator[AudioFrame]:
    """Yield the speech of mono frames, in time with them."""
    ending = (make_silence(speech.DELAY, speech.RATE, "mono"),)
    enhanced = (voice for frame in chain(frames, ending) for voice in enhancer.enhance(frame))
    return islice(enhanced, speech.DELAY // enhancer.frame_samples, None)


def _run_program(samples: IO[bytes], on_look: Callable[[], None]) -> Iterator[bytes]:
    """Yield the lines that the program prints. It is stopped if ``on_look``, called often, raises."""
    command = [sys.executable, "-P", str(_PROGRAM)]
    with subprocess.Popen(command, stdin=samples, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own
        try:
            yield from _read_lines(process.stdout, on_look)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise RuntimeError(f"PocketSphinx's process has ended with status {process.returncode}")


def _read_lines(output: IO[bytes] | None, on_look: Callable[[], None]) -> Iterator[bytes]:
    rest = b""
    while output is not None:
        readable, _, _ = select.select([output], [], [], _SECONDS_BETWEEN_LOOKS)
        on_look()
        if not readable:
            continue
        data = os.read(output.fileno(), _PIPE_BYTES)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _split_at_pauses(heard: list[tuple[str, int, int]]) -> Iterator[Sentence]:
    """Yield sentences of words with their first and last hundredth of a second."""
    words: list[Word] = []
    for text, start, end in heard:
        if words and start * _HUNDREDTH - words[-1].end > _PAUSE:
            yield Sentence(tuple(words))
            words = []
        words.append(Word(text, start * _HUNDREDTH, end * _HUNDREDTH))
    if words:
        yield Sentence(tuple(words))
