"""docs/migrating.md names what the SDK and the operator really have."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from qcloud_cos import CosConfig, CosS3Client

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.base_job import TencentCIBaseJobOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

PAGE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text("utf-8")
TABLES = PAGE[PAGE.index("## Which argument") : PAGE.index("## What changes")]
ROWS = [line.strip("|").split(" | ") for line in TABLES.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:ci|put|get|head)_\w+)`", TABLES))))
def test_every_call_is_one_of_the_sdk_or_of_the_hook(name: str) -> None:
    assert hasattr(CosS3Client, name) or hasattr(TencentCIHook, name)


def test_every_setting_is_one_of_the_sdk() -> None:
    named = set(re.findall(r"\b([A-Z]\w+|retry)=", " ".join(row[0] for row in ROWS)))
    taken = {
        *inspect.signature(CosConfig.__init__).parameters,
        *inspect.signature(CosS3Client.__init__).parameters,
        *inspect.signature(CosS3Client.ci_create_media_jobs).parameters,
        "ContentType",  # a header, among **kwargs
    }
    assert len(named) >= 14
    assert named <= taken


def test_every_argument_is_named_and_is_one() -> None:
    """Those of the request; what the connection and the operator share is said elsewhere."""
    own = set(VoiceSeparateOperator.template_fields) - set(TencentCIBaseJobOperator.template_fields)
    shown = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[1])}
    assert own - shown == set()


def test_every_field_of_the_request_is_named() -> None:
    words = set(re.findall(r"\w+", " ".join(row[0] for row in ROWS)))
    elements = {part for path in VoiceSeparateOperator.elements.values() for part in path.split(".")}
    assert elements <= words
