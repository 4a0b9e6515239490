"""PocketSphinx listens to the announcement of ``example_dags/media``."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pytest

from tencent_ci_emulator.media import Stem, UnsupportedMediaError, recognition, separate
from tencent_ci_emulator.media.recognition import recognize
from tests.emulator.audio_tools import MEDIA, RATE, load, write

sphinx_process = pytest.importorskip(
    "tencent_ci_emulator.media.sphinx_process", reason="the extra recognition is not installed"
)
pytestmark = pytest.mark.usefixtures("with_recognition")
ANNOUNCEMENT = MEDIA / "announcement_over_music.mp3"
TEXT = (MEDIA / "announcement.txt").read_text("utf-8")


def words(text: str) -> list[str]:
    return re.findall("[a-z']+", text.lower())


def count_errors(heard: list[str], said: list[str]) -> int:
    """Return how many words have to be changed, added or removed (the Levenshtein distance)."""
    row = [*range(len(heard) + 1)]
    for number, word in enumerate(said, start=1):
        previous, row = row, [number]
        for other, before, above in zip(heard, previous, previous[1:], strict=False):
            row.append(min(row[-1] + 1, above + 1, before + (word != other)))
    return row[-1]


@pytest.fixture(scope="module")
def greeting(tmp_path_factory):
    """The first sentence of the announcement."""
    samples = load(ANNOUNCEMENT, "stereo")[:, : int(3.2 * RATE)]
    return write(tmp_path_factory.mktemp("greeting") / "greeting.wav", samples)


def test_an_announcement_over_music_is_understood_after_the_separation(tmp_path):
    separate(ANNOUNCEMENT, {Stem.VOICE: tmp_path / "voice"}, "mp3")
    shares: list[float] = []
    sentences = recognize(tmp_path / "voice", shares.append)
    heard = words(" ".join(sentence.text for sentence in sentences))
    assert count_errors(heard, words(TEXT)) / len(words(TEXT)) < 0.15  # 2 of 64 measured
    assert shares == sorted(shares)
    assert shares[-1] > 0.9
    times = [(word.start, word.end) for sentence in sentences for word in sentence.words]
    assert times == sorted(times)
    assert all(start < end for start, end in times)


def test_words_have_the_times_at_which_they_are_heard(greeting):
    early = recognize(greeting)
    samples = load(greeting, "stereo")
    late = write(greeting.with_name("late.wav"), np.concatenate([np.zeros((2, 2 * RATE)), samples], axis=1))
    [first, *_], [moved, *_] = early, recognize(late)
    assert words(first.text)[:2] == words(moved.text)[:2] == ["good", "evening"]
    assert moved.start - first.start == pytest.approx(2.0, abs=0.1)
    # The script begins to speak after 0.6 s
    assert first.start == pytest.approx(0.6, abs=0.15)


def test_one_channel_can_be_listened_to(greeting):
    left, right = load(greeting, "stereo")
    one_sided = write(greeting.with_name("left.wav"), np.stack([(left + right) / 2, np.zeros_like(left)]))
    assert "evening" in " ".join(sentence.text for sentence in recognize(one_sided, channel=0))
    assert recognize(one_sided, channel=1) == []


def test_silence_says_nothing(tmp_path):
    assert recognize(write(tmp_path / "a.wav", np.zeros((1, 3 * RATE)))) == []


def test_no_media_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"no media")
    with pytest.raises(UnsupportedMediaError):
        recognize(tmp_path / "a")


def test_it_is_stopped_while_the_program_works(greeting, mocker):
    def stop(share):
        if share >= 0.2:  # all has been read
            raise KeyboardInterrupt

    started = mocker.spy(subprocess, "Popen")
    with pytest.raises(KeyboardInterrupt):
        recognize(greeting, stop)
    assert started.spy_return.returncode == -9


def test_a_program_that_fails_is_an_error(greeting, tmp_path, mocker):
    program = tmp_path / "program.py"
    program.write_text("import sys; sys.exit(3)")
    mocker.patch.object(recognition, "_PROGRAM", program)
    with pytest.raises(RuntimeError, match="status 3"):
        recognize(greeting)


def stretches_of(samples, mocker):
    """Return the starts, in seconds, and numbers of samples of the stretches that the program finds."""
    content = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    mocker.patch.object(sys, "stdin", mocker.Mock(buffer=io.BytesIO(content)))
    return [(start, len(speech) // 2) for start, speech in sphinx_process.stretches()]


def test_speech_without_a_pause_is_divided(mocker):
    mocker.patch.object(sphinx_process, "_LONGEST", 1.0)
    rate = sphinx_process.RATE
    buzz = 0.5 * np.sign(np.sin(2 * np.pi * 150 * np.arange(5 * rate) / rate))
    stretches = stretches_of(np.concatenate([np.zeros(rate), buzz, np.zeros(rate)]), mocker)
    assert len(stretches) > 4
    starts, lengths = zip(*stretches, strict=True)
    assert starts[0] == pytest.approx(1.0, abs=0.35)
    assert list(starts[1:]) == pytest.approx([a + b / rate for a, b in stretches[:-1]])
    assert sum(lengths) >= 4.7 * rate


@pytest.mark.parametrize("ending", [0, 1])
def test_speech_may_last_to_the_end_of_the_recording(ending, mocker):
    rate = sphinx_process.RATE
    count = 100 * 480 + ending  # frames of 30 ms
    buzz = 0.5 * np.sign(np.sin(2 * np.pi * 150 * np.arange(count) / rate))
    [(start, length)] = stretches_of(buzz, mocker)
    assert start * rate + length == pytest.approx(count, abs=480)
