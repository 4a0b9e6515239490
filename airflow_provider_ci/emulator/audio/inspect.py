"""Facts about any media file, with or without sound, named as in Tencent document 460/38935."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from airflow_provider_ci.emulator.audio.measure import Measured, audio_facts, codec_tag
from airflow_provider_ci.emulator.audio.source import open_container
from airflow_provider_ci.protocol.models import (
    MediaFormat,
    MediaInfo,
    MediaStream,
    SubtitleStream,
    VideoStream,
)


def inspect(path: Path) -> MediaInfo:
    """Return container and streams, with durations as they are measured.

    :raises UnsupportedMediaError: it is no media file.
    """
    with open_container(path) as container:
        measured = Measured(path, container)
        seconds = {one.index: measured.seconds(one) for one in container.streams}
        packets = measured.packets
        longest = max(seconds.values(), default=0.0)
        size = path.stat().st_size
        streams = container.streams
        form = MediaFormat(
            num_stream=len(streams),
            num_program=0,
            format_name=container.format.name,
            format_long_name=container.format.long_name,
            start_time=0.0,
            duration=round(longest, 6),
            bitrate=round(_kbits(size, longest), 3),
            size=size,
        )
        media = MediaStream(
            video=tuple(_video(one, seconds[one.index], packets[one.index]) for one in streams.video),
            audio=tuple(audio_facts(one, seconds[one.index], _kbits(size, longest)) for one in streams.audio),
            subtitle=tuple(
                SubtitleStream(index=one.index, language=one.language or "und") for one in streams.subtitles
            ),
        )
        return MediaInfo(format=form, stream=media)


def _kbits(size: int, seconds: float) -> float:
    return size * 8 / 1000 / seconds if seconds else 0.0


def _video(stream: Any, seconds: float, frames: int) -> VideoStream:
    context = stream.codec_context
    if context is None:  # FFmpeg has no decoder for it
        return VideoStream(index=stream.index, duration=round(seconds, 6), num_frames=frames)
    shape = stream.sample_aspect_ratio or Fraction(1)
    whole = Fraction(context.width, context.height) * shape if context.height else None
    return VideoStream(
        index=stream.index,
        codec_name=context.codec.canonical_name,
        codec_long_name=context.codec.long_name,
        codec_tag_string=codec_tag(stream),
        profile=context.profile,
        width=context.width,
        height=context.height,
        has_b_frame=int(context.has_b_frames),
        sar=f"{shape.numerator}:{shape.denominator}",
        dar=f"{whole.numerator}:{whole.denominator}" if whole else None,
        pix_format=context.pix_fmt,
        fps=_rate(stream.base_rate),
        avg_fps=_rate(stream.average_rate),
        timebase=str(stream.time_base),
        start_time=0.0,
        duration=round(seconds, 6),
        bitrate=round((stream.bit_rate or 0) / 1000, 3),
        num_frames=stream.frames or frames,
        language=stream.language,
    )


def _rate(rate: Fraction | None) -> str | None:
    return f"{rate.numerator}/{rate.denominator}" if rate else None
