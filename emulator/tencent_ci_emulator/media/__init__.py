"""Real voice separation with FFmpeg's filters, through PyAV. It does not depend on jobs, HTTP or XML."""

from __future__ import annotations

from tencent_ci_emulator.media.encodings import EXTENSIONS, Encoding
from tencent_ci_emulator.media.media_info import describe
from tencent_ci_emulator.media.separate import Method, Stem, UnsupportedMediaError, separate

__all__ = ["EXTENSIONS", "Encoding", "Method", "Stem", "UnsupportedMediaError", "describe", "separate"]
