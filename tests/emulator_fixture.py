"""Fixtures with a running emulator; ``tests/conftest.py`` imports them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_ci.emulator.server import Emulator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator of this test's own, empty, in a temporary folder."""
    with Emulator() as running:
        yield running


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    """One emulator for the whole run, for tests that use object keys and jobs of their own."""
    with Emulator() as running:
        yield running
