"""Facts about any media file, with or without sound, named as in Tencent document 460/38935."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from tencent_ci_emulator.media.measure import Facts, Measured, audio_facts, codec_tag, format_facts
from tencent_ci_emulator.media.source import open_container


def inspect(path: Path) -> dict[str, Any]:
    """Return container and streams, with durations as they are measured, as the content of ``MediaInfo``.

    :raises UnsupportedMediaError: it is no media file.
    """
    with open_container(path) as container:
        measured = Measured(path, container)
        streams, packets = container.streams, measured.packets
        seconds = {one.index: measured.seconds(one) for one in streams}
        longest, size = max(seconds.values(), default=0.0), path.stat().st_size
        kbits = size * 8 / 1000 / longest if longest else 0.0
        return {
            "Format": format_facts(container, longest, size),
            "Stream": {
                "Video": [_video(one, seconds[one.index], packets[one.index]) for one in streams.video],
                "Audio": [audio_facts(one, seconds[one.index], kbits) for one in streams.audio],
                "Subtitle": [
                    {"Index": one.index, "Language": one.language or "und"} for one in streams.subtitles
                ],
            },
        }


def _video(stream: Any, seconds: float, frames: int) -> Facts:
    context = stream.codec_context
    if context is None:  # FFmpeg has no decoder for it
        return {"Index": stream.index, "Duration": round(seconds, 6), "NumFrames": frames}
    shape = stream.sample_aspect_ratio or Fraction(1)
    whole = Fraction(context.width, context.height) * shape if context.height else None
    return {
        "Index": stream.index,
        "CodecName": context.codec.canonical_name,
        "CodecLongName": context.codec.long_name,
        "CodecTagString": codec_tag(stream),
        "Profile": context.profile,
        "Width": context.width,
        "Height": context.height,
        "HasBFrame": int(context.has_b_frames),
        "Sar": f"{shape.numerator}:{shape.denominator}",
        "Dar": f"{whole.numerator}:{whole.denominator}" if whole else None,
        "PixFormat": context.pix_fmt,
        "Fps": _rate(stream.base_rate),
        "AvgFps": _rate(stream.average_rate),
        "Timebase": str(stream.time_base),
        "StartTime": 0.0,
        "Duration": round(seconds, 6),
        "Bitrate": round((stream.bit_rate or 0) / 1000, 3),
        "NumFrames": stream.frames or frames,
        "Language": stream.language,
    }


def _rate(rate: Fraction | None) -> str | None:
    return f"{rate.numerator}/{rate.denominator}" if rate else None
