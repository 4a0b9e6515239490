"""Fixtures for test suites: a running emulator, and an Airflow connection to it.

pytest loads this module in every environment that has the package, so it imports nothing until a fixture is
used. docs/testing-dags.md shows how to use them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tencent_ci_emulator.server import Emulator

CONN_ID = "tencent_ci_default"


@pytest.fixture
def ci_emulator() -> Iterator[Emulator]:
    """A running emulator of this test's own: empty, in a temporary folder, gone when the test ends."""
    try:
        from tencent_ci_emulator.server import Emulator
    except ModuleNotFoundError as error:
        pytest.fail(
            f"the fixture ci_emulator needs {error.name}: pip install tencent-ci-emulator", pytrace=False
        )
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def ci_emulator_connection(ci_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an Airflow connection to ``ci_emulator``, defined for the duration of the test."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(ci_emulator.connection))
    return CONN_ID
