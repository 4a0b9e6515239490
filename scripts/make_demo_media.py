"""Make the demo recordings: synthetic speech in the centre of synthetic stereo music.

Run ``python scripts/make_demo_media.py`` to write into ``example_dags/media``:

``speech_over_music.mp3``, ``speech_only.mp3``
    A voice of eSpeak NG, and the same without the music, to measure how well the voice is separated.
``announcement_over_music.mp3``
    ``announcement.txt`` in a voice of Flite, which a speech recogniser understands, over quieter music.

It needs espeak-ng and flite on the PATH, numpy and PyAV. Everything is computed, nothing is recorded or
sampled, so the files are free of anybody's rights.

The music is meant to be a fair opponent: most of it is wide (pads and plucked notes that differ left and
right), while kick drum and bass sit in the centre with the voice, as in most real mixes.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float64]

RATE = 44_100
SECONDS = 13.0
TEXT = (
    "This recording was made for a demonstration of voice separation. "
    "The voice that you hear stands in the middle, and the music is spread out on both sides of it. "
    "After the job has run, the two are in files of their own."
)
SPEECH_RMS = 0.10
MUSIC_RMS = 0.14
QUIET_MUSIC_RMS = 0.08
LEAD_IN = 0.6  # seconds
PAUSE = 0.45  # seconds between the sentences of the announcement
BEAT = 0.5
CHORDS = ((220.0, 261.63, 329.63), (174.61, 220.0, 261.63), (196.0, 246.94, 293.66), (164.81, 207.65, 246.94))


def speech() -> Signal:
    """Return the spoken text as mono samples at ``RATE``, ``SECONDS`` long, with a short lead-in."""
    command = ["espeak-ng", "-v", "en-gb", "-s", "150", "-p", "45", "--stdout", TEXT]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    spoken = _decode(wav)
    result = np.zeros(int(SECONDS * RATE))
    start = int(LEAD_IN * RATE)
    spoken = spoken[: len(result) - start]
    result[start : start + len(spoken)] = spoken
    return _level(result, SPEECH_RMS)


def announcement(sentences: Sequence[str]) -> Signal:
    """Return sentences as mono samples at ``RATE``, with a short lead-in and a pause after each."""
    parts = [np.zeros(int(LEAD_IN * RATE))]
    for sentence in sentences:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            command = ["flite", "-voice", "kal16", "-t", sentence, "-o", file.name]
            subprocess.run(command, check=True)
            spoken = _decode(Path(file.name).read_bytes())
        loud = np.flatnonzero(np.abs(spoken) > 0.01)
        parts += [spoken[max(0, loud[0] - 500) : loud[-1] + 2000], np.zeros(int(PAUSE * RATE))]
    return _level(np.concatenate(parts), SPEECH_RMS)


def music(samples: int, rms: float, seed: int = 7) -> Signal:
    """Return the accompaniment, of shape (2, samples): wide pads and plucks, centred kick and bass."""
    random = np.random.default_rng(seed)
    result = np.zeros((2, samples))
    bar = 4 * BEAT
    for number in range(int(np.ceil(samples / RATE / bar))):
        chord = CHORDS[number % len(CHORDS)]
        _add(result[0], number * bar, _pad((chord[0], chord[2]), bar, random))
        _add(result[1], number * bar, _pad((chord[1], chord[0] * 2), bar, random))
        _add(result, number * bar, _bass(chord[0] / 2, bar))
        for eighth in range(8):
            _pluck_into(result, number * bar + eighth * BEAT / 2, chord[eighth % 3] * 2, eighth, random)
            _add(result[eighth % 2], number * bar + eighth * BEAT / 2, _hat(random))
        for beat in (0, 2):
            _add(result, number * bar + beat * BEAT, _kick())
    return _level(result, rms)


def _pad(chord: tuple[float, ...], seconds: float, random: np.random.Generator) -> Signal:
    """Sustained strings: slightly detuned saws with phases of their own, so that the two sides do not
    correlate.
    """
    time = np.arange(int(seconds * RATE)) / RATE
    total = np.zeros_like(time)
    for note in chord:
        for _ in range(3):
            frequency = note * (1 + random.normal(0, 0.004))
            for partial in range(1, 9):
                total += np.sin(2 * np.pi * (frequency * partial * time + random.random())) / partial**1.3
    fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.15)
    return 0.7 * total * fade


def _pluck_into(
    target: Signal, start: float, frequency: float, number: int, random: np.random.Generator
) -> None:
    """A plucked string (Karplus-Strong), alternately left and right with a quieter echo on the other side."""
    period = int(RATE / frequency)
    string = random.uniform(-1, 1, period)
    blocks = []
    for _ in range(int(0.9 * RATE / period)):
        string = 0.496 * (string + np.roll(string, 1))
        blocks.append(string)
    note = 2.5 * np.concatenate(blocks)
    _add(target[number % 2], start, note)
    _add(target[1 - number % 2], start + 0.021, 0.3 * note)


def _bass(frequency: float, seconds: float) -> Signal:
    time = np.arange(int(seconds * RATE)) / RATE
    tone: Signal = 0.5 * np.sin(2 * np.pi * frequency * time) * np.exp(-1.2 * (time % (2 * BEAT)))
    return tone


def _kick() -> Signal:
    time = np.arange(int(0.25 * RATE)) / RATE
    kick: Signal = 1.2 * np.sin(2 * np.pi * (50 * time + 8 * (1 - np.exp(-time * 30)))) * np.exp(-time * 16)
    return kick


def _hat(random: np.random.Generator) -> Signal:
    time = np.arange(int(0.08 * RATE)) / RATE
    noise = np.diff(random.normal(0, 0.5, len(time) + 1))
    hat: Signal = noise * np.exp(-time * 60)
    return hat


def _add(target: Signal, start: float, sound: Signal) -> None:
    first = int(start * RATE)
    length = min(sound.shape[-1], target.shape[-1] - first)
    if length > 0:
        target[..., first : first + length] += sound[:length]


def _level(signal: Signal, rms: float) -> Signal:
    scaled: Signal = signal * (rms / float(np.sqrt(np.mean(signal**2))))
    return scaled


def _decode(data: bytes) -> Signal:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(io.BytesIO(data), "r") as container:
        decoded = [frame for packet in container.decode(audio=0) for frame in resampler.resample(packet)]
        decoded += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in decoded]).astype(np.float64)


def write_mp3(path: Path, samples: Signal, kbits: int) -> None:
    """Encode samples of shape (n,) or (2, n) at ``RATE``."""
    planes = np.atleast_2d(samples).astype(np.float32)
    layout = "stereo" if len(planes) == 2 else "mono"
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=RATE, layout=layout, bit_rate=kbits * 1000)
        for frame in _frames(planes, layout):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _frames(planes: npt.NDArray[np.float32], layout: str) -> Iterator[av.AudioFrame]:
    size = 1152
    for first in range(0, planes.shape[1], size):
        block = np.ascontiguousarray(planes[:, first : first + size])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = RATE, first
        yield frame


def _mix(voice: Signal, music_rms: float) -> tuple[Signal, float]:
    """Return a voice over music, and by what both were divided so that nothing is clipped."""
    mix = voice + music(len(voice), music_rms)
    peak = max(1.0, float(np.abs(mix).max()) / 0.97)
    return mix / peak, peak


def main() -> None:
    """Write the files and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = Path(__file__).resolve().parent.parent / "example_dags" / "media"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to (default: %(default)s)")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    voice = speech()
    mix, peak = _mix(voice, MUSIC_RMS)
    write_mp3(folder / "speech_over_music.mp3", mix, 128)
    write_mp3(folder / "speech_only.mp3", voice / peak, 64)
    sentences = (default / "announcement.txt").read_text("utf-8").splitlines()
    write_mp3(folder / "announcement_over_music.mp3", _mix(announcement(sentences), QUIET_MUSIC_RMS)[0], 96)
    for path in sorted(folder.glob("*.mp3")):
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
