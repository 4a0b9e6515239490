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
from tencent_ci_emulator.media.filters import Separation, Stem, build
from tencent_ci_emulator.media.source import UnsupportedMediaError, audio_frames, open_media
from tencent_ci_emulator.media.speech import SpeechEnhancer

__all__ = ["Method", "Stem", "UnsupportedMediaError", "separate"]

# Headers say anything. At 1 Hz a few kilobytes would become hours of sound
_SAMPLE_RATES = range(1_000, 1_000_001)


class Method(StrEnum):
    """How a recording was separated, in words for the status page and the results."""

    CENTRE = "centre channel, by FFmpeg's dialoguenhance"
    SPEECH = "speech enhancement, by DeepFilterNet"
    BAND = "mono: speech band, by FFmpeg's afftdn; music within it is not separated"


#: Told how much is done, 0.0 to 1.0. It stops the work by raising.
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
    """Separate ``source`` into the wanted stems and write each to its path; return how it was done.

    The parameters are a job's: ``sample_rate`` in Hz, ``bitrate`` in kbit/s, ``None`` for the documented
    default. Every result lasts as long as the input's audio (encoders add up to 25 ms of padding).

    :raises UnsupportedMediaError: the source cannot be read or has no audio; the text says why.
    """
    with open_media(source) as container:
        stream = container.streams.audio[0]
        encoding = Encoding.choose(
            codec,
            sample_rate,
            bitrate,
            channels,
            source_channels=stream.codec_context.channels or 1,
            source_bitrate=_source_kbits(container, stream),
        )
        mono = stream.codec_context.channels == 1
        enhancing = speech.library() if mono else None
        # Other rates would change the filters' windows, and with them their delay
        rate = speech.RATE if enhancing or encoding.sample_rate >= 48_000 else 44_100
        graph = build(
            frozenset(targets),
            mono=mono,
            rate=rate,
            out_layout=encoding.layout,
            out_rate=encoding.sample_rate,
            out_format=encoding.sample_format,
            voice_delay=speech.DELAY if enhancing else None,
        )
        with ExitStack() as opened:
            enhancer = opened.enter_context(SpeechEnhancer(enhancing)) if enhancing else None
            writers = {stem: opened.enter_context(_Writer(path, encoding)) for stem, path in targets.items()}
            _run(container, stream, graph, writers, rate, mono, enhancer, on_progress)
    if not mono:
        return Method.CENTRE
    return Method.SPEECH if enhancing else Method.BAND


def _run(
    container: InputContainer,
    stream: AudioStream,
    separation: Separation,
    writers: Mapping[Stem, _Writer],
    rate: int,
    mono: bool,
    enhancer: SpeechEnhancer | None,
    on_progress: Progress,
) -> None:
    expected = _expected_samples(container, stream, rate)
    layout = "mono" if mono else "stereo"
    pushed = 0
    feed = _Feed(separation, rate, enhancer)
    for frame in _uniform(audio_frames(container, stream), rate, layout):
        pushed = feed.push(frame)
        _pull(separation, writers)
        on_progress(min(1.0, pushed / expected) if expected else 0.0)
    if not pushed:
        raise UnsupportedMediaError("its audio stream holds no sound that can be decoded")
    for writer in writers.values():
        writer.limit = round(pushed * writer.sample_rate / rate)
    # What the filters still hold comes out only when something follows it
    feed.push(_silence(separation.latency + (enhancer.frame_samples if enhancer else 0), rate, layout))
    feed.end()
    _pull(separation, writers)


class _Feed:
    """Pushes frames into a graph, and beside them the voice that an enhancer hears in them."""

    def __init__(self, separation: Separation, rate: int, enhancer: SpeechEnhancer | None) -> None:
        self._separation = separation
        self._rate = rate
        self._enhancer = enhancer
        self._pushed = 0
        self._voice_pushed = 0

    def push(self, frame: AudioFrame) -> int:
        """Push a frame; return how many samples have been pushed so far."""
        voice_source = self._separation.voice_source
        if self._enhancer is not None and voice_source is not None:
            for voice in self._enhancer.enhance(frame):
                self._voice_pushed = self._push(voice_source, voice, self._voice_pushed)
        self._pushed = self._push(self._separation.source, frame, self._pushed)
        return self._pushed

    def end(self) -> None:
        for source in (self._separation.source, self._separation.voice_source):
            if source is not None:
                source.push(None)

    def _push(self, source: FilterContext, frame: AudioFrame, position: int) -> int:
        frame.pts = position
        frame.time_base = Fraction(1, self._rate)
        source.push(frame)
        return position + frame.samples


def _pull(separation: Separation, writers: Mapping[Stem, _Writer]) -> None:
    for stem, sink in separation.sinks.items():
        for frame in _ready(sink):
            writers[stem].write(frame)


def _ready(sink: FilterContext) -> Iterator[AudioFrame]:
    while True:
        try:
            frame = sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, AudioFrame):  # an abuffersink gives nothing else
            yield frame


def _uniform(frames: Iterator[AudioFrame], rate: int, layout: str) -> Iterator[AudioFrame]:
    """Convert to one sample format, rate and layout, even where the source changes its own midway."""
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
    """Converts frames of one kind. Floats become integers first: a file may hold infinite ones or none at all
    (NaN), at which an encoder may end the whole process.
    """

    def __init__(self, sample_format: str, rate: int, layout: str) -> None:
        self._steps = [AudioResampler(format="fltp", layout=layout, rate=rate)]
        if sample_format.startswith(("flt", "dbl")):
            self._steps.insert(0, AudioResampler(format="s32p"))

    def convert(self, frame: AudioFrame | None) -> list[AudioFrame]:
        """Return what becomes of a frame; with ``None``, what was held back."""
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
    """Encodes frames into a file, at most ``limit`` samples of them: filters' tails outlast the input."""

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
    # Counted, because PyAV looks for a null pointer to end the planes and runs on when there are eight
    for target, source in zip(shorter.planes[:planes], frame.planes[:planes], strict=True):
        # Not the whole plane: a filter may have moved its start but not its size, so that its end lies
        # outside
        target.update(bytes(memoryview(source)[:size]).ljust(target.buffer_size, b"\0"))
    return shorter
