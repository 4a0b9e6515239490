"""Decode, separate, encode: frame by frame, so that memory does not grow with the recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.filter.context import FilterContext

from tencent_ci_emulator.media import speech
from tencent_ci_emulator.media.encodings import Encoding
from tencent_ci_emulator.media.filters import Separation, Stem, build_graph
from tencent_ci_emulator.media.source import UnsupportedMediaError, audio_frames, open_media
from tencent_ci_emulator.media.speech import SpeechEnhancer

__all__ = ["Method", "Stem", "UnsupportedMediaError", "separate"]

# A header may claim any rate. At 1 Hz a few kilobytes would become hours of sound
_SAMPLE_RATES = range(1_000, 1_000_001)


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
            source_bitrate=_source_kbits(container, stream),
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
            writers = {stem: opened.enter_context(_Writer(path, encoding)) for stem, path in targets.items()}
            _run(container, stream, _Pump(separation, enhancer, writers), on_progress)
    if not is_mono:
        return Method.CENTRE
    return Method.SPEECH if library else Method.BAND


def _run(container: InputContainer, stream: AudioStream, pump: _Pump, on_progress: Progress) -> None:
    """Push all sound of the stream through the graph."""
    rate, layout = pump.separation.rate, pump.separation.layout
    expected = _expected_samples(container, stream, rate)
    for frame in _convert(audio_frames(container, stream), rate, layout):
        pump.push(frame)
        on_progress(min(1.0, pump.pushed / expected) if expected else 0.0)
    if not pump.pushed:
        raise UnsupportedMediaError("its audio stream holds no sound that can be decoded")
    for writer in pump.writers.values():
        writer.limit = round(pump.pushed * writer.sample_rate / rate)
    # Silence pushes out the samples that the filters still hold
    enhancer_samples = pump.enhancer.frame_samples if pump.enhancer else 0
    pump.push(_silence(pump.separation.latency + enhancer_samples, rate, layout))
    pump.end()


class _Pump:
    """Pushes frames into a graph, and beside them the speech in them, and writes the stems that come out.

    :ivar pushed: how many samples have been pushed.
    """

    def __init__(
        self, separation: Separation, enhancer: SpeechEnhancer | None, writers: Mapping[Stem, _Writer]
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
            for frame in _pull(sink):
                self.writers[stem].write(frame)


def _pull(sink: FilterContext) -> Iterator[AudioFrame]:
    while True:
        try:
            frame = sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, AudioFrame):  # an abuffersink gives nothing else
            yield frame


def _convert(frames: Iterator[AudioFrame], rate: int, layout: str) -> Iterator[AudioFrame]:
    """Convert frames to one sample format, rate and layout, even if those of the source change."""
    converter: _Converter | None = None
    current: tuple[str, int, str] | None = None
    for frame in frames:
        if frame.sample_rate not in _SAMPLE_RATES:
            raise UnsupportedMediaError(f"its audio has a sample rate of {frame.sample_rate} Hz")
        kind = (frame.format.name, frame.sample_rate, frame.layout.name)
        if converter is not None and kind != current:
            yield from converter.convert(None)
            converter = None
        if converter is None:
            converter, current = _Converter(frame.format.name, rate, layout), kind
        frame.pts = None  # gaps and overlaps in the source's clock are not sound
        try:
            converted = converter.convert(frame)
        except av.FFmpegError as error:  # more channels than FFmpeg has a name for, for instance
            kind_of_sound = f"{frame.layout.nb_channels} channels at {frame.sample_rate} Hz"
            reason = f"its audio of {kind_of_sound} cannot be converted ({error.strerror})"
            raise UnsupportedMediaError(reason) from None
        yield from converted
    if converter is not None:
        yield from converter.convert(None)


class _Converter:
    """Converts frames of one kind. Floats are first converted to integers: a file may hold infinite ones and
    NaN, with which an encoder may end the process.
    """

    def __init__(self, sample_format: str, rate: int, layout: str) -> None:
        self._steps = [AudioResampler(format="fltp", layout=layout, rate=rate)]
        if sample_format.startswith(("flt", "dbl")):
            self._steps.insert(0, AudioResampler(format="s32p"))

    def convert(self, frame: AudioFrame | None) -> list[AudioFrame]:
        """Return the converted frames, also those that wait for more samples if ``frame`` is ``None``."""
        frames: list[AudioFrame] = []
        entering: list[AudioFrame | None] = [frame]
        for step in self._steps:
            frames = [made for one in entering for made in step.resample(one)]
            entering = [*frames, None] if frame is None else [*frames]
        return frames


def _silence(samples: int, rate: int, layout: str) -> AudioFrame:
    frame = AudioFrame(format="fltp", layout=layout, samples=samples)
    frame.sample_rate = rate
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def _source_kbits(container: InputContainer, stream: AudioStream) -> int | None:
    bits = stream.bit_rate or (container.bit_rate if len(container.streams) == 1 else None)
    return round(bits / 1000) if bits else None


def _expected_samples(container: InputContainer, stream: AudioStream, rate: int) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base) * rate
    return (container.duration or 0) / 1_000_000 * rate


class _Writer:
    """Encodes frames into a file, at most ``limit`` samples: the graph's output is longer than the input."""

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self.sample_rate = encoding.sample_rate
        self.limit: int | None = None
        self._written = 0
        self._container: OutputContainer = av.open(str(path), "w", format=encoding.container)
        stream = self._container.add_stream(encoding.encoder, encoding.sample_rate)
        if not isinstance(stream, AudioStream):
            raise TypeError(f"{encoding.encoder} does not encode sound")
        stream.codec_context.layout = encoding.layout
        stream.codec_context.format = encoding.sample_format
        if encoding.bitrate:
            stream.codec_context.bit_rate = encoding.bitrate
        self._stream = stream

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def write(self, frame: AudioFrame) -> None:
        if self.limit is not None:
            room = self.limit - self._written
            if room <= 0:
                return
            if frame.samples > room:
                frame = _cut(frame, room)
        frame.pts = self._written
        frame.time_base = Fraction(1, self.sample_rate)
        self._written += frame.samples
        self._container.mux(self._stream.encode(frame))


def _cut(frame: AudioFrame, samples: int) -> AudioFrame:
    """Return the first ``samples`` samples of a frame."""
    shorter = AudioFrame(format=frame.format.name, layout=frame.layout.name, samples=samples)
    shorter.sample_rate = frame.sample_rate
    channels = frame.layout.nb_channels
    planes, interleaved = (channels, 1) if frame.format.is_planar else (1, channels)
    size = samples * frame.format.bytes * interleaved
    # Without a count PyAV searches for a null pointer after the planes, and reads too far if there are eight
    for target, source in zip(shorter.planes[:planes], frame.planes[:planes], strict=True):
        # Not all bytes of the plane: a filter may have moved its start and not its size, so that its end is
        # outside
        target.update(bytes(memoryview(source)[:size]).ljust(target.buffer_size, b"\0"))
    return shorter
