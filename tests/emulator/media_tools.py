"""What media files contain, read with PyAV alone; nothing of the code under test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av


@dataclass(frozen=True, slots=True)
class Probe:
    """A file's container, its seconds, and its streams.

    :param video: codec, width, height, pictures a second, number of pictures.
    :param audio: codec, sample rate, channels.
    """

    container: str
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
        audio = [(one.codec_context.name, one.sample_rate, one.channels) for one in container.streams.audio]
        return Probe(container.format.name, (container.duration or 0) / 1e6, video, audio)
