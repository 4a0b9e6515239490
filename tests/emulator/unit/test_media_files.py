"""Files with wrong headers or packets: their durations, and whether they can be processed."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy
import pytest

from tencent_ci_emulator.media import Stem, UnsupportedMediaError, describe, separate
from tencent_ci_emulator.media.media_info import inspect


def sound(path, codec, container, *, rate=44_100, seconds=1.0, start=0):
    """Write a stereo tone whose timestamps begin at ``start`` samples."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options={"strict": "experimental"})
        stream.layout, stream.bit_rate = "stereo", 64_000
        tone = 0.3 * numpy.sin(2 * numpy.pi * 440 * numpy.arange(int(rate * seconds)) / rate)
        whole = av.AudioFrame.from_ndarray(numpy.stack([tone, tone]).astype("float32"), "fltp", "stereo")
        whole.sample_rate = rate
        fit = av.AudioResampler(
            stream.codec_context.format.name, "stereo", rate, frame_size=stream.frame_size or 1024
        )
        for frame in [*fit.resample(whole), *fit.resample(None)]:
            frame.pts, frame.time_base = start, Fraction(1, rate)
            start += frame.samples
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def wav(path, *, channels=1, rate=8000, bits=16, kind=1, content=b"\x00\x10" * 8000):
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", kind, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(content))
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body + content)) + body + content)
    return path


@pytest.mark.parametrize(
    ("codec", "rate", "seconds", "start"),
    [
        ("vorbis", 8000, 0.5, 0),
        ("vorbis", 48_000, 2.0, -312),
        ("vorbis", 44_100, 0.5, 2**31),
        ("libopus", 48_000, 1.0, 20_000),
    ],
)
def test_the_duration_of_ogg_files_of_one_page_or_with_any_start(tmp_path, codec, rate, seconds, start):
    path = sound(tmp_path / "a.ogg", codec, "ogg", rate=rate, seconds=seconds, start=start)
    info = inspect(path)
    assert info["Format"]["Duration"] == pytest.approx(seconds, abs=0.03)
    assert info["Stream"]["Audio"][0]["Duration"] == info["Format"]["Duration"]


@pytest.mark.parametrize(
    ("codec", "container"),
    [
        ("wmav2", "asf"),
        ("wmav2", "avi"),  # its packets have no duration
        ("wavpack", "matroska"),  # nor have these
        ("flac", "ogg"),
        ("aac", "adts"),
        ("aac", "avi"),  # its tag is no text
        ("libmp3lame", "mp4"),
        ("pcm_s16le", "w64"),
    ],
)
def test_the_duration_of_every_container(tmp_path, codec, container):
    path = sound(tmp_path / "a", codec, container)
    assert inspect(path)["Format"]["Duration"] == pytest.approx(1.0, abs=0.06)
    separate(path, {Stem.VOICE: tmp_path / "voice"}, "wav")
    assert describe(tmp_path / "voice")[0]["Duration"] == pytest.approx(1.0, abs=0.06)


def test_a_truncated_file_is_as_long_as_its_part(tmp_path):
    whole = sound(tmp_path / "a.ogg", "vorbis", "ogg", rate=48_000, seconds=10.0).read_bytes()
    half = tmp_path / "half.ogg"
    half.write_bytes(whole[: len(whole) // 2])
    assert 2 < inspect(half)["Format"]["Duration"] < 8


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"channels": 255}, "255 channels at 8000 Hz cannot be converted"),
        ({"channels": 65_535}, "cannot be decoded"),
        ({"rate": 1}, "a sample rate of 1 Hz"),
        ({"rate": 2**31 - 1}, "a sample rate of 2147483647 Hz"),
        ({"bits": 0}, "in a format that cannot be decoded"),
        ({"kind": 0}, "in a format that cannot be decoded"),
        ({"content": b""}, "cannot be decoded"),
    ],
)
def test_impossible_headers_are_refused(tmp_path, header, reason):
    path = wav(tmp_path / "a.wav", **header)
    with pytest.raises(UnsupportedMediaError, match=reason):
        separate(path, {Stem.VOICE: tmp_path / "voice"}, "wav")
    assert inspect(path)["Format"]["NumStream"] == 1


NO_NUMBERS = numpy.array([numpy.nan, numpy.inf, -numpy.inf, 1e38, 0.5], "<f4").repeat(2000).tobytes()


@pytest.mark.parametrize(("codec", "channels"), [("mp3", 1), ("aac", 2), ("flac", 2), ("amr", 1)])
def test_floats_that_are_not_finite_do_not_end_the_process(tmp_path, codec, channels):
    path = wav(tmp_path / "a.wav", channels=channels, bits=32, kind=3, content=NO_NUMBERS)
    separate(path, {Stem.VOICE: tmp_path / "voice", Stem.BACKGROUND: tmp_path / "rest"}, codec)
    assert describe(tmp_path / "voice")[0]["Duration"] > 0


@pytest.mark.parametrize("content", [b"", b"RIFF", b"OggS" + bytes(100)])
def test_the_beginning_of_a_file_is_refused(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    for read in (inspect, lambda one: separate(one, {Stem.VOICE: tmp_path / "voice"}, "wav")):
        with pytest.raises(UnsupportedMediaError, match="not a media format"):
            read(path)
