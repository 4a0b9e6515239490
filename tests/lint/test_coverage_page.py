"""tests/coverage.md names code and test modules that exist, and every field and call that there is."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.protocol import (
    batches,
    callbacks,
    fields,
    jobs,
    media_info,
    queues,
    services,
    templates,
)
from airflow_provider_ci.protocol.api_request import ApiRequest
from tests.lint.test_permissions import CALLS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "tests" / "coverage.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| API |"))
]
NAMED = re.compile(r"`([^`]+)`")


def named(column: int) -> list[str]:
    """Return what a column names, each once."""
    return sorted({name for row in ROWS for name in NAMED.findall(row[column])})


def test_the_page_is_read() -> None:
    assert len(ROWS) > 100
    assert len(named(1)) > 100
    assert len(named(2)) > 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_no_row_is_empty(row: list[str]) -> None:
    assert len(row) == 3, row
    assert all(row)
    assert NAMED.search(row[1]) or row[1].startswith("Not ")
    assert NAMED.search(row[2]), "a test"


@pytest.mark.parametrize("path", named(1))
def test_every_code_path_exists(path: str) -> None:
    name, _, argument = path.removesuffix(")").partition("(")
    parts = name.split(".")
    depth = next(n for n in range(len(parts), 0, -1) if _is_module(parts[:n]))
    found: Any = importlib.import_module(".".join(["airflow_provider_ci", *parts[:depth]]))
    for part in parts[depth:]:
        fields = (
            {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else set()
        )
        assert hasattr(found, part) or part in fields, path
        found = getattr(found, part, None)
    if argument:
        classes = inspect.getmro(found) if inspect.isclass(found) else ()  # the bases' come through **kwargs
        taken = [inspect.signature(found), *(inspect.signature(one.__init__) for one in classes)]
        assert any(argument in signature.parameters for signature in taken), path


def _is_module(parts: list[str]) -> bool:
    place = ROOT.joinpath("airflow_provider_ci", *parts)
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@pytest.mark.parametrize("name", named(2))
def test_every_test_module_exists(name: str) -> None:
    assert name.rpartition("/")[2].startswith("test_")
    assert (ROOT / "tests" / name).is_file()


MODELS = [
    model
    for module in (jobs, media_info, batches, templates, queues, services, callbacks)
    for model in vars(module).values()
    if dataclasses.is_dataclass(model) and isinstance(model, type) and model.__module__ == module.__name__
    if not issubclass(model, ApiRequest)
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_field_of_the_models_is_missing(model: type[Any]) -> None:
    words = set(re.findall(r"\w+", " ".join(row[0] for row in ROWS)))
    elements = {fields.element_names(field)[0] for field in dataclasses.fields(model)}
    assert elements - words == set()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_no_call_is_missing(call: type[Any]) -> None:
    path = f"{call.__module__.removeprefix('airflow_provider_ci.')}.{call.__name__}"
    assert f"`{path}`" in PAGE


def test_the_operators_have_no_argument_that_is_missing() -> None:
    from airflow_provider_ci.operators.base_job import TencentCIBaseJobOperator
    from airflow_provider_ci.operators.job import TencentCIJobOperator
    from airflow_provider_ci.operators.noise_reduction import NoiseReductionOperator
    from airflow_provider_ci.operators.speech_recognition import SpeechRecognitionOperator
    from airflow_provider_ci.operators.text_to_speech import TextToSpeechOperator
    from airflow_provider_ci.operators.transcode import TranscodeOperator
    from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

    common = shown_arguments("TypedJobOperator") | set(TencentCIJobOperator.template_fields)
    assert "output_object" in common
    for operator, inherited in (
        (VoiceSeparateOperator, set(TencentCIBaseJobOperator.template_fields)),
        (SpeechRecognitionOperator, common),
        (NoiseReductionOperator, common),
        (TextToSpeechOperator, common),
        (TranscodeOperator, common),
    ):
        own = set(operator.template_fields) - inherited
        assert own
        assert own - shown_arguments(operator.__name__) == set()


def shown_arguments(operator: str) -> set[str]:
    return set(re.findall(rf"\b{operator}\((\w+)\)", PAGE))
