"""The inputs of the jobs: a few seconds of the speech that this repository has, in several formats."""

from __future__ import annotations

import wave
from pathlib import Path

import av

SECONDS = 5
SPEECH = Path(__file__).resolve().parent.parent / "example_dags/media/speech_only.mp3"
#: By the end of the name: container, codec and sample rate.
FORMATS = {
    "wav": ("wav", "pcm_s16le", 16000),
    "mp3": ("mp3", "libmp3lame", 44100),
    "flac": ("flac", "flac", 44100),
    "m4a": ("ipod", "aac", 44100),
    "ogg": ("ogg", "libopus", 48000),
}


def write_speech(extension: str, path: Path) -> None:
    """Write ``SECONDS`` seconds of speech, mono, in one of :data:`FORMATS`."""
    container, codec, rate = FORMATS[extension]
    with av.open(str(SPEECH)) as source, av.open(str(path), "w", format=container) as result:
        stream = result.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)  # noqa: S101 - for the type only
        stream.layout = "mono"
        resampler = av.AudioResampler(stream.format, "mono", rate)
        for frame in source.decode(audio=0):
            if frame.time is not None and frame.time >= SECONDS:
                break
            for resampled in resampler.resample(frame):
                result.mux(stream.encode(resampled))
        for resampled in resampler.resample(None):
            result.mux(stream.encode(resampled))
        result.mux(stream.encode(None))


def sample_rate(path: Path) -> int | None:
    """Return the sample rate of a WAV file; ``None`` if it is none."""
    try:
        with wave.open(str(path)) as recording:
            return int(recording.getframerate())
    except (wave.Error, EOFError):
        return None
