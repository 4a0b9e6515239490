"""Parts of recordings, decoded frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tencent_ci_emulator.media.source import UnsupportedMediaError, decoded_frames, expected_seconds

_LONGEST_GAP = 60  # seconds
_LOWEST_FPS, _HIGHEST_FPS = Fraction(1, _LONGEST_GAP), 120
_USUAL_FPS = 25  # of a source that does not say


@dataclass(frozen=True, slots=True)
class Clip:
    """The part of a recording from ``start`` to ``end``, in seconds; ``None`` is its end."""

    path: Path
    start: float = 0.0
    end: float | None = None


class OpenClip:
    """A clip that has been opened."""

    def __init__(self, container: InputContainer, clip: Clip) -> None:
        self.container = container
        self.clip = clip
        self.audio = next((one for one in container.streams.audio if one.codec_context is not None), None)
        self.video = next(
            (one for one in container.streams.video if one.codec_context is not None and is_film(one)), None
        )

    @property
    def seconds(self) -> float:
        """The length of the clip, as far as the headers say."""
        streams = [one for one in (self.audio, self.video) if one is not None]
        whole = max((expected_seconds(self.container, one) for one in streams), default=0.0)
        end = whole if self.clip.end is None else min(whole, self.clip.end)
        return max(0.0, end - self.clip.start)

    @property
    def picture_seconds(self) -> float:
        """The time that one picture is seen."""
        return float(1 / frame_rate(self.video)) if self.video is not None else 0.0

    def frames(
        self, with_audio: bool, with_video: bool
    ) -> Iterator[tuple[float | None, AudioFrame | VideoFrame]]:
        """Yield the frames before the clip's end with their times, from the recording's beginning.

        :raises UnsupportedMediaError: it has nothing of what is asked for.
        """
        wanted = [self.audio if with_audio else None, self.video if with_video else None]
        streams = [one for one in wanted if one is not None]
        if not streams:
            kinds = " and no ".join(["audio"] * with_audio + ["video"] * with_video)
            raise UnsupportedMediaError(f"it has no {kinds} stream")
        begin = min(float((one.start_time or 0) * (one.time_base or 0)) for one in streams)
        clocks = {AudioFrame: _Clock(begin), VideoFrame: _Clock(begin)}
        ended: set[type] = set()
        for frame in decoded_frames(self.container, *streams):
            time = None if frame.time is None else clocks[type(frame)].read(frame.time)
            if time is None or self.clip.end is None or time < self.clip.end:
                yield time, frame
            else:
                ended.add(type(frame))
            if len(ended) == len(streams):
                return


class _Clock:
    """Reads the times of one stream. A leap is left out: in a damaged file it may be one of years."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._last = 0.0

    def read(self, time: float) -> float:
        """Return the seconds since the beginning."""
        if time - self._begin - self._last > _LONGEST_GAP:
            self._begin = time - self._last
        self._last = time - self._begin
        return self._last


def is_film(stream: VideoStream) -> bool:
    """Return whether a stream is more than the picture of a cover."""
    return not stream.disposition & Disposition.attached_pic


def frame_rate(source: VideoStream) -> Fraction:
    """Return the pictures a second; a usual number if the file does not say, or something impossible."""
    rate = source.average_rate or source.base_rate
    return rate if rate is not None and _LOWEST_FPS <= rate <= _HIGHEST_FPS else Fraction(_USUAL_FPS)
