from __future__ import annotations

import numpy as np
import pytest

from tencent_ci_emulator.media import UnsupportedMediaError
from tencent_ci_emulator.media.noise import NoiseMethod, reduce_noise
from tests.emulator.audio_tools import RATE, SPEECH, load, rms, si_sdr, tones, write


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A recording of speech with white noise, 5 dB below it."""
    clean = load(SPEECH)[0]
    noise = np.random.default_rng(1).normal(0, rms(clean) * 10 ** (-5 / 20), len(clean))
    return write(tmp_path_factory.mktemp("noise") / "noisy.wav", (clean + noise)[None])


@pytest.fixture(params=[NoiseMethod.SPEECH, NoiseMethod.FILTER])
def method(request):
    if request.param is NoiseMethod.SPEECH:
        request.getfixturevalue("with_speech")
    return request.param


def test_noise_is_reduced_and_the_speech_stays_in_time(noisy, tmp_path, method):
    shares: list[float] = []
    assert reduce_noise(noisy, tmp_path / "out", "wav", RATE, on_progress=shares.append) is method
    before, after, clean = load(noisy)[0], load(tmp_path / "out")[0], load(SPEECH)[0]
    assert len(after) == len(before)
    # 15.8 dB and 12.7 dB measured, of 5.0 dB
    assert si_sdr(after, clean) > {NoiseMethod.SPEECH: 15, NoiseMethod.FILTER: 12}[method]
    # Not late: the best of all alignments is this one
    window = slice(RATE, 3 * RATE)
    delays = {delay: after[window] @ np.roll(clean, delay)[window] for delay in (-1500, -300, 0, 300, 1500)}
    assert max(delays, key=delays.__getitem__) == 0
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0, abs=0.01)


def test_of_several_channels_one_is_made(tmp_path, method):
    centre, side = tones()
    reduce_noise(write(tmp_path / "in.wav", centre + side), tmp_path / "out", "mp3", 16_000)
    assert load(tmp_path / "out", "stereo").shape[1] / RATE == pytest.approx(2.0, abs=0.1)


def test_what_has_no_sound_is_refused(tmp_path):
    (tmp_path / "in.wav").write_bytes(b"no sound")
    with pytest.raises(UnsupportedMediaError):
        reduce_noise(tmp_path / "in.wav", tmp_path / "out", "wav", 16_000)
