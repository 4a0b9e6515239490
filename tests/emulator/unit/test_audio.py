from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tencent_ci_emulator.media import Encoding, Method, Stem, UnsupportedMediaError, describe, separate
from tests.emulator.audio_tools import MEDIA, MIX, RATE, SPEECH, level, load, rms, si_sdr, tones, write

BOTH = (Stem.VOICE, Stem.BACKGROUND)


EMPTY_WAV = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 2, RATE, 4 * RATE, 4, 16, b"data", 0
)


def run(source: Path, folder: Path, *args: object, stems: tuple[Stem, ...] = BOTH, **kwargs: object) -> dict:
    paths = {stem: folder / f"result-{stem}" for stem in stems}
    separate(source, paths, *args, **kwargs)
    return paths


def seconds(path: Path) -> float:
    return load(path).shape[1] / RATE


def test_the_media_of_the_examples_are_small():
    assert sum(path.stat().st_size for path in MEDIA.iterdir()) < 600_000


def test_voice_and_background_of_the_demo_recording_are_better_than_the_mix(tmp_path):
    paths = {stem: tmp_path / f"{stem}.mp3" for stem in BOTH}
    assert separate(MIX, paths, "mp3") is Method.CENTRE
    mix, speech = load(MIX, "stereo"), load(SPEECH)[0]
    music = mix - speech
    gain = si_sdr(load(paths[Stem.VOICE])[0], speech) - si_sdr(mix.mean(axis=0), speech)
    assert gain > 6  # 6.6 dB measured; against one side of the mix it is 9.5 dB
    background = load(paths[Stem.BACKGROUND], "stereo")
    assert si_sdr(background[0], music[0]) - si_sdr(mix[0], music[0]) > 6  # 6.8 dB measured


def test_centre_goes_to_the_voice_and_sides_go_to_the_background(tmp_path):
    centre, side = tones()
    paths = run(write(tmp_path / "in.wav", centre + side), tmp_path, "wav")
    voice, background = (load(paths[stem], "stereo")[0] for stem in BOTH)
    assert level(voice, 440) == pytest.approx(0.3, rel=0.05)
    assert level(voice, 1000) < 0.003
    assert level(background, 1000) == pytest.approx(0.3, rel=0.05)
    assert level(background, 440) < 0.01


@pytest.mark.parametrize("source", [MIX, SPEECH], ids=["stereo", "mono"])
def test_stems_add_up_to_the_mix_sample_by_sample(tmp_path, source):
    paths = run(source, tmp_path, "wav", stems=tuple(Stem))
    mix = load(source, "stereo")
    total = sum(load(path, "stereo") for path in paths.values())
    assert total.shape == mix.shape
    assert np.abs(total - mix).max() < 2e-4  # a few steps of 16 bits


def test_mono_results_are_the_mean_of_both_sides(tmp_path):
    paths = run(MIX, tmp_path, "wav", channels=1)
    total = sum(load(path)[0] for path in paths.values())
    assert np.abs(total - load(MIX, "stereo").mean(axis=0)).max() < 2e-4


def test_music_mode_splits_the_accompaniment_by_frequency(tmp_path):
    time = np.arange(2 * RATE) / RATE
    low, mid, high = (0.2 * np.sin(2 * np.pi * hertz * time) for hertz in (40, 1000, 9000))
    wide = low + mid + high
    source = write(tmp_path / "in.wav", np.stack([wide, -wide]))
    stems = {s: load(p, "stereo")[0] for s, p in run(source, tmp_path, "wav", stems=tuple(Stem)).items()}
    strongest = {hertz: max(stems, key=lambda s: level(stems[s], hertz)) for hertz in (40, 1000, 9000)}
    assert strongest == {40: Stem.BASS, 1000: Stem.BACKGROUND, 9000: Stem.DRUMS}


def mono_mix(folder):
    return write(folder / "mix.wav", load(MIX, "stereo").mean(axis=0)[np.newaxis])


def test_speech_in_a_mono_recording_is_separated_from_its_music(tmp_path, with_speech):
    source, clean = mono_mix(tmp_path), load(SPEECH)[0]
    paths = {stem: tmp_path / f"{stem}.wav" for stem in BOTH}
    assert separate(source, paths, "wav") is Method.SPEECH
    voice, background, mix = (load(path)[0] for path in (*paths.values(), source))
    assert si_sdr(voice, clean) - si_sdr(mix, clean) > 7  # 7.8 dB measured
    assert si_sdr(background, mix[: len(clean)] - clean) > 5
    assert np.abs(voice + background - mix).max() < 2e-4
    assert si_sdr(load(run(SPEECH, tmp_path, "wav")[Stem.VOICE])[0], clean) > 15  # and speech alone is kept


def test_without_the_extra_a_mono_mix_is_only_filtered_and_the_method_says_so(tmp_path):
    source, clean = mono_mix(tmp_path), load(SPEECH)[0]
    assert separate(source, {Stem.VOICE: tmp_path / "voice.wav"}, "wav") is Method.BAND
    assert si_sdr(load(tmp_path / "voice.wav")[0], clean) - si_sdr(load(source)[0], clean) < 1
    assert "not separated" in Method.BAND


def test_mono_voice_is_the_speech_band_and_background_the_rest(tmp_path):
    time = np.arange(2 * RATE) / RATE
    both = np.sin(2 * np.pi * 40 * time) * 0.3 + np.sin(2 * np.pi * 600 * time) * 0.3
    paths = run(write(tmp_path / "in.wav", both[np.newaxis]), tmp_path, "wav")
    voice, background = (load(paths[stem])[0] for stem in BOTH)
    assert level(voice, 600) > 0.25
    assert level(voice, 40) < 0.02
    assert level(background, 40) > 0.25
    assert level(background, 600) < 0.05
    assert describe(paths[Stem.VOICE])[1]["Channel"] == 1


def test_mono_speech_is_kept(tmp_path):
    paths = run(SPEECH, tmp_path, "wav")
    assert si_sdr(load(paths[Stem.VOICE])[0], load(SPEECH)[0]) > 15


@pytest.mark.parametrize(
    ("settings", "codec", "rate", "channels"),
    [
        ({}, "aac", 44_100, 2),
        ({"codec": "AAC", "sample_rate": 96_000, "channels": 8}, "aac", 96_000, 8),
        ({"codec": "mp3", "sample_rate": 22_050, "channels": 1}, "mp3", 22_050, 1),
        ({"codec": "mp3", "bitrate": 1000}, "mp3", 44_100, 2),
        ({"codec": "flac", "sample_rate": 48_000, "channels": 6}, "flac", 48_000, 6),
        ({"codec": "flac", "channels": 4}, "flac", 44_100, 4),
        ({"codec": "wav", "sample_rate": 8_000, "channels": 5}, "pcm_s16le", 8_000, 5),
        ({"codec": "amr"}, "amr_nb", 8_000, 1),
        ({"codec": "amr", "sample_rate": 8_000, "bitrate": 5, "channels": 1}, "amr_nb", 8_000, 1),
    ],
)
def test_every_codec_obeys_the_settings_and_lasts_as_long_as_the_input(
    tmp_path, settings, codec, rate, channels
):
    centre, side = tones(1.7)
    paths = run(write(tmp_path / "in.wav", centre + side), tmp_path, **settings)
    for path in paths.values():
        form, stream = describe(path)
        assert (stream["CodecName"], stream["SampleRate"], stream["Channel"]) == (codec, rate, channels)
        assert seconds(path) == pytest.approx(1.7, abs=0.1)
        assert form["Duration"] == pytest.approx(1.7, abs=0.1)
        assert form["Size"] == path.stat().st_size
        assert rms(load(path)[0]) > 0.01 or channels == 1  # the side tone vanishes in a mono background


@pytest.mark.parametrize("kbits", [32, 192])
def test_bitrate_is_obeyed(tmp_path, kbits):
    source = write(tmp_path / "in.wav", sum(tones()))
    paths = run(source, tmp_path, "mp3", None, kbits, stems=(Stem.VOICE,))
    assert describe(paths[Stem.VOICE])[0]["Bitrate"] == pytest.approx(kbits, rel=0.05)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout"),
    [
        ("in.mp3", "libmp3lame", 32_000, "stereo"),
        ("in.flac", "flac", 96_000, "stereo"),
        ("in.m4a", "aac", 48_000, "stereo"),
        ("in.aac", "aac", 44_100, "mono"),
        ("in.amr", "libopencore_amrnb", 8_000, "mono"),
        ("in.avi", "pcm_s16le", 22_050, "stereo"),
        ("in.mov", "aac", 44_100, "stereo"),
    ],
)
def test_inputs_of_many_formats_are_read(tmp_path, name, codec, rate, layout):
    centre, side = tones(1.3, rate=rate)
    samples = (centre + side)[: 1 if layout == "mono" else 2]
    source = write(tmp_path / name, samples, codec=codec, rate=rate)
    paths = run(source, tmp_path, "wav")
    expected = load(source).shape[1] / RATE
    assert all(seconds(path) == pytest.approx(expected, abs=0.03) for path in paths.values())
    assert rms(load(paths[Stem.VOICE])[0]) > 0.05


def test_video_input_gives_its_sound(tmp_path):
    centre, side = tones(1.5)
    source = write(tmp_path / "in.mp4", centre + side, codec="aac", video=True)
    paths = run(source, tmp_path, "mp3")
    assert seconds(paths[Stem.VOICE]) == pytest.approx(1.5, abs=0.1)
    assert level(load(paths[Stem.VOICE])[0], 440) > 0.2
    assert describe(paths[Stem.VOICE])[0]["NumStream"] == 1


def test_surround_input_keeps_its_channel_count(tmp_path):
    centre, _ = tones(1.0)
    six = np.repeat(centre[:1], 6, axis=0)
    source = write(tmp_path / "in.flac", six, codec="flac", layout="5.1")
    assert describe(run(source, tmp_path)[Stem.VOICE])[1]["Channel"] == 6
    assert describe(run(source, tmp_path, "mp3")[Stem.VOICE])[1]["Channel"] == 2


@pytest.mark.parametrize("samples", [1, 100, 3000])
def test_very_short_input_keeps_its_length(tmp_path, samples):
    source = write(tmp_path / "in.wav", np.full((2, samples), 0.1))
    paths = run(source, tmp_path, "wav")
    assert load(paths[Stem.VOICE]).shape[1] == samples


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a media format"),
        (b"this is a letter, not a song\n" * 100, "not a media format"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "not a media format"),
        (b"ID3\x03\x00\x00\x00\x00\x00\x00" + bytes(range(1, 251)) * 400, "not a media|cannot be decoded"),
        (EMPTY_WAV, "no sound|cannot be decoded"),
    ],
    ids=["empty", "text", "concat", "garbage", "no samples"],
)  # fmt: skip
def test_unreadable_input_says_why_and_names_no_path(tmp_path, content, why):
    source = tmp_path / "in.mp3"
    source.write_bytes(content)
    with pytest.raises(UnsupportedMediaError, match=why) as caught:
        run(source, tmp_path)
    assert str(tmp_path) not in str(caught.value)


def test_a_playlist_cannot_make_the_emulator_read_other_files(tmp_path):
    secret = write(tmp_path / "secret.aac", tones(1.0)[0], codec="aac")
    playlist = tmp_path / "in.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    with pytest.raises(UnsupportedMediaError):
        run(playlist, tmp_path)


def test_video_without_sound_is_refused(tmp_path):
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=64, height=48)
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), dtype=np.uint8), format="rgb24")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnsupportedMediaError, match="no audio stream"):
        run(path, tmp_path)


def test_a_truncated_file_is_processed_to_its_end(tmp_path):
    source = tmp_path / "in.mp3"
    source.write_bytes(MIX.read_bytes()[:100_000])
    assert 5.5 < seconds(run(source, tmp_path, "wav")[Stem.VOICE]) < 6.5


def test_progress_rises_and_stops_the_work_by_raising(tmp_path):
    seen: list[float] = []
    run(MIX, tmp_path, "wav", on_progress=seen.append)
    assert seen == sorted(seen)
    assert 0.9 < seen[-1] <= 1

    def stop(done: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(MIX, tmp_path, "wav", on_progress=stop)


_PEAK = """
import sys
from pathlib import Path
from tencent_ci_emulator.media import Stem, separate
separate(Path(sys.argv[1]), {Stem.VOICE: Path(sys.argv[2]), Stem.BACKGROUND: Path(sys.argv[3])}, "flac")
status = Path("/proc/self/status").read_text()  # ru_maxrss would include the parent's memory before exec
print(status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_recording(tmp_path):
    def peak_kb(repeats: int) -> int:
        source = write(tmp_path / f"{repeats}.flac", np.tile(load(MIX, "stereo"), repeats), codec="flac")
        arguments = [sys.executable, "-c", _PEAK, source, tmp_path / "voice", tmp_path / "background"]
        return int(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)

    assert peak_kb(8) - peak_kb(1) < 15_000  # the seven parts more have 32 MB as floats


@pytest.mark.parametrize(
    ("given", "source", "expected"),
    [
        ({"codec": "mp3"}, (2, None), ("stereo", 44_100, 128_000)),
        ({"codec": "mp3"}, (2, 96), ("stereo", 44_100, 96_000)),
        ({"codec": "mp3"}, (6, 4608), ("stereo", 44_100, 320_000)),
        ({"codec": "amr"}, (2, 128), ("mono", 8_000, 12_200)),
        ({"codec": "amr", "bitrate": 8}, (2, 128), ("mono", 8_000, 7_950)),
        ({"codec": "flac"}, (3, 900), ("stereo", 44_100, None)),
        ({"codec": None, "bitrate": 500}, (1, 64), ("mono", 44_100, 500_000)),
        ({"codec": "opus"}, (1, 64), ("mono", 48_000, 64_000)),
        ({"codec": "Vorbis"}, (1, 64), ("stereo", 44_100, 64_000)),
    ],
)
def test_the_defaults_of_an_encoding(given, source, expected):
    channels, kbits = source
    chosen = Encoding.choose(**given, source_channels=channels, source_bitrate=kbits)
    assert (chosen.layout, chosen.sample_rate, chosen.bitrate) == expected


@pytest.mark.parametrize("given", [{"codec": "ape"}, {"codec": "mp3", "channels": 6}])
def test_impossible_encodings_are_refused(given):
    with pytest.raises(ValueError, match=r"ape|6 channels"):
        Encoding.choose(**given, source_channels=2, source_bitrate=None)
