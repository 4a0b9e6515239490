from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from tencent_ci_emulator.media.clips import Clip
from tencent_ci_emulator.media.encode import encode
from tencent_ci_emulator.media.tracks import AudioSettings, VideoSettings
from tests.emulator.audio_tools import RATE, load, rms, tones, write
from tests.emulator.media_tools import probe


def film(path, *seconds):
    """Write pictures at these times, without sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=64, height=48)
        stream.codec_context.time_base = Fraction(1, 1000)
        for second in seconds:
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(second * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_leap_in_the_clock_is_left_out(tmp_path):
    """In a damaged file it may be one of years, and each second would become many pictures."""
    source = film(tmp_path / "in.mkv", 0, 0.1, 0.2, 1000, 1000.1, 1000.2)
    encode([Clip(source)], tmp_path / "out.mp4", "mp4", None, VideoSettings(fps=10))
    assert probe(tmp_path / "out.mp4").video[0][4] == pytest.approx(6, abs=1)


def test_a_gap_is_filled_with_the_picture_before_it(tmp_path):
    source = film(tmp_path / "in.mkv", 0, 0.1, 3, 3.1)
    encode([Clip(source)], tmp_path / "out.mp4", "mp4", None, VideoSettings(fps=10))
    assert probe(tmp_path / "out.mp4").video[0][4] == pytest.approx(32, abs=1)


def test_the_level_stays_when_channels_are_mixed(tmp_path):
    """Two equal channels in full scale would be clipped if they were added."""
    centre, _ = tones(1.0)
    source = write(tmp_path / "in.wav", centre / np.abs(centre).max() * 0.95)
    encode([Clip(source)], tmp_path / "out.wav", "wav", AudioSettings(channels=1), None)
    assert rms(load(tmp_path / "out.wav")[0]) == pytest.approx(rms(load(source, "stereo")[0]), rel=0.01)


def test_the_shares_that_are_done_rise_to_one(tmp_path):
    centre, _ = tones(2.0)
    source, shares = write(tmp_path / "in.wav", centre), []
    clips = [Clip(source), Clip(source, 0.5, 1.5)]
    encode(clips, tmp_path / "out.wav", "wav", AudioSettings(), None, on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0, abs=0.1)
    assert load(tmp_path / "out.wav", "stereo").shape[1] == 3 * RATE
