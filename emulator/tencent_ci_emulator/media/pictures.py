"""Single pictures of a film, as files of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.codec import CodecContext
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tencent_ci_emulator.media.clips import is_film
from tencent_ci_emulator.media.source import (
    UnsupportedMediaError,
    decoded_frames,
    expected_seconds,
    open_container,
)
from tencent_ci_emulator.media.tracks import fit_size

INTERVAL, AVERAGE, KEY_FRAME = "Interval", "Average", "KeyFrame"

#: Encoder and pixel format of each kind of picture, by the file's extension
PICTURES = {
    "jpg": ("mjpeg", "yuvj420p"),
    "png": ("png", "rgb24"),
    "webp": ("libwebp", "yuv420p"),
}


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments of which pictures are taken, at most ``count``.

    :param mode: ``Interval``: every ``interval`` seconds, or all pictures if it is ``None``. ``Average``:
        spread over all of the film. ``KeyFrame``: the pictures that are stored completely.
    :param start: in seconds.
    :param spreads_if_short: ``Average`` is meant if the film is too short for all moments of ``Interval``.
    """

    count: int
    mode: str = INTERVAL
    start: float = 0.0
    interval: float | None = None
    spreads_if_short: bool = False

    def step(self, seconds: float) -> float | None:
        """Return the seconds between two moments in a film of this length, ``None`` for all pictures."""
        is_short = self.interval is not None and self.start + (self.count - 1) * self.interval >= seconds
        if self.mode == AVERAGE or (self.spreads_if_short and is_short):
            return max(0.0, seconds - self.start) / self.count
        return self.interval if self.mode == INTERVAL else None


def take_pictures(
    source: Path,
    new_path: Callable[[], Path],
    moments: Moments,
    picture: str,
    width: int | None = None,
    height: int | None = None,
    *,
    on_progress: Callable[[float], None] = lambda _: None,
) -> list[Path]:
    """Write pictures of a film, and return their files in order.

    :param picture: one of :data:`PICTURES`.
    :param width, height: one alone keeps the ratio; by default the film's.
    :raises UnsupportedMediaError: it cannot be read, or has no picture at these moments; the text says why.
    """
    with open_container(source) as container:
        stream = next((one for one in container.streams.video if is_film(one)), None)
        if stream is None or stream.codec_context is None:
            raise UnsupportedMediaError("it has no video stream that can be decoded")
        size = fit_size(stream.width, stream.height, width, height)
        paths = []
        for frame in _choose(container, stream, moments):
            paths.append(new_path())
            paths[-1].write_bytes(_encode(frame, picture, *size))
            on_progress(len(paths) / moments.count)
        if not paths:
            raise UnsupportedMediaError("it has no picture at the moments that are asked for")
        return paths


def _choose(container: InputContainer, stream: VideoStream, moments: Moments) -> Iterator[VideoFrame]:
    """Yield the picture that is seen at each moment."""
    step, taken, end = moments.step(expected_seconds(container, stream)), 0, 0.0
    picture_seconds = float(1 / stream.average_rate) if stream.average_rate else 0.0
    if moments.mode == KEY_FRAME:
        stream.codec_context.skip_frame = "NONKEY"
    previous: VideoFrame | None = None
    for time, frame in _timed_frames(container, stream):
        if step is None:
            if time >= moments.start:
                yield frame
                taken += 1
        else:
            while previous is not None and taken < moments.count and moments.start + taken * step < time:
                yield previous
                taken += 1
            previous, end = frame, time + picture_seconds
        if taken == moments.count:
            return
    # The last picture is seen until the end
    while step is not None and previous is not None and taken < moments.count:
        if moments.start + taken * step >= end:
            return
        yield previous
        taken += 1


def _timed_frames(container: InputContainer, stream: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
    begin = float((stream.start_time or 0) * (stream.time_base or 0))
    for frame in decoded_frames(container, stream):
        if isinstance(frame, VideoFrame) and frame.time is not None:
            yield frame.time - begin, frame


def _encode(frame: VideoFrame, picture: str, width: int, height: int) -> bytes:
    encoder, pixel_format = PICTURES[picture]
    context = CodecContext.create(encoder, "w")
    if not isinstance(context, VideoCodecContext):
        raise TypeError(f"{encoder} does not encode pictures")
    context.width, context.height, context.pix_fmt = width, height, pixel_format
    context.time_base = Fraction(1, 25)
    context.options = {"qmin": "2", "qmax": "5"} if encoder == "mjpeg" else {}
    converted = frame.reformat(width=width, height=height, format=pixel_format)
    converted.pts, converted.time_base, converted.pict_type = 0, context.time_base, 0
    try:
        return b"".join(bytes(packet) for packet in [*context.encode(converted), *context.encode(None)])
    except av.FFmpegError as error:
        raise UnsupportedMediaError(f"its picture cannot be encoded ({error.strerror})") from None
