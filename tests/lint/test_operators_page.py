"""docs/operators.md: what it says to import is there, and every parameter has a word."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from airflow_provider_ci.operators.bulk_job import TencentCIBulkJobOperator
from airflow_provider_ci.operators.cancel import TencentCICancelJobOperator
from airflow_provider_ci.operators.cos import TencentCOSDownloadOperator, TencentCOSUploadOperator
from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.operators.noise_reduction import NoiseReductionOperator
from airflow_provider_ci.operators.speech_recognition import SpeechRecognitionOperator
from airflow_provider_ci.operators.text_to_speech import TextToSpeechOperator
from airflow_provider_ci.operators.transcode import TranscodeOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator
from airflow_provider_ci.operators.voice_separate_template import VoiceSeparateTemplateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

PAGE = (Path(__file__).parents[2] / "docs" / "operators.md").read_text("utf-8")


def test_every_import_that_is_named_works() -> None:
    named = re.findall(r"^\| `(\w+)` \| `(airflow_provider_ci[\w.]+)` \|$", PAGE, re.MULTILINE)
    assert len(named) >= 7
    for name, module in named:
        assert getattr(import_module(module), name).__module__ == module


def parameters(cls: type) -> set[str]:
    """Return what a class and its bases in this package take."""
    own = [base for base in cls.__mro__ if base.__module__.startswith("airflow_provider_ci.")]
    own = [base for base in own if "__init__" in vars(base)]
    names = {name for base in own for name in inspect.signature(base.__init__).parameters}
    fixed = {"tag"} if hasattr(cls, "tag") else set()  # of one type of job
    return names - {"self", "kwargs"} - fixed


@pytest.mark.parametrize(
    ("cls", "but_for"),
    [
        (VoiceSeparateOperator, None),
        # its table says that the rest is as of that operator
        (VoiceSeparateBatchOperator, VoiceSeparateOperator),
        (VoiceSeparateBulkOperator, VoiceSeparateOperator),
        (TencentCIBulkJobOperator, VoiceSeparateBulkOperator),
        (VoiceSeparateTemplateOperator, None),
        (TencentCIJobOperator, VoiceSeparateOperator),
        (SpeechRecognitionOperator, TencentCIJobOperator),
        (NoiseReductionOperator, TencentCIJobOperator),
        (TextToSpeechOperator, TencentCIJobOperator),
        (TranscodeOperator, TencentCIJobOperator),
        (TencentCICancelJobOperator, None),
        (TencentCOSUploadOperator, None),
        (TencentCOSDownloadOperator, None),
        (TencentCIJobSensor, None),
    ],
    ids=lambda cls: cls.__name__ if cls else "",
)
def test_every_parameter_is_in_the_table_of_its_class(cls: type, but_for: type | None) -> None:
    section = PAGE.partition(f"\n## {cls.__name__}\n")[2].partition("\n## ")[0]
    first_cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    named = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    wanted = parameters(cls) - (parameters(but_for) if but_for else set())
    assert wanted
    assert wanted - named == set()


def test_every_link_at_the_top_is_a_section() -> None:
    top = PAGE.partition("\n\nThe snippets")[0]
    assert len(re.findall(r"\]\(#", top)) == len(re.findall("^## ", PAGE, re.MULTILINE))
