"""Streams of a recording in files of their own, or cut into pieces, without decoding them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from tencent_ci_emulator.media.clips import Clip, is_film
from tencent_ci_emulator.media.encode import Progress, encode
from tencent_ci_emulator.media.source import UnsupportedMediaError, open_container
from tencent_ci_emulator.media.tracks import CONTAINERS, AudioSettings, VideoSettings

_Stream = AudioStream | VideoStream
_CODECS_OF_TS = ("h264", "hevc", "mpeg2video")


def extract_streams(source: Path, targets: Mapping[int, tuple[Path, str]]) -> None:
    """Write streams into files of their own.

    :param targets: by the stream's number: the file, and its kind, one of ``CONTAINERS``.
    :raises UnsupportedMediaError: it cannot be read, has no such stream, or the kind of file cannot hold it.
    """
    try:
        with ExitStack() as opened:
            container = opened.enter_context(open_container(source))
            streams: dict[int, _Stream] = {one.index: one for one in container.streams.video}
            streams |= {one.index: one for one in container.streams.audio}
            copies = {}
            for number, (path, kind) in targets.items():
                if number not in streams:
                    reason = f"it has no stream of sound or pictures with the index {number}"
                    raise UnsupportedMediaError(reason)
                output = opened.enter_context(av.open(str(path), "w", format=CONTAINERS[kind].muxer))
                copies[number] = (output, output.add_stream_from_template(streams[number]))
            for packet in _packets(container, *(streams[number] for number in targets)):
                output, copy = copies[packet.stream.index]
                packet.stream = copy
                output.mux(packet)
    except UnsupportedMediaError:
        raise
    except (av.FFmpegError, ValueError) as error:
        why = error.strerror if isinstance(error, av.FFmpegError) else error  # which names no path
        raise UnsupportedMediaError(f"its stream cannot be in a file of this kind ({why})") from None


def cut_into_pieces(
    source: Path,
    new_path: Callable[[], Path],
    kind: str,
    seconds: float | None,
    start: float = 0.0,
    end: float | None = None,
    *,
    on_progress: Progress = lambda _: None,
) -> list[Path]:
    """Write pieces of a recording, each of this length or somewhat longer, and return their files in order.

    Pictures can be cut only where one is stored completely. The recording is encoded anew only if the kind of
    file cannot hold its streams.

    :param kind: one of ``CONTAINERS``.
    :param seconds: ``None``: in one piece.
    :param on_progress: called while it is encoded.
    :raises UnsupportedMediaError: it cannot be read, or has nothing for this kind of file; the text says why.
    """
    try:
        return _Cutter(new_path, kind, seconds, start, end).cut(source)
    except UnsupportedMediaError:
        raise
    except (av.FFmpegError, ValueError):
        encoded = new_path()
        try:
            # With complete pictures often enough
            video = VideoSettings(options={"g": "12"})
            clips = [Clip(source, start, end)]
            encode(clips, encoded, kind, AudioSettings(), video, on_progress=on_progress)
            return _Cutter(new_path, kind, seconds).cut(encoded)
        finally:
            encoded.unlink(missing_ok=True)


class _Cutter:
    """Copies packets into one file after another."""

    def __init__(
        self,
        new_path: Callable[[], Path],
        kind: str,
        seconds: float | None,
        start: float = 0.0,
        end: float | None = None,
    ) -> None:
        self._new_path = new_path
        self._kind = CONTAINERS[kind]
        self._seconds = seconds
        self._start = start
        self._end = end
        self._paths: list[Path] = []
        self._piece: OutputContainer | None = None
        self._copies: dict[int, _Stream] = {}
        self._begin_of_piece = 0.0

    def cut(self, source: Path) -> list[Path]:
        try:
            with open_container(source) as container:
                self._copy(container)
        except BaseException:
            for path in self._paths:
                path.unlink(missing_ok=True)
            raise
        if not self._paths:
            raise UnsupportedMediaError("it holds nothing between the start and the end that are asked for")
        return self._paths

    def _copy(self, container: InputContainer) -> None:
        streams = self._choose_streams(container)
        leading = streams[0]  # the pictures, if there are some
        begin = min(float((one.start_time or 0) * (one.time_base or 0)) for one in streams)
        try:
            for packet in _packets(container, *streams):
                ticks = packet.dts if packet.pts is None else packet.pts
                time = float((ticks or 0) * (packet.time_base or 0)) - begin
                if self._end is not None and time >= self._end:
                    continue
                if packet.stream.index == leading.index and packet.is_keyframe and self._is_due(time):
                    self._begin_piece(streams, time + begin)
                if self._piece is not None:
                    self._write(packet)
        finally:
            if self._piece is not None:
                self._piece.close()

    def _choose_streams(self, container: InputContainer) -> list[_Stream]:
        video = [one for one in container.streams.video if is_film(one)] if self._kind.video else []
        streams: list[_Stream] = [*video[:1], *container.streams.audio[:1]]
        if not streams:
            raise UnsupportedMediaError("it has no stream for this kind of file")
        return streams

    def _is_due(self, time: float) -> bool:
        if self._piece is None:
            return time >= self._start
        return self._seconds is not None and time >= self._start + len(self._paths) * self._seconds

    def _begin_piece(self, streams: list[_Stream], time: float) -> None:
        if self._piece is not None:
            self._piece.close()
        self._paths.append(self._new_path())
        self._piece = av.open(str(self._paths[-1]), "w", format=self._kind.muxer)
        self._copies = {one.index: self._copy_stream(self._piece, one) for one in streams}
        self._begin_of_piece = time

    def _copy_stream(self, piece: OutputContainer, stream: _Stream) -> _Stream:
        """Add a stream like this one.

        :raises ValueError: the file cannot hold it.
        """
        is_picture = isinstance(stream, VideoStream)
        if is_picture and self._kind.muxer == "mpegts" and stream.codec_context.name not in _CODECS_OF_TS:
            raise ValueError("the pictures would lack their size")
        copy = piece.add_stream_from_template(stream)
        if is_picture and self._kind.muxer == "avi" and stream.average_rate:
            copy.time_base = 1 / stream.average_rate  # which is the rate of pictures in this kind of file
        return copy

    def _write(self, packet: Packet[Any]) -> None:
        ticks = round(self._begin_of_piece / packet.time_base)
        packet.dts = None if packet.dts is None else packet.dts - ticks
        packet.pts = None if packet.pts is None else packet.pts - ticks
        packet.stream = self._copies[packet.stream.index]
        if self._piece is not None:
            self._piece.mux(packet)


def _packets(container: InputContainer, *streams: _Stream) -> Iterator[Packet[Any]]:
    """Yield the packets of streams to the end of the file, which may be truncated."""
    try:
        for packet in container.demux(*streams):
            if packet.dts is not None and packet.size:
                yield packet
    except av.FFmpegError:
        return
