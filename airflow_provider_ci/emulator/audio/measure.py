"""Facts about a media file, measured from its packets and named as in Tencent document 460/38935."""

from __future__ import annotations

from pathlib import Path

import av
from av.audio.stream import AudioStream as AVAudioStream
from av.container import InputContainer

from airflow_provider_ci.protocol.models import AudioStream, MediaFormat

# What FFmpeg calls a file that says how many channels it has, but not which
_LAYOUT_NAMES = {"1 channels": "mono", "2 channels": "stereo"}


def describe(path: Path) -> tuple[MediaFormat, AudioStream]:
    """Return the container's and the first audio stream's facts.

    The duration is the sum of the packets' durations: raw streams (AAC in ADTS, AMR) carry no duration, and
    FFmpeg's estimate from the bitrate can be far off.
    """
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        seconds = _duration(container, stream)
        size = path.stat().st_size
        kbits = size * 8 / 1000 / seconds if seconds else 0.0
        form = MediaFormat(
            num_stream=len(container.streams),
            num_program=0,
            format_name=container.format.name,
            format_long_name=container.format.long_name,
            start_time=0.0,
            duration=round(seconds, 6),
            bitrate=round(kbits, 3),
            size=size,
        )
        return form, audio_facts(stream, seconds, kbits)


def audio_facts(stream: AVAudioStream, seconds: float, kbits: float) -> AudioStream:
    """Return a stream's facts; ``kbits`` is its bitrate where the file does not say."""
    context = stream.codec_context
    return AudioStream(
        index=stream.index,
        codec_name=context.codec.canonical_name,
        codec_long_name=context.codec.long_name,
        codec_time_base=f"1/{context.sample_rate}",
        codec_tag_string=_printable(context.codec_tag),
        sample_fmt=context.format.name if context.format else None,
        sample_rate=context.sample_rate,
        channel=context.channels,
        channel_layout=_LAYOUT_NAMES.get(context.layout.name, context.layout.name),
        timebase=str(stream.time_base),
        start_time=0.0,
        duration=round(seconds, 6),
        bitrate=round(stream.bit_rate / 1000 if stream.bit_rate else kbits, 3),
        language=stream.language,
    )


def _printable(tag: str) -> str | None:
    """WAV's tags are numbers, whose characters XML cannot carry."""
    return tag if tag.isprintable() and tag else None


def _duration(container: InputContainer, stream: AVAudioStream) -> float:
    ticks = sum(packet.duration or 0 for packet in container.demux(stream) if packet.size)
    return float(ticks * stream.time_base) if stream.time_base else 0.0
