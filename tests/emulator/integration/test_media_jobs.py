"""Jobs that are really worked on, with Tencent's Python SDK as the client, measured with other tools."""

from __future__ import annotations

import hashlib

import pytest
from qcloud_cos import CosServiceError

from tencent_ci_emulator.server import Emulator
from tests.emulator.audio_tools import MIX, RATE, SPEECH, level, load, rms, si_sdr, tones, write
from tests.emulator.integration.test_sdk import BUCKET, finished
from tests.emulator.media_tools import probe
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
        ("mp3", {"Codec": "mp3", "Samplerate": "16000"}, ("mp3", "mp3float", 16000)),
        ("flac", {"Codec": "flac"}, ("flac", "flac", RATE)),
        ("wav", {"Codec": "pcm_s16le", "Samplerate": "8000"}, ("wav", "pcm_s16le", 8000)),
        ("amr", {"Codec": "amr"}, ("amr", "amrnb", 8000)),
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


def test_noise_reduction_needs_a_documented_format(client):
    with pytest.raises(CosServiceError) as caught:
        submit(client, "NoiseReduction", NoiseReduction={"Format": "flac"}, Output={"Object": "out/clean"})
    assert "Operation.NoiseReduction.Format is 'flac'" in str(caught.value.get_origin_msg())


# MediaInfo


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
