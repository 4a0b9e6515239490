"""Opening media files, which may be malicious, and decoding their sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

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
    good = bad = 0
    reason = ""
    packets = container.demux(stream)
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
            if isinstance(frame, AudioFrame):
                good += 1
                yield frame
    if bad > good or not good:
        raise UnsupportedMediaError(f"its audio cannot be decoded ({reason or 'no data'})")
