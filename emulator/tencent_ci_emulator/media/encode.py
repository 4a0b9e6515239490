"""Decode clips, one after another, and encode them into one file: transcoding and concatenation.

Sound and pictures are taken frame by frame, so that memory does not grow with the recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import av

from tencent_ci_emulator.media.clips import Clip, OpenClip
from tencent_ci_emulator.media.mixing import Mix
from tencent_ci_emulator.media.source import UnsupportedMediaError, open_container
from tencent_ci_emulator.media.tracks import CONTAINERS, AudioSettings, Tracks, VideoSettings

#: Called with the share that is done, 0.0 to 1.0. It stops the work by raising
Progress = Callable[[float], None]


def encode(
    clips: Sequence[Clip],
    target: Path,
    container: str,
    audio: AudioSettings | None,
    video: VideoSettings | None,
    *,
    mixes: Sequence[Mix] = (),
    on_progress: Progress = lambda _: None,
) -> None:
    """Encode clips into one file.

    Size, frame rate and channels are the first clip's unless the settings say otherwise. Without settings for
    sound or pictures, the file has none of these; neither has it any if the clips have none.

    :param container: one of :data:`CONTAINERS`.
    :param mixes: sound to mix with the clips'.
    :raises UnsupportedMediaError: a clip cannot be read or has nothing that is to be encoded, or the result
        cannot be encoded as asked for; the text says why.
    """
    try:
        with ExitStack() as opened:
            sources = [OpenClip(opened.enter_context(open_container(clip.path)), clip) for clip in clips]
            output = opened.enter_context(av.open(str(target), "w", format=CONTAINERS[container].muxer))
            tracks = Tracks(output, CONTAINERS[container], sources, audio, video, mixes)
            total, done = sum(source.seconds for source in sources), 0.0
            for source in sources:
                for seconds in tracks.add(source):
                    on_progress(min(1.0, (done + seconds) / total) if total else 0.0)
                done += source.seconds
            tracks.end()
    except av.FFmpegError as error:
        reason = f"it cannot be encoded as {container} with these settings ({error.strerror})"
        raise UnsupportedMediaError(reason) from None
