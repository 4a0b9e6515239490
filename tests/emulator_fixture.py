"""Fixtures with a running emulator; ``tests/conftest.py`` imports them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tencent_ci_emulator.media import recognition, speech, synthesis
from tencent_ci_emulator.server import Emulator

_library = speech.library


@pytest.fixture(autouse=True, scope="session")
def mono_by_filters() -> Iterator[None]:
    """Separate mono recordings by FFmpeg's filters alone: enhancing speech takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech, "library", lambda: None)
        yield


@pytest.fixture
def with_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enhance the speech in mono recordings, for tests of just that."""
    if _library() is None:
        pytest.skip("the extra speech is not installed")
    monkeypatch.setattr(speech, "library", _library)


@pytest.fixture
def with_recognition(with_speech: None) -> None:
    """Recognise speech."""
    if not recognition.is_installed():
        pytest.skip("the extra recognition is not installed")


@pytest.fixture
def with_synthesis() -> None:
    """Speak texts."""
    if not synthesis.is_installed():
        pytest.skip("the extra synthesis is not installed")


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
