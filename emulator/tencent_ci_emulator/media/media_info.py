"""Facts about media files, measured from their packets and named as in Tencent document 460/38935.

Values are those that FFmpeg knows. Durations are from the packets, or found by decoding where packets have
none.
"""

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

# A longer duration is the difference of timestamps of which one has overflowed
_LONGEST_PACKET = 60  # seconds

# FFmpeg's names of the layout if a file says how many channels it has, but not which
_LAYOUT_NAMES = {"1 channels": "mono", "2 channels": "stereo"}

# FFmpeg's names of the numbers that a stream has for its colours and for the order of its half pictures
_PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
_TRANSFERS = _PRIMARIES | {
    8: "linear",
    13: "iec61966-2-1",
    14: "bt2020-10",
    16: "smpte2084",
    18: "arib-std-b67",
}
_RANGES = {1: "tv", 2: "pc"}
_FIELD_ORDERS = {1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}

#: Elements of a document, ``None`` where the file does not say
Facts = dict[str, str | int | float | None]


def describe(path: Path, *, pcm_rate: int | None = None) -> tuple[Facts, Facts]:
    """Return the container's and the first audio stream's facts.

    See :class:`_Measurement` for the duration.

    :param pcm_rate: the file has no header: it is mono, of 16 bits, and has this many samples a second.
    """
    options = {} if pcm_rate is None else {"sample_rate": str(pcm_rate), "ch_layout": "mono"}
    with av.open(str(path), format="s16le" if pcm_rate else None, options=options) as container:
        stream = container.streams.audio[0]
        seconds = _Measurement(path, container).seconds(stream)
        size = path.stat().st_size
        kbits = _kbits(size, seconds)
        return _describe_format(container, seconds, size), _describe_audio(stream, seconds, kbits)


def inspect(path: Path) -> dict[str, Any]:
    """Return the content of ``MediaInfo``: container and streams, with measured durations.

    :raises UnsupportedMediaError: it is no media file.
    """
    with open_container(path) as container:
        measured = _Measurement(path, container)
        streams, packets = container.streams, measured.packets
        seconds = {one.index: measured.seconds(one) for one in streams}
        longest, size = max(seconds.values(), default=0.0), path.stat().st_size
        kbits = _kbits(size, longest)
        return {
            "Format": _describe_format(container, longest, size),
            "Stream": {
                "Video": [
                    _describe_video(one, seconds[one.index], packets[one.index]) for one in streams.video
                ],
                "Audio": [_describe_audio(one, seconds[one.index], kbits) for one in streams.audio],
                "Subtitle": [
                    {"Index": one.index, "Language": one.language or "und"} for one in streams.subtitles
                ],
            },
        }


def _describe_format(container: InputContainer, seconds: float, size: int) -> Facts:
    """Return a container's facts; ``seconds`` is its duration, ``size`` its bytes."""
    return {
        "NumStream": len(container.streams),
        "NumProgram": 0,
        "FormatName": container.format.name,
        "FormatLongName": container.format.long_name,
        "StartTime": 0.0,
        "Duration": round(seconds, 6),
        "Bitrate": round(_kbits(size, seconds), 3),
        "Size": size,
    }


def _describe_audio(stream: AVAudioStream, seconds: float, kbits: float) -> Facts:
    """Return a stream's facts; ``kbits`` is its bitrate where the file does not say."""
    context: AudioCodecContext | None = stream.codec_context
    if context is None:  # FFmpeg has no decoder for it, which PyAV's types do not say
        return {"Index": stream.index, "Duration": round(seconds, 6), "Language": stream.language}
    return {
        "Index": stream.index,
        "CodecName": context.codec.canonical_name,
        "CodecLongName": context.codec.long_name,
        "CodecTimeBase": f"1/{context.sample_rate}",
        "CodecTagString": _codec_tag(stream),
        "CodecTag": _codec_tag_number(stream),
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


def _codec_tag(stream: Any) -> str | None:
    """Return a stream's tag; those of WAV and AVI may be numbers, whose characters XML cannot carry."""
    try:
        tag: str = stream.codec_context.codec_tag
    except UnicodeDecodeError:
        return None
    return tag if tag.isprintable() and tag else None


def _codec_tag_number(stream: Any) -> str | None:
    """Return a stream's tag as a number in hex, as FFmpeg prints it."""
    tag = _codec_tag(stream)
    return f"0x{int.from_bytes(tag.encode('latin-1', 'replace'), 'little'):08x}" if tag else None


def _describe_video(stream: Any, seconds: float, frames: int) -> Facts:
    context = stream.codec_context
    if context is None:  # FFmpeg has no decoder for it
        return {"Index": stream.index, "Duration": round(seconds, 6), "NumFrames": frames}
    pixel = stream.sample_aspect_ratio or Fraction(1)
    picture = Fraction(context.width, context.height) * pixel if context.height else None
    return {
        "Index": stream.index,
        "CodecName": context.codec.canonical_name,
        "CodecLongName": context.codec.long_name,
        "CodecTimeBase": _rate(1 / stream.average_rate) if stream.average_rate else None,
        "CodecTagString": _codec_tag(stream),
        "CodecTag": _codec_tag_number(stream),
        "ColorPrimaries": _PRIMARIES.get(context.color_primaries, "unknown"),
        "ColorRange": _RANGES.get(context.color_range, "unknown"),
        "ColorTransfer": _TRANSFERS.get(context.color_trc, "unknown"),
        "Profile": context.profile,
        "Width": context.width,
        "Height": context.height,
        "HasBFrame": int(context.has_b_frames),
        "Sar": f"{pixel.numerator}:{pixel.denominator}",
        "Dar": f"{picture.numerator}:{picture.denominator}" if picture else None,
        "PixFormat": context.pix_fmt,
        # Older versions of PyAV have neither
        "FieldOrder": _FIELD_ORDERS.get(getattr(context, "field_order", None) or 0, "unknown"),
        "Level": getattr(context, "level", None),
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


def _kbits(size: int, seconds: float) -> float:
    """Return the bitrate of ``size`` bytes in kbit/s."""
    return size * 8 / 1000 / seconds if seconds else 0.0


class _Measurement:
    """The durations of a file's streams, and the numbers of their packets.

    A duration is the sum of the packets' durations: raw streams (AAC in ADTS, AMR) carry no other, and
    FFmpeg's estimate from the bitrate can be far off. If a packet has no duration or an impossible one, sound
    is decoded and its samples are counted. Sound in Ogg is always decoded: FFmpeg guesses the first packets'
    durations, wrongly for files of one page and for those that do not begin at zero.
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
            pass  # the file is truncated: the packets before that count

    def seconds(self, stream: Any) -> float:
        """Return the duration of a stream of the container."""
        index = stream.index
        if index in self._doubtful and isinstance(stream, AVAudioStream):
            decoded = self._decode_duration(index)
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

    def _decode_duration(self, index: int) -> float:
        """Return the duration of a stream's samples, 0 if they cannot be decoded."""
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
