"""The documented rules of noise reduction (1045/73375, 460/84796, 460/94315)."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.protocol.job_types.noise_reduction import NOISE_REDUCTION_TYPE
from tests.unit.protocol.job_types.problems import problems


@pytest.mark.parametrize(
    "operation",
    [
        {},
        {"TemplateId": "t1"},
        {"NoiseReduction": {}},
        {"NoiseReduction": {"Format": "m4a", "Samplerate": 8000}},
        {"NoiseReduction": {"SampleRate": "48000"}},
        {"NoiseReduction": {"SampleRate": "48000", "Samplerate": 48000}},
    ],
)
def test_both_spellings_and_no_parameters_are_sent(operation: dict[str, Any]) -> None:
    assert problems("NoiseReduction", operation) == []


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"Format": "flac"}, "Format is 'flac', allowed: mp3, m4a, wav"),
        (
            {"Samplerate": 11025},
            "Samplerate is 11025, allowed: 8000, 12000, 16000, 24000, 32000, 44100, 48000",
        ),
        (
            {"SampleRate": 11025},
            "SampleRate is 11025, allowed: 8000, 12000, 16000, 24000, 32000, 44100, 48000",
        ),
        (
            {"SampleRate": 8000, "Samplerate": 16000},
            "SampleRate is 8000, allowed: 16000, as Samplerate, or no value",
        ),
    ],
)
def test_what_the_documents_do_not_allow_is_refused(parameters: dict[str, Any], said: str) -> None:
    assert problems("NoiseReduction", {"NoiseReduction": parameters}) == [f"Operation.NoiseReduction.{said}"]


def test_the_key_of_the_result_has_no_placeholder() -> None:
    """The service returns only the key that was sent, so a task could not say where its result is."""
    (problem,) = problems("NoiseReduction", {}, Object="out/${jobid}.wav")
    assert problem.startswith("Operation.Output.Object is 'out/${jobid}.wav', allowed: no placeholder")


def test_what_an_account_needs_for_it() -> None:
    assert NOISE_REDUCTION_TYPE.submit_action == "ci:CreateAsrJobs"
    assert NOISE_REDUCTION_TYPE.service == "asr"
