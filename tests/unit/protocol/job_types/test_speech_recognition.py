"""The documented rules of speech recognition (1045/73385, 460/84798)."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.job_types.speech_recognition import SPEECH_RECOGNITION_TYPE
from tests.unit.protocol.job_types.problems import problems

LEAST = {"EngineModelType": "16k_zh", "ChannelNum": 1}
FAST = {"EngineModelType": "16k_zh", "FlashAsr": True, "Format": "mp3"}
FIELD = "Operation.SpeechRecognition"


def problems_of(parameters: dict[str, Any] | None, **others: Any) -> list[str]:
    return problems("SpeechRecognition", {"SpeechRecognition": parameters}, **others)


@pytest.mark.parametrize(
    "parameters",
    [
        LEAST,
        {"EngineModelType": "8k_zh", "ChannelNum": "2"},
        {"EngineModelType": "an-engine-of-tomorrow", "ChannelNum": 2},
        {**LEAST, "EngineModelType": "an-engine-of-tomorrow", "SpeakerDiarization": 1},
        {**LEAST, "ResTextFormat": 1, "OutputFileType": "srt"},
        {**LEAST, "ResTextFormat": 3, "SentenceMaxLength": 6, "OutputFileType": "txt"},
        {**LEAST, "SentenceMaxLength": 0},
        {**LEAST, "FilterDirty": 2, "FilterModal": 2, "FilterPunc": "2", "ConvertNumMode": 3},
        {**LEAST, "SpeakerDiarization": 1, "SpeakerNumber": 10},
        {**LEAST, "SpeakerDiarization": 0, "SpeakerNumber": 0},
        {**LEAST, "FlashAsr": False},
        FAST,
        {**FAST, "FlashAsr": "true", "FirstChannelOnly": 0, "WordInfo": 2, "OutputFileType": "txt"},
        {**FAST, "EngineModelType": "16k_zh-PY", "SpeakerDiarization": 0},
        {**LEAST, "AnElementOfTomorrow": "a"},
    ],
)
def test_what_the_documents_allow_is_sent(parameters: dict[str, Any]) -> None:
    assert problems_of(parameters) == []


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"ChannelNum": 1}, [".EngineModelType is None, allowed: an engine, for instance 16k_zh or 16k_en"]),
        ({}, [".EngineModelType is None, allowed: an engine, for instance 16k_zh or 16k_en"]),
        ({"EngineModelType": "16k_zh"}, [".ChannelNum is None, allowed: 1, 2, as FlashAsr is False"]),
        ({**LEAST, "ChannelNum": 2}, [".ChannelNum is 2, allowed: 1 with engine 16k_zh"]),
        (
            {"EngineModelType": "8k_zh_s", "ChannelNum": 2},
            [".ChannelNum is 2, allowed: 1 with engine 8k_zh_s"],
        ),
        ({**LEAST, "ResTextFormat": 4}, [".ResTextFormat is 4, allowed: 0, 1, 2, 3"]),
        ({**LEAST, "FilterDirty": 3}, [".FilterDirty is 3, allowed: 0, 1, 2"]),
        ({**LEAST, "FilterModal": "x"}, [".FilterModal is 'x', allowed: 0, 1, 2"]),
        ({**LEAST, "FilterPunc": 1.5}, [".FilterPunc is 1.5, allowed: 0, 1, 2"]),
        ({**LEAST, "ConvertNumMode": 2}, [".ConvertNumMode is 2, allowed: 0, 1, 3"]),
        ({**LEAST, "SpeakerNumber": 2}, [".SpeakerNumber is 2, allowed: 0 unless SpeakerDiarization is 1"]),
        (
            {**LEAST, "SpeakerDiarization": 1, "SpeakerNumber": 11},
            [".SpeakerNumber is 11, allowed: an integer from 0 to 10"],
        ),
        (
            {**LEAST, "EngineModelType": "16k_en", "SpeakerDiarization": 1},
            [".SpeakerDiarization is 1, allowed: 0 with two channels, or with engine 16k_en"],
        ),
        (
            {"EngineModelType": "8k_zh", "ChannelNum": 2, "SpeakerDiarization": "1"},
            [".SpeakerDiarization is '1', allowed: 0 with two channels, or with engine 8k_zh"],
        ),
        (
            {**LEAST, "SentenceMaxLength": 6},
            [".SentenceMaxLength is 6, allowed: 0 unless ResTextFormat is 3"],
        ),
        (
            {**LEAST, "ResTextFormat": 3, "OutputFileType": "srt"},
            [".OutputFileType is 'srt', allowed: txt if FlashAsr is true or ResTextFormat is 3"],
        ),
        (
            {**FAST, "OutputFileType": "srt"},
            [".OutputFileType is 'srt', allowed: txt if FlashAsr is true or ResTextFormat is 3"],
        ),
        ({**LEAST, "OutputFileType": "vtt"}, [".OutputFileType is 'vtt', allowed: txt, srt"]),
        ({**LEAST, "FlashAsr": "yes"}, [".FlashAsr is 'yes', allowed: true, false"]),
        (
            {"EngineModelType": "16k_zh", "FlashAsr": True},
            [".Format is None, allowed: wav, pcm, ogg-opus, speex, silk, mp3, m4a, aac, as FlashAsr is True"],
        ),
        (
            {**FAST, "Format": "flac"},
            [".Format is 'flac', allowed: wav, pcm, ogg-opus, speex, silk, mp3, m4a, aac"],
        ),
        (
            {**FAST, "ChannelNum": 1, "ResTextFormat": 0},
            [
                ".ChannelNum is 1, allowed: no value, as FlashAsr is True",
                ".ResTextFormat is 0, allowed: no value, as FlashAsr is True",
            ],
        ),
        (
            {**LEAST, "Format": "wav", "WordInfo": 0},
            [
                ".Format is 'wav', allowed: no value, as FlashAsr is False",
                ".WordInfo is 0, allowed: no value, as FlashAsr is False",
            ],
        ),
    ],
)
def test_what_they_do_not_allow_is_refused(parameters: dict[str, Any], said: list[str]) -> None:
    assert problems_of(parameters) == [f"{FIELD}{each}" for each in said]


def test_a_template_replaces_the_parameters() -> None:
    assert problems("SpeechRecognition", {"TemplateId": "t1"}) == []
    assert problems("SpeechRecognition", {"TemplateId": "t1", "SpeechRecognition": {"ChannelNum": 9}}) == []
    (problem,) = problems("SpeechRecognition", {})
    assert problem == "Operation is 'without parameters', allowed: with TemplateId or SpeechRecognition"


def test_the_input_may_be_an_address() -> None:
    url = "https://example.com/a.mp3"
    assert problems_of(LEAST, source={"Url": url}) == []
    assert problems_of(LEAST, source={"Url": "", "Object": "in/a.mp3"}) == [], "as in Tencent's sample"
    assert problems_of(LEAST, source={"Url": "ftp://a/b"}) == [
        "Input.Url is 'ftp://a/b', allowed: an absolute http or https URL",
    ]
    (problem,) = problems_of(LEAST, source={"Url": ""})
    assert problem.startswith("Input.Object is None")


def test_the_transcript_needs_a_key() -> None:
    (problem,) = problems_of(LEAST, Object=None)
    assert problem == "Operation.Output.Object is None, allowed: an object key"


def test_what_an_account_needs_for_it() -> None:
    assert job_type("SpeechRecognition") is SPEECH_RECOGNITION_TYPE
    assert SPEECH_RECOGNITION_TYPE.submit_action == "ci:CreateAsrJobs"
    assert SPEECH_RECOGNITION_TYPE.service == "asr"
