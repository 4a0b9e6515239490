"""Facts about any media file, with or without sound, named as in Tencent document 460/38935."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from airflow_provider_ci.emulator.audio.measure import audio_facts
from airflow_provider_ci.emulator.audio.source import open_container
from airflow_provider_ci.protocol.models import (
    MediaFormat,
    MediaInfo,
    MediaStream,
    SubtitleStream,
    VideoStream,
)


def inspect(path: Path) -> MediaInfo:
    """Return container and streams. Durations are measured from the packets, as raw streams carry none.

    :raises UnsupportedMediaError: it is no media file.
    """
    with open_container(path) as container:
        seconds, packets = _measured(container)
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


def _measured(container: Any) -> tuple[dict[int, float], Counter[int]]:
    """Return how long each stream lasts, and how many packets it has."""
    ticks: Counter[int] = Counter()
    packets: Counter[int] = Counter()
    try:
        for packet in container.demux():
            if packet.size:
                ticks[packet.stream.index] += packet.duration or 0
                packets[packet.stream.index] += 1
    except av.FFmpegError:
        pass  # cut off: what was there counts
    return {
        one.index: float(ticks[one.index] * one.time_base) if one.time_base else 0.0
        for one in container.streams
    }, packets


def _video(stream: Any, seconds: float, frames: int) -> VideoStream:
    context = stream.codec_context
    shape = stream.sample_aspect_ratio or Fraction(1)
    whole = Fraction(context.width, context.height) * shape if context.height else None
    tag = context.codec_tag
    return VideoStream(
        index=stream.index,
        codec_name=context.codec.canonical_name,
        codec_long_name=context.codec.long_name,
        codec_tag_string=tag if tag.isprintable() and tag else None,
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
