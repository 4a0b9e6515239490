"""Decode clips, one after another, and encode them into one file: transcoding and concatenation.

Sound and pictures are taken frame by frame, so that memory does not grow with the recordings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tencent_ci_emulator.media.audio import AudioConverter, AudioTrack, cut_frame, make_silence
from tencent_ci_emulator.media.encodings import Encoding
from tencent_ci_emulator.media.mixing import Mix, Mixer
from tencent_ci_emulator.media.source import (
    UnsupportedMediaError,
    decoded_frames,
    expected_seconds,
    open_container,
    source_kbits,
)

#: Called with the share that is done, 0.0 to 1.0. It stops the work by raising
Progress = Callable[[float], None]

# The AV1 encoder writes its version and settings to standard error otherwise
os.environ.setdefault("SVT_LOG", "1")

_LONGEST_GAP = 60  # seconds
_LOWEST_FPS, _HIGHEST_FPS = Fraction(1, _LONGEST_GAP), 120
_USUAL_FPS = 25  # of a source that does not say
_DEFAULT_CRF = 25  # 1045/49911


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of file: FFmpeg's name of it, and the codecs that it has unless others are asked for."""

    muxer: str
    audio: str
    video: str | None = None


#: The kinds of files by the names that a job has for them (1045/49911)
CONTAINERS = {
    "mp4": Container("mp4", "aac", "H.264"),
    "mkv": Container("matroska", "aac", "H.264"),
    "ts": Container("mpegts", "aac", "H.264"),
    "flv": Container("flv", "aac", "H.264"),
    "avi": Container("avi", "aac", "H.264"),
    "mov": Container("mov", "aac", "H.264"),
    "webm": Container("webm", "vorbis", "VP8"),
    "aac": Container("adts", "aac"),
    "adts": Container("adts", "aac"),
    "mp3": Container("mp3", "mp3"),
    "flac": Container("flac", "flac"),
    "amr": Container("amr", "amr"),
    "m4a": Container("ipod", "aac"),
    "wav": Container("wav", "pcm_s16le"),
}
#: FFmpeg's encoders by the names that a job has for codecs
VIDEO_ENCODERS = {
    "H.264": "libx264",
    "H.265": "libx265",
    "VP8": "libvpx",
    "VP9": "libvpx-vp9",
    "AV1": "libsvtav1",
}
#: The presets of encoders that have some, by codec
PRESETS = {
    "H.264": ("veryfast", "faster", "fast", "medium", "slow", "slower"),
    "AV1": tuple(map(str, range(14))),
}


@dataclass(frozen=True, slots=True)
class Clip:
    """The part of a recording from ``start`` to ``end``, in seconds; ``None`` is its end."""

    path: Path
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True, slots=True)
class AudioSettings:
    """How to encode sound; ``None`` means the default. ``bitrate`` in kbit/s."""

    codec: str | None = None
    sample_rate: int | None = None
    bitrate: int | None = None
    channels: int | None = None


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """How to encode pictures; ``None`` means the default.

    :param bitrate: in kbit/s.
    :param options: of the encoder, by FFmpeg's names.
    """

    codec: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    bitrate: int | None = None
    pixel_format: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)


def encode(
    clips: Sequence[Clip],
    target: Path,
    container: str,
    audio: AudioSettings | None,
    video: VideoSettings | None,
    *,
    mixes: Sequence[Mix] = (),
    on_progress: Progress = lambda _: None,
) -> None:
    """Encode clips into one file.

    Size, frame rate and channels are the first clip's unless the settings say otherwise. Without settings for
    sound or pictures, the file has none of these; neither has it any if the clips have none.

    :param container: one of :data:`CONTAINERS`.
    :param mixes: sound to mix with the clips'.
    :raises UnsupportedMediaError: a clip cannot be read or has nothing that is to be encoded, or the result
        cannot be encoded as asked for; the text says why.
    """
    try:
        with ExitStack() as opened:
            sources = [_Source(opened.enter_context(open_container(clip.path)), clip) for clip in clips]
            output = opened.enter_context(av.open(str(target), "w", format=CONTAINERS[container].muxer))
            tracks = _Tracks(output, CONTAINERS[container], sources, audio, video, mixes)
            total, done = sum(source.seconds for source in sources), 0.0
            for source in sources:
                for seconds in tracks.add(source):
                    on_progress(min(1.0, (done + seconds) / total) if total else 0.0)
                done += source.seconds
            tracks.end()
    except av.FFmpegError as error:
        reason = f"it cannot be encoded as {container} with these settings ({error.strerror})"
        raise UnsupportedMediaError(reason) from None


class _Source:
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
        return float(1 / _frame_rate(self.video)) if self.video is not None else 0.0

    def frames(
        self, with_audio: bool, with_video: bool
    ) -> Iterator[tuple[float | None, AudioFrame | VideoFrame]]:
        """Yield frames with their times from the recording's beginning.

        :raises UnsupportedMediaError: it has nothing of what is asked for.
        """
        wanted = [self.audio if with_audio else None, self.video if with_video else None]
        streams = [one for one in wanted if one is not None]
        if not streams:
            kinds = " and no ".join(["audio"] * with_audio + ["video"] * with_video)
            raise UnsupportedMediaError(f"it has no {kinds} stream")
        begin = min(float((one.start_time or 0) * (one.time_base or 0)) for one in streams)
        clocks = {AudioFrame: _Clock(begin), VideoFrame: _Clock(begin)}
        for frame in decoded_frames(self.container, *streams):
            yield None if frame.time is None else clocks[type(frame)].read(frame.time), frame


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


class _Tracks:
    """The streams of the file that is being written."""

    def __init__(
        self,
        output: OutputContainer,
        container: Container,
        sources: Sequence[_Source],
        audio: AudioSettings | None,
        video: VideoSettings | None,
        mixes: Sequence[Mix],
    ) -> None:
        self._offset = 0.0  # seconds of the clips before the present one
        self._audio: _AudioTrack | None = None
        self._video: _VideoTrack | None = None
        self._wants = (audio is not None, video is not None and container.video is not None)
        first_video = next((source.video for source in sources if source.video), None)
        if video is not None and container.video is not None and first_video is not None:
            self._video = _VideoTrack(output, first_video, video, container.video)
        first = next((source for source in sources if source.audio), sources[0])
        if audio is not None and (first.audio is not None or mixes):
            encoding = Encoding.choose(
                audio.codec or container.audio,
                audio.sample_rate,
                audio.bitrate,
                audio.channels,
                source_channels=(first.audio.codec_context.channels if first.audio else None) or 2,
                source_bitrate=source_kbits(first.container, first.audio) if first.audio else None,
            )
            seconds = sum(source.seconds for source in sources)
            mixer = Mixer(mixes, encoding.sample_rate, encoding.layout, seconds) if mixes else None
            self._audio = _AudioTrack(AudioTrack(output, encoding), mixer)

    def add(self, source: _Source) -> Iterator[float]:
        """Encode a clip, and yield the time in it that is done, in seconds."""
        start, end = source.clip.start, source.clip.end
        longest = 0.0
        if self._audio is not None:
            self._audio.begin_clip(start, end)
        ended: set[type] = set()
        wants_audio, wants_video = self._wants
        streams = (wants_audio and source.audio is not None) + (wants_video and source.video is not None)
        for time, frame in source.frames(wants_audio, wants_video):
            if end is not None and time is not None and time >= end:
                ended.add(type(frame))
                if len(ended) == streams:
                    break
                continue
            if isinstance(frame, AudioFrame):
                if self._audio is not None:
                    self._audio.add(frame, time)
            elif self._video is not None and time is not None and time >= start:
                longest = max(longest, time - start + source.picture_seconds)
                self._video.add(frame, self._offset + time - start)
            yield max(0.0, (time or 0.0) - start)
        if self._audio is not None:
            longest = max(longest, self._audio.finish_clip())
        self._offset += longest if end is None else min(longest, end - start)
        self._pad()

    def _pad(self) -> None:
        """Let sound and pictures last until the clip's end."""
        if self._video is not None:
            self._video.fill(self._offset)
            if self._audio is not None:
                self._audio.fill(self._offset)

    def end(self) -> None:
        """Encode what filters and encoders still hold.

        :raises UnsupportedMediaError: there was nothing.
        """
        tracks = [track for track in (self._audio, self._video) if track is not None]
        if not any(track.written for track in tracks):
            raise UnsupportedMediaError("it holds nothing between the start and the end that are asked for")
        for track in tracks:
            track.end()


class _AudioTrack:
    """The sound of clips, cut to the sample, through the mixer."""

    def __init__(self, track: AudioTrack, mixer: Mixer | None) -> None:
        self._track = track
        self._mixer = mixer
        self._rate, self._layout = track.encoding.sample_rate, track.encoding.layout
        self._written = 0
        self._begin_of_clip = 0
        self._converter = AudioConverter(self._rate, self._layout)
        self._position: int | None = None
        self._first, self._last = 0, 0

    @property
    def written(self) -> int:
        """The samples until now."""
        return self._written

    def begin_clip(self, start: float, end: float | None) -> None:
        self._converter = AudioConverter(self._rate, self._layout)
        self._position = None
        self._first = round(start * self._rate)
        self._last = round(end * self._rate) if end is not None else 2**62
        self._begin_of_clip = self._written

    def add(self, frame: AudioFrame, time: float | None) -> None:
        if self._position is None:
            self._position = round(max(0.0, time or 0.0) * self._rate)
            self._write_silence(self._position - self._first)  # the pictures may begin earlier
        for converted in self._converter.convert(frame):
            self._take(converted)

    def finish_clip(self) -> float:
        """Write what is left of the clip, and return the seconds of its sound."""
        if self._position is not None:
            for converted in self._converter.flush():
                self._take(converted)
        return (self._written - self._begin_of_clip) / self._rate

    def fill(self, until: float) -> None:
        """Write silence until a time."""
        self._write_silence(round(until * self._rate) - self._written)

    def end(self) -> None:
        if self._mixer is not None:
            for frame in self._mixer.end():
                self._track.write(frame)
        self._track.end()

    def _take(self, frame: AudioFrame) -> None:
        """Write the part of a frame that is within the clip."""
        position = self._position or 0
        begin = max(self._first - position, 0)
        end = min(frame.samples, self._last - position)
        self._position = position + frame.samples
        if end > begin:
            self._write(cut_frame(frame, end - begin, begin))

    def _write_silence(self, samples: int) -> None:
        while samples > 0:
            self._write(make_silence(min(samples, self._rate), self._rate, self._layout))
            samples -= self._rate

    def _write(self, frame: AudioFrame) -> None:
        self._written += frame.samples
        for mixed in self._mixer.mix(frame) if self._mixer is not None else [frame]:
            self._track.write(mixed)


class _VideoTrack:
    """The pictures of clips, in the size of the track, as many a second as it has."""

    def __init__(
        self, container: OutputContainer, source: VideoStream, settings: VideoSettings, default_codec: str
    ) -> None:
        codec = settings.codec or default_codec
        context = source.codec_context
        self._fps = (
            _frame_rate(source) if settings.fps is None else Fraction(settings.fps).limit_denominator(1001)
        )
        self._width, self._height = fit_size(context.width, context.height, settings.width, settings.height)
        self._format = settings.pixel_format
        self._container = container
        stream = container.add_stream(VIDEO_ENCODERS[codec], self._fps)
        if not isinstance(stream, VideoStream):
            raise TypeError(f"{codec} does not encode pictures")
        stream.codec_context.width, stream.codec_context.height = self._width, self._height
        stream.codec_context.pix_fmt = self._format
        stream.codec_context.options = _encoder_options(codec, settings)
        if settings.bitrate and "crf" not in settings.options:
            stream.codec_context.bit_rate = settings.bitrate * 1000
        self._stream = stream
        self._held: VideoFrame | None = None
        self.written = 0  # frames

    def add(self, frame: VideoFrame, time: float) -> None:
        """Show a picture from a time on, and the one before it until then."""
        self.fill(time)
        self._held = frame.reformat(width=self._width, height=self._height, format=self._format)

    def fill(self, until: float) -> None:
        """Show the present picture until a time."""
        while self._held is not None and self.written < round(until * self._fps):
            self._held.pts = self.written
            self._held.time_base = 1 / self._fps
            self._held.pict_type = 0  # the source's kinds of pictures are not the result's
            self._container.mux(self._stream.encode(self._held))
            self.written += 1

    def end(self) -> None:
        self._container.mux(self._stream.encode(None))


def _frame_rate(source: VideoStream) -> Fraction:
    """Return the pictures a second; a usual number if the file does not say, or something impossible."""
    rate = source.average_rate or source.base_rate
    return rate if rate is not None and _LOWEST_FPS <= rate <= _HIGHEST_FPS else Fraction(_USUAL_FPS)


def fit_size(width: int, height: int, asked_width: int | None, asked_height: int | None) -> tuple[int, int]:
    """Return an even width and height; one alone keeps the ratio."""
    if asked_width is None and asked_height is not None:
        asked_width = round(width * asked_height / max(1, height))
    elif asked_height is None and asked_width is not None:
        asked_height = round(height * asked_width / max(1, width))
    return (asked_width or width) // 2 * 2, (asked_height or height) // 2 * 2


def _encoder_options(codec: str, settings: VideoSettings) -> dict[str, str]:
    options = dict(settings.options)
    if settings.bitrate is None:
        options.setdefault("crf", str(_DEFAULT_CRF))
    if codec == "H.265":
        options["x265-params"] = "log-level=error"  # it writes to standard error otherwise
    return options
