"""Independent measuring tools: decode with PyAV, compute with numpy; nothing of the code under test."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MEDIA = Path(__file__).resolve().parents[2] / "example_dags" / "media"
MIX = MEDIA / "speech_over_music.mp3"
SPEECH = MEDIA / "speech_only.mp3"
RATE = 44_100


def load(path: Path, layout: str = "mono") -> np.ndarray:
    """Return samples at 44,100 Hz, shape (channels, n)."""
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=RATE)
    with av.open(str(path), "r") as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1).astype(np.float64)


def si_sdr(estimate: np.ndarray, reference: np.ndarray) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB, after aligning by cross-correlation."""
    size = 1 << int(np.ceil(np.log2(len(estimate) + len(reference))))
    correlation = np.fft.irfft(np.fft.rfft(estimate, size) * np.conj(np.fft.rfft(reference, size)), size)
    delay = int(np.argmax(correlation))
    delay = delay - size if delay > size // 2 else delay
    estimate = estimate[delay:] if delay >= 0 else np.concatenate([np.zeros(-delay), estimate])
    length = min(len(estimate), len(reference))
    estimate, reference = estimate[:length], reference[:length]
    target = (estimate @ reference) / (reference @ reference) * reference
    noise = estimate - target
    return float(10 * np.log10((target @ target) / (noise @ noise)))


def rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(signal**2)))


def write(
    path: Path,
    samples: np.ndarray,
    *,
    codec: str = "pcm_s16le",
    rate: int = RATE,
    layout: str | None = None,
    video: bool = False,
) -> Path:
    """Encode samples of shape (channels, n) into the container that the suffix names."""
    layout = layout or {1: "mono", 2: "stereo"}[len(samples)]
    resampler = av.AudioResampler(format=av.Codec(codec, "w").audio_formats[0].name, layout=layout, rate=rate)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10, width=64, height=48) if video else None
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if picture is not None:
            _write_video(container, picture, samples.shape[1] / rate)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples, dtype=np.float32), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for out in resampler.resample(frame):
            container.mux(stream.encode(out))
        container.mux(stream.encode(None))
    return path


def _write_video(container: av.container.OutputContainer, stream: av.VideoStream, seconds: float) -> None:
    for number in range(int(seconds * 10)):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, dtype=np.uint8), format="rgb24")
        frame.pts = number
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def tones(seconds: float = 2.0, *, rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    """Return a centred tone and a tone of opposite phase left and right, each of shape (2, n)."""
    time = np.arange(int(seconds * rate)) / rate
    centre, side = 0.3 * np.sin(2 * np.pi * 440 * time), 0.3 * np.sin(2 * np.pi * 1000 * time)
    return np.stack([centre, centre]), np.stack([side, -side])


def level(signal: np.ndarray, frequency: float) -> float:
    """Return the amplitude of one tone, away from the ends."""
    middle = signal[len(signal) // 4 : 3 * len(signal) // 4]
    time = np.arange(len(middle)) / RATE
    return float(2 * abs(np.mean(middle * np.exp(-2j * np.pi * frequency * time))))
