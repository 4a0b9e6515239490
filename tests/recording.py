"""A recording for tests in which a job has to succeed, and what it sounds like does not matter."""

from __future__ import annotations

from pathlib import Path

#: A part of the demo recording, MP3 in stereo: it is separated in 0.04 s, the whole in 0.8 s
SHORT = Path(__file__).parent / "data" / "short.mp3"
SHORT_SECONDS = 0.55
