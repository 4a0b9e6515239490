"""What media files contain, read with PyAV alone; nothing of the code under test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av


@dataclass(frozen=True, slots=True)
class Probe:
    """A file's container, the seconds at which it begins and that it lasts, and its streams.

    :param video: codec, width, height, pictures a second, number of pictures.
    :param audio: codec, sample rate, channels.
    """

    container: str
    start: float
    seconds: float
    video: list[tuple[str, int, int, float, int]]
    audio: list[tuple[str, int, int]]


def probe(path: Path) -> Probe:
    """Decode a file."""
    with av.open(str(path)) as container:
        frames = dict.fromkeys((one.index for one in container.streams), 0)
        for packet in container.demux():
            frames[packet.stream.index] += len(packet.decode())
        video = [
            (one.codec_context.name, one.width, one.height, float(one.average_rate), frames[one.index])
            for one in container.streams.video
        ]
        audio = [
            (one.codec_context.codec.canonical_name, one.sample_rate, one.channels)
            for one in container.streams.audio
        ]
        times = ((container.start_time or 0) / 1e6, (container.duration or 0) / 1e6)
        return Probe(container.format.name, *times, video, audio)


def picture(path: Path) -> tuple[str, int, int, float]:
    """Return the codec, the width, the height and the mean brightness of a picture."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(video=0))
        return (
            stream.codec_context.name,
            frame.width,
            frame.height,
            float(frame.to_ndarray(format="gray").mean()),
        )


def key_pictures(path: Path) -> list[float]:
    """Return the mean brightness of the pictures of a film that are stored completely."""
    with av.open(str(path)) as container:
        return [
            float(one.to_ndarray(format="gray").mean()) for one in container.decode(video=0) if one.key_frame
        ]
