"""Jobs that are really worked on, with Tencent's Python SDK as the client, measured with other tools."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from qcloud_cos import CosServiceError

from tencent_ci_emulator.server import Emulator
from tests.emulator.audio_tools import MIX, RATE, SPEECH, level, load, rms, si_sdr, tones, write
from tests.emulator.integration.test_sdk import BUCKET, finished
from tests.emulator.media_tools import key_pictures, picture, probe
from tests.emulator.sdk_clients import python_client

FILM, SOUND = "in/film.mkv", "in/mix.mp3"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    centre, side = tones(2.0)
    film = write(tmp_path_factory.mktemp("film") / "film.mkv", centre + side, codec="aac", video=True)
    with Emulator() as running:
        client = python_client(running)
        for key, path in ((FILM, film), (SOUND, MIX), ("in/speech.mp3", SPEECH)):
            client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
        client.put_object(Bucket=BUCKET, Key="in/junk.mp4", Body=b"a film")
        yield running


@pytest.fixture
def client(emulator):
    return python_client(emulator)


def submit(client, tag, key=FILM, **operation):
    """Submit a job whose output, if it has one, is in the bucket; return the SDK's description of it."""
    if "Output" in operation:
        operation["Output"] = {"Region": "ap-guangzhou", "Bucket": BUCKET, **operation["Output"]}
    request = {"Tag": tag, "Operation": operation}
    if key is not None:
        request["Input"] = {"Object": key}
    return client.ci_create_media_jobs(Bucket=BUCKET, Jobs=request, Lst={})["JobsDetail"][0]


def done(client, tag, key=FILM, **operation):
    """Return the job after its success."""
    job = finished(client, submit(client, tag, key, **operation)["JobId"])
    assert (job["State"], job["Code"]) == ("Success", "Success"), job["Message"]
    return job


def download(client, key, folder):
    path = folder / key.replace("/", "-")
    client.get_object(Bucket=BUCKET, Key=key)["Body"].get_stream_to_file(str(path))
    return path


def only_file(job):
    """Return the key of the one result, whose MD5 is described, too."""
    written = job["Operation"]["MediaResult"]["OutputFile"]
    assert (written["Bucket"], written["Region"]) == (BUCKET, "ap-guangzhou")
    assert written["Md5Info"]["ObjectName"] == written["ObjectName"]
    return written["ObjectName"]


# Transcode


def transcode(client, parameters, name, key=FILM, **operation):
    return done(client, "Transcode", key, Transcode=parameters, Output={"Object": name}, **operation)


def test_transcoding_a_film(client, tmp_path):
    parameters = {
        "Container": {"Format": "mp4"},
        "Video": {"Codec": "H.264", "Width": "128", "Fps": "5", "Crf": "30", "Gop": "10"},
        "Audio": {"Codec": "aac", "Samplerate": "22050", "Channels": "1", "Bitrate": "64"},
        "TimeInterval": {"Start": "0.5", "Duration": "1"},
    }
    job = transcode(client, parameters, "out/${jobid}.${ext}")
    assert job["Operation"]["Transcode"] == parameters
    assert (job["Message"], job["Progress"]) == (None, "100")
    key = only_file(job)
    assert key == f"out/{job['JobId']}.mp4"
    path = download(client, key, tmp_path)
    written = job["Operation"]["MediaResult"]["OutputFile"]
    assert written["Md5Info"]["Md5"] == hashlib.md5(path.read_bytes()).hexdigest()
    facts = probe(path)
    assert facts.container.startswith("mov,mp4")
    assert facts.video == [("h264", 128, 96, 5.0, 5)]  # the height keeps the ratio
    assert facts.audio == [("aac", 22050, 1)]
    assert facts.seconds == pytest.approx(1.0, abs=0.1)
    info = job["Operation"]["MediaInfo"]
    video, audio = info["Stream"]["Video"], info["Stream"]["Audio"]
    assert (video["CodecName"], video["Width"], video["Height"], video["NumFrames"]) == (
        "h264", "128", "96", "5",
    )  # fmt: skip
    assert (audio["CodecName"], audio["SampleRate"], audio["Channel"]) == ("aac", "22050", "1")
    assert float(info["Format"]["Duration"]) == pytest.approx(facts.seconds, abs=0.1)


@pytest.mark.parametrize(
    ("container", "audio", "names"),
    [
        ("mp3", {"Codec": "mp3", "Samplerate": "16000"}, ("mp3", "mp3", 16000)),
        ("flac", {"Codec": "flac"}, ("flac", "flac", RATE)),
        ("wav", {"Codec": "pcm_s16le", "Samplerate": "8000"}, ("wav", "pcm_s16le", 8000)),
        ("amr", {"Codec": "amr"}, ("amr", "amr_nb", 8000)),
        ("m4a", {"Codec": "aac"}, ("mov,mp4,m4a,3gp,3g2,mj2", "aac", RATE)),
        ("mkv", {"Codec": "opus"}, ("matroska,webm", "opus", 48000)),
        ("webm", {}, ("matroska,webm", "vorbis", RATE)),
    ],
)
def test_transcoding_sound(client, tmp_path, container, audio, names):
    """Without Video there is no picture, whatever the input has."""
    job = transcode(client, {"Container": {"Format": container}, "Audio": audio}, f"out/sound.{container}")
    path = download(client, only_file(job), tmp_path)
    facts = probe(path)
    assert (facts.container, facts.audio[0][0], facts.audio[0][1]) == names
    assert facts.video == []
    layout = {1: "mono", 2: "stereo"}[facts.audio[0][2]]  # the mix of both channels has no 1 kHz
    tolerance = 0.3 if container == "amr" else 0.05  # it is made for speech
    assert level(load(path, layout)[0], 440) == pytest.approx(0.3, rel=tolerance)


@pytest.mark.parametrize(
    ("parameters", "streams"),
    [
        ({"Video": {"Codec": "H.264"}}, (1, 0)),
        ({"Audio": {"Codec": "aac"}}, (0, 1)),
        ({"Video": {"Codec": "H.264"}, "Audio": {"Codec": "aac", "Remove": "true"}}, (1, 0)),
        ({"Video": {"Codec": "H.264"}, "Audio": {"Codec": "aac"}}, (1, 1)),
    ],
)
def test_what_is_absent_in_a_transcoding_is_removed(client, tmp_path, parameters, streams):
    job = transcode(client, {"Container": {"Format": "mp4"}, **parameters}, "out/streams.mp4")
    facts = probe(download(client, only_file(job), tmp_path))
    assert (len(facts.video), len(facts.audio)) == streams
    assert [frames for *_, frames in facts.video] == [20] * streams[0]  # the last picture is seen, too


def test_a_transcoding_by_template(client, tmp_path):
    template = {
        "Tag": "Transcode",
        "Name": "to-flac",
        "Container": {"Format": "flac"},
        "Audio": {"Codec": "flac", "Samplerate": "16000"},
    }
    made = client.ci_create_template(Bucket=BUCKET, Template=template)["Template"]
    job = done(client, "Transcode", TemplateId=made["TemplateId"], Output={"Object": "out/${jobid}.${ext}"})
    assert (job["Operation"]["TemplateName"], "Transcode" in job["Operation"]) == ("to-flac", False)
    assert probe(download(client, only_file(job), tmp_path)).audio == [("flac", 16000, 2)]


def test_music_is_mixed_with_a_transcoding(client, tmp_path):
    centre, side = tones(1.0)
    write(tmp_path / "tone.wav", 0.5 * centre)
    client.put_object(Bucket=BUCKET, Key="in/tone.wav", Body=(tmp_path / "tone.wav").read_bytes())
    write(tmp_path / "side.wav", side)

    def mixed(**mix):
        parameters = {
            "Container": {"Format": "wav"},
            "Audio": {"Codec": "pcm_s16le"},
            "AudioMixArray": {
                "AudioSource": f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/in/tone.wav",
                **mix,
            },
        }
        job = transcode(client, parameters, "out/mixed.wav", key="in/base.wav")
        return load(download(client, only_file(job), tmp_path), "stereo")[0]

    _, long_side = tones(3.0)
    write(tmp_path / "base.wav", long_side)
    client.put_object(Bucket=BUCKET, Key="in/base.wav", Body=(tmp_path / "base.wav").read_bytes())
    assert mixed().size == pytest.approx(3 * RATE, abs=1)
    # Repeated over all of the recording, and added to it
    assert level(mixed(), 440) == pytest.approx(0.15, rel=0.05)
    assert level(mixed(), 1000) == pytest.approx(0.3, rel=0.05)
    assert rms(mixed(MixMode="Once", Replace="true")[int(1.1 * RATE) :]) < 0.001
    assert level(mixed(Replace="true"), 1000) < 0.001
    fading = {"EnableStartFadein": "true", "StartFadeinTime": "1"}
    assert rms(mixed(Replace="true", EffectConfig=fading)[: RATE // 10]) < 0.02


def test_what_a_transcoding_does_not_apply_is_named(client):
    parameters = {
        "Container": {"Format": "mp4"},
        "Video": {"Codec": "H.264", "Rotate": "90", "Crop": "none"},
        "TransConfig": {"AdjDarMethod": "none", "HlsEncrypt": {"IsHlsEncrypt": "true", "UriKey": ""}},
    }
    job = transcode(client, parameters, "out/rotated.mp4", Watermark={"Type": "Text", "Text": {"Text": "a"}})
    assert job["Message"] == (
        "not applied: Transcode.Video.Rotate, Transcode.TransConfig.HlsEncrypt.IsHlsEncrypt, Watermark"
    )


def test_a_playlist_is_not_written_and_says_so(client, tmp_path):
    job = transcode(client, {"Container": {"Format": "hls"}, "Audio": {}}, "out/list.m3u8")
    assert job["Message"] == "not processed: the emulator does not write hls"
    assert download(client, only_file(job), tmp_path).read_text() == f"{job['Message']}\n"
    assert "MediaInfo" not in job["Operation"]


@pytest.mark.parametrize(
    ("key", "parameters", "code", "said"),
    [
        ("in/junk.mp4", {"Container": {"Format": "mp4"}, "Audio": {}}, "ResourceNotSupported", "not a media"),
        ("in/none.mp4", {"Container": {"Format": "mp4"}, "Audio": {}}, "ResourceNotFound", "in/none.mp4"),
        (SOUND, {"Container": {"Format": "mp4"}, "Video": {}}, "ResourceNotSupported", "no video stream"),
        (FILM, {"Container": {"Format": "mp4"}}, "ResourceNotSupported", "no"),
        (
            SOUND,
            {"Container": {"Format": "mp3"}, "Audio": {}, "TimeInterval": {"Start": "99"}},
            "ResourceNotSupported",
            "nothing between",
        ),
        (
            SOUND,
            {"Container": {"Format": "amr"}, "Audio": {"Codec": "mp3"}},
            "ResourceNotSupported",
            "encoded as amr",
        ),
        (
            SOUND,
            {"Container": {"Format": "mp3"}, "Audio": {}, "AudioMix": {"AudioSource": "in/none.mp3"}},
            "ResourceNotFound",
            "AudioMix.AudioSource in/none.mp3",
        ),
    ],
)
def test_a_transcoding_that_fails(client, key, parameters, code, said):
    job = submit(client, "Transcode", key, Transcode=parameters, Output={"Object": "out/failed"})
    failed = finished(client, job["JobId"])
    assert (failed["State"], failed["Code"]) == ("Failed", code)
    assert said in failed["Message"]
    assert not client.object_exists(Bucket=BUCKET, Key="out/failed")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"Audio": {}}, "Operation.Transcode.Container.Format is missing"),
        ({"Container": {"Format": "doc"}}, "Operation.Transcode.Container.Format is 'doc'"),
        (
            {"Container": {"Format": "mp4"}, "Video": {"Width": "64"}},
            "Operation.Transcode.Video.Width is '64'",
        ),
        ({"Container": {"Format": "mp4"}, "Video": {"Fps": "61"}}, "Operation.Transcode.Video.Fps is '61'"),
        ({"Container": {"Format": "mp4"}, "Audio": {"Samplerate": "7"}}, "Transcode.Audio.Samplerate is '7'"),
        ({"Container": {"Format": "mp4"}, "TimeInterval": {"Start": "-1"}}, "TimeInterval.Start is '-1'"),
    ],
)
def test_parameters_of_a_transcoding_are_checked(client, parameters, said):
    with pytest.raises(CosServiceError) as caught:
        submit(client, "Transcode", Transcode=parameters, Output={"Object": "out/refused"})
    assert caught.value.get_status_code() == 400
    assert said in str(caught.value.get_origin_msg())


# NoiseReduction


@pytest.mark.parametrize(
    ("parameters", "container", "rate"),
    [
        ({}, "wav", 16000),
        ({"Format": "mp3", "Samplerate": "24000"}, "mp3", 24000),
        ({"Format": "m4a", "SampleRate": "44100"}, "mov,mp4,m4a,3gp,3g2,mj2", 44100),
    ],
)
def test_noise_reduction(client, tmp_path, parameters, container, rate):
    operation = {"NoiseReduction": parameters} if parameters else {}
    job = done(
        client, "NoiseReduction", "in/speech.mp3", **operation, Output={"Object": "out/clean-${jobid}"}
    )
    assert job["Message"] == "SUCCESS"
    # Nothing describes the result, as in the documents' samples
    assert {*job["Operation"]} == {"Output", "JobLevel", *operation}
    path = download(client, f"out/clean-{job['JobId']}", tmp_path)
    facts = probe(path)
    assert (facts.container, facts.audio[0][1:]) == (container, (rate, 1))
    assert si_sdr(load(path)[0], load(SPEECH)[0]) > 10  # clean speech remains


@pytest.mark.parametrize(
    ("size", "code"), [(10 * 1024**2, "Success"), (10 * 1024**2 + 1, "ResourceNotSupported")]
)
def test_noise_is_reduced_in_inputs_of_ten_megabytes_at_most(client, size, code):
    recording = SPEECH.read_bytes()
    client.put_object(Bucket=BUCKET, Key="in/large.mp3", Body=recording + bytes(size - len(recording)))
    job = submit(client, "NoiseReduction", "in/large.mp3", Output={"Object": "out/large.wav"})
    assert finished(client, job["JobId"])["Code"] == code


def test_noise_reduction_needs_a_documented_format(client):
    with pytest.raises(CosServiceError) as caught:
        submit(client, "NoiseReduction", NoiseReduction={"Format": "flac"}, Output={"Object": "out/clean"})
    assert "Operation.NoiseReduction.Format is 'flac'" in str(caught.value.get_origin_msg())


# MediaInfo


def test_media_info_of_pictures(client):
    transcode(client, {"Container": {"Format": "mp4"}, "Video": {"Codec": "H.264"}}, "in/pictures.mp4")
    video = done(client, "MediaInfo", "in/pictures.mp4")["Operation"]["MediaInfo"]["Stream"]["Video"]
    facts = {
        "CodecTimeBase": "1/10",
        "CodecTagString": "avc1",
        "CodecTag": "0x31637661",  # as ffprobe prints it
        "ColorPrimaries": "unknown",
        "ColorRange": "unknown",
        "ColorTransfer": "unknown",
        "Profile": "High",
        "Width": "64",
        "Height": "48",
        "Sar": "1:1",
        "Dar": "4:3",
        "PixFormat": "yuv420p",
        "FieldOrder": "progressive",
        "Level": "10",
        "Fps": "10/1",
        "AvgFps": "10/1",
    }
    assert {name: video[name] for name in facts} == facts


def test_media_info_describes_the_input(client):
    job = done(client, "MediaInfo")
    assert {*job["Operation"]} == {"MediaInfo", "JobLevel"}
    info = job["Operation"]["MediaInfo"]
    assert info["Format"]["FormatName"] == "matroska,webm"
    video, audio = info["Stream"]["Video"], info["Stream"]["Audio"]
    assert (video["CodecName"], video["Width"], video["NumFrames"]) == ("mpeg4", "64", "20")
    assert (audio["CodecName"], audio["Channel"]) == ("aac", "2")
    failed = finished(client, submit(client, "MediaInfo", "in/junk.mp4")["JobId"])
    assert (failed["State"], failed["Code"]) == ("Failed", "ResourceNotSupported")


# Snapshot


def snapshots(client, folder, key=FILM, output="out/${jobid}/shot-${Number}.png", **parameters):
    """Return the names of the pictures, and the brightness and size of each."""
    job = done(client, "Snapshot", key, Snapshot=parameters, Output={"Object": output})
    written = job["Operation"]["MediaResult"]["OutputFile"]
    assert written["Md5Info"] is None
    names = written["ObjectName"] if isinstance(written["ObjectName"], list) else [written["ObjectName"]]
    prefix = written["ObjectPrefix"] or ""
    assert prefix == output.partition("${Number}")[0].replace("${jobid}", job["JobId"]) or not prefix
    return names, [picture(download(client, prefix + name, folder)) for name in names]


def test_snapshots_at_intervals(client, tmp_path):
    """The film has twenty pictures in two seconds, each one step brighter than the one before."""
    names, pictures = snapshots(client, tmp_path, Start="0.5", TimeInterval="0.5", Count="10", Width="128")
    assert names == ["0.png", "1.png", "2.png"]
    assert [kind for kind, *_ in pictures] == ["png"] * 3
    assert [size for _, *size, _ in pictures] == [[128, 96]] * 3
    assert [bright for *_, bright in pictures] == pytest.approx([5, 10, 15], abs=2)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"Mode": "Average", "Count": "4"}, [0, 5, 10, 15]),
        ({"Mode": "Average", "Count": "2", "Start": "1"}, [10, 15]),
        ({"Count": "3"}, [0, 1, 2]),  # every picture
        ({"Count": "3", "Start": "1"}, [10, 11, 12]),
        ({"TimeInterval": "1", "Count": "4", "IsCheckCount": "true"}, [0, 5, 10, 15]),
        ({"TimeInterval": "0.5", "Count": "4", "IsCheckCount": "true"}, [0, 5, 10, 15]),
    ],
)
def test_the_moments_of_snapshots(client, tmp_path, parameters, expected):
    _, pictures = snapshots(client, tmp_path, **parameters)
    assert [bright for *_, bright in pictures] == pytest.approx(expected, abs=2)


def test_snapshots_of_the_pictures_that_are_stored_completely(client, tmp_path):
    complete = key_pictures(download(client, FILM, tmp_path))
    assert 1 < len(complete) < 20
    _, pictures = snapshots(client, tmp_path, Mode="KeyFrame", Count="20")
    assert [bright for *_, bright in pictures] == pytest.approx(complete, abs=2)


@pytest.mark.parametrize(("extension", "kind"), [("jpg", "mjpeg"), ("webp", "webp"), ("other", "mjpeg")])
def test_the_kind_of_picture_is_that_of_the_key(client, tmp_path, extension, kind):
    names, pictures = snapshots(client, tmp_path, output=f"out/one.{extension}", Count="1")
    assert (names, pictures[0][0]) == ([f"out/one.{extension}"], kind)


def test_sprites_are_not_made_and_the_job_says_so(client):
    both = {"Object": "out/s-${Number}.jpg", "SpriteObject": "out/sprite-${Number}.jpg"}
    job = done(client, "Snapshot", Snapshot={"Count": "1", "CIParam": "x"}, Output=both)
    assert job["Message"] == "not applied: Snapshot.CIParam; the emulator does not make sprites"
    only = {"SpriteObject": "out/sprite-${Number}.jpg"}
    job = done(client, "Snapshot", Snapshot={"Count": "1"}, Output=only)
    assert job["Message"] == "not processed: the emulator does not make sprites"
    assert not client.object_exists(Bucket=BUCKET, Key="out/sprite-0.jpg")


@pytest.mark.parametrize(
    ("key", "parameters", "said"),
    [(SOUND, {"Count": "1"}, "no video stream"), (FILM, {"Count": "1", "Start": "9"}, "no picture at")],
)
def test_snapshots_that_fail(client, key, parameters, said):
    failed = finished(
        client, submit(client, "Snapshot", key, Snapshot=parameters, Output={"Object": "a.jpg"})["JobId"]
    )
    assert (failed["State"], failed["Code"], said in failed["Message"]) == (
        "Failed",
        "ResourceNotSupported",
        True,
    )


# Concat


def concatenated(client, folder, key, **parameters):
    job = done(client, "Concat", key, ConcatTemplate=parameters, Output={"Object": "out/${jobid}.${ext}"})
    return job, download(client, only_file(job), folder)


@pytest.fixture(scope="module")
def beeps(emulator, tmp_path_factory):
    """Three recordings of half a second, each with a tone of its own: 300, 600 and 900 Hz."""
    folder, client = tmp_path_factory.mktemp("beeps"), python_client(emulator)
    time = np.arange(RATE // 2) / RATE
    for hertz in (300, 600, 900):
        path = write(folder / f"{hertz}.wav", 0.3 * np.sin(2 * np.pi * hertz * time)[None])
        client.put_object(Bucket=BUCKET, Key=f"in/{hertz}.wav", Body=path.read_bytes())


def melody(path):
    """Return the tone of each half second."""
    sound = load(path)[0]
    halves = [sound[start : start + RATE // 2] for start in range(0, len(sound) - RATE // 4, RATE // 2)]
    return [max((300, 600, 900), key=lambda hertz: level(half, hertz)) for half in halves]


def fragment(hertz, **further):
    return {"Url": f"http://{BUCKET}.cos.ap-guangzhou.myqcloud.com/in/{hertz}.wav", **further}


@pytest.mark.parametrize(
    ("key", "fragments", "further", "expected"),
    [
        (None, [fragment(900), fragment(300), fragment(600)], {}, [900, 300, 600]),
        ("in/300.wav", [fragment(600), fragment(900)], {}, [300, 600, 900]),
        ("in/300.wav", [fragment(600), fragment(900)], {"Index": "1"}, [600, 300, 900]),
        ("in/300.wav", [fragment(600, Mode="End"), fragment(900, Mode="Start")], {}, [900, 300, 600]),
        (None, [fragment(600, FragmentIndex="1"), fragment(900, FragmentIndex="0")], {}, [900, 600]),
    ],
)
def test_the_order_of_a_concatenation(client, beeps, tmp_path, key, fragments, further, expected):
    parameters = {"ConcatFragment": fragments, "Container": {"Format": "mp3"}, **further}
    _, path = concatenated(client, tmp_path, key, **parameters, Audio={"Codec": "mp3"})
    assert probe(path).container == "mp3"
    assert melody(path) == expected


def test_parts_of_recordings_are_concatenated(client, beeps, tmp_path):
    parts = [fragment(300, StartTime="0.25"), fragment(600, EndTime="0.25"), fragment(900)]
    _, path = concatenated(client, tmp_path, None, ConcatFragment=parts, Container={"Format": "aac"})
    sound = load(path)[0]
    assert len(sound) / RATE == pytest.approx(1.0, abs=0.05)
    quarter = RATE // 4
    tones_heard = [
        max((300, 600, 900), key=lambda hertz: level(sound[n * quarter : (n + 1) * quarter], hertz))
        for n in range(4)
    ]
    assert tones_heard == [300, 600, 900, 900]


def test_films_are_concatenated_and_keep_sound_and_pictures(client, tmp_path):
    film = {"Url": f"http://{BUCKET}.cos.ap-guangzhou.myqcloud.com/{FILM}"}
    job, path = concatenated(
        client, tmp_path, FILM, ConcatFragment=film, Container={"Format": "mp4"}, DirectConcat="true"
    )
    facts = probe(path)
    assert facts.video[0][:4] == ("h264", 64, 48, 10.0)
    assert facts.video[0][4] == pytest.approx(40, abs=1)  # as long as the sound, padding and all
    assert facts.audio == [("aac", RATE, 2)]
    assert facts.seconds == pytest.approx(4.0, abs=0.1)
    assert job["Message"] == "not applied: ConcatTemplate.DirectConcat"


def test_sound_stays_beside_its_pictures(client, tmp_path):
    """After a film without sound."""
    silent = {"Container": {"Format": "mkv"}, "Video": {"Codec": "H.264"}}
    transcode(client, silent, "in/silent.mkv")
    films = [{"Url": "in/silent.mkv"}, {"Url": FILM}]
    _, path = concatenated(client, tmp_path, None, ConcatFragment=films, Container={"Format": "mp4"})
    sound = load(path)[0]
    assert rms(sound[: int(1.9 * RATE)]) < 0.01
    assert rms(sound[int(2.1 * RATE) : int(3.9 * RATE)]) > 0.1


def test_a_concatenation_without_pictures_or_of_nothing(client, tmp_path):
    removed = {"Container": {"Format": "mp4"}, "Video": {"Remove": "true"}}
    _, path = concatenated(client, tmp_path, FILM, **removed)
    assert probe(path).video == []

    def failed(key, **parameters):
        parameters = {"Container": {"Format": "mp3"}, **parameters}
        job = submit(client, "Concat", key, ConcatTemplate=parameters, Output={"Object": "out/failed"})
        return finished(client, job["JobId"])["Message"]

    assert "neither an input object nor a ConcatFragment" in failed(None)
    assert "in/none.wav" in failed(None, ConcatFragment={"Url": "in/none.wav"})
    assert "not a media" in failed("in/junk.mp4")
    with pytest.raises(CosServiceError) as caught:
        failed(FILM, ConcatFragment=[{"Url": "a"}, {"StartTime": "x"}])
    said = str(caught.value.get_origin_msg())
    assert "Operation.ConcatTemplate.ConcatFragment[1].Url is missing" in said
    assert "Operation.ConcatTemplate.ConcatFragment[1].StartTime is 'x'" in said


# Segment


def segments(client, folder, key, output="out/${jobid}/part-${Number}", **parameters):
    """Return the job, and the files of its pieces in order."""
    job = done(client, "Segment", key, Segment=parameters, Output={"Object": output})
    written = job["Operation"]["MediaResult"]["OutputFile"]
    names, md5s = written["ObjectName"], written["Md5Info"]
    keys = [one["ObjectName"] for one in md5s]
    assert keys == [written["ObjectPrefix"] + name for name in names]
    paths = [download(client, key, folder) for key in keys]
    assert [one["Md5"] for one in md5s] == [hashlib.md5(path.read_bytes()).hexdigest() for path in paths]
    return job, paths


def test_a_recording_in_pieces(client, tmp_path):
    job, paths = segments(client, tmp_path, SOUND, Format="mp3", Duration="5")
    written = job["Operation"]["MediaResult"]["OutputFile"]
    assert (written["ObjectPrefix"], written["ObjectName"]) == (
        f"out/{job['JobId']}/part-", ["0", "1", "2"],
    )  # fmt: skip
    assert [probe(path).seconds for path in paths] == pytest.approx([5, 5, 3], abs=0.1)
    # Copied, not encoded anew: the pieces' sound is the recording's, but for the beginning of each
    whole, second = load(MIX)[0], load(paths[1])[0]
    assert np.abs(second[RATE : 2 * RATE] - whole[6 * RATE : 7 * RATE]).max() > 0
    assert any(
        np.abs(second[RATE : 2 * RATE] - whole[start : start + RATE]).max() < 1e-3
        for start in range(6 * RATE - 3000, 6 * RATE + 3000)
    )


@pytest.mark.parametrize("kind", ["aac", "flac", "mp3"])
def test_pieces_of_a_part_of_a_recording(client, tmp_path, kind):
    _, paths = segments(client, tmp_path, SOUND, Format=kind, Duration="6", StartTime="1", EndTime="12")
    assert [probe(path).audio[0][0] for path in paths] == [kind, kind]
    assert sum(load(path).shape[1] / RATE for path in paths) == pytest.approx(11, abs=0.2)


@pytest.mark.parametrize(
    ("kind", "codec"), [("mp4", "mpeg4"), ("mkv", "mpeg4"), ("avi", "mpeg4"), ("ts", "h264")]
)
def test_a_film_in_pieces(client, tmp_path, kind, codec):
    centre, side = tones(7.0)
    film = write(tmp_path / "long.mkv", centre + side, codec="aac", video=True)
    client.put_object(Bucket=BUCKET, Key="in/long.mkv", Body=film.read_bytes())
    _, paths = segments(client, tmp_path, "in/long.mkv", Format=kind, Duration="5")
    facts = [probe(path) for path in paths]
    assert [one.video[0][:4] for one in facts] == [(codec, 64, 48, 10.0)] * 2
    assert facts[1].start == pytest.approx(facts[0].start, abs=0.1)
    assert sum(one.video[0][4] for one in facts) == pytest.approx(70, abs=2)
    assert [one.audio[0][0] for one in facts] == ["aac", "aac"]
    assert facts[0].seconds == pytest.approx(5, abs=1.2)  # it is cut at a complete picture


def test_segment_needs_a_number_and_writes_no_playlist(client):
    with pytest.raises(CosServiceError) as caught:
        submit(client, "Segment", SOUND, Segment={"Format": "mp3", "Duration": "5"}, Output={"Object": "a"})
    assert "Operation.Output.Object needs ${Number}" in str(caught.value.get_origin_msg())
    job = done(client, "Segment", SOUND, Segment={"Format": "hls", "Duration": "5"}, Output={"Object": "a"})
    assert job["Message"] == "not processed: the emulator does not write hls"


# StreamExtract


def test_streams_are_extracted(client, tmp_path):
    extracts = [
        {"Index": "0", "Object": "out/${jobid}/pictures.mp4"},
        {"Index": "1", "Object": "out/${jobid}/sound.aac"},
    ]
    job = done(client, "StreamExtract", Output={"StreamExtract": extracts})
    written = job["Operation"]["MediaResult"]["OutputFile"]
    keys = [f"out/{job['JobId']}/{name}" for name in ("pictures.mp4", "sound.aac")]
    assert written["ObjectName"] == keys
    pictures, sound = (probe(download(client, key, tmp_path)) for key in keys)
    assert (pictures.video, pictures.audio) == ([("mpeg4", 64, 48, 10.0, 20)], [])
    assert (sound.container, sound.audio) == ("aac", [("aac", RATE, 2)])
    other = {"Index": "1", "Object": "out/sound"}
    job = done(client, "StreamExtract", Output={"StreamExtract": other})
    assert probe(download(client, only_file(job), tmp_path)).container == "matroska,webm"


@pytest.mark.parametrize(
    ("extract", "said"),
    [
        ({"Index": "7", "Object": "out/x.mp4"}, "no stream of sound or pictures with the index 7"),
        ({"Index": "0", "Object": "out/x.mp3"}, "cannot be in a file of this kind"),
        ({"Object": "out/x.mp3"}, "Index is not a stream's number"),
    ],
)
def test_streams_that_cannot_be_extracted(client, extract, said):
    job = submit(client, "StreamExtract", Output={"StreamExtract": extract})
    failed = finished(client, job["JobId"])
    assert (failed["State"], said in failed["Message"]) == ("Failed", True), failed["Message"]
