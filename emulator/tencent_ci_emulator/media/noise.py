"""Noise reduction of speech: DeepFilterNet if the extra ``speech`` is installed, or else FFmpeg's afftdn.

Measured on ``example_dags/media/speech_only.mp3`` with white noise 5 dB below it
(``tests/emulator/unit/test_noise.py``): the signal-to-distortion ratio rises from 5.0 to 15.8 dB with the
extra, and to 12.7 dB without it. Without it, a recording that has hardly any noise becomes worse, from 25
to 20 dB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

from av.audio.frame import AudioFrame
from av.filter import Graph

from tencent_ci_emulator.media import speech
from tencent_ci_emulator.media.audio import (
    AudioConverter,
    AudioWriter,
    convert_all,
    cut_frame,
    make_silence,
    pull_frames,
)
from tencent_ci_emulator.media.encodings import Encoding
from tencent_ci_emulator.media.source import audio_frames, expected_seconds, open_media, source_kbits
from tencent_ci_emulator.media.speech import SpeechEnhancer

_RATE = speech.RATE
_DELAY_OF_FILTER = _RATE // 40  # afftdn's own delay: 25 ms

#: Codec and kind of file of each format (460/94315)
FORMATS = {"wav": ("wav", "wav"), "mp3": ("mp3", "mp3"), "m4a": ("aac", "ipod")}


class NoiseMethod(StrEnum):
    """What has reduced the noise, in words for the status page and the results."""

    SPEECH = "speech enhancement, by DeepFilterNet"
    FILTER = "noise reduction, by FFmpeg's afftdn"


def reduce_noise(
    source: Path,
    target: Path,
    audio_format: str,
    sample_rate: int,
    *,
    on_progress: Callable[[float], None] = lambda _: None,
) -> NoiseMethod:
    """Write the speech of ``source`` without its noise: mono, as long as the source.

    :param audio_format: one of :data:`FORMATS`.
    :param sample_rate: in Hz.
    :raises UnsupportedMediaError: the source cannot be read or has no audio; the text says why.
    """
    codec, container = FORMATS[audio_format]
    with ExitStack() as opened:
        recording = opened.enter_context(open_media(source))
        stream = recording.streams.audio[0]
        kbits = source_kbits(recording, stream)
        encoding = Encoding.choose(codec, sample_rate, None, 1, source_channels=1, source_bitrate=kbits)
        writer = opened.enter_context(AudioWriter(target, replace(encoding, container=container)))
        library = speech.library()
        enhancer = opened.enter_context(SpeechEnhancer(library)) if library else None
        enhance = enhancer.enhance if enhancer else _Filter().enhance
        delay = speech.DELAY if enhancer else _DELAY_OF_FILTER
        to_output, skipped, pushed = AudioConverter(sample_rate, "mono"), 0, 0
        expected = expected_seconds(recording, stream) * _RATE

        def write(frame: AudioFrame) -> None:
            nonlocal skipped
            skip = min(delay - skipped, frame.samples)
            skipped += skip
            if skip < frame.samples:
                for converted in to_output.convert(cut_frame(frame, frame.samples - skip, skip)):
                    writer.write(converted)

        for frame in convert_all(audio_frames(recording, stream), _RATE, "mono"):
            pushed += frame.samples
            for enhanced in enhance(frame):
                write(enhanced)
            on_progress(min(1.0, pushed / expected) if expected else 0.0)
        # Silence pushes out what the enhancer still holds
        for enhanced in enhance(make_silence(2 * _RATE, _RATE, "mono")):
            writer.limit = round(pushed * sample_rate / _RATE)
            write(enhanced)
    return NoiseMethod.SPEECH if library else NoiseMethod.FILTER


class _Filter:
    """FFmpeg's filter, with the call of a :class:`SpeechEnhancer`."""

    def __init__(self) -> None:
        graph = Graph()
        self._source = graph.add_abuffer(
            sample_rate=_RATE, format="fltp", layout="mono", time_base=Fraction(1, _RATE)
        )
        denoiser = graph.add("afftdn", "nr=20:nf=-30")
        self._sink = graph.add("abuffersink")
        self._source.link_to(denoiser)
        denoiser.link_to(self._sink)
        graph.configure()
        self._graph = graph
        self._pushed = 0

    def enhance(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        """Yield the sound without noise until now."""
        frame.pts, frame.time_base = self._pushed, Fraction(1, _RATE)
        self._pushed += frame.samples
        self._source.push(frame)
        yield from pull_frames(self._sink)
