"""What the service measured of media files (460/38935, and the results of jobs)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFormat:
    """Container facts: ``start_time`` and ``duration`` in seconds, ``bitrate`` in kbit/s, ``size`` in
    bytes.
    """

    num_stream: int | None = None
    num_program: int | None = None
    format_name: str | None = None
    format_long_name: str | None = None
    start_time: float | None = None
    duration: float | None = None
    bitrate: float | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStream:
    """One audio stream: ``sample_rate`` in Hz, ``channel`` a count, times in seconds, ``bitrate`` in
    kbit/s.
    """

    index: int | None = None
    codec_name: str | None = None
    codec_long_name: str | None = None
    codec_time_base: str | None = None
    codec_tag_string: str | None = None
    codec_tag: str | None = None
    sample_fmt: str | None = None
    sample_rate: int | None = None
    channel: int | None = None
    channel_layout: str | None = None
    timebase: str | None = None
    start_time: float | None = None
    duration: float | None = None
    bitrate: float | None = None
    language: str | None = None
    creation_time: str | None = None  # as printed: its form is not documented


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStream:
    """One video stream: sizes in pixels, times in seconds, ``bitrate`` in kbit/s, ``fps`` as printed
    (``50/1``).
    """

    index: int | None = None
    codec_name: str | None = None
    codec_long_name: str | None = None
    codec_time_base: str | None = None
    codec_tag_string: str | None = None
    codec_tag: str | None = None
    color_primaries: str | None = None
    color_range: str | None = None
    color_transfer: str | None = None
    profile: str | None = None
    width: int | None = None
    height: int | None = None
    has_b_frame: int | None = None
    ref_frames: int | None = None
    sar: str | None = None
    dar: str | None = None
    pix_format: str | None = None
    field_order: str | None = None
    level: int | None = None
    fps: str | None = None
    avg_fps: str | None = None
    timebase: str | None = None
    start_time: float | None = None
    duration: float | None = None
    bitrate: float | None = None
    num_frames: int | None = None
    language: str | None = None
    rotation: float | None = None
    creation_time: str | None = None  # as printed: its form is not documented


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleStream:
    """One subtitle stream."""

    index: int | None = None
    language: str | None = None
    creation_time: str | None = None  # as printed: its form is not documented


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStream:
    """The streams by kind. In the description of a job, ``audio`` has one entry for each result."""

    video: tuple[VideoStream, ...] = ()
    audio: tuple[AudioStream, ...] = ()
    subtitle: tuple[SubtitleStream, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """The content of a media file, or of a job's results.

    Which of several results ``format`` describes is not documented.
    """

    format: MediaFormat | None = None
    stream: MediaStream | None = None
