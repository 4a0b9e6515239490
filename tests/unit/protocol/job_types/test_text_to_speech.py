"""The documented rules of text to speech (1045/73380, 460/84797, 1045/49913)."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.batch_rules import check_batch
from airflow_provider_ci.protocol.template_rules import check_template, template_request
from tests.unit.protocol.job_types.problems import problems

TEXT = {"InputType": "Text", "Input": "早上好"}
VOICE = {"VoiceType": "ruxue"}


def problems_of(operation: dict[str, Any], source: dict[str, Any] | None = None) -> list[str]:
    return problems("Tts", operation, source)


@pytest.mark.parametrize(
    "operation",
    [
        {"TtsConfig": TEXT, "TtsTpl": VOICE},
        {"TtsConfig": TEXT, "TemplateId": "t1"},
        {"TtsConfig": {"InputType": "Text", "Input": "早" * 300}, "TtsTpl": VOICE},
        {"TtsConfig": {"InputType": "Url", "Input": f"https://example.com/{'a' * 300}"}, "TtsTpl": VOICE},
        *({"TtsConfig": TEXT, "TtsTpl": {"Mode": mode}} for mode in ("Sync", "Asyc", "Async")),
        {"TtsConfig": TEXT, "TtsTpl": {"Codec": "pcm", "Volume": -10, "Speed": "200", "Emotion": "arousal"}},
        {"TtsConfig": TEXT, "TtsTpl": {"VoiceType": "a-voice-of-tomorrow"}},
    ],
)
def test_what_the_documents_allow_is_sent(operation: dict[str, Any]) -> None:
    assert problems_of(operation) == []


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ({"TtsTpl": VOICE}, "Operation.TtsConfig is None, allowed: InputType and Input"),
        ({"TemplateId": "t1"}, "Operation.TtsConfig is None, allowed: InputType and Input"),
        ({"TtsConfig": TEXT}, "Operation is 'without parameters', allowed: with TemplateId or TtsTpl"),
        ({"TtsConfig": TEXT, "TtsTpl": {}}, "Operation.TtsTpl is {}, allowed: at least one element"),
        (
            {"TtsConfig": TEXT, "TtsTpl": {"Mode": None}},
            "Operation.TtsTpl is {'Mode': None}, allowed: at least",
        ),
        (
            {"TtsConfig": {"InputType": "Text"}, "TtsTpl": VOICE},
            "Operation.TtsConfig.Input is None, allowed: what is to be spoken",
        ),
        (
            {"TtsConfig": {"InputType": "File", "Input": "a"}, "TtsTpl": VOICE},
            "Operation.TtsConfig.InputType is 'File', allowed: Text, Url",
        ),
        (
            {"TtsConfig": {"InputType": "Text", "Input": "a" * 301}, "TemplateId": "t1"},
            "(303 characters), allowed: at most 300 characters; a longer text is an object in COS",
        ),
        (
            {"TtsConfig": {"InputType": "Url", "Input": "in/text.txt"}, "TtsTpl": VOICE},
            "Operation.TtsConfig.Input is 'in/text.txt', allowed: the http or https address of a text in COS",
        ),
        (
            {"TtsConfig": TEXT, "TtsTpl": {"Mode": "async"}},
            "TtsTpl.Mode is 'async', allowed: Sync, Asyc, Async",
        ),
        ({"TtsConfig": TEXT, "TtsTpl": {"Codec": "aac"}}, "TtsTpl.Codec is 'aac', allowed: wav, mp3, pcm"),
        (
            {"TtsConfig": TEXT, "TtsTpl": {"Volume": 11}},
            "TtsTpl.Volume is 11, allowed: an integer from -10 to 10",
        ),
        (
            {"TtsConfig": TEXT, "TtsTpl": {"Speed": 49}},
            "TtsTpl.Speed is 49, allowed: an integer from 50 to 200",
        ),
    ],
)
def test_what_they_do_not_allow_is_refused(operation: dict[str, Any], said: str) -> None:
    (problem,) = problems_of(operation)
    assert said in problem


def test_an_address_is_shown_without_its_signature() -> None:
    source = {"InputType": "Url", "Input": "cos://example.com/a.txt?q-signature=hush"}
    (problem,) = problems_of({"TtsConfig": source, "TtsTpl": VOICE})
    assert "hush" not in problem


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"Object": "in/a.txt"}, "Input.Object is 'in/a.txt', allowed: no input, because a job with Tag Tts"),
        ({"Url": "https://a.example/b"}, "Input.Url is 'https://a.example/b', allowed: no input"),
        ({}, "Input is {}, allowed: no input"),
    ],
)
def test_it_has_no_input(source: dict[str, Any], said: str) -> None:
    (problem,) = problems_of({"TtsConfig": TEXT, "TtsTpl": VOICE}, source)
    assert problem.startswith(said)


def test_a_template_has_the_voice_without_its_element() -> None:
    template = template_request("Tts", "voices", {"TtsTpl": {"VoiceType": "ruxue", "Speed": 80}})
    assert template == {"Tag": "Tts", "Name": "voices", "VoiceType": "ruxue", "Speed": 80}
    check_template(template)
    with pytest.raises(
        RequestValidationError, match=r"sent: Speed is 300, allowed: an integer from 50 to 200"
    ):
        check_template({**template, "Speed": 300})


def test_of_a_batch_job_the_inputs_may_be_the_texts() -> None:
    output = {"Bucket": "media-1250000001", "Region": "ap-guangzhou", "Object": "out/${jobid}.wav"}
    operation = {"Tag": "Tts", "JobParam": {"TemplateId": "t1"}, "Output": output}
    check_batch({"Name": "n", "Type": "Job", "Input": {"Prefix": "in/"}, "Operation": operation})
