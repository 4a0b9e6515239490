"""Opening media files, which may be malicious, and decoding them.

Any single file with sound that FFmpeg reads: mp3, wav, flac, m4a, aac, amr, ogg, mp4, mov, avi, mkv, and
more. Playlists are refused: they could make FFmpeg open other files or addresses. A file that is cut off or
damaged in places is decoded as far as that is possible. A job fails with ``ResourceNotSupported`` if its
input is no media, has no audio stream, no sound that can be decoded, a sample rate outside 1 kHz to 1 MHz,
or more channels than FFmpeg can mix down; its ``Message`` says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# Only containers that hold their own sound. Playlists (hls, concat, dash, sdp) name further files and
# addresses, which FFmpeg would open: with an uploaded text a client could read files of this machine or reach
# its network
_CONTAINERS = (
    "3dostr,aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,dv,eac3,flac,flv,gsm,gxf,matroska,webm,mov,mp4,m4a,3gp,"
    "3g2,mp3,mpeg,mpegts,mxf,nut,ogg,oma,rm,swf,tta,voc,w64,wav,wv"
)
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}


class UnsupportedMediaError(ValueError):
    """The input is not media with sound that FFmpeg can read. The text completes "the input object cannot be
    processed:" and names no local path.
    """


def open_media(path: Path) -> InputContainer:
    """Open a local media file that has at least one audio stream.

    :raises UnsupportedMediaError: unknown format, damaged beyond reading, or without sound.
    """
    container = open_container(path)
    problem = _problem(container)
    if problem is not None:
        container.close()
        raise UnsupportedMediaError(problem)
    return container


def _problem(container: InputContainer) -> str | None:
    """Return the reason in the headers why the sound cannot be decoded, ``None`` without one."""
    if not container.streams.audio:
        return "it has no audio stream"
    # None where FFmpeg has no decoder, which PyAV's types do not say
    context: AudioCodecContext | None = container.streams.audio[0].codec_context
    return None if context else "its audio is in a format that cannot be decoded"


def open_container(path: Path) -> InputContainer:
    """Open a local media file, with or without sound.

    :raises UnsupportedMediaError: unknown format, or damaged beyond reading.
    :raises FileNotFoundError: there is no such file.
    """
    try:
        return av.open(str(path), options=_OPTIONS, metadata_errors="replace")
    except av.FFmpegError as error:
        if not path.exists():
            raise FileNotFoundError(path) from None
        raise UnsupportedMediaError(f"not a media format that can be read ({error.strerror})") from None


def audio_frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Yield the decoded frames to the end of the file, which may be truncated; skip damaged packets.

    :raises UnsupportedMediaError: most packets are damaged: FFmpeg has taken the file for another format.
    """
    for frame in decoded_frames(container, stream):
        if isinstance(frame, AudioFrame):
            yield frame


def decoded_frames(
    container: InputContainer, *streams: AudioStream | VideoStream
) -> Iterator[AudioFrame | VideoFrame]:
    """Yield the frames of all streams in the file's order, as :func:`audio_frames` does."""
    good = bad = 0
    reason = ""
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
            frames = packet.decode()
        except StopIteration:
            break
        except av.InvalidDataError as error:
            bad, reason = bad + 1, error.strerror or reason
            if bad > good + 50:
                break
            continue
        except av.FFmpegError as error:
            reason = error.strerror or reason
            break
        for frame in frames:
            if isinstance(frame, (AudioFrame, VideoFrame)):
                good += 1
                yield frame
    if bad > good or not good:
        kind = " and ".join(sorted({stream.type for stream in streams}))
        raise UnsupportedMediaError(f"its {kind} cannot be decoded ({reason or 'no data'})")


def source_kbits(container: InputContainer, stream: AudioStream) -> int | None:
    """Return the bitrate of a file's sound in kbit/s, ``None`` if the file does not say."""
    bits = stream.bit_rate or (container.bit_rate if len(container.streams) == 1 else None)
    return round(bits / 1000) if bits else None


def expected_seconds(container: InputContainer, stream: AudioStream | VideoStream) -> float:
    """Return the duration that the headers claim, 0 if they do not say."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1_000_000
