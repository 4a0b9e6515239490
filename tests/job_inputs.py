"""The objects that the jobs of ``tests/job_samples.py`` read."""

from __future__ import annotations

import io
import zipfile
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

from tests.emulator.audio_tools import tones, write
from tests.job_samples import ARCHIVE, FILM, PICTURE, SOUND, TEXT
from tests.recording import SHORT

_PNG = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_WORDS = "今天天气很好。 The weather is fine & the sun shines.\n"


def store_inputs(put: Callable[[str, bytes], object], folder: Path) -> None:
    """Call ``put`` with key and content of each object that the jobs read."""
    centre, side = tones(1.0)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("inside.txt", _WORDS)
    put(SOUND, SHORT.read_bytes())
    put(FILM, write(folder / "film.mkv", centre + side, codec="aac", video=True).read_bytes())
    put(PICTURE, _PNG)
    put(TEXT, _WORDS.encode())
    put(ARCHIVE, archive.getvalue())
