"""The streams of a file that is being encoded from clips."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tencent_ci_emulator.media.audio import AudioConverter, AudioTrack, cut_frame, make_silence
from tencent_ci_emulator.media.clips import OpenClip, frame_rate
from tencent_ci_emulator.media.encodings import Encoding
from tencent_ci_emulator.media.mixing import Mix, Mixer
from tencent_ci_emulator.media.source import UnsupportedMediaError, source_kbits

# The AV1 encoder writes its version and settings to standard error otherwise
os.environ.setdefault("SVT_LOG", "1")

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


class Tracks:
    """The streams of the file that is being written."""

    def __init__(
        self,
        output: OutputContainer,
        container: Container,
        clips: Sequence[OpenClip],
        audio: AudioSettings | None,
        video: VideoSettings | None,
        mixes: Sequence[Mix],
    ) -> None:
        self._offset = 0.0  # seconds of the clips before the present one
        self._video = _add_video(output, container, clips, video)
        self._audio = _add_audio(output, container, clips, audio, mixes)
        # whether there is a track or not: a clip that has nothing of what is asked for is an error
        self._wants_audio, self._wants_video = audio is not None, video is not None and bool(container.video)

    def add(self, clip: OpenClip) -> Iterator[float]:
        """Encode a clip, and yield the time in it that is done, in seconds.

        The times of frames count from the beginning of their recording, those in the result from its own.
        """
        start, end = clip.clip.start, clip.clip.end
        picture_end = 0.0  # seconds from the clip's start until its last picture has been seen
        if self._audio is not None:
            self._audio.begin_clip(start, end)
        for time, frame in clip.frames(self._wants_audio, self._wants_video):
            if isinstance(frame, AudioFrame):
                if self._audio is not None:
                    self._audio.add(frame, time)
            elif self._video is not None and time is not None and time >= start:
                picture_end = max(picture_end, time - start + clip.picture_seconds)
                self._video.add(frame, self._offset + time - start)
            yield max(0.0, (time or 0.0) - start)
        seconds = picture_end if end is None else min(picture_end, end - start)
        if self._audio is not None:
            seconds = max(seconds, self._audio.finish_clip())
        self._offset += seconds
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


def _add_video(
    output: OutputContainer, container: Container, clips: Sequence[OpenClip], settings: VideoSettings | None
) -> _VideoTrack | None:
    """Add the stream of pictures, like the first clip's, if pictures are asked for and a clip has some."""
    source = next((clip.video for clip in clips if clip.video is not None), None)
    if settings is None or container.video is None or source is None:
        return None
    return _VideoTrack(output, source, settings, container.video)


def _add_audio(
    output: OutputContainer,
    container: Container,
    clips: Sequence[OpenClip],
    settings: AudioSettings | None,
    mixes: Sequence[Mix],
) -> _AudioTrack | None:
    """Add the stream of sound, like the first clip's, if sound is asked for and a clip or a mix has some."""
    first = next(((clip.container, clip.audio) for clip in clips if clip.audio is not None), None)
    if settings is None or (first is None and not mixes):
        return None
    encoding = Encoding.choose(
        settings.codec or container.audio,
        settings.sample_rate,
        settings.bitrate,
        settings.channels,
        source_channels=(first[1].codec_context.channels if first else None) or 2,
        source_bitrate=source_kbits(*first) if first else None,
    )
    seconds = sum(clip.seconds for clip in clips)
    mixer = Mixer(mixes, encoding.sample_rate, encoding.layout, seconds) if mixes else None
    return _AudioTrack(AudioTrack(output, encoding), mixer)


class _AudioTrack:
    """The sound of clips, cut to the sample, through the mixer."""

    def __init__(self, track: AudioTrack, mixer: Mixer | None) -> None:
        self._track = track
        self._mixer = mixer
        self._rate, self._layout = track.encoding.sample_rate, track.encoding.layout
        # Samples of the result: until now, and until the present clip
        self._written = 0
        self._written_before_clip = 0
        self._converter = AudioConverter(self._rate, self._layout)
        # Samples of the recording, at the track's rate: where the next frame begins, and the clip's bounds
        self._position: int | None = None
        self._clip_start, self._clip_end = 0, 0

    @property
    def written(self) -> int:
        """The samples until now."""
        return self._written

    def begin_clip(self, start: float, end: float | None) -> None:
        self._converter = AudioConverter(self._rate, self._layout)
        self._position = None
        self._clip_start = round(start * self._rate)
        self._clip_end = round(end * self._rate) if end is not None else 2**62
        self._written_before_clip = self._written

    def add(self, frame: AudioFrame, time: float | None) -> None:
        if self._position is None:
            self._position = round(max(0.0, time or 0.0) * self._rate)
            # until the sound begins: the pictures may begin earlier
            self._write_silence(self._position - self._clip_start)
        for converted in self._converter.convert(frame):
            self._take(converted)

    def finish_clip(self) -> float:
        """Write what is left of the clip, and return the seconds of its sound."""
        if self._position is not None:
            for converted in self._converter.flush():
                self._take(converted)
        return (self._written - self._written_before_clip) / self._rate

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
        begin = max(self._clip_start - position, 0)
        end = min(frame.samples, self._clip_end - position)
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
    """The pictures of clips, in the size and at the frame rate of the track."""

    def __init__(
        self, output: OutputContainer, source: VideoStream, settings: VideoSettings, default_codec: str
    ) -> None:
        codec = settings.codec or default_codec
        context = source.codec_context
        self._fps = (
            frame_rate(source) if settings.fps is None else Fraction(settings.fps).limit_denominator(1001)
        )
        self._width, self._height = fit_size(context.width, context.height, settings.width, settings.height)
        self._format = settings.pixel_format
        self._output = output
        stream = output.add_stream(VIDEO_ENCODERS[codec], self._fps)
        if not isinstance(stream, VideoStream):
            raise TypeError(f"{codec} does not encode pictures")
        stream.codec_context.width, stream.codec_context.height = self._width, self._height
        stream.codec_context.pix_fmt = self._format
        stream.codec_context.options = _encoder_options(codec, settings)
        if settings.bitrate and "crf" not in settings.options:  # a quality wins over a bit rate
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
            self._held.pict_type = 0  # the encoder decides which pictures become key frames
            self._output.mux(self._stream.encode(self._held))
            self.written += 1

    def end(self) -> None:
        self._output.mux(self._stream.encode(None))


def fit_size(width: int, height: int, asked_width: int | None, asked_height: int | None) -> tuple[int, int]:
    """Return an even width and height. If only one is asked for, the other keeps the ratio."""
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
