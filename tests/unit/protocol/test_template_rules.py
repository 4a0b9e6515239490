"""Requests for templates: some types have their parameters in an element, others have them without it."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from airflow_provider_ci.protocol.rules import problems_of
from airflow_provider_ci.protocol.template_rules import check_template, template_request

AUDIO = {"Codec": "mp3"}


@pytest.mark.parametrize(
    ("tag", "parameters", "expected"),
    [
        (
            "VoiceSeparate",
            {"VoiceSeparate": {"AudioMode": "IsAudio", "AudioConfig": AUDIO}},
            {"AudioMode": "IsAudio", "AudioConfig": AUDIO},
        ),
        (
            "VoiceSeparate",
            {"VoiceSeparate": {"AudioMode": "IsAudio"}},
            {"AudioMode": "IsAudio", "AudioConfig": {}},
        ),
        ("Tts", {"TtsTpl": {"Mode": "Sync"}}, {"Mode": "Sync"}),
        ("Transcode", {"Transcode": {"Audio": AUDIO}}, {"Audio": AUDIO}),
        ("TranscodePro", {"Transcode": {"Audio": AUDIO}}, {"Audio": AUDIO}),
        ("Animation", {"Animation": {"Video": {}}}, {"Video": {}}),
        ("VideoMontage", {"VideoMontage": {"Duration": 5}}, {"Duration": 5}),
        ("VideoProcess", {"VideoProcess": {"MsSharpen": {}}}, {"MsSharpen": {}}),
        ("SuperResolution", {"SuperResolution": {"Version": "Base"}}, {"Version": "Base"}),
        (
            "Transcode",
            {"Container": {"Format": "mp3"}, "Audio": AUDIO},
            {"Container": {"Format": "mp3"}, "Audio": AUDIO},
        ),
        ("Transcode", MappingProxyType({"Transcode": MappingProxyType({"Audio": AUDIO})}), {"Audio": AUDIO}),
        ("Transcode", {"New": 1, "Transcode": {"Audio": AUDIO}}, {"Audio": AUDIO, "New": 1}),
        *(
            (tag, {name: {"A": 1}}, {name: {"A": 1}})
            for tag, name in (
                ("Snapshot", "Snapshot"),
                ("Concat", "ConcatTemplate"),
                ("SmartCover", "SmartCover"),
                ("SpeechRecognition", "SpeechRecognition"),
                ("NoiseReduction", "NoiseReduction"),
                ("PicProcess", "PicProcess"),
                ("Watermark", "Watermark"),
                ("VideoEnhance", "VideoEnhance"),
                ("VideoTargetRec", "VideoTargetRec"),
                ("NewType", "New"),
            )
        ),
    ],
)
def test_the_parameters_of_a_job_become_those_of_a_template(tag, parameters, expected):
    assert template_request(tag, "name", parameters) == {"Tag": tag, "Name": "name", **expected}


@pytest.mark.parametrize(
    ("tag", "own"),
    [
        ("VoiceSeparate", {"AudioMode": "IsAudio", "AudioConfig": {}}),
        ("SpeechRecognition", {"SpeechRecognition": {"EngineModelType": "16k_zh", "ChannelNum": 1}}),
        ("NoiseReduction", {"NoiseReduction": {"Format": "wav", "Samplerate": "16000"}}),
        ("Transcode", {"Container": {"Format": "mp3"}, "Audio": AUDIO}),
        ("Snapshot", {"Snapshot": {"Count": 1}}),
        ("HighSpeedHd", {"Container": {"Format": "mp4"}}),
        ("NewType", {"Anything": [1, 2]}),
        ("NewType", {}),
    ],
)
def test_a_good_template_has_no_problems(tag, own):
    assert problems_of(check_template, {"Tag": tag, "Name": "stems_声-*1", **own}) == []


@pytest.mark.parametrize(
    ("tag", "own", "says"),
    [
        ("VoiceSeparate", {"AudioMode": "x", "AudioConfig": {}}, "AudioMode is 'x', allowed: IsAudio"),
        (
            "VoiceSeparate",
            {"AudioMode": "IsAudio", "AudioConfig": {"Bitrate": 1}},
            "AudioConfig.Bitrate is 1, allowed: an integer from 8 to 1000",
        ),
        ("Tts", {"Speed": 5}, "Speed is 5, allowed: an integer from 50 to 200"),
        ("Transcode", {"Container": {"Format": "ogg"}, "Audio": {}}, "Container.Format is 'ogg'"),
        (
            "NoiseReduction",
            {"NoiseReduction": {"Format": "ogg"}},
            "NoiseReduction.Format is 'ogg', allowed: mp3, m4a, wav",
        ),
        ("NewType", {"A": [[1]]}, "A[0] is [1], allowed: no list in a list"),
        ("NewType", {"A b": 1}, "A b is 'A b', allowed: a name of an element"),
    ],
)
def test_a_template_that_breaks_a_rule_of_its_type(tag, own, says):
    (problem,) = problems_of(check_template, {"Tag": tag, "Name": "a", **own})
    assert problem.startswith(says)


def test_a_template_of_text_to_speech_needs_no_text():
    assert problems_of(check_template, {"Tag": "Tts", "Name": "a", "Mode": "Sync"}) == []
