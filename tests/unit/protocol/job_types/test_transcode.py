"""The documented rules of transcoding (1045/73062, 1045/49911)."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.template_rules import check_template, template_request
from tests.unit.protocol.job_types.problems import problems

MP3: dict[str, Any] = {"Container": {"Format": "mp3"}, "Audio": {}}
MP4: dict[str, Any] = {"Container": {"Format": "mp4"}, "Video": {}}


def problems_of(parameters: dict[str, Any]) -> list[str]:
    return problems("Transcode", {"Transcode": parameters})


@pytest.mark.parametrize(
    "parameters",
    [
        MP3,
        MP4,
        {**MP4, "Audio": {"Codec": "aac", "Channels": 8, "Samplerate": "96000", "Bitrate": 1000}},
        {**MP3, "Audio": {"Codec": "amr", "Channels": 1, "Samplerate": 8000}},
        {**MP3, "Video": {"Remove": "true"}},
        {**MP3, "Video": {"Remove": True, "Codec": "H.264"}},
        {**MP4, "Video": {"Codec": "AV1", "Width": 4096, "Height": "128", "Fps": 0.5, "Bitrate": "auto"}},
        {**MP4, "Video": {"Bitrate": 10, "Crf": 51}},
        {**MP4, "TimeInterval": {"Start": "1.5", "Duration": 0.25}},
        {**MP4, "TransConfig": {"IsHdr2Sdr": True}, "AudioMixArray": [{"AudioSource": "a"}]},
    ],
)
def test_what_the_documents_allow_is_sent(parameters: dict[str, Any]) -> None:
    assert problems_of(parameters) == []


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"Audio": {}}, "Container.Format is None, allowed: mp4, hls"),
        ({"Container": {}, "Audio": {}}, "Container.Format is None, allowed: mp4, hls"),
        ({"Container": {"Format": "ogg"}, "Audio": {}}, "Container.Format is 'ogg', allowed: mp4, hls"),
        (
            {"Container": {"Format": "mp4"}},
            "Audio and Video is None, allowed: at least one of them, or the result",
        ),
        (
            {**MP3, "Video": {"Codec": "AV1"}},
            "Video.Codec is 'AV1', allowed: no value, because a file of format mp3",
        ),
        ({**MP3, "Audio": {"Codec": "vorbis"}}, "Audio.Codec is 'vorbis', allowed: aac, mp3"),
        (
            {**MP3, "Audio": {"Codec": "mp3", "Channels": 6}},
            "Audio.Channels is 6, allowed: 1, 2 with codec mp3",
        ),
        (
            {**MP3, "Audio": {"Codec": "Vorbis", "Channels": 1}},
            "Audio.Channels is 1, allowed: 2 with codec vorbis",
        ),
        ({**MP3, "Audio": {"Channels": 3}}, "Audio.Channels is 3, allowed: 1, 2, 4, 5, 6, 8"),
        (
            {**MP3, "Audio": {"Codec": "amr", "Samplerate": 16000}},
            "Audio.Samplerate is 16000, allowed: 8000 with codec amr",
        ),
        ({**MP3, "Audio": {"Bitrate": 7}}, "Audio.Bitrate is 7, allowed: an integer from 8 to 1000 (kbit/s)"),
        (
            {**MP4, "Video": {"Width": 129}},
            "Video.Width is 129, allowed: an even integer from 128 to 4096 (pixels)",
        ),
        (
            {**MP4, "Video": {"Height": "126"}},
            "Video.Height is '126', allowed: an even integer from 128 to 4096",
        ),
        ({**MP4, "Video": {"Width": 640.0}}, "Video.Width is 640.0, allowed: an even integer"),
        ({**MP4, "Video": {"Fps": 0}}, "Video.Fps is 0, allowed: a number from 0.01 to 60"),
        (
            {**MP4, "Video": {"Bitrate": "car"}},
            "Video.Bitrate is 'car', allowed: an integer from 10 to 50000",
        ),
        ({**MP4, "Video": {"Crf": 52}}, "Video.Crf is 52, allowed: a number from 0.01 to 51"),
        ({**MP4, "Video": {"Codec": "H264"}}, "Video.Codec is 'H264', allowed: H.264, H.265, VP8, VP9, AV1"),
        (
            {**MP4, "TimeInterval": {"Start": -1}},
            "TimeInterval.Start is -1, allowed: a number, at least 0 (seconds)",
        ),
    ],
)
def test_what_they_do_not_allow_is_refused(parameters: dict[str, Any], said: str) -> None:
    (problem,) = problems_of(parameters)
    assert problem.startswith(f"Operation.Transcode.{said}")


def test_no_parameters_at_all() -> None:
    assert problems("Transcode", {}) == [
        "Operation is 'without parameters', allowed: with TemplateId or Transcode"
    ]
    assert len(problems("Transcode", {"Transcode": {}})) == 2, "neither a format nor sound or picture"


def test_watermarks_are_beside_a_template_and_no_parameters_by_themselves() -> None:
    watermark = {"Watermark": [{"Type": "Text"}]}
    assert problems("Transcode", {"TemplateId": "t1", **watermark}) == []
    (problem,) = problems("Transcode", watermark)
    assert "without parameters" in problem


def test_a_template_has_the_parameters_without_their_element() -> None:
    template = template_request("Transcode", "mp3", {"Transcode": MP3})
    assert template == {"Tag": "Transcode", "Name": "mp3", **MP3}
    check_template(template)
    with pytest.raises(RequestValidationError, match=r"sent: Container\.Format is None"):
        check_template({"Tag": "Transcode", "Name": "mp3", "Audio": {}})
    with pytest.raises(RequestValidationError, match=r"sent: Container\.Format is None"):
        check_template({"Tag": "Transcode", "Name": "mp3"})
