"""Decode, separate, encode: frame by frame, so that memory does not grow with the recording.

A process that separates one recording peaks at about 60 MB, for 13 seconds as for 3.5 minutes. The stems
add up to the mix, with ``wav`` within rounding. Results last as long as the input, to the sample in ``wav``
and ``flac``; encoders add up to 25 ms at usual rates, and up to 0.1 s of padding at 11,025 Hz.

Measured on ``example_dags/media/speech_over_music.mp3`` as scale-invariant signal-to-distortion ratio
against the clean signals, with mp3 results (``tests/emulator/unit/test_audio.py``): the voice against the
mix as mono rises from -0.2 to 6.4 dB, against one side of the mix from -3.0 to 6.4 dB, the left side of the
background from 2.9 to 9.8 dB, and the voice of the recording mixed down to mono, with the extra ``speech``,
from -0.2 to 7.6 dB. The recording is made for it: its music is wide. Expect less from a mix whose
instruments stand in the centre.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter.context import FilterContext

from tencent_ci_emulator.media import speech
from tencent_ci_emulator.media.audio import AudioWriter, convert_all, make_silence, pull_frames
from tencent_ci_emulator.media.encodings import Encoding
from tencent_ci_emulator.media.filters import Separation, Stem, build_graph
from tencent_ci_emulator.media.source import (
    UnsupportedMediaError,
    audio_frames,
    expected_seconds,
    open_media,
    source_kbits,
)
from tencent_ci_emulator.media.speech import SpeechEnhancer

__all__ = ["Method", "Stem", "UnsupportedMediaError", "separate"]


class Method(StrEnum):
    """The method of separation, in words for the status page and the results."""

    CENTRE = "centre channel, by FFmpeg's dialoguenhance"
    SPEECH = "speech enhancement, by DeepFilterNet"
    BAND = "mono: speech band, by FFmpeg's afftdn; music within it is not separated"


#: Called with the share that is done, 0.0 to 1.0. It stops the work by raising
Progress = Callable[[float], None]


def separate(
    source: Path,
    targets: Mapping[Stem, Path],
    codec: str | None = None,
    sample_rate: int | None = None,
    bitrate: int | None = None,
    channels: int | None = None,
    *,
    on_progress: Progress = lambda _: None,
) -> Method:
    """Separate ``source`` into stems, write each to its path, and return the method.

    The parameters are a job's: ``sample_rate`` in Hz, ``bitrate`` in kbit/s, ``None`` for the documented
    default. Every result lasts as long as the input's audio (encoders add up to 25 ms of padding).

    :raises UnsupportedMediaError: the source cannot be read or has no audio; the text says why.
    """
    with open_media(source) as container:
        stream = container.streams.audio[0]
        is_mono = stream.codec_context.channels == 1
        library = speech.library() if is_mono else None
        encoding = Encoding.choose(
            codec,
            sample_rate,
            bitrate,
            channels,
            source_channels=stream.codec_context.channels or 1,
            source_bitrate=source_kbits(container, stream),
        )
        separation = build_graph(
            frozenset(targets),
            mono=is_mono,
            # Other rates would change the filters' windows, and with them their delay
            rate=speech.RATE if library or encoding.sample_rate >= 48_000 else 44_100,
            out_layout=encoding.layout,
            out_rate=encoding.sample_rate,
            out_format=encoding.sample_format,
            voice_delay=speech.DELAY if library else None,
        )
        with ExitStack() as opened:
            enhancer = opened.enter_context(SpeechEnhancer(library)) if library else None
            writers = {
                stem: opened.enter_context(AudioWriter(path, encoding)) for stem, path in targets.items()
            }
            _run(container, stream, _Pump(separation, enhancer, writers), on_progress)
    if not is_mono:
        return Method.CENTRE
    return Method.SPEECH if library else Method.BAND


def _run(container: InputContainer, stream: AudioStream, pump: _Pump, on_progress: Progress) -> None:
    """Push all sound of the stream through the graph."""
    rate, layout = pump.separation.rate, pump.separation.layout
    expected = expected_seconds(container, stream) * rate
    for frame in convert_all(audio_frames(container, stream), rate, layout):
        pump.push(frame)
        on_progress(min(1.0, pump.pushed / expected) if expected else 0.0)
    if not pump.pushed:
        raise UnsupportedMediaError("its audio stream holds no sound that can be decoded")
    for writer in pump.writers.values():
        writer.limit = round(pump.pushed * writer.sample_rate / rate)
    # Silence pushes out the samples that the filters still hold
    enhancer_samples = pump.enhancer.frame_samples if pump.enhancer else 0
    pump.push(make_silence(pump.separation.latency + enhancer_samples, rate, layout))
    pump.end()


class _Pump:
    """Pushes frames into a graph, and beside them the speech in them, and writes the stems that come out.

    :ivar pushed: how many samples have been pushed.
    """

    def __init__(
        self, separation: Separation, enhancer: SpeechEnhancer | None, writers: Mapping[Stem, AudioWriter]
    ) -> None:
        self.separation = separation
        self.enhancer = enhancer
        self.writers = writers
        self.pushed = 0
        self._speech_pushed = 0

    def push(self, frame: AudioFrame) -> None:
        voice_source = self.separation.voice_source
        if self.enhancer is not None and voice_source is not None:
            for voice in self.enhancer.enhance(frame):
                self._speech_pushed = self._push(voice_source, voice, self._speech_pushed)
        self.pushed = self._push(self.separation.source, frame, self.pushed)
        self._write_stems()

    def end(self) -> None:
        for source in (self.separation.source, self.separation.voice_source):
            if source is not None:
                source.push(None)
        self._write_stems()

    def _push(self, source: FilterContext, frame: AudioFrame, position: int) -> int:
        """Push a frame whose first sample has this position; return the position after it."""
        frame.pts = position
        frame.time_base = Fraction(1, self.separation.rate)
        source.push(frame)
        return position + frame.samples

    def _write_stems(self) -> None:
        for stem, sink in self.separation.sinks.items():
            for frame in pull_frames(sink):
                self.writers[stem].write(frame)
