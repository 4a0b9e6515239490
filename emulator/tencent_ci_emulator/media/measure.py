"""Facts about a media file, measured from its packets and named as in Tencent document 460/38935."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream as AVAudioStream
from av.container import InputContainer

from tencent_ci_emulator.media.source import UnsupportedMediaError, audio_frames, open_container

# No packet lasts longer: what says so is a difference of timestamps that was wrapped around
_LONGEST_PACKET = 60  # seconds

# What FFmpeg calls a file that says how many channels it has, but not which
_LAYOUT_NAMES = {"1 channels": "mono", "2 channels": "stereo"}


#: Elements of a document, ``None`` where the file does not say
Facts = dict[str, str | int | float | None]


def describe(path: Path) -> tuple[Facts, Facts]:
    """Return the container's and the first audio stream's facts.

    See :class:`Measured` for the duration.
    """
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        seconds = Measured(path, container).seconds(stream)
        size = path.stat().st_size
        kbits = size * 8 / 1000 / seconds if seconds else 0.0
        return format_facts(container, seconds, size), audio_facts(stream, seconds, kbits)


def format_facts(container: InputContainer, seconds: float, size: int) -> Facts:
    """Return a container's facts: ``seconds`` long, ``size`` bytes large."""
    return {
        "NumStream": len(container.streams),
        "NumProgram": 0,
        "FormatName": container.format.name,
        "FormatLongName": container.format.long_name,
        "StartTime": 0.0,
        "Duration": round(seconds, 6),
        "Bitrate": round(size * 8 / 1000 / seconds if seconds else 0.0, 3),
        "Size": size,
    }


def audio_facts(stream: AVAudioStream, seconds: float, kbits: float) -> Facts:
    """Return a stream's facts; ``kbits`` is its bitrate where the file does not say."""
    context: AudioCodecContext | None = stream.codec_context
    if context is None:  # FFmpeg has no decoder for it, which PyAV's types do not say
        return {"Index": stream.index, "Duration": round(seconds, 6), "Language": stream.language}
    return {
        "Index": stream.index,
        "CodecName": context.codec.canonical_name,
        "CodecLongName": context.codec.long_name,
        "CodecTimeBase": f"1/{context.sample_rate}",
        "CodecTagString": codec_tag(stream),
        "SampleFmt": context.format.name if context.format else None,
        "SampleRate": context.sample_rate,
        "Channel": context.channels,
        "ChannelLayout": _LAYOUT_NAMES.get(context.layout.name, context.layout.name),
        "Timebase": str(stream.time_base),
        "StartTime": 0.0,
        "Duration": round(seconds, 6),
        "Bitrate": round(stream.bit_rate / 1000 if stream.bit_rate else kbits, 3),
        "Language": stream.language,
    }


def codec_tag(stream: Any) -> str | None:
    """Return a stream's tag; those of WAV and AVI may be numbers, whose characters XML cannot carry."""
    try:
        tag: str = stream.codec_context.codec_tag
    except UnicodeDecodeError:
        return None
    return tag if tag.isprintable() and tag else None


class Measured:
    """How long the streams of a file last, and how many packets they have.

    A duration is the sum of the packets' durations: raw streams (AAC in ADTS, AMR) carry no other, and
    FFmpeg's estimate from the bitrate can be far off. Where packets do not say, or say what cannot be, sound
    is decoded and counted. So it is with Ogg always: there FFmpeg guesses the first packets' durations, and
    is wrong for files of one page and for those that do not begin at zero.
    """

    def __init__(self, path: Path, container: InputContainer) -> None:
        self._path = path
        self._ticks: Counter[int] = Counter()
        self.packets: Counter[int] = Counter()
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._doubtful: set[int] = set()
        if container.format.name == "ogg":
            self._doubtful.update(one.index for one in container.streams.audio)
        try:
            for packet in container.demux():
                if packet.size:
                    self._add(packet)
        except av.FFmpegError:
            pass  # cut off: what was there counts

    def seconds(self, stream: Any) -> float:
        """Return how long a stream of the container lasts."""
        index = stream.index
        if index in self._doubtful and isinstance(stream, AVAudioStream):
            decoded = self._decoded(index)
            if decoded:
                return decoded
        ticks = self._ticks[index]
        if index in self._doubtful and index in self._first:
            ticks = self._last[index] - self._first[index]
        return float(ticks * (stream.time_base or 0))

    def _add(self, packet: Any) -> None:
        index, duration = packet.stream.index, packet.duration or 0
        self.packets[index] += 1
        if 0 < duration * (packet.time_base or 0) <= _LONGEST_PACKET:
            self._ticks[index] += duration
        else:
            self._doubtful.add(index)
        if packet.pts is not None:
            self._first[index] = min(packet.pts, self._first.get(index, packet.pts))
            self._last[index] = max(packet.pts, self._last.get(index, packet.pts))

    def _decoded(self, index: int) -> float:
        """Count the samples of a stream, none if they cannot be decoded."""
        with open_container(self._path) as container:
            stream = next(one for one in container.streams.audio if one.index == index)
            try:
                seconds = sum(
                    (
                        Fraction(frame.samples, frame.sample_rate)
                        for frame in audio_frames(container, stream)
                        if frame.sample_rate
                    ),
                    Fraction(0),
                )
            except UnsupportedMediaError:
                return 0.0
        return float(seconds)
