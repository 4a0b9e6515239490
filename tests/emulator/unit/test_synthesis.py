from __future__ import annotations

import threading

import av
import numpy as np
import pytest

from tencent_ci_emulator.media import describe, synthesis
from tencent_ci_emulator.media.synthesis import UnspeakableTextError, Voice, synthesize
from tests.emulator.audio_tools import RATE, load, rms

pytestmark = pytest.mark.usefixtures("with_synthesis")
TEXT = "The quick brown fox jumps over the lazy dog."


def speak(path, text=TEXT, **voice):
    synthesize(text, path, "wav", Voice(**{"language": "en-us+f2", **voice}))
    return load(path)[0]


@pytest.mark.parametrize(
    ("audio_format", "name"), [("wav", "pcm_s16le"), ("mp3", "mp3"), ("pcm", "pcm_s16le")]
)
def test_speech_in_every_format(tmp_path, audio_format, name):
    path = tmp_path / "speech"
    synthesize(TEXT, path, audio_format, Voice("en-us+f2"))
    container, stream = describe(path, pcm_rate=synthesis.RATE if audio_format == "pcm" else None)
    assert (stream["CodecName"], stream["SampleRate"], stream["Channel"]) == (name, 16_000, 1)
    assert 2.0 < stream["Duration"] < 5.0
    assert container["Size"] == path.stat().st_size
    if audio_format == "pcm":
        samples = np.fromfile(path, "<i2") / 32768
        assert len(samples) == pytest.approx(stream["Duration"] * 16_000)
        assert rms(samples) > 0.02


def test_speed_volume_and_voice_can_be_heard(tmp_path):
    usual, fast = speak(tmp_path / "1"), speak(tmp_path / "2", speed=200)
    assert len(fast) < 0.65 * len(usual)
    quiet = speak(tmp_path / "3", volume=50)
    assert rms(quiet) == pytest.approx(0.5 * rms(usual), rel=0.1)
    other = speak(tmp_path / "4", language="en-us+m3")
    assert pitch(other) < 0.8 * pitch(usual)


def pitch(samples):
    """Return the frequency, between 60 and 400 Hz, at which the speech is like itself."""
    middle = samples[len(samples) // 4 : len(samples) // 2]
    spectrum = np.fft.rfft(middle, 2 * len(middle))
    similar = np.fft.irfft(spectrum * np.conj(spectrum))
    lags = np.arange(RATE // 400, RATE // 60)
    return RATE / lags[np.argmax(similar[lags])]


def test_chinese_takes_its_time(tmp_path):
    assert len(speak(tmp_path / "1", "今天天气很好，我们去公园吧。", language="cmn+f2")) > 1.5 * RATE


@pytest.mark.parametrize("text", ["", " \n", "... ?!"])
def test_a_text_without_words_is_no_recording(tmp_path, text):
    with pytest.raises(UnspeakableTextError):
        speak(tmp_path / "1", text)


def test_it_can_be_stopped(tmp_path):
    calls = []

    def stop(share):
        calls.append(share)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(TEXT * 20, tmp_path / "1", "wav", Voice("en-us"), on_progress=stop)
    assert len(calls) < 5
    assert not (tmp_path / "1").exists()


def test_several_speak_at_once_without_mixing(tmp_path):
    """The library has one state, and each has a speed of its own."""
    speeds = (60, 90, 130, 190)
    text, barrier = TEXT * 10, threading.Barrier(len(speeds))
    alone = {speed: len(speak(tmp_path / f"alone-{speed}", text, speed=speed)) for speed in speeds}
    together = {}

    def speak_with_others(speed):
        barrier.wait()
        together[speed] = len(speak(tmp_path / str(speed), text, speed=speed))

    threads = [threading.Thread(target=speak_with_others, args=(speed,)) for speed in speeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == pytest.approx(alone, rel=0.01)


def test_a_voice_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="no voice"):
        speak(tmp_path / "1", language="tlh-none")


def test_a_file_without_header_is_read_only_as_what_it_is_said_to_be(tmp_path):
    synthesize(TEXT, tmp_path / "1", "pcm", Voice("en-us"))
    with pytest.raises(av.FFmpegError):
        describe(tmp_path / "1")
