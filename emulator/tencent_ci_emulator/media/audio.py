"""Sound in frames: converting, cutting and encoding it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter.context import FilterContext

from tencent_ci_emulator.media.encodings import Encoding
from tencent_ci_emulator.media.source import UnsupportedMediaError

# A header may claim any rate. At 1 Hz a few kilobytes would become hours of sound
_SAMPLE_RATES = range(1_000, 1_000_001)


class AudioConverter:
    """Converts frames to planar floats of one rate and layout, even if those of the source change."""

    def __init__(self, rate: int, layout: str) -> None:
        self._rate = rate
        self._layout = layout
        self._kind: tuple[str, int, str] | None = None
        self._steps: list[AudioResampler] = []

    def convert(self, frame: AudioFrame) -> list[AudioFrame]:
        """Return the converted sound that is complete.

        :raises UnsupportedMediaError: it cannot be converted.
        """
        if frame.sample_rate not in _SAMPLE_RATES:
            raise UnsupportedMediaError(f"its audio has a sample rate of {frame.sample_rate} Hz")
        kind = (frame.format.name, frame.sample_rate, frame.layout.name)
        rest: list[AudioFrame] = []
        if kind != self._kind:
            rest, self._kind, self._steps = self.flush(), kind, self._new_steps()
        frame.pts = None  # gaps and overlaps in the source's clock are not sound
        try:
            return rest + self._run(frame)
        except av.FFmpegError as error:  # more channels than FFmpeg has a name for, for instance
            kind_of_sound = f"{frame.layout.nb_channels} channels at {frame.sample_rate} Hz"
            reason = f"its audio of {kind_of_sound} cannot be converted ({error.strerror})"
            raise UnsupportedMediaError(reason) from None

    def flush(self) -> list[AudioFrame]:
        """Return the sound that waits for more samples."""
        return self._run(None) if self._steps else []

    def _new_steps(self) -> list[AudioResampler]:
        """Return resamplers. Integers come first: only with these FFmpeg lowers the level when it mixes
        channels, so that nothing is clipped; and a file may hold infinite floats and NaN, with which an
        encoder may end the process.
        """
        return [
            AudioResampler(format="s32p", layout=self._layout),
            AudioResampler(format="fltp", layout=self._layout, rate=self._rate),
        ]

    def _run(self, frame: AudioFrame | None) -> list[AudioFrame]:
        frames: list[AudioFrame] = []
        entering: list[AudioFrame | None] = [frame]
        for step in self._steps:
            frames = [made for one in entering for made in step.resample(one)]
            entering = [*frames, None] if frame is None else [*frames]
        return frames


def convert_all(frames: Iterator[AudioFrame], rate: int, layout: str) -> Iterator[AudioFrame]:
    """Yield the frames as planar floats of one rate and layout."""
    converter = AudioConverter(rate, layout)
    for frame in frames:
        yield from converter.convert(frame)
    yield from converter.flush()


def pull_frames(sink: FilterContext) -> Iterator[AudioFrame]:
    """Yield the frames that have come out of a graph."""
    while True:
        try:
            frame = sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, AudioFrame):  # an abuffersink gives nothing else
            yield frame


def make_silence(samples: int, rate: int, layout: str) -> AudioFrame:
    """Return silence in planar floats."""
    frame = AudioFrame(format="fltp", layout=layout, samples=samples)
    frame.sample_rate = rate
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def cut_frame(frame: AudioFrame, samples: int, start: int = 0) -> AudioFrame:
    """Return ``samples`` samples of a frame, from ``start``."""
    if start == 0 and samples == frame.samples:
        return frame
    shorter = AudioFrame(format=frame.format.name, layout=frame.layout.name, samples=samples)
    shorter.sample_rate = frame.sample_rate
    channels = frame.layout.nb_channels
    planes, interleaved = (channels, 1) if frame.format.is_planar else (1, channels)
    bytes_of_sample = frame.format.bytes * interleaved
    first, last = start * bytes_of_sample, (start + samples) * bytes_of_sample
    # Without a count PyAV searches for a null pointer after the planes, and reads too far if there are eight
    for target, source in zip(shorter.planes[:planes], frame.planes[:planes], strict=True):
        # Not all bytes of the plane: a filter may have moved its start and not its size, so that its end is
        # outside
        target.update(bytes(memoryview(source)[first:last]).ljust(target.buffer_size, b"\0"))
    return shorter


class AudioTrack:
    """An audio stream of a file that is being written."""

    def __init__(self, container: OutputContainer, encoding: Encoding) -> None:
        self.encoding = encoding
        self.written = 0  # samples
        self._container = container
        stream = container.add_stream(encoding.encoder, encoding.sample_rate)
        if not isinstance(stream, AudioStream):
            raise TypeError(f"{encoding.encoder} does not encode sound")
        stream.codec_context.layout = encoding.layout
        stream.codec_context.format = encoding.sample_format
        stream.codec_context.options = dict(encoding.options)
        if encoding.bitrate:
            stream.codec_context.bit_rate = encoding.bitrate
        self._stream = stream

    def write(self, frame: AudioFrame) -> None:
        """Encode a frame of the encoding's sample rate."""
        frame.pts = self.written
        frame.time_base = Fraction(1, self.encoding.sample_rate)
        self.written += frame.samples
        self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """Encode what the encoder still holds."""
        self._container.mux(self._stream.encode(None))


class AudioWriter:
    """Encodes frames into a file of its own, at most ``limit`` samples: filters give more than they get.

    A context manager.
    """

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self.sample_rate = encoding.sample_rate
        self.limit: int | None = None
        self._container: OutputContainer = av.open(str(path), "w", format=encoding.container)
        self._track = AudioTrack(self._container, encoding)

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._track.end()
        finally:
            self._container.close()

    def write(self, frame: AudioFrame) -> None:
        """Encode a frame, or what of it is within the limit."""
        room = frame.samples if self.limit is None else self.limit - self._track.written
        if room > 0:
            self._track.write(cut_frame(frame, min(room, frame.samples)))
